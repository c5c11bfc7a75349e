"""Stored signals: what a stage measured of every document, kept or not, so that it can decide again.

A stage whose settings declare scoring fields (`gristmill.core.settings.scoring`) leaves one signals part beside every
part, with one row per row of its source, in that order. When the stage runs again and nothing has changed that
measures (`score_fingerprint`), a document's signals are recalled instead of computed. Each row carries a hash of what
was measured, so that it does not matter why the source was written again: documents that came, went, or have another
text are measured, all others are not.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from gristmill.core.settings import scoring_names
from pipelines.decisions import with_column

SOURCE_HASH, TEXT_BYTES, BROKEN = "source_hash", "text_bytes", "broken_row"
KEYS = pa.schema(
    [
        ("doc_id", pa.string()),
        ("url", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        (SOURCE_HASH, pa.uint64()),  # of the columns that `score` reads
        (TEXT_BYTES, pa.int64()),  # UTF-8 bytes of the text that was measured
        (BROKEN, pa.string()),  # what `score` raised on this document alone; null: nothing
    ]
)
"""The columns every signals part begins with; those that `score` added or filled follow. Never page text."""
IDENTITY = ("url", "warc_file", "warc_offset")  # of KEYS: as the source has them now, whenever a row was measured


def has_signals(module: ModuleType) -> bool:
    """Say whether a stage's signals are stored: only where a setting changes the decision alone."""
    return bool(scoring_names(module.Settings))


def signals_of(
    module: ModuleType, source: pa.RecordBatch, scored: pa.RecordBatch, broken: pa.Array, hashes: pa.Array
) -> pa.RecordBatch:
    """The signals of a batch: KEYS, then what `score` added or, as the module's FILLS says, filled.

    Args:
        module: of the stage.
        source: the rows as read.
        scored: the same rows from `score`.
        broken: per row, what `score` raised on it, null where nothing.
        hashes: per row, `source_hashes`.
    """
    fills: Sequence[str] = getattr(module, "FILLS", ())
    names = [
        name
        for name in scored.schema.names
        if not name.startswith("_") and (name not in source.schema.names or name in fills)
    ]
    measured = {SOURCE_HASH: hashes, TEXT_BYTES: text_lengths(source), BROKEN: broken}
    keys = [(measured[f.name] if f.name in measured else source.column(f.name)).cast(f.type) for f in KEYS]
    schema = pa.schema([*KEYS, *(scored.schema.field(name) for name in names)])
    return pa.record_batch([*keys, *(scored.column(name) for name in names)], schema=schema)


def scored_from(source: pa.RecordBatch, signals: pa.RecordBatch) -> pa.RecordBatch:
    """What `score` made of `source`, scratch columns aside: the same columns in the same order."""
    for field in list(signals.schema)[len(KEYS) :]:
        source = with_column(source, field.name, signals.column(field.name))
    return source


def source_hashes(module: ModuleType, batch: pa.RecordBatch) -> pa.Array:
    """64-bit hash per row of the columns that `score` reads: the module's READS, else all."""
    names: Sequence[str] = getattr(module, "READS", batch.schema.names)
    facts = [batch.column(name).to_pylist() for name in names if name != "text"]
    texts = batch.column("text").to_pylist() if "text" in names else [None] * batch.num_rows
    rows = zip(*facts, strict=True) if facts else [()] * batch.num_rows
    hashes = [_hash(text, row) for text, row in zip(texts, rows, strict=True)]
    return pa.array(hashes, pa.uint64())


def _hash(text: str | None, facts: tuple[Any, ...]) -> int:
    digest = hashlib.blake2b(b"\0" if text is None else text.encode("utf-8", "surrogatepass"), digest_size=8)
    if facts:
        digest.update(b"\0" + repr(facts).encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest(), "big")


def text_lengths(batch: pa.RecordBatch) -> Any:
    """UTF-8 bytes of each row's text, null where there is none."""
    if "text" not in batch.schema.names:
        return pa.nulls(batch.num_rows, pa.int64())
    return cast(Any, pc).binary_length(batch.column("text")).cast(pa.int64())


@dataclass(frozen=True)
class Memory:
    """The signals of one part as a run before left them."""

    table: pa.Table

    @classmethod
    def load(cls, layout: Layout, path: str, sha256: str) -> "Memory | None":
        """Read a signals part; None where it is not the file that its report speaks of."""
        try:
            with layout.fs.open(path, "rb") as file:
                data = cast(bytes, file.read())
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            return None
        return cls(pq.read_table(pa.BufferReader(data)).combine_chunks())

    def find(self, batch: pa.RecordBatch, hashes: pa.Array) -> Any:
        """Per row of `batch`, the row of the table that was measured on the same document; null where none was."""
        rows = pc.index_in(batch.column("doc_id").cast(pa.string()), self.table.column("doc_id").combine_chunks())
        then: Any = cast(Any, self.table.column(SOURCE_HASH).combine_chunks()).take(rows)
        return pc.if_else(pc.fill_null(pc.equal(then, hashes), False), rows, pa.scalar(None, pa.int32()))

    def recall(self, rows: Any) -> pa.RecordBatch:
        """The signals in `rows` of the table, all of them known."""
        taken = cast(Any, self.table).take(rows).combine_chunks()
        return pa.record_batch([_chunk(column) for column in taken.columns], schema=self.table.schema)


def _chunk(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def joined(batches: Sequence[pa.RecordBatch], order: Any) -> pa.RecordBatch:
    """Rows of several batches as one, in `order`, which counts through all of them."""
    table = cast(Any, pa.Table.from_batches(batches)).combine_chunks().take(order).combine_chunks()
    return pa.record_batch([_chunk(column) for column in table.columns], schema=table.schema)
