"""The files of `duplicate_clusters`: one per segment, the same bytes whatever task writes them, and when.

`part-<n>.parquet` holds the duplicates of the n-th segment (DUPLICATE_SCHEMA), `_representatives/part-<n>.parquet`
the representatives of that segment with their cluster's size; a leading underscore hides the latter from
programs that read the folder as one table. A segment's documents are thus judged by two small files.
"""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from pipelines.dedup.membership import read_membership, write_membership
from pipelines.dedup.state_damage import reading_state
from pipelines.parts import PartWriter
from pipelines.schema import DUPLICATE_SCHEMA

REPRESENTATIVE_FOLDER = "_representatives"
REPRESENTATIVE_SCHEMA = pa.schema([("doc_id", pa.string()), ("cluster_size", pa.int64())])
DECISION_SCHEMA = (
    "place int, doc_id string, node bigint, root bigint, cluster_size bigint, kind string, similarity double, "
    "representative_id string, representative_place int"
)
"""What is decided of a document in a touched cluster, as Spark names types; kinds are exact, near, REPRESENTATIVE and
SINGLE: one that is in no cluster any more."""
REPRESENTATIVE, SINGLE = "representative", "single"
_ARROW = {"int": pa.int32(), "bigint": pa.int64(), "string": pa.string(), "double": pa.float64()}
DECISIONS = pa.schema([(name, _ARROW[kind]) for name, kind in (f.split() for f in DECISION_SCHEMA.split(", "))])
ROWS_PER_GROUP = 1 << 16  # row groups are cut by count alone, never by how rows arrived
_DUPLICATE = ("exact", "near")


def duplicate_path(folder: str, index: int) -> str:
    """The file of the duplicates of the `index`-th segment."""
    return posixpath.join(folder, f"part-{index:05d}.parquet")


def representative_path(folder: str, index: int) -> str:
    """The file of the representatives of the `index`-th segment."""
    return posixpath.join(folder, REPRESENTATIVE_FOLDER, f"part-{index:05d}.parquet")


@dataclass(frozen=True)
class SegmentFiles:
    """What is known of a segment's clusters before new decisions are written: paths, None where there is none."""

    corpus: str
    segment: str
    duplicates: str | None = None
    representatives: str | None = None
    members: str | None = None


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


def write_decisions(
    root: str, folder: str, segments: Sequence[SegmentFiles], batches: Iterable[pa.RecordBatch]
) -> Iterator[dict[str, Any]]:
    """Write the files of every segment that decisions speak of; what they don't speak of is taken over.

    Args:
        root: of the layout.
        folder: where the files go, each named after its segment's place.
        segments: by place.
        batches: rows of DECISION_SCHEMA (pipelines.dedup.representative_choice), sorted by (place, doc_id).

    Yields:
        One description for each file: place, kind (kept, representatives or members), path, name, rows, bytes,
        sha256, number (exact duplicates, or the largest cluster). A file without rows is not written; `members`,
        whose bytes are nobody's business, is described even then.
    """
    layout = Layout(root)
    for place, rows in _by_place(batches):
        yield from _write_segment(layout, posixpath.join(folder, f"{place:06d}"), segments, place, rows)


def _write_segment(
    layout: Layout, stem: str, segments: Sequence[SegmentFiles], place: int, rows: Iterator[pa.RecordBatch]
) -> Iterator[dict[str, Any]]:
    known = segments[place]
    members = _Members(layout, known.members)
    streams = [
        members.watch(rows),
        _stored(layout, known.duplicates, DUPLICATE_SCHEMA),
        _stored(layout, known.representatives, REPRESENTATIVE_SCHEMA),
    ]
    kept = _Sink(layout, f"{stem}-duplicates.parquet", DUPLICATE_SCHEMA)
    heads = _Sink(layout, f"{stem}-representatives.parquet", REPRESENTATIVE_SCHEMA)
    for new, old_kept, old_heads in _in_step(streams, (DECISIONS, DUPLICATE_SCHEMA, REPRESENTATIVE_SCHEMA)):
        is_duplicate = pc.is_in(new.column("kind"), pa.array(_DUPLICATE))
        kept.write(_duplicates(new.filter(is_duplicate), segments), _untouched(old_kept, new))
        is_head = pc.equal(new.column("kind"), REPRESENTATIVE)
        heads.write(new.filter(is_head).select(REPRESENTATIVE_SCHEMA.names), _untouched(old_heads, new))
    for kind, sink in (("kept", kept), ("representatives", heads)):
        if (described := sink.close()) is not None:
            yield described | {"kind": kind, "place": place}
    path = f"{stem}-members.parquet"
    described = {"name": posixpath.basename(path), "rows": members.write(path), "bytes": 0, "sha256": "", "number": 0}
    yield described | {"kind": "members", "place": place, "path": path}


class _Sink:
    """A sorted file that exists only if it has rows, and the number that a report says of it."""

    def __init__(self, layout: Layout, path: str, schema: pa.Schema) -> None:
        self._layout, self._path, self._schema = layout, path, schema
        self._writer: FixedGroupWriter | None = None
        self._number = 0

    def write(self, new: pa.Table, old: pa.Table) -> None:
        rows = pa.concat_tables([new.cast(self._schema), old.cast(self._schema)]).sort_by("doc_id")
        if not rows.num_rows:
            return
        if self._writer is None:
            self._writer = FixedGroupWriter(self._layout, self._path, self._schema)
        if "kind" in self._schema.names:
            self._number += int(cast(Any, pc).sum(pc.equal(rows.column("kind"), "exact")).as_py() or 0)
        else:
            self._number = max(self._number, int(cast(Any, pc).max(rows.column("cluster_size")).as_py()))
        for batch in rows.combine_chunks().to_batches():
            self._writer.write(batch)

    def close(self) -> dict[str, Any] | None:
        if self._writer is None:
            return None
        return self._writer.close() | {"path": self._path, "number": self._number}


class _Members:
    """The members of clusters in one segment: sixteen bytes each, held until the segment's rows have passed."""

    def __init__(self, layout: Layout, path: str | None) -> None:
        self._layout = layout
        self._node, self._root = read_membership(layout, path) if path else (np.empty(0, np.int64),) * 2
        self._new: list[tuple[Any, Any, Any]] = []

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        for batch in batches:
            node, root, size = (np.asarray(batch.column(name)) for name in ("node", "root", "cluster_size"))
            self._new.append((node, root, size))
            yield pa.Table.from_batches([batch])

    def write(self, path: str) -> int:
        """Write all members there are now; returns how many."""
        node, root, size = (np.concatenate(columns) for columns in zip(*self._new, strict=True))
        is_left = ~np.isin(self._node, node)
        is_member = size > 1
        nodes = np.concatenate([self._node[is_left], node[is_member]])
        if len(nodes):
            write_membership(self._layout, path, nodes, np.concatenate([self._root[is_left], root[is_member]]))
        return len(nodes)


def similarity(left: pa.Array, right: pa.Array, value_bytes: int = 4) -> Any:
    """Share of equal values of two columns of signatures, without nulls, whose values have `value_bytes` each."""
    if not len(left):
        return np.empty(0)
    data = (b"".join(column.to_pylist()) for column in (left, right))
    a, b = (np.frombuffer(packed, f"<u{value_bytes}").reshape(len(left), -1) for packed in data)
    return (a == b).mean(axis=1)


def _duplicates(rows: pa.Table, segments: Sequence[SegmentFiles]) -> pa.Table:
    def named(column: str, name: str) -> Any:
        return pa.array([getattr(known, name) for known in segments], pa.string()).take(rows.column(column))

    columns = {
        "segment": named("place", "segment"),
        "representative_corpus": named("representative_place", "corpus"),
        "representative_segment": named("representative_place", "segment"),
        "cluster_id": rows.column("representative_id"),
    }
    own = {name: rows.column(name) for name in rows.column_names}
    return pa.table([(own | columns)[f.name] for f in DUPLICATE_SCHEMA], DUPLICATE_SCHEMA)


def _stored(layout: Layout, path: str | None, schema: pa.Schema) -> Iterator[pa.Table]:
    if path is None:
        return
    with reading_state(path), layout.fs.open(path, "rb") as file:
        for batch in pq.ParquetFile(cast(Any, file)).iter_batches(ROWS_PER_GROUP):
            yield pa.Table.from_batches([batch]).cast(schema)


def _untouched(old: pa.Table, new: pa.Table) -> pa.Table:
    return old.filter(pc.invert(pc.is_in(old.column("doc_id"), new.column("doc_id").combine_chunks())))


def _in_step(streams: Sequence[Iterator[pa.Table]], schemas: Sequence[pa.Schema]) -> Iterator[list[pa.Table]]:
    """Read tables sorted by doc_id side by side: each step has all rows of all streams up to one doc_id."""
    full = [(table for table in stream if table.num_rows) for stream in streams]
    held = [next(stream, None) for stream in full]
    while any(table is not None for table in held):
        border = min(table.column("doc_id")[-1].as_py() for table in held if table is not None)
        step = [schema.empty_table() for schema in schemas]
        for place, table in enumerate(held):
            if table is None:
                continue
            count = int(cast(Any, pc).sum(pc.less_equal(table.column("doc_id"), border)).as_py() or 0)
            step[place], rest = table.slice(0, count), table.slice(count)
            held[place] = rest if rest.num_rows else next(full[place], None)
        yield step


def _by_place(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, Iterator[pa.RecordBatch]]]:
    """Cut batches sorted by place at the places' borders; each run is read before the next is asked for."""

    def pieces() -> Iterator[tuple[int, pa.RecordBatch]]:
        for batch in batches:
            values = np.asarray(batch.column("place"))
            borders = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
            for start, end in pairwise(borders):
                if end > start:
                    yield int(values[start]), batch.slice(start, end - start)

    for place, run in groupby(pieces(), key=lambda piece: piece[0]):
        yield place, (batch for _, batch in run)
