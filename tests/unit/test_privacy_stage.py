"""Privacy: placeholders, counts, and what is rejected."""

import random
from dataclasses import replace as with_changes
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies

from assets.launch import check_settings
from gristmill.core.errors import EnvironmentProblemError, SettingsError
from pipelines.privacy import redaction
from pipelines.privacy.anonymise import anonymised, placeholder
from pipelines.privacy.redaction import REASONS, Settings
from pipelines.privacy.spans import Span, resolve

TEXTS = {"mostly_personal_data": "jane.doe@example.org john.roe@example.org jim.poe@example.org"}
EXAMPLES = {
    "EMAIL_ADDRESS": "jane.doe@example.org",
    "PHONE_NUMBER": "+44 20 7946 0958",
    "IP_ADDRESS": "2001:db8::ff00:42:8329",
    "CREDIT_CARD": "4111 1111 1111 1111",
    "IBAN_CODE": "GB82 WEST 1234 5698 7654 32",
    "US_SSN": "219-09-9999",
    "CRYPTO": "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "MAC_ADDRESS": "00:1A:2B:3C:4D:5E",
}


SCHEMA = pa.schema(
    [
        ("text", pa.large_string()),
        ("title", pa.string()),
        ("url", pa.string()),
        ("canonical_url", pa.string()),
    ]
)


def batch_of(*texts: str | None) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.large_string())})


@pytest.mark.parametrize("reason", REASONS)
def test_a_text_for_every_reason(reason: str) -> None:
    verdict = redaction.decide(redaction.score(batch_of(TEXTS[reason]), Settings()), Settings()).to_pylist()[0]
    assert verdict["reason"] == reason
    assert verdict["score"] > verdict["threshold"] == 0.5
    assert verdict["detail"] is None


@pytest.mark.parametrize("entity", EXAMPLES)
def test_every_entity(entity: str) -> None:
    scored = redaction.score(batch_of(f"The page says that it is {EXAMPLES[entity]} and nothing else."), Settings())
    row = scored.to_pylist()[0]
    assert row["text"] == f"The page says that it is <{entity}> and nothing else."
    counts = {name: value for name, value in row.items() if name.startswith("pii_") and name != "pii_share"}
    assert {name for name, value in counts.items() if value} == {f"pii_{entity.lower()}", "pii_total"}
    assert redaction.decide(scored, Settings()).column("reason").to_pylist() == [None]


def test_counts_add_up_in_the_tally() -> None:
    text = f"Ask {EXAMPLES['EMAIL_ADDRESS']} or bob@example.com, or call {EXAMPLES['PHONE_NUMBER']} if it is urgent."
    scored = redaction.score(batch_of(text, "Nothing here, in 1648 or on pages 211-227.", None), Settings())
    assert scored.column("text").to_pylist()[1:] == ["Nothing here, in 1648 or on pages 211-227.", None]
    tally = redaction.tally(scored)
    assert (tally["pii_email_address"], tally["pii_phone_number"], tally["pii_total"]) == (2, 1, 3)
    assert tally["documents_with_pii"] == 1
    assert scored.schema.field("pii_total").type == pa.int32()


def test_only_what_is_asked_for() -> None:
    chosen = Settings(entities=("EMAIL_ADDRESS",))
    scored = redaction.score(batch_of("bob@example.com at 10.1.2.3"), chosen)
    assert scored.column("text").to_pylist() == ["<EMAIL_ADDRESS> at 10.1.2.3"]
    assert scored.schema.names == ["text", "pii_email_address", "pii_total", "pii_share"]


def test_every_column_that_speaks_of_a_page_is_cleaned() -> None:
    rows = {
        "text": [None, "Hello."],
        "title": ["Mail to bob@corp.example.net", None],
        "url": ["https://bob:pw@host.org/a?id=7&token=abc#x", None],
        "canonical_url": ["https://host.org/unsubscribe/bob%40corp.org?page=2", None],
    }
    row = redaction.score(pa.record_batch(rows, schema=SCHEMA), Settings()).to_pylist()[0]
    assert row["title"] == "Mail to <EMAIL_ADDRESS>"
    assert row["url"] == "https://host.org/a?id=7&token=<REDACTED>#x"
    assert row["canonical_url"] == "https://host.org/unsubscribe/<EMAIL_ADDRESS>?page=2"
    assert (row["text"], row["pii_total"]) == (None, 0)


def test_overlaps_leave_no_piece_and_no_order() -> None:
    spans = [Span(0, 10, "PHONE_NUMBER", 0.4), Span(5, 15, "IP_ADDRESS", 0.6), Span(14, 20, "US_SSN", 0.5)]
    spans += [Span(30, 35, "CREDIT_CARD", 1.0), Span(30, 35, "IBAN_CODE", 1.0)]
    expected = [Span(0, 20, "IP_ADDRESS", 0.6), Span(30, 35, "CREDIT_CARD", 1.0)]
    generator = random.Random(5)
    for _ in range(20):
        generator.shuffle(spans)
        assert resolve(spans) == expected
    assert anonymised("0123456789" * 4, expected, placeholder) == "<IP_ADDRESS>0123456789<CREDIT_CARD>56789"


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="two-letter codes"):
        Settings(phone_regions=("Germany",))
    with pytest.raises(ValueError, match="score_threshold"):
        Settings(score_threshold=4)
    with pytest.raises(ValueError, match="max_personal_share"):
        Settings(max_personal_share=-1)
    with pytest.raises(ValueError, match="secret_variable"):
        Settings(secret_variable="")
    assert with_changes(Settings(), entities=()).entities == ()


def test_no_rows() -> None:
    scored = redaction.score(batch_of(), Settings())
    assert scored.schema == redaction.score(batch_of("x"), Settings()).schema
    assert redaction.decide(scored, Settings()).num_rows == 0


@settings(max_examples=60, deadline=None)
@given(
    strategies.lists(
        strategies.one_of(strategies.none(), strategies.text(max_size=200), strategies.text("0123456789 -+().:@ax")),
        max_size=4,
    )
)
def test_any_text_goes_through(texts: list[str | None]) -> None:
    scored = redaction.score(batch_of(*texts), Settings())
    assert scored.num_rows == redaction.decide(scored, Settings()).num_rows == len(texts)
    assert all(0 <= share <= 1 for share in scored.column("pii_share").to_pylist())


def test_a_secret_in_the_place_of_its_variables_name_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="secret_variable") as caught:
        Settings(mode="pseudonym", secret_variable="3f9a0c5b7d1e8a2f4c6b9d0e7a1f5c8b")
    assert "3f9a" not in str(caught.value)


def test_a_missing_secret_stops_a_run_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRISTMILL_PSEUDONYM_SECRET", raising=False)
    file = tmp_path / "settings.yaml"
    file.write_text("clean_documents: {mode: pseudonym}\npretrained_model: {steps: 8}\n")
    check_settings(str(file), str(tmp_path), {"extracted_documents", "pretrained_model"})
    with pytest.raises(SettingsError, match="GRISTMILL_PSEUDONYM_SECRET"):
        check_settings(str(file), str(tmp_path), {"extracted_documents", "clean_documents"})


def test_names_without_spacy_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblemError, match=r"gristmill\[names\]"):
        redaction.facts(Settings(named_entities=("PERSON",)))
