"""A batch through a map stage's functions: score or recall, decide, edit; what raises costs one row, not the batch.

A row on which `score`, `decide` or `edit` raises by itself is rejected as `broken_row`; its neighbours go their way.
What is the machine's trouble or the user's to mend is raised: no row is at fault.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import numpy as np
import pyarrow as pa

from gristmill.core.errors import GristmillError
from pipelines.decisions import verdicts, with_column
from pipelines.schema import VERDICT_SCHEMA
from pipelines.signals import IDENTITY, KEYS, Memory, has_signals, joined, scored_from, signals_of, source_hashes

BROKEN_REASON = "broken_row"
_NOT_THE_ROWS = (MemoryError, OSError, GristmillError)


@dataclass(frozen=True)
class Scored:
    """Rows with their signals."""

    rows: pa.RecordBatch  # as from `score`; scratch columns only where nothing was recalled
    broken: Any  # text per row: the error that `score` raised on it, null for none
    signals: pa.RecordBatch | None = None  # to be stored


class Scorer:
    """`score` of one stage over the batches of one part, with the memory of a run before where there is one."""

    def __init__(self, module: ModuleType, settings: Any, side: tuple[Any, ...], memory: Memory | None) -> None:
        self._module, self._settings, self._side, self._memory = module, settings, side, memory
        self._is_storing = has_signals(module)
        self.rows_scored = 0

    def score(self, batch: pa.RecordBatch) -> Iterator[Scored]:
        """The batch, whole or in pieces, in its order."""
        if not self._is_storing:
            yield from self._measured(batch)
            return
        hashes: Any = source_hashes(self._module, batch)
        if self._memory is None:
            yield from self._measured(batch, hashes)
            return
        known = self._memory.find(batch, hashes)
        if known.null_count == batch.num_rows != 0:
            yield from self._measured(batch, hashes)
            return
        signals = self._memory.recall(known.drop_null())
        if known.null_count:
            is_new = known.is_null()
            measured = self._measured(batch.filter(is_new), hashes.filter(is_new))
            fresh = [scored.signals for scored in measured if scored.signals is not None]
            # Row i of the batch is in the recalled rows, or after them in the new ones.
            order = np.empty(batch.num_rows, np.int64)
            new = is_new.to_numpy(zero_copy_only=False)
            order[~new] = np.arange(signals.num_rows)
            order[new] = np.arange(signals.num_rows, batch.num_rows)
            signals = joined([signals, *fresh], pa.array(order))
        for name in IDENTITY:  # may have changed where `score` does not read it
            signals = with_column(signals, name, batch.column(name).cast(KEYS.field(name).type))
        yield Scored(scored_from(batch, signals), signals.column("broken_row"), signals)

    def _measured(self, batch: pa.RecordBatch, hashes: Any = None) -> Iterator[Scored]:
        self.rows_scored += batch.num_rows
        try:
            rows = self._module.score(batch, self._settings, *self._side)
        except _NOT_THE_ROWS:
            raise
        except Exception:
            if batch.num_rows == 0:
                raise
            # The scored schema, so that every slice fits the part's file, comes from a batch of no rows.
            empty = self._module.score(batch.slice(0, 0), self._settings, *self._side)
            for row in range(batch.num_rows):
                single = batch.slice(row, 1)
                hash_ = None if hashes is None else hashes.slice(row, 1)
                yield self._scored(single, *self._single(single, empty.schema), hash_)
            return
        yield self._scored(batch, rows, None, hashes)

    def _single(self, row: pa.RecordBatch, schema: pa.Schema) -> tuple[pa.RecordBatch, str | None]:
        try:
            return self._module.score(row, self._settings, *self._side), None
        except _NOT_THE_ROWS:
            raise
        except Exception as error:
            return _null_row(row, schema), type(error).__name__

    def _scored(self, source: pa.RecordBatch, rows: pa.RecordBatch, broken: str | None, hashes: Any) -> Scored:
        errors = pa.array([broken] * rows.num_rows, pa.string())
        if not self._is_storing:
            return Scored(rows, errors)
        return Scored(rows, errors, signals_of(self._module, source, rows, errors, hashes))


def _null_row(row: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`row` as if scored, without a signal: it must fit the file, whose kept part it never reaches."""
    columns = [
        row.column(f.name)
        if f.name in row.schema.names and row.schema.field(f.name).type == f.type
        else pa.nulls(1, f.type)
        for f in schema
    ]
    return pa.record_batch(columns, schema=schema)


def judge(module: ModuleType, scored: Scored, settings: Any) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The rows to keep, edited and without scratch columns, and the verdict on every row."""
    verdict = decide(module, scored, settings)
    rows = scored.rows
    for name in verdict.schema.names:
        if name not in VERDICT_SCHEMA.names:  # what follows from the settings and belongs to the document
            rows = with_column(rows, name, verdict.column(name))
    kept, verdict = _edited(module, rows, verdict, settings)
    return kept.select([name for name in kept.schema.names if not name.startswith("_")]), verdict


def decide(module: ModuleType, scored: Scored, settings: Any) -> pa.RecordBatch:
    """The verdict of `decide` on every row, `broken_row` where `score` or `decide` raised."""
    if scored.broken.null_count == len(scored.broken):
        return _decided(module, scored.rows, settings)
    decided = _decided(module, scored.rows.filter(scored.broken.is_null()), settings)
    place = iter(range(decided.num_rows))
    places = [next(place) if error is None else None for error in scored.broken.to_pylist()]
    return _broken(cast(Any, decided).take(pa.array(places, pa.int64())), scored.broken)


def _decided(module: ModuleType, rows: pa.RecordBatch, settings: Any) -> pa.RecordBatch:
    try:
        return module.decide(rows, settings)
    except _NOT_THE_ROWS:
        raise
    except Exception:
        if rows.num_rows == 0:
            raise
        empty = module.decide(rows.slice(0, 0), settings)
        singles, errors = list[pa.RecordBatch](), list[str | None]()
        for row in range(rows.num_rows):
            try:
                singles.append(module.decide(rows.slice(row, 1), settings))
                errors.append(None)
            except _NOT_THE_ROWS:
                raise
            except Exception as error:
                singles.append(pa.record_batch([pa.nulls(1, f.type) for f in empty.schema], schema=empty.schema))
                errors.append(type(error).__name__)
        verdict = joined(singles, pa.array(range(rows.num_rows), pa.int64()))
        return _broken(verdict, pa.array(errors, pa.string()))


def _broken(verdict: pa.RecordBatch, errors: Any) -> pa.RecordBatch:
    """`verdict` with `broken_row`, and nothing else, where there is an error."""
    names = errors.to_pylist()
    bad = verdicts([name and BROKEN_REASON for name in names], details=names)
    for name in VERDICT_SCHEMA.names:
        column = [new if error else old for new, old, error in zip(
            bad.column(name).to_pylist(), verdict.column(name).to_pylist(), names, strict=True
        )]  # fmt: skip
        verdict = with_column(verdict, name, column, VERDICT_SCHEMA.field(name).type)
    return verdict


def _edited(
    module: ModuleType, rows: pa.RecordBatch, verdict: pa.RecordBatch, settings: Any
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    kept = rows.filter(verdict.column("reason").is_null())
    if not hasattr(module, "edit"):
        return kept, verdict
    try:
        return module.edit(kept, settings), verdict
    except _NOT_THE_ROWS:
        raise
    except Exception:
        if kept.num_rows == 0:
            raise
    pieces = [module.edit(kept.slice(0, 0), settings)]
    errors: list[str | None] = []
    for row, reason in enumerate(verdict.column("reason").to_pylist()):
        errors.append(None)
        if reason is not None:
            continue
        try:
            pieces.append(module.edit(rows.slice(row, 1), settings))
        except _NOT_THE_ROWS:
            raise
        except Exception as error:
            errors[-1] = type(error).__name__
    whole = joined(pieces, pa.array(range(sum(piece.num_rows for piece in pieces)), pa.int64()))
    return whole, _broken(verdict, pa.array(errors, pa.string()))
