"""Perplexity: does a language model of well-edited text find this text likely? CCNet's head, middle and tail.

Wenzek et al. 2020, arXiv:1911.00359, section 3.4. A KenLM model per language scores the documents of that language,
each as a whole (the paper speaks of the perplexity of paragraphs). Cut-offs per language part them into head (likely),
middle and tail; CCNet writes the part down and rejects nothing (section 5.2), here it may. The cut-offs change the
decision only, and

    python -m pipelines.filters.perplexity --root DIR

reads terciles from the scores that are stored, as lines for a settings file. docs/language-models.md says how a
model is trained.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.errors import GristmillError, MissingDataError, SettingsError
from gristmill.core.layout import Layout
from gristmill.core.settings import scoring
from pipelines.decisions import Rule, with_column
from pipelines.filters.half_configured import require
from pipelines.filters.language_models import load_model, load_pieces, perplexity

FAMILY = "perplexity"
STAGE = "quality_filtered_documents"

COLUMNS: dict[str, pa.DataType] = {
    "perplexity": pa.float32(),
    "perplexity_language": pa.string(),  # whose model it is by
}

DERIVED: dict[str, pa.DataType] = {"perplexity_bucket": pa.string()}  # head, middle, tail; null without cut-offs

REASONS: dict[str, str] = {
    "perplexity.middle": "the language model finds the text less likely than the best third of its language",
    "perplexity.tail": "the language model finds the text unlikely: it is in the worst third of its language",
}

Bucket = Literal["head", "middle", "tail"]


@dataclass(frozen=True)
class PerplexitySettings:
    """The models, and which part of the documents they let through."""

    # Language (ISO 639) to a KenLM model, ARPA or binary; none: perplexity is not computed.
    perplexity_models: dict[str, str] = scoring({})
    # Language to the SentencePiece model that its KenLM model was trained with; none: words.
    perplexity_pieces: dict[str, str] = scoring({})
    # Language to two perplexities: head is below the first, tail from the second on. Without: no bucket, all kept.
    perplexity_cutoffs: dict[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    worst_perplexity_bucket: Bucket = "middle"  # that is kept; "tail": all are, and the bucket is only written down

    def __post_init__(self) -> None:
        for language, limits in self.perplexity_cutoffs.items():
            if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
                raise ValueError(f"perplexity_cutoffs of {language} are {list(limits)}; give two rising numbers")
        without = sorted(set(self.perplexity_pieces) - set(self.perplexity_models))
        if without:
            raise ValueError(f"perplexity_pieces has {without[0]}, for which perplexity_models has no model")


def files(settings: PerplexitySettings) -> tuple[str, ...]:
    """The models.

    Raises:
        SettingsError: there are cut-offs without a model of their language.
    """
    require(settings, "perplexity_models", "perplexity_cutoffs", "worst_perplexity_bucket")
    without = sorted(set(settings.perplexity_cutoffs) - set(settings.perplexity_models))
    if without:
        raise SettingsError(f"perplexity_cutoffs has {without[0]}, for which perplexity_models has no model; set one")
    return (*settings.perplexity_models.values(), *settings.perplexity_pieces.values())


def rules(settings: PerplexitySettings) -> tuple[Rule, ...]:
    """A rule per language with cut-offs, so that score and threshold are that language's perplexities."""
    found: list[Rule] = []
    for language, (head, tail) in sorted(settings.perplexity_cutoffs.items()):
        if settings.worst_perplexity_bucket != "tail":
            found.append(Rule("perplexity.tail", _column(language), ">=", tail))
        if settings.worst_perplexity_bucket == "head":
            found.append(Rule("perplexity.middle", _column(language), ">=", head))
    return tuple(found)


def score(batch: pa.RecordBatch, settings: PerplexitySettings) -> pa.RecordBatch:
    """Add COLUMNS; null where there is no model for a document's language, or no text.

    Raises:
        SettingsError: a model can't be read.
        EnvironmentProblemError: the binding is not installed.
    """
    values: list[float | None] = [None] * batch.num_rows
    languages: list[str | None] = [None] * batch.num_rows
    if settings.perplexity_models:
        models = {name: load_model(path, name) for name, path in settings.perplexity_models.items()}
        pieces = {name: load_pieces(path, name) for name, path in settings.perplexity_pieces.items()}
        rows = zip(batch.column("text").to_pylist(), batch.column("language").to_pylist(), strict=True)
        for row, (text, language) in enumerate(rows):
            if language in models:
                languages[row] = language
                values[row] = perplexity(models[language], text or "", pieces.get(language))
    batch = with_column(batch, "perplexity", values, pa.float32())
    return with_column(batch, "perplexity_language", languages, pa.string())


def derived(batch: pa.RecordBatch, settings: PerplexitySettings) -> dict[str, pa.Array]:
    """What follows from the signals and the cut-offs: DERIVED, and per language the column that its rules ask."""
    values: list[float | None] = batch.column("perplexity").to_pylist()
    languages: list[str | None] = batch.column("perplexity_language").to_pylist()
    buckets: list[str | None] = [None] * batch.num_rows
    columns: dict[str, list[float | None]] = {}
    # Compared in the column's precision, as the rules are.
    limits = {name: (_rounded(head), _rounded(tail)) for name, (head, tail) in settings.perplexity_cutoffs.items()}
    for language in limits:
        columns[_column(language)] = [None] * batch.num_rows
    for row, (value, language) in enumerate(zip(values, languages, strict=True)):
        if value is not None and language in limits:
            head, tail = limits[language]
            buckets[row] = "head" if value < head else "middle" if value < tail else "tail"
            columns[_column(language)][row] = value
    found = {name: pa.array(column, pa.float32()) for name, column in columns.items()}
    return found | {"perplexity_bucket": pa.array(buckets, pa.string())}


def _rounded(value: float) -> float:
    return float(np.float32(value))


def _column(language: str) -> str:
    return f"_perplexity_{language}"


def stored_perplexities(layout: Layout, corpora: tuple[str, ...] = ()) -> dict[str, list[float]]:
    """Language to the perplexities of all its documents, kept and rejected, from the stored signals."""
    found: dict[str, list[float]] = {}
    for partition in layout.committed(STAGE):
        if corpora and partition.corpus not in corpora:
            continue
        for path in layout.parts(layout.signals_dir(STAGE, partition)):
            with layout.fs.open(path, "rb") as file:
                table: Any = pq.read_table(file, columns=list(COLUMNS)).drop_null()
            for value, language in zip(*(table.column(name).to_pylist() for name in COLUMNS), strict=True):
                found.setdefault(language, []).append(value)
    return found


def cutoffs(values: Mapping[str, list[float]], head: float = 1 / 3, tail: float = 2 / 3) -> dict[str, list[float]]:
    """Language to the perplexities below which the shares `head` and `tail` of its documents lie."""
    return {
        language: [round(float(limit), 1) for limit in np.quantile(scores, [head, tail])]
        for language, scores in sorted(values.items())
    }


def main(arguments: list[str] | None = None) -> int:
    """Print cut-offs as lines for a settings file."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.filters.perplexity", description=main.__doc__)
    parser.add_argument("--root", help="GRISTMILL_HOME; else the environment's, else ./data")
    parser.add_argument("--corpus", action="append", default=[], help="only of this corpus; may be repeated")
    parser.add_argument("--head", type=float, default=1 / 3, help="share of the documents in the head")
    parser.add_argument("--tail", type=float, default=2 / 3, help="share of the documents in head and middle")
    options = parser.parse_args(arguments)
    try:
        if not 0 < options.head <= options.tail < 1:
            parser.error("--head and --tail are shares between 0 and 1, the first not above the second")
        values = stored_perplexities(Layout(options.root), tuple(options.corpus))
        if not values:
            raise MissingDataError(
                f"no perplexities are stored: set perplexity_models of {STAGE}, run it, and ask again"
            )
    except GristmillError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{STAGE}:\n  perplexity_cutoffs:")
    for language, limits in cutoffs(values, options.head, options.tail).items():
        print(f"    {language}: {limits}  # {len(values[language]):,} documents")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
