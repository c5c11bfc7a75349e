"""What Spark's tasks read out of signature parts: keys of all documents first, members of clusters later.

A node is a document's place, ordinal of its part << 32 | row: eight bytes to shuffle in place of an id. The ordinal
is given when a part is first met and never again, so nodes stay what they are from one run to the next.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from pipelines.damage import reading
from pipelines.dedup.band_index import KEYS_IN_MEMORY, join_equals, write_edges, write_index
from pipelines.dedup.band_keys import Int64s, Keys, document_keys

MEMBER_SCHEMA = (
    "node bigint, root bigint, cluster_size bigint, place int, rank int, disfavour double, fetched_at bigint, "
    "content_hash binary, doc_id string, signature binary"
)
_READ_ROWS = 4096
_NEVER = np.iinfo(np.int64).max  # a document without a fetch time is taken for the youngest
_ROW_BITS = 32


@dataclass(frozen=True)
class SignaturePart:
    """One Parquet file of signatures."""

    path: str
    ordinal: int
    place: int  # of its segment in the sorted list of (corpus, segment)
    rank: int = 0  # of its corpus in the order of preference
    rows: int | None = None  # as the report says

    @property
    def first_node(self) -> int:
        """The node of its first row."""
        return self.ordinal << _ROW_BITS


@dataclass(frozen=True)
class KeysTask:
    """Where the keys of documents go: runs, each sorted, and the edges found while writing them."""

    root: str
    folder: str
    bands: int
    has_texts: bool  # whether entries must tell texts apart
    signature_bytes: int | None = None  # cut into the bands; None: all

    def write(self, name: str, entries: Keys) -> dict[str, Any]:
        """Write one run; says what was written."""
        run, edges = join_equals(entries if self.has_texts else entries.without_texts().sorted())
        layout = Layout(self.root)
        run_path, edge_path = (f"{self.folder}/{name}.{kind}.parquet" for kind in ("run", "edges"))
        write_index(layout, run_path, run)
        write_edges(layout, edge_path, edges)
        return {"run": run_path, "keys": len(run), "edges": edge_path, "edge_rows": len(edges)}


def write_runs(task: KeysTask, part: SignaturePart) -> list[dict[str, Any]]:
    """The keys of one part's documents as runs of bounded size."""
    written: list[dict[str, Any]] = []
    for entries in _bounded(task, _blocks(task, part)):
        written.append(task.write(f"part-{part.ordinal:08d}-{len(written):04d}", entries))
    return written


def write_released(
    task: KeysTask, parts: Mapping[int, SignaturePart], batches: Iterable[pa.RecordBatch]
) -> Iterator[dict[str, Any]]:
    """The keys of single documents (batches with a column node, ascending) as runs."""
    blocks = (
        _columns(node, table) for node, table, _ in _rows_of(task.root, parts, batches, ["content_hash", "signature"])
    )
    for number, entries in enumerate(_bounded(task, blocks)):
        yield task.write(f"released-{int(entries.node.min()):016x}-{number:04d}", entries)


def member_rows(
    root: str, parts: Mapping[int, SignaturePart], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Batches (node ascending within a part, root, cluster_size) with what the choice of a representative needs."""
    columns = ["doc_id", "fetched_at", "content_hash", "signature", "quality"]
    for node, table, given in _rows_of(root, parts, batches, columns):
        part = parts[int(node[0]) >> _ROW_BITS]
        quality = np.nan_to_num(np.asarray(table.column("quality").fill_null(0.0)), nan=0.0)
        fetched = table.column("fetched_at").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).fill_null(_NEVER)
        out = {
            "node": node,
            "root": given.column("root"),
            "cluster_size": given.column("cluster_size"),
            "place": pa.array(np.full(len(node), part.place, np.int32)),
            "rank": pa.array(np.full(len(node), part.rank, np.int32)),
            "disfavour": -quality,
            "fetched_at": fetched,
            "content_hash": table.column("content_hash").cast(pa.binary()),
            "doc_id": table.column("doc_id"),
            "signature": table.column("signature"),
        }
        yield from pa.table(out).combine_chunks().to_batches()


def _bounded(task: KeysTask, blocks: Iterable[tuple[Int64s, Any, Any]]) -> Iterator[Keys]:
    """Documents collected until their keys would be too many, then as keys."""
    held: list[tuple[Int64s, Any, Any]] = []
    limit = max(KEYS_IN_MEMORY // (task.bands + 1), 1)
    for block in blocks:
        held.append(block)
        if sum(len(node) for node, *_ in held) >= limit:
            yield _document_keys(held, task)
            held = []
    if held:
        yield _document_keys(held, task)


def _document_keys(held: list[tuple[Int64s, Any, Any]], task: KeysTask) -> Keys:
    nodes, hashes, signatures = zip(*held, strict=True)
    columns = np.concatenate(nodes), _joined(hashes), _joined(signatures)
    return document_keys(*columns, task.bands, task.signature_bytes)


def _joined(columns: Iterable[Any]) -> Any:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.binary()).combine_chunks()


def _blocks(task: KeysTask, part: SignaturePart) -> Iterator[tuple[Int64s, Any, Any]]:
    layout = Layout(task.root)
    first = part.first_node
    with reading(part.path), layout.fs.open(part.path, "rb") as file:
        opened = pq.ParquetFile(cast(Any, file))
        if part.rows not in (None, opened.metadata.num_rows):
            raise pa.ArrowInvalid(f"{opened.metadata.num_rows} rows in place of the {part.rows} of its report")
        for batch in opened.iter_batches(_READ_ROWS, columns=["content_hash", "signature"]):
            table = pa.Table.from_batches([batch])
            yield _columns(np.arange(first, first + table.num_rows), table)
            first += table.num_rows


def _columns(node: Int64s, table: pa.Table) -> tuple[Int64s, Any, Any]:
    return node, table.column("content_hash").cast(pa.binary()), table.column("signature")


def _rows_of(
    root: str, parts: Mapping[int, SignaturePart], batches: Iterable[pa.RecordBatch], columns: list[str]
) -> Iterator[tuple[Int64s, pa.Table, pa.RecordBatch]]:
    """The rows of signature parts that nodes stand for, each block of one part; and the batch that asked for them."""
    layout = Layout(root)
    opened: _OpenPart | None = None
    try:
        for batch in batches:
            node = np.asarray(batch.column("node"))
            borders = [0, *(np.flatnonzero(np.diff(node >> _ROW_BITS)) + 1).tolist(), len(node)]
            for start, end in pairwise(borders):
                if start == end:
                    continue
                ordinal = int(node[start]) >> _ROW_BITS
                if opened is None or opened.ordinal != ordinal:
                    if opened is not None:
                        opened.close()
                    opened = _OpenPart(layout, parts[ordinal], columns)
                rows = node[start:end] & ((1 << _ROW_BITS) - 1)
                yield node[start:end], opened.take(rows), batch.slice(start, end - start)
    finally:
        if opened is not None:
            opened.close()


class _OpenPart:
    """A signature part that rows are taken from in ascending order, row group after row group."""

    def __init__(self, layout: Layout, part: SignaturePart, columns: list[str]) -> None:
        self.ordinal = part.ordinal
        self._path, self._columns = part.path, columns
        with reading(part.path):
            self._opened: Any = layout.fs.open(part.path, "rb")
            self._file = pq.ParquetFile(self._opened)
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._ends = np.cumsum(sizes)
        self._group, self._held, self._first = -1, pa.table({}), 0

    def take(self, rows: Int64s) -> pa.Table:
        """The given rows, ascending; those of one row group are in memory at a time, beside what is taken."""
        if len(rows) and (not len(self._ends) or rows[-1] >= self._ends[-1]):
            raise pa.ArrowInvalid(f"{self._path} has no row {rows[-1]}")
        group_of = np.searchsorted(self._ends, rows, "right")
        taken: list[pa.Table] = []
        for group in np.unique(group_of).tolist():
            if group != self._group:
                with reading(self._path):
                    self._held = self._file.read_row_group(group, columns=self._columns)
                self._group, self._first = group, int(self._ends[group]) - self._held.num_rows
            taken.append(self._held.take(pa.array(rows[group_of == group] - self._first)))
        return pa.concat_tables(taken)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._opened.close()
