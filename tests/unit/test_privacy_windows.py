"""Windows: the recognizers find on them exactly what Presidio finds in the whole text."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.filters import windows
from pipelines.filters.privacy import Settings, active_recognizers

Finding = tuple[int, int, str, float]
_PIECES = """joe@example.com a.b+c@x.co.uk @ user@localhost 192.168.0.1 10.0.0.1/24 ::1 :: fe80::1%eth0
2001:db8::ff00:42:8329 std::string 00:1A:2B:3C:4D:5E 00-1A-2B-3C-4D-5E 0012.3456.789A 4111-1111-1111-1111
378282246310005 DE89370400440532013000 NL91ABNA0417164300 078-05-1120 219.09.9999 020 7946 0958 GB82 WEST 1234 5698
7654 32 +49 30 901820 030/901820 ext. 12 ext x12 #12 int. 7 2012-01-02 08:00 08:30 3/10/2011 12(3): 211-227 (2003)
5551234 +44 0 1 22 2010 - . / , ; ( ) [ ] % $ é word A I n ox ١٢٣ ０１２ – 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2
::ffff:1.2.3.4 1:2:3:4:5:6:7:8 +290 1234 0049 011 ( + ~ (212) 555-1234 +1 (415) 555-2671"""
PIECES = _PIECES.split()
JOINS = ["", "", " ", " ", "\n", "\t", "\u00a0", "\u3000", "\u200b"]
TEXTS = [
    "Write to jane.doe@example.org, call (212) 555-1234 or +44 20 7946 0958 ext. 12, from 192.168.1.17.",
    "Card 4111 1111 1111 1111, IBAN GB82 WEST 1234 5698 7654 32 and NL91 ABNA 0417 1643 00; SSN 219-09-9999.",
    "In 1648, on pages 211-227 (2003), at 2012-01-02 08:00:30; std::vector, ::1, fe80::1, 00:1A:2B:3C:4D:5E",
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2\u30001234567890123 4111111111111111x 14111111111111111",
]


@pytest.fixture(scope="module")
def ours() -> Callable[[str], list[Finding]]:
    from presidio_analyzer import EntityRecognizer, RecognizerResult

    settings = Settings(min_phone_digits=1)
    active = active_recognizers(settings)

    def find(text: str) -> list[Finding]:
        spans = [s for recognizer in active for s in recognizer.find(text) if s.score >= settings.score_threshold]
        # Presidio's engine drops a finding inside another of its kind; `resolve` does so later.
        results = EntityRecognizer.remove_duplicates(
            [RecognizerResult(s.entity, s.start, s.end, s.score) for s in spans]
        )
        return sorted({(r.start, r.end, r.entity_type, r.score) for r in results})

    return find


@pytest.fixture(scope="module")
def plain() -> Callable[[str], list[Finding]]:
    """Presidio's engine with the same recognizers on the whole text."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NoOpNlpEngine
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    from pipelines.filters.recognizers import presidio_recognizers

    settings = Settings()
    by_entity = presidio_recognizers(settings.entities, settings.phone_regions, settings.phone_leniency)
    by_entity["PHONE_NUMBER"] = [PhoneRecognizer(supported_regions=settings.phone_regions, leniency=1)]
    registry = RecognizerRegistry([recognizer for group in by_entity.values() for recognizer in group])
    engine = AnalyzerEngine(registry=registry, nlp_engine=NoOpNlpEngine([{"lang_code": "en", "model_name": ""}]))

    def find(text: str) -> list[Finding]:
        results: list[Any] = engine.analyze(text, "en", score_threshold=settings.score_threshold)
        return sorted({(r.start, r.end, r.entity_type, r.score) for r in results})

    return find


def test_as_plain_presidio(ours: Callable[[str], list[Finding]], plain: Callable[[str], list[Finding]]) -> None:
    generator = random.Random(20)
    made = [
        "".join(generator.choice(PIECES) + generator.choice(JOINS) for _ in range(generator.randint(1, 14)))
        for _ in range(150)
    ]
    found = 0
    for text in [*TEXTS, *made]:
        expected = plain(text)
        assert ours(text) == expected, ascii(text)
        found += len(expected)
    assert found > 100


@pytest.mark.shared
def test_as_plain_presidio_on_real_pages(
    shared_data: Path, ours: Callable[[str], list[Finding]], plain: Callable[[str], list[Finding]]
) -> None:
    import gzip
    import json

    with gzip.open(shared_data / "golden" / "datatrove-0.10.1.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    sample = [text for text in texts if 0 < len(text) < 5_000][:80]
    for text in sample:
        assert ours(text) == plain(text)


def test_the_phone_class_holds_all_that_phonenumbers_matches() -> None:
    from phonenumbers import phonenumbermatcher

    pattern: str = phonenumbermatcher._PATTERN.pattern
    characters = set(re.sub(r"\\d|\\t|\{\d+,\d*\}|\(\?:", "", pattern)) - set("\\{}|?*^$")
    missing = {c for c in characters if not re.match(windows.PHONE_CLASS, c, re.IGNORECASE)}
    assert not missing
    for first, last in re.findall(r"([^\\\]\[])-([^\\\]\[])", pattern):
        between = map(chr, range(ord(first), ord(last) + 1))
        assert all(re.match(windows.PHONE_CLASS, c, re.IGNORECASE) for c in between), (first, last)


def test_an_endless_chunk_is_cut() -> None:
    text = "x" * 10_000 + "@" + "y" * 10_000
    [(first, last)] = windows.email_windows(text)
    assert last - first < 2_000
    assert text[first:last].count("@") == 1
