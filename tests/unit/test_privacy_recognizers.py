"""The engine finds what Presidio's own engine finds with the same recognizers, only faster."""

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from pipelines.privacy.recognizer_settings import RecognizerSettings
from pipelines.privacy.recognizers import Engine, engine
from pipelines.privacy.registry import plain_analyzer
from pipelines.privacy.spans import Span, resolve

EVERYTHING = """
extends: default
enable: [AbaRoutingRecognizer, MedicalLicenseRecognizer, NhsRecognizer, AuAcnRecognizer, AuMedicareRecognizer,
  AuTfnRecognizer, UsNpiRecognizer, ItVatCodeRecognizer, KrBrnRecognizer, KrDriverLicenseRecognizer, KrRrnRecognizer,
  PlPeselRecognizer, SeOrganisationsnummerRecognizer, SePersonnummerRecognizer, ThTninRecognizer, NgNinRecognizer,
  InAadhaarRecognizer, AuAbnRecognizer, ItFiscalCodeRecognizer, UkVehicleRegistrationRecognizer]
own:
  - {name: Words, entity: WORD, deny: [alpha, Straße, "std::string"], ignore_case: true}
  - {name: Lines, entity: LINE, patterns: [{name: anchored, regex: '^\\d{4}$', score: 0.5}]}
  - {name: Anything, entity: ANYTHING, patterns: [{name: negated, regex: '<[^>]{1,20}>', score: 0.5}]}
"""
_PIECES = """joe@example.com a.b+c@x.co.uk @ user@localhost 192.168.0.1 10.0.0.1/24 ::1 :: fe80::1%eth0
2001:db8::ff00:42:8329 std::string 00:1A:2B:3C:4D:5E 00-1A-2B-3C-4D-5E 0012.3456.789A 4111-1111-1111-1111
378282246310005 DE89370400440532013000 NL91ABNA0417164300 078-05-1120 219.09.9999 020 7946 0958 GB82 WEST 1234 5698
7654 32 +49 30 901820 030/901820 ext. 12 ext x12 #12 int. 7 2012-01-02 08:00 08:30 3/10/2011 12(3): 211-227 (2003)
5551234 +44 0 1 22 2010 - . / , ; ( ) [ ] % $ é word A I n ox ١٢٣ ０１２ – 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2 Z9Y8
::ffff:1.2.3.4 1:2:3:4:5:6:7:8 +290 1234 0049 011 ( + ~ (212) 555-1234 +1 (415) 555-2671 AB123456C 912-70-1234 < >
ABCPE1234F DE123456788 131052-308T 12345678Z X1234567L S1234567D alpha STRASSE ſ K 2223003122003222 \0
AKIAIOSFODNN7EXAMPLE ghp_0123456789abcdefghijABCDEFGHIJ012345 0x52908400098527886E0F7030069857D2E4169EE7 https://joe:secret@example.org/x"""
PIECES = [
    *re.split("[ \n]", _PIECES),
    *(f"-----{edge} RSA PRIVATE KEY-----" for edge in ("BEGIN", "END")),
    "MIIEowIB" * 8,
]
JOINS = ["", "", " ", " ", "\n", "\t", "\u00a0", "\u3000", "\u200b"]
TEXTS = [
    "",
    "\0",
    "Write to jane.doe@example.org, call (212) 555-1234 or +44 20 7946 0958 ext. 12, from 192.168.1.17.",
    "Card 4111 1111 1111 1111, IBAN GB82 WEST 1234 5698 7654 32 and NL91 ABNA 0417 1643 00; SSN 219-09-9999.",
    "In 1648, on pages 211-227 (2003), at 2012-01-02 08:00:30; std::vector, ::1, fe80::1, 00:1A:2B:3C:4D:5E",
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2\u30001234567890123 4111111111111111x 14111111111111111",
    "x12345 555-123-4567x1234567890123456, 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 01234567890123456789012345",
]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> RecognizerSettings:
    """Every recognizer, and nothing of ours that drops a finding of Presidio's."""
    path = tmp_path_factory.mktemp("recognizers") / "everything.yaml"
    path.write_text(EVERYTHING, encoding="utf-8")
    return RecognizerSettings(str(path), min_phone_digits=1, drop_lookalikes=False, min_ip_number=0)


@pytest.fixture(scope="module")
def ours(strict: RecognizerSettings) -> Engine:
    return engine(strict)


@pytest.fixture(scope="module")
def plain(strict: RecognizerSettings) -> Callable[[str], list[Span]]:
    """Presidio's engine with the same recognizers on the whole text."""
    analyzer = plain_analyzer(strict)

    def find(text: str) -> list[Span]:
        results: list[Any] = analyzer.analyze(text, "en", score_threshold=strict.score_threshold)
        return sorted({Span(r.start, r.end, r.entity_type, r.score) for r in results})

    return find


def assert_same(texts: Sequence[str], ours: Engine, plain: Callable[[str], list[Span]]) -> Counter[str]:
    expected = [plain(text) for text in texts]
    assert ours.analyze(texts) == expected
    assert ours.find(texts) == [resolve(spans) for spans in expected]
    return Counter(span.entity for spans in expected for span in spans)


def test_as_plain_presidio(ours: Engine, plain: Callable[[str], list[Span]]) -> None:
    generator = random.Random(20)
    made = [
        "".join(generator.choice(PIECES) + generator.choice(JOINS) for _ in range(generator.randint(1, 14)))
        for _ in range(250)
    ]
    found = assert_same([*TEXTS, *made], ours, plain)
    assert len(found) > 20
    assert found.total() > 300


@settings(max_examples=60, deadline=None)
@given(
    strategies.lists(
        strategies.one_of(
            strategies.text("0123456789 -./()+x:,#", max_size=60),
            strategies.text("0189٣৪０ -–/．（）+＋xｘ\u00a0\u200b\n\0", max_size=40),
            strategies.text("ABCDEF0123456789abcdef:.-%/ ", max_size=50),
            strategies.lists(strategies.sampled_from([*PIECES, *JOINS]), max_size=12).map("".join),
            strategies.text(max_size=60),
        ),
        max_size=5,
    )
)
def test_as_plain_presidio_on_any_texts(ours: Engine, plain: Callable[[str], list[Span]], texts: list[str]) -> None:
    assert_same(texts, ours, plain)


@pytest.mark.shared
def test_as_plain_presidio_on_real_pages(shared_data: Path, ours: Engine, plain: Callable[[str], list[Span]]) -> None:
    with gzip.open(shared_data / "golden" / "datatrove-0.10.1.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    gold = json.loads((shared_data / "pii" / "generated_small.json").read_text(encoding="utf-8"))
    sample = [text for text in texts if 0 < len(text) < 4_000][:40] + [entry["full_text"] for entry in gold]
    assert assert_same(sample, ours, plain)["PHONE_NUMBER"] > 3
