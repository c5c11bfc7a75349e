"""What new documents meet, few enough for one task: the steps of `pipelines.dedup.on_frames`, without a shuffle.

On frames, verification, components, choice and writing are some twenty shuffles, each planned and compiled for: ten
CPU-seconds, whatever the size. Up to `spark.single_task_rows` edges and candidates the same steps are three tasks from
files to files (ADR 17): which texts are wanted, their shingle sets (one task for each part that has any), and the
rest. What a task holds is bounded: its rows by that setting, shingle sets by spilling them, the documents to choose
among by MAXIMUM_BYTES; clusters that have grown beyond it are chosen from on frames. State and files have the same
bytes either way.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from pipelines.commit import unfinished_name
from pipelines.dedup.band_index import Edges, no_edges
from pipelines.dedup.band_keys import Int64s, Keys
from pipelines.dedup.buckets import member_rows
from pipelines.dedup.candidate_buckets import (
    Candidates,
    ShingleSets,
    candidates_of,
    compared,
    edges_and_unverified,
)
from pipelines.dedup.candidate_texts import TextPart, shingle_sets
from pipelines.dedup.components_in_memory import TooManyError, components_of, contracted, grown
from pipelines.dedup.duplicate_files import write_decisions
from pipelines.dedup.key_tasks import run_each
from pipelines.dedup.meeting import Files, Meeting
from pipelines.dedup.membership import MEMBERSHIP_SCHEMA, read_membership, write_membership
from pipelines.dedup.representative_choice import ORDER, choose_sorted
from pipelines.dedup.state_damage import reading_state
from pipelines.dedup.verification import MAXIMUM_SHINGLES, MAXIMUM_TEXTS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipelines.spark.session import Spark

MAXIMUM_BYTES = 128 << 20  # of the documents that representatives are chosen among; twice that while they are sorted
_DOCUMENT_BYTES = 256  # of such a document, beside its signature
_BATCH_ROWS = 1 << 14
_SET_BYTES = 4 << 20  # of shingle sets in one row group
_SET_SCHEMA = pa.schema([("node", pa.int64()), ("shingles", pa.large_binary())])
_ROW_BITS = 32
_WANTED = "wanted.parquet"  # documents whose texts are wanted


@dataclass(frozen=True)
class Joined:
    """What became of the edges."""

    numbers: dict[str, int]
    components: tuple[str, int]  # path and rows of the file of (node, root), over the clusters there were
    files: list[dict[str, Any]] | None  # as `write_decisions` describes them; None: too many for one task


def join(spark: "Spark | SparkSession", meeting: Meeting, most_bytes: int | None = None) -> Joined:
    """Bring the clusters up to date with what new documents met.

    Args:
        spark: to run tasks.
        meeting: what is there.
        most_bytes: of the documents that representatives are chosen among; default: MAXIMUM_BYTES.
    """
    sets: list[str] = []
    if meeting.candidates:
        (ordinals,) = run_each(spark, _write_wanted, [meeting])
        sources = {source.ordinal: source for source in meeting.sources}
        sets = run_each(spark, partial(_write_sets, meeting), [sources[ordinal] for ordinal in ordinals])
    (joined,) = run_each(spark, partial(_join, meeting, most_bytes=most_bytes or MAXIMUM_BYTES), [tuple(sets)])
    return joined


def _write_wanted(meeting: Meeting) -> list[int]:
    """Write which documents' texts are wanted; returns the ordinals of their parts."""
    layout, nodes = Layout(meeting.root), _candidates(meeting).nodes
    pq.write_table(pa.table({"node": nodes}), meeting.file(_WANTED), filesystem=layout.fs)
    return np.unique(nodes >> _ROW_BITS).tolist()


def _write_sets(meeting: Meeting, source: TextPart) -> str:
    """Write the shingle sets of the wanted documents of one part; returns the path."""
    layout = Layout(meeting.root)
    (nodes,) = _columns(layout, meeting.file(_WANTED))
    nodes = nodes[nodes >> _ROW_BITS == source.ordinal]
    path = meeting.file(f"sets-{source.ordinal:08d}.parquet")
    aside = unfinished_name(path)
    found = shingle_sets(layout, source, (nodes & ((1 << _ROW_BITS) - 1)).tolist(), meeting.parameters)
    with pq.ParquetWriter(aside, _SET_SCHEMA, filesystem=layout.fs, compression="none", use_dictionary=False) as file:
        held, size = list[bytes](), 0
        first = 0
        for shingles in found:
            held.append(shingles.tobytes())
            size += len(held[-1])
            if size >= _SET_BYTES:
                file.write_table(_sets_table(nodes[first : first + len(held)], held))
                first, held, size = first + len(held), [], 0
        file.write_table(_sets_table(nodes[first:], held))
    layout.fs.mv(aside, path)
    return path


def _sets_table(nodes: Int64s, held: list[bytes]) -> pa.Table:
    return pa.table([pa.array(nodes), pa.array(held, pa.large_binary())], schema=_SET_SCHEMA)


def _join(meeting: Meeting, sets: Sequence[str], *, most_bytes: int) -> Joined:
    layout, numbers = Layout(meeting.root), dict[str, int]()
    edges = np.concatenate([no_edges(), *(np.stack(_columns(layout, path), axis=1) for path, _ in meeting.edges)])
    if meeting.candidates:
        verified, unverified = _verified(layout, meeting, sets)
        edges = np.concatenate([edges, verified])
        numbers |= {"edges_unverified": len(unverified), "documents_unverified": len(np.unique(unverified))}
    edges = contracted(edges, lambda: _members(layout, meeting.members))
    components = components_of(edges)
    numbers |= {"edges": len(edges), "rounds": 0}
    path = meeting.file("components.parquet")
    write_membership(layout, path, components[:, 0], components[:, 1])
    most = most_bytes // (meeting.parameters.signature_bytes + _DOCUMENT_BYTES)
    try:
        touched = grown(components, lambda: _members(layout, meeting.members), most)
    except TooManyError:
        return Joined(numbers, (path, len(components)), None)
    files = list(write_decisions(meeting.root, meeting.target, meeting.known, _decisions(meeting, touched)))
    return Joined(numbers, (path, len(components)), files)


def _verified(layout: Layout, meeting: Meeting, files: Sequence[str]) -> tuple[Edges, Edges]:
    candidates = _candidates(meeting)
    assert meeting.threshold is not None
    with ShingleSets(_sets(layout, files)) as sets:
        found = list(compared(candidates, sets, meeting.threshold, MAXIMUM_SHINGLES))
    return edges_and_unverified(found, candidates.beyond)


def _candidates(meeting: Meeting) -> Candidates:
    layout = Layout(meeting.root)
    columns = [_columns(layout, path) for path, _ in meeting.candidates]
    entries = Keys(*(np.concatenate(of_files) for of_files in zip(*columns, strict=True)))
    return candidates_of(entries, MAXIMUM_TEXTS)


def _sets(layout: Layout, paths: Sequence[str]) -> Iterator[tuple[int, memoryview]]:
    for path in paths:
        with reading_state(path), layout.fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(cast(Any, file))
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group)
                for node, shingles in zip(table.column("node").to_pylist(), table.column("shingles"), strict=True):
                    yield node, memoryview(shingles.as_buffer())


def _decisions(meeting: Meeting, touched: Edges) -> Iterator[pa.RecordBatch]:
    """Decisions on all documents of touched clusters, by place and doc_id."""
    _, cluster, sizes = np.unique(touched[:, 1], return_inverse=True, return_counts=True)
    asked = pa.table(
        [touched[:, 0].copy(), touched[:, 1].copy(), sizes[cluster.reshape(-1)]],
        schema=MEMBERSHIP_SCHEMA.append(pa.field("cluster_size", pa.int64())),
    )
    parts = {part.ordinal: part for part in meeting.parts}
    rows = list(member_rows(meeting.root, parts, asked.to_batches(_BATCH_ROWS)))
    if not rows:
        return
    chosen = choose_sorted(_sorted(rows, ["root", *ORDER]), meeting.parameters.value_bytes)
    yield from _sorted(list(chosen), ["place", "doc_id", "node"])


def _sorted(rows: list[pa.RecordBatch], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows in the order that Spark has too: nulls first, text and bytes by their bytes."""
    table = pa.Table.from_batches(rows)
    keys: dict[str, Any] = {}
    for name in names:
        column = table.column(name)
        keys |= {f"has_{name}": column.is_valid()} if column.null_count else {}
        keys[name] = column
    order = cast(Any, pc).sort_indices(pa.table(keys), [(name, "ascending") for name in keys])
    for first in range(0, len(order), _BATCH_ROWS):
        yield from table.take(order.slice(first, _BATCH_ROWS)).combine_chunks().to_batches()


def _members(layout: Layout, files: Files) -> Iterable[tuple[Int64s, Int64s]]:
    return (read_membership(layout, path) for path, _ in files)


def _columns(layout: Layout, path: str) -> list[Int64s]:
    with reading_state(path), layout.fs.open(path, "rb") as file:
        table = pq.read_table(cast(Any, file))
    return [np.asarray(column.combine_chunks()) for column in table.columns]
