"""Classifier: how much a text is like the corpora that somebody called good. DCLM's fastText score.

Li et al. 2024, arXiv:2406.11794, section 4.4: a fastText classifier on words and pairs of words tells reference data
from the crawl; the best tenth of the crawl by its score is kept. The asset quality_classifier trains one, and leaves
beside it the percentiles of its scores on the bad corpora, which is where a share to keep becomes a threshold.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.core.errors import EnvironmentProblemError, SettingsError
from gristmill.core.settings import scoring
from pipelines.decisions import Rule, with_column
from pipelines.filters.half_configured import require

FAMILY = "classifier"

COLUMNS: dict[str, pa.DataType] = {"classifier_score": pa.float32()}  # probability of the label `good`, 0 to 1

REASONS: dict[str, str] = {"classifier.low_score": "the classifier finds the text unlike the good corpora"}

LABEL, GOOD, BAD = "__label__", "good", "bad"
_END = "</s>"  # where fastText stops reading a line
PERCENTILES_NAME = "percentiles.json"
MODEL_NAME = "model.bin"


@dataclass(frozen=True)
class ClassifierSettings:
    """The model, and how good a document must be."""

    # A fastText classifier: <root>/quality_classifier/<version>/model.bin, or another's; empty: no score.
    classifier_path: str = scoring("")
    classifier_label: str = scoring("good")  # of wanted text; DCLM's published models call it `hq`
    classifier_threshold: float = 0.0  # a score must reach it
    # Instead: the share of the bad corpora to keep, read from the percentiles beside the model; 0: the threshold
    # above. 0.1 in arXiv:2406.11794, section 4.4.
    classifier_keep_top: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.classifier_threshold <= 1:
            raise ValueError(f"classifier_threshold is {self.classifier_threshold}; give a number from 0 to 1")
        if not 0 <= self.classifier_keep_top < 1:
            raise ValueError(f"classifier_keep_top is {self.classifier_keep_top}; give a share below 1, or 0")


def files(settings: ClassifierSettings) -> tuple[str, ...]:
    """The model, and its percentiles where they lie beside it.

    Raises:
        SettingsError: there is a limit without a model.
    """
    require(settings, "classifier_path", "classifier_threshold", "classifier_keep_top", "classifier_label")
    if not settings.classifier_path:
        return ()
    beside = _percentiles_path(settings.classifier_path)
    return (settings.classifier_path, str(beside)) if beside.is_file() else (settings.classifier_path,)


def rules(settings: ClassifierSettings) -> tuple[Rule, ...]:
    """One rule, where a model is given and a limit.

    Raises:
        SettingsError: a share to keep is given, and the model has no percentiles.
    """
    s = settings
    if not s.classifier_path:
        return ()
    limit = threshold_of(s.classifier_path, s.classifier_keep_top) if s.classifier_keep_top else s.classifier_threshold
    return (Rule("classifier.low_score", "classifier_score", "<", limit),)


def score(batch: pa.RecordBatch, settings: ClassifierSettings) -> pa.RecordBatch:
    """Add COLUMNS; null where no model is configured or a text has no word.

    Raises:
        SettingsError: the model can't be read, or is none of good and bad.
    """
    scores: list[float | None] = [None] * batch.num_rows
    if settings.classifier_path:
        model = load_model(settings.classifier_path, settings.classifier_label)
        texts = [cleaned(text or "") for text in batch.column("text").to_pylist()]
        scores = good_scores(model, texts, settings.classifier_label)
    return with_column(batch, "classifier_score", scores, pa.float32())


def cleaned(text: str) -> str:
    """`text` as the model sees it, in training and in scoring: one line, lower case, none of fastText's own signs."""
    return " ".join(text.lower().replace(LABEL, " ").replace(_END, " ").split())


def good_scores(model: Any, texts: list[str], label: str = GOOD) -> list[float | None]:
    """The probability of the label of wanted text for each cleaned text; None for an empty one."""
    found: list[float | None] = [None] * len(texts)
    rows = [row for row, text in enumerate(texts) if text]
    if rows:
        labels, values = model.predict([texts[row] for row in rows], k=len(model.get_labels()))
        for row, names, probabilities in zip(rows, labels, values, strict=True):
            by_name = dict(zip(names, map(float, probabilities), strict=True))
            found[row] = min(by_name.get(LABEL + label, 0.0), 1.0)  # fastText sums in float32, just above 1 at times
    return found


def load_model(path: str, label: str = GOOD) -> Any:
    """The fastText model, once per process and state of the file.

    Raises:
        SettingsError: there is none, or it does not know the label.
    """
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise SettingsError(f"classifier_path is {path}: {error.strerror}; {_WAY_OUT}") from None
    return _load_model(path, label, stat.st_size, stat.st_mtime_ns)


_WAY_OUT = "give the model.bin of a version below quality_classifier, or leave the setting out"


@lru_cache(maxsize=2)
def _load_model(path: str, label: str, size: int, changed: int) -> Any:
    try:
        import fasttext
    except ImportError:
        raise EnvironmentProblemError("fastText is not installed: run `pip install fasttext-community`") from None
    try:
        model: Any = fasttext.load_model(path)
        labels = set(model.get_labels())
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        raise SettingsError(f"classifier_path is {path}, which is not a fastText model ({error}); {_WAY_OUT}") from None
    if LABEL + label not in labels or len(labels) < 2:
        known = ", ".join(sorted(name.removeprefix(LABEL) for name in labels)[:10])
        raise SettingsError(
            f"classifier_path is {path}, a model of the labels {known}: give one of them as classifier_label, or "
            f"{_WAY_OUT}"
        )
    return model


def percentiles(scores: list[float]) -> list[float]:
    """The scores below which 0, 0.1 … 100 per cent of `scores` lie: 1,001 numbers."""
    return [round(float(value), 8) for value in np.quantile(scores, np.linspace(0, 1, 1001))]


def threshold_of(path: str, keep_top: float) -> float:
    """The score that the share `keep_top` of the bad corpora reaches, by the percentiles beside the model.

    Raises:
        SettingsError: they are not there or damaged.
    """
    beside = _percentiles_path(path)
    try:
        stat = beside.stat()
        known = _load_percentiles(beside, stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "damaged"
        raise SettingsError(
            f"classifier_keep_top needs {beside} ({reason}): "
            "give a classifier_threshold instead, or a model that quality_classifier made"
        ) from None
    return float(np.interp(1 - keep_top, np.linspace(0, 1, len(known)), known))


@lru_cache(maxsize=8)
def _load_percentiles(path: Path, size: int, changed: int) -> list[float]:
    known = [float(value) for value in json.loads(path.read_text(encoding="utf-8"))["bad_scores"]]
    if len(known) < 2 or known != sorted(known):
        raise ValueError("not rising")
    return known


def _percentiles_path(path: str) -> Path:
    return Path(path).with_name(PERCENTILES_NAME)
