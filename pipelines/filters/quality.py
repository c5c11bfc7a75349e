"""quality_filtered_documents: documents that read like prose somebody wrote to be read.

Three published families of rules, asked in FineWeb's order: Gopher's repetition, Gopher's quality,
FineWeb's own. Every signal is computed for every document, whatever failed before, and stored as a
column, so that a limit can be decided again without reading a text.
"""

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from pipelines.decisions import Rule, all_failures, first_failure, with_column
from pipelines.filters import fineweb, gopher_quality, gopher_repetition
from pipelines.filters.fineweb import FineWebSettings
from pipelines.filters.gopher_quality import GopherQualitySettings
from pipelines.filters.gopher_repetition import GopherRepetitionSettings
from pipelines.filters.words import word_table

LIBRARIES = ("spacy",)
Family = Literal["gopher_repetition", "gopher_quality", "fineweb"]
_FAMILIES: dict[Family, Any] = {
    "gopher_repetition": gopher_repetition,
    "gopher_quality": gopher_quality,
    "fineweb": fineweb,
}
COLUMNS: dict[str, pa.DataType] = gopher_repetition.COLUMNS | gopher_quality.COLUMNS | fineweb.COLUMNS
REASONS: dict[str, str] = gopher_repetition.REASONS | gopher_quality.REASONS | fineweb.REASONS


@dataclass(frozen=True)
class Settings(FineWebSettings, GopherQualitySettings, GopherRepetitionSettings):
    """Which families decide, and the limits of each; the limits are cited where they are defined."""

    families: tuple[Family, ...] = ("gopher_repetition", "gopher_quality", "fineweb")

    def __post_init__(self) -> None:
        unknown = [f for f in self.families if f not in _FAMILIES]
        if unknown:
            raise ValueError(f"families has {unknown[0]!r}; choose among {', '.join(_FAMILIES)}")


def rules(settings: Settings, families: tuple[Family, ...]) -> tuple[Rule, ...]:
    """The rules of `families`, in the order they are asked, whatever order the setting names them in."""
    return tuple(rule for name, family in _FAMILIES.items() if name in families for rule in family.rules(settings))


def score(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Add COLUMNS, and `failed_rules`: all rules a document fails, those of families switched off too."""
    rows = [_signals(text or "", settings) for text in batch.column("text").to_pylist()]
    for name, type_ in COLUMNS.items():
        batch = with_column(batch, name, [row[name] for row in rows], type_)
    return with_column(batch, "failed_rules", all_failures(batch, rules(settings, tuple(_FAMILIES))))


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Reject by the first rule failed; the detail names the others. Compares columns and nothing else."""
    asked = rules(settings, settings.families)
    verdict = first_failure(batch, asked)
    details = [
        f"also fails {', '.join(failed[1:])}" if len(failed) > 1 else None
        for failed in all_failures(batch, asked).to_pylist()
    ]
    return with_column(verdict, "detail", details, pa.string())


def _signals(text: str, settings: Settings) -> dict[str, float | None]:
    words = word_table().analyse(text)
    return {
        **gopher_repetition.signals(text, words),
        **gopher_quality.signals(text, words, settings),
        **fineweb.signals(text, words, settings),
    }
