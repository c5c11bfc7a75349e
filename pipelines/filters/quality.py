"""quality_filtered_documents: documents that read like prose somebody wrote to be read.

A list of published families of rules, asked in the order of FAMILIES. Every signal is computed for every
document, whatever failed before, and stored as a column, so that a limit can be decided again without
reading a text. A family is one module of this folder; it is added by its row in FAMILIES and its settings
class among the bases of Settings, and holds:
    FAMILY            its name, the prefix of its reasons
    COLUMNS           signal column -> Arrow type; always there, null where there is nothing to say
    REASONS           reason -> one line that says it to a person
    a settings class  frozen dataclass; its field names are unique in the whole stage
    rules(settings) -> rules, in the order they are asked
    score(batch, settings) -> batch with its COLUMNS, of the text as it was extracted
    derived(batch, settings) -> columns only where something follows from signals and limits together: its rules may
                                        ask these columns, and those not in "_" go with the kept rows
    files(settings) -> paths            only where its settings name files
    details(batch, settings) -> texts   only where a rejected row needs more said than its numbers (null: no more)
The four families that look at words and lines have no score: they share one look at each text (see `_look`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.decisions import Rule, all_failures, first_failure, with_column
from pipelines.filters import (
    c4,
    classifier,
    decontamination,
    fineweb,
    gopher_quality,
    gopher_repetition,
    keywords,
    perplexity,
)
from pipelines.filters.c4 import C4Settings
from pipelines.filters.classifier import ClassifierSettings
from pipelines.filters.decontamination import DecontaminationSettings
from pipelines.filters.fineweb import FineWebSettings
from pipelines.filters.gopher_quality import GopherQualitySettings
from pipelines.filters.gopher_repetition import GopherRepetitionSettings
from pipelines.filters.keywords import KeywordSettings
from pipelines.filters.perplexity import PerplexitySettings
from pipelines.filters.words import DocumentWords, WordTable, word_table

LIBRARIES = ("spacy", "fasttext-community", "kenlm", "sentencepiece")
READS = ("text", "language")  # what any family's score may look at
FAMILIES: dict[str, ModuleType] = {
    family.FAMILY: family
    for family in (
        gopher_repetition,
        gopher_quality,
        c4,
        fineweb,
        perplexity,
        classifier,
        keywords,
        decontamination,
    )
}
ChosenFamily = Literal["gopher_repetition", "gopher_quality", "c4", "fineweb"]
"""Families that decide only where the setting `families` names them; any other decides once it is configured."""

_EDITED = "_edited_text"
_LIST = pa.list_(pa.string())
COLUMNS: dict[str, pa.DataType] = {name: type_ for f in FAMILIES.values() for name, type_ in f.COLUMNS.items()}
REASONS: dict[str, str] = {reason: line for f in FAMILIES.values() for reason, line in f.REASONS.items()}
_CHOSEN = ("gopher_repetition", "gopher_quality", "c4", "fineweb")


@dataclass(frozen=True)
class Settings(
    DecontaminationSettings,
    KeywordSettings,
    ClassifierSettings,
    PerplexitySettings,
    FineWebSettings,
    C4Settings,
    GopherQualitySettings,
    GopherRepetitionSettings,
):
    """Which families decide, and the limits of each; the limits are cited where they are defined."""

    families: tuple[ChosenFamily, ...] = ("gopher_repetition", "gopher_quality", "c4", "fineweb")

    def __post_init__(self) -> None:
        unknown = [f for f in self.families if f not in _CHOSEN]
        if unknown:
            raise ValueError(f"families has {unknown[0]!r}; choose among {', '.join(_CHOSEN)}")
        for base in type(self).__mro__[1:]:  # a family checks its own fields
            check = vars(base).get("__post_init__")
            if check is not None:
                check(self)


def files(settings: Settings) -> tuple[str, ...]:
    """The files that the families' settings name."""
    return tuple(path for f in FAMILIES.values() if hasattr(f, "files") for path in f.files(settings))


def rules(settings: Settings, families: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of `families`, in the order they are asked, whatever order they are named in."""
    asked: list[Rule] = []
    for name, family in FAMILIES.items():
        if family is fineweb and name in families:  # FineWeb asked its rules of what C4's left
            asked += fineweb.rules(settings, is_edited=is_editing(settings))
        elif name in families:
            asked += family.rules(settings)
    return tuple(asked)


def is_editing(settings: Settings) -> bool:
    """Whether C4's line rules change the texts that are kept: they are to, and C4 is one of those who decide."""
    return settings.is_editing_lines and c4.FAMILY in settings.families


def score(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Add COLUMNS: the signals of every family, of those that do not decide too.

    The scratch column `_edited_text` has what C4's line rules leave of a text, null where that is all of it.
    """
    original = batch.column("text")
    looks = list(_looks(original, settings))
    edited = pa.array([look[_EDITED] for look in looks], original.type)
    for family in FAMILIES.values():
        if hasattr(family, "score"):
            batch = family.score(batch, settings)
        else:
            for name, type_ in family.COLUMNS.items():
                batch = with_column(batch, name, [look[name] for look in looks], type_)
    return with_column(batch, _EDITED, edited)


def edit(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Replace each text by what C4's line rules leave of it, where C4 decides and is to edit."""
    if not is_editing(settings):
        return batch
    original = batch.column("text")
    if _EDITED in batch.schema.names:
        edited = batch.column(_EDITED)
    else:  # decided again from stored signals
        edited = pa.array([c4.edited_text(text or "", settings) for text in original.to_pylist()], original.type)
    return with_column(batch, "text", pc.coalesce(edited, original))


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Reject by the first rule failed; the detail says what the family adds and names the other rules failed.

    `failed_rules`, which goes with the kept rows, has all rules that a document fails, those of families that do not
    decide too.
    """
    derived: dict[str, pa.Array] = {}
    for family in FAMILIES.values():
        if hasattr(family, "derived"):
            derived |= family.derived(batch, settings)
    for name, column in derived.items():
        batch = with_column(batch, name, column)
    asked = [name for name in FAMILIES if name in settings.families or name not in _CHOSEN]
    verdict = first_failure(batch, rules(settings, asked))
    reasons: list[str | None] = verdict.column("reason").to_pylist()
    details = [
        [f"also fails {', '.join(r for r in failed if r != reason)}"] if len(failed) > 1 else []
        for reason, failed in zip(reasons, _failed_rules(batch, settings, asked), strict=True)
    ]
    for family in FAMILIES.values():
        if hasattr(family, "details"):
            for row, detail in enumerate(family.details(batch, settings)):
                if detail is not None and reasons[row] in family.REASONS:
                    details[row].insert(0, detail)
    verdict = with_column(verdict, "detail", ["; ".join(d) or None for d in details], pa.string())
    for name, column in derived.items():
        if not name.startswith("_"):
            verdict = with_column(verdict, name, column)
    return with_column(verdict, "failed_rules", _failed_rules(batch, settings, tuple(FAMILIES)), _LIST)


def _failed_rules(batch: pa.RecordBatch, settings: Settings, families: Sequence[str]) -> list[list[str]]:
    failed: list[list[str]] = all_failures(batch, rules(settings, families)).to_pylist()
    return [list(dict.fromkeys(row)) for row in failed]  # two rules may give the same reason


def _looks(texts: Any, settings: Settings) -> Iterator[dict[str, Any]]:
    """For each text the columns of the four families that look at words and lines, and the edited text."""
    table = word_table(settings.stop_words)
    strings = iter(texts.to_pylist())
    for group in table.analyse(texts.cast(pa.large_string())):
        for words, runs in zip(group.documents, gopher_repetition.runs(group), strict=True):
            yield _look(next(strings) or "", words, runs, table, settings)


def _look(
    text: str, words: DocumentWords, runs: Mapping[str, int | None], table: WordTable, settings: Settings
) -> dict[str, Any]:
    lines = [line.strip() for line in text.splitlines()]
    edited = c4.edit_lines(text, lines, words, table, settings)
    return {
        **gopher_repetition.signals(text, runs),
        **gopher_quality.signals(text, lines, words, settings),
        **edited.counts,
        **fineweb.signals(text, words.count, edited.text, edited.words, settings),
        _EDITED: None if edited.text == text else edited.text,
    }
