"""Decontamination: documents that hold pieces of the sets a model will be evaluated on.

Brown et al. 2020, arXiv:2005.14165, appendix C: 13 words in a row that an evaluation item has too. GPT-3 then cut the
words and 200 characters around them out, dropped documents that fell into more than 10 pieces, and ignored n-grams
found in more than 10 training documents: mostly quotations, idioms and licences. Here a document with a hit goes as a
whole, however common the words are; its quarantine row names the set, and min_contaminated_ngrams asks for more hits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.core.settings import scoring
from pipelines.decisions import Rule, with_column
from pipelines.filters.evaluation_sets import load_index
from pipelines.filters.half_configured import require

FAMILY = "decontamination"

COLUMNS: dict[str, pa.DataType] = {
    "contaminated_ngrams": pa.int32(),  # places in the text, over all evaluation sets
    "contaminated_by": pa.string(),  # the set with most of them
}

REASONS: dict[str, str] = {"contaminated": "the text holds a piece of an evaluation set, which the detail names"}

_PIECE_BYTES = 1 << 20  # of text that is split into words at a time: words take some 50 times their letters


@dataclass(frozen=True)
class DecontaminationSettings:
    """Which evaluation sets are looked for, and how much of them a document may hold."""

    # Name to path: JSON lines (.gz too), Parquet, or text with an item per line; none: nothing is looked for.
    evaluation_sets: dict[str, str] = scoring({})
    # Fields of JSON and Parquet items that are looked for, each by itself; empty: all that hold text.
    evaluation_fields: tuple[str, ...] = scoring(())
    # Words in a row that make a hit; arXiv:2005.14165, appendix C.
    evaluation_ngram_words: int = scoring(13)
    # An item of fewer words than that, but at least so many, is looked for as a whole: the shortest n-gram of
    # arXiv:2005.14165, appendix C. Shorter items are ignored.
    min_evaluation_words: int = scoring(8)
    # Places with a hit that make a document contaminated; arXiv:2005.14165 takes any.
    min_contaminated_ngrams: int = 1

    def __post_init__(self) -> None:
        for name in ("evaluation_ngram_words", "min_evaluation_words", "min_contaminated_ngrams"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")


def files(settings: DecontaminationSettings) -> tuple[str, ...]:
    """The evaluation sets.

    Raises:
        SettingsError: what is a hit is said without a set.
    """
    require(
        settings,
        "evaluation_sets",
        *("evaluation_fields", "evaluation_ngram_words", "min_evaluation_words", "min_contaminated_ngrams"),
    )
    return tuple(settings.evaluation_sets.values())


def rules(settings: DecontaminationSettings) -> tuple[Rule, ...]:
    """One rule, for all sets."""
    return (Rule("contaminated", "contaminated_ngrams", ">=", settings.min_contaminated_ngrams),)


def details(batch: pa.RecordBatch, settings: DecontaminationSettings) -> list[str | None]:
    """The evaluation set, where there is one."""
    return [name and f"evaluation set {name}" for name in batch.column("contaminated_by").to_pylist()]


def score(batch: pa.RecordBatch, settings: DecontaminationSettings) -> pa.RecordBatch:
    """Add COLUMNS; null where no evaluation set is configured, 0 and null where no hit is.

    Raises:
        SettingsError: an evaluation set can't be read, or has nothing to look for.
    """
    counts: list[int | None] = [None] * batch.num_rows
    sets: list[str | None] = [None] * batch.num_rows
    if settings.evaluation_sets:
        s = settings
        index = load_index(s.evaluation_sets, s.evaluation_fields, s.evaluation_ngram_words, s.min_evaluation_words)
        texts = batch.column("text")
        for start, rows in _pieces(texts):
            for row, found in enumerate(index.find(texts.slice(start, rows)), start):
                counts[row] = found.total()
                sets[row] = min(found, key=lambda name: (-found[name], name), default=None)
    batch = with_column(batch, "contaminated_ngrams", counts, pa.int32())
    return with_column(batch, "contaminated_by", sets, pa.string())


def _pieces(texts: pa.Array) -> Iterator[tuple[int, int]]:
    """First row and number of rows of runs that hold _PIECE_BYTES or a little more, a single long text at least."""
    lengths = cast(Any, pc).binary_length(texts).fill_null(0).to_pylist()
    start = size = 0
    for row, length in enumerate(lengths, 1):
        size += length
        if size >= _PIECE_BYTES or row == len(lengths):
            yield start, row - start
            start, size = row, 0
