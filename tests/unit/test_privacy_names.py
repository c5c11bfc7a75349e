"""Privacy: names by spaCy, as Presidio's SpacyRecognizer reads the whole pipeline; and what is asked of a set-up."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.core.errors import EnvironmentProblemError
from pipelines.hidden_imports import DEEP_LEARNING, hidden
from pipelines.privacy import names, redaction
from pipelines.privacy.names import find_names
from pipelines.privacy.redaction import Settings

NAMES = ("LOCATION", "ORGANIZATION", "PERSON")
PIPELINE = Settings().ner_pipeline
TEXTS = [
    "Angela Merkel met Tim Cook of Apple at the Golden Gate Bridge in San Francisco on Monday.",
    "The River Rhine runs through Basel. Siemens AG was founded by Werner von Siemens in Berlin.",
    "",
    "ALL CAPS JOHN SMITH\n\nJane Doe\n\tMicrosoft  Corp.",
    "Nothing here but words and 42 numbers.",
]


@pytest.fixture(scope="module")
def presidio() -> Any:
    """Presidio's own engine with the same pipeline, every part of it."""
    with hidden(*DEEP_LEARNING):
        from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer
    mapping = {"PERSON": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "FAC": "LOCATION", "ORG": "ORGANIZATION"}
    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": PIPELINE}],
        ner_model_configuration=NerModelConfiguration(model_to_presidio_entity_mapping=mapping),
    )
    engine.load()
    recognizer = SpacyRecognizer(supported_entities=list(NAMES))

    def find(text: str) -> list[tuple[int, int, str, float]]:
        found: list[Any] = recognizer.analyze(text, list(NAMES), engine.process_text(text, "en"))
        return sorted((r.start, r.end, r.entity_type, r.score) for r in found)

    return find


def test_as_presidios_spacy_recognizer(presidio: Any) -> None:
    found = find_names(TEXTS, NAMES, PIPELINE)
    assert [[tuple(span) for span in spans] for spans in found] == [presidio(text) for text in TEXTS]
    assert {span.entity for spans in found for span in spans} == set(NAMES)
    only = find_names(TEXTS, ("PERSON",), PIPELINE)
    assert only == [[span for span in spans if span.entity == "PERSON"] for spans in found]


@pytest.mark.shared
def test_as_presidios_spacy_recognizer_on_generated_sentences(presidio: Any, shared_data: Path) -> None:
    from benchmarks.pii_quality import read

    texts = [sentence.text for sentence in read(shared_data / "pii" / "generated_small.json")]
    found = find_names(texts, NAMES, PIPELINE)
    assert [[tuple(span) for span in spans] for spans in found] == [presidio(text) for text in texts]


def test_only_documents_in_a_language_of_the_pipeline_are_read_for_names() -> None:
    settings = Settings(named_entities=("PERSON", "LOCATION"), entities=("EMAIL_ADDRESS",))
    text = "Angela Merkel (angela@corp.org) lives in Berlin."
    batch = pa.record_batch(
        {"text": [text] * 3, "title": ["Angela Merkel", None, None], "language": ["en", "de", None]}
    )
    scored = redaction.score(batch, settings)
    rows = scored.to_pylist()
    assert rows[0]["text"] == "<PERSON> (<EMAIL_ADDRESS>) lives in <LOCATION>."
    assert rows[0]["title"] == "<PERSON>"
    assert [row["text"] for row in rows[1:]] == ["Angela Merkel (<EMAIL_ADDRESS>) lives in Berlin."] * 2
    assert [row["is_read_for_names"] for row in rows] == [True, False, False]
    assert [row["pii_person"] for row in rows] == [1, 0, 0]
    tally = redaction.tally(scored)
    assert (tally["pii_location"], tally["pii_total"], tally["documents_not_read_for_names"]) == (1, 5, 2)
    assert scored.schema == redaction.score(batch.slice(0, 0), settings).schema


def test_the_same_name_gets_the_same_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_PSEUDONYM_SECRET", "3f9a0c5b7d1e8a2f4c6b9d0e7a1f5c8b")
    texts = ["Yesterday Angela Merkel spoke in Berlin.", "We then met Angela Merkel in Paris."]
    batch = pa.record_batch({"text": texts, "language": ["en"] * 2})
    for mode in ("pseudonym", "fake"):
        made = redaction.score(batch, Settings(mode=mode, named_entities=("PERSON",))).column("text").to_pylist()
        one, other = made[0][len("Yesterday ") : -len(" spoke in Berlin.")], made[1][len("We then met ") :]
        assert other == f"{one} in Paris."
        assert "Merkel" not in one


def test_a_long_text_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "Yesterday Angela Merkel spoke in Berlin. "
    monkeypatch.setattr(names, "MAX_PIECE", 1_000)
    found = find_names([sentence * 60], ("PERSON",), PIPELINE)[0]
    assert [span.start for span in found] == [10 + i * len(sentence) for i in range(60)]


@pytest.mark.parametrize(
    ("pipeline", "said"), [("no_such_pipeline", "does not find"), ("BLANK", "no entity recognizer")]
)
def test_a_pipeline_that_will_not_do_is_named(tmp_path: Path, pipeline: str, said: str) -> None:
    if pipeline == "BLANK":
        with hidden(*DEEP_LEARNING):
            import spacy
        pipeline = str(tmp_path / "blank")
        spacy.blank("en").to_disk(pipeline)
    with pytest.raises(EnvironmentProblemError, match=said) as caught:
        find_names(["Angela Merkel"], ("PERSON",), pipeline)
    assert "ner_pipeline" in str(caught.value)


def test_facts_name_the_release_of_the_pipeline() -> None:
    assert redaction.facts(Settings(named_entities=("PERSON",))) == {
        "spacy": names.version("spacy"),
        PIPELINE: "3.8.0",
    }
    assert names.version("no-such-package") == "local"
