"""The files of `duplicate_clusters`: one per segment, the same bytes whatever task writes them.

`part-<n>.parquet` holds the duplicates of the n-th segment (DUPLICATE_SCHEMA), `_representatives/part-<n>.parquet`
the representatives of that segment with their cluster's size; a leading underscore hides the latter from
programs that read the folder as one table. A segment's documents are thus judged by two small files.
"""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.core.layout import Layout
from pipelines.parts import PartWriter
from pipelines.schema import DUPLICATE_SCHEMA

DUPLICATE_ROWS = (
    "segment int, doc_id string, representative_id string, representative_segment int, is_exact boolean, "
    "signature binary, representative_signature binary, cluster_size bigint"
)
REPRESENTATIVE_FOLDER = "_representatives"
REPRESENTATIVE_SCHEMA = pa.schema([("doc_id", pa.string()), ("cluster_size", pa.int64())])
ROWS_PER_GROUP = 1 << 16  # row groups are cut by count alone, never by how rows arrived


def duplicate_path(folder: str, index: int) -> str:
    """The file of the duplicates of the `index`-th segment."""
    return posixpath.join(folder, f"part-{index:05d}.parquet")


def representative_path(folder: str, index: int) -> str:
    """The file of the representatives of the `index`-th segment."""
    return posixpath.join(folder, REPRESENTATIVE_FOLDER, f"part-{index:05d}.parquet")


class FixedGroupWriter:
    """Writes rows to one Parquet file in groups of ROWS_PER_GROUP."""

    def __init__(self, layout: Layout, path: str, schema: pa.Schema) -> None:
        self._writer = PartWriter(layout, path)
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        self._held.append(batch)
        self._rows += batch.num_rows
        while self._rows >= ROWS_PER_GROUP:
            table = pa.Table.from_batches(self._held, self._schema)
            self._flush(table.slice(0, ROWS_PER_GROUP))
            self._held = table.slice(ROWS_PER_GROUP).to_batches()
            self._rows -= ROWS_PER_GROUP

    def close(self) -> dict[str, Any]:
        """Finish the file; returns its name, rows, bytes and sha256."""
        self._flush(pa.Table.from_batches(self._held, self._schema))
        return cast(dict[str, Any], self._writer.close())

    def _flush(self, table: pa.Table) -> None:
        whole = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], schema=self._schema)]
        for batch in whole:
            self._writer.write(batch)
        self._writer.flush()


def write_duplicates(
    root: str, folder: str, segments: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> Iterator[dict[str, Any]]:
    """Write rows sorted by (segment, doc_id); describes each file, `number` its exact duplicates."""
    for index, rows in _by_segment(batches):
        writer = FixedGroupWriter(Layout(root), duplicate_path(folder, index), DUPLICATE_SCHEMA)
        exact = 0
        for batch in rows:
            exact += int(cast(Any, pc).sum(batch.column("is_exact")).as_py() or 0)
            writer.write(_duplicates(batch, segments))
        yield writer.close() | {"kind": "kept", "segment": segments[index], "number": exact}


def write_representatives(
    root: str, folder: str, segments: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> Iterator[dict[str, Any]]:
    """Write rows (segment, doc_id, cluster_size) sorted alike; describes each file, `number` its largest cluster."""
    for index, rows in _by_segment(batches):
        writer = FixedGroupWriter(Layout(root), representative_path(folder, index), REPRESENTATIVE_SCHEMA)
        largest = 0
        for batch in rows:
            largest = max(largest, int(cast(Any, pc).max(batch.column("cluster_size")).as_py()))
            columns = [batch.column(name) for name in REPRESENTATIVE_SCHEMA.names]
            writer.write(pa.record_batch(columns, schema=REPRESENTATIVE_SCHEMA))
        yield writer.close() | {"kind": "representatives", "segment": segments[index], "number": largest}


def similarity(left: pa.Array, right: pa.Array, value_bytes: int = 4) -> Any:
    """Share of equal values of two columns of signatures, without nulls, whose values have `value_bytes` each."""
    if not len(left):
        return np.empty(0)
    a, b = (
        np.frombuffer(b"".join(column.to_pylist()), f"<u{value_bytes}").reshape(len(column), -1)
        for column in (left, right)
    )
    return (a == b).mean(axis=1)


def _duplicates(batch: pa.RecordBatch, segments: Sequence[str]) -> pa.RecordBatch:
    is_exact: Any = batch.column("is_exact")
    near = pc.invert(is_exact)
    values = np.ones(batch.num_rows)
    values[np.asarray(near)] = similarity(
        batch.column("signature").filter(near), batch.column("representative_signature").filter(near)
    )
    names: Any = pa.array(segments, pa.string())
    columns = {
        "segment": names.take(batch.column("segment")),
        "representative_segment": names.take(batch.column("representative_segment")),
        "kind": pc.if_else(is_exact, "exact", "near"),
        "similarity": pa.array(values),
    }
    return pa.record_batch(
        [columns[f.name] if f.name in columns else batch.column(f.name) for f in DUPLICATE_SCHEMA],
        schema=DUPLICATE_SCHEMA,
    )


def _by_segment(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, Iterator[pa.RecordBatch]]]:
    """Cut batches sorted by segment at the segments' borders; each run is read before the next is asked for."""

    def pieces() -> Iterator[tuple[int, pa.RecordBatch]]:
        for batch in batches:
            values = np.asarray(batch.column("segment"))
            borders = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
            for start, end in pairwise(borders):
                if end > start:
                    yield int(values[start]), batch.slice(start, end - start)

    for index, run in groupby(pieces(), key=lambda piece: piece[0]):
        yield index, (batch for _, batch in run)
