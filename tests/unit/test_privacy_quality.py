"""The benchmark of what is found: how spans are counted, and that it runs."""

import json
from pathlib import Path

import pytest

from benchmarks.pii_quality import Counts, GoldSpan, Sentence, compare, read, run
from pipelines.privacy.spans import Span


def test_spans_are_counted_by_overlap_and_exactly() -> None:
    sentences = [
        Sentence("John Smith, john@corp.org", (GoldSpan(0, 10, "PERSON"), GoldSpan(12, 25, "EMAIL_ADDRESS"))),
        Sentence("Mary", (GoldSpan(0, 4, "PERSON"),)),
    ]
    found = [
        [Span(0, 4, "PERSON", 0.9), Span(5, 10, "LOCATION", 0.9), Span(12, 25, "EMAIL_ADDRESS", 1.0)],
        [Span(1, 2, "EMAIL_ADDRESS", 1.0)],
    ]
    counts = compare(sentences, found, ("PERSON", "EMAIL_ADDRESS"))
    person, email = counts["PERSON"], counts["EMAIL_ADDRESS"]
    assert (person.gold, person.found, person.exact, person.findings, person.right) == (2, 1, 0, 1, 1)
    assert (person.precision, person.recall, round(person.f1, 3)) == (1.0, 0.5, 0.667)
    assert (person.characters, person.hidden) == (14, 10)
    assert (email.precision, email.recall, email.exact) == (0.5, 1.0, 1)
    assert person.missed == ["'Mary' in 'Mary'"]
    assert (person + email).gold == 3
    assert (Counts().precision, Counts().recall) == (1.0, 1.0)


def test_gold_addresses_are_locations(tmp_path: Path) -> None:
    span = {"entity_type": "ADDRESS", "entity_value": "x", "start_position": 0, "end_position": 1}
    path = tmp_path / "gold.json"
    path.write_text(json.dumps([{"full_text": "x", "spans": [span]}]), encoding="utf-8")
    assert read(path) == [Sentence("x", (GoldSpan(0, 1, "LOCATION"),))]


def test_the_short_form_finds_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    line = run([], is_smoke=True)
    assert (line["bench"], line["ours"], line["peer"]) == ("pii_quality", 1.0, None)
    assert "recall exact" in capsys.readouterr().out


@pytest.mark.shared
def test_recall_on_generated_sentences(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = run([shared_data / "pii" / "generated_small.json"], has_peer=False, has_speed=False)
    patterns, names = line["per_type"]["patterns"], line["per_type"]["patterns and names"]
    for entity in ("CREDIT_CARD", "EMAIL_ADDRESS", "IP_ADDRESS", "US_SSN"):
        assert patterns[entity] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert patterns["PHONE_NUMBER"]["recall"] >= 0.5
    assert names["PERSON"]["recall"] >= 0.7
