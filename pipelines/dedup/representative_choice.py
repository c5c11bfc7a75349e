"""Of each cluster the document that stays, and what the others say of it.

The order is: preferred corpus, quality, age, content hash, doc_id, then (corpus, segment). The content decides, so
sharding, order of arrival and number of workers can't.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dedup.duplicate_files import DECISION_SCHEMA, DECISIONS, REPRESENTATIVE, SINGLE, similarity

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ORDER = ("rank", "disfavour", "fetched_at", "content_hash", "doc_id", "place", "node")


@dataclass(frozen=True)
class _Head:
    """The representative of the cluster that rows are being read of."""

    root: int
    node: int
    doc_id: str
    place: int
    content_hash: bytes | None
    signature: bytes | None


def decisions(members: "DataFrame", value_bytes: int) -> "DataFrame":
    """One row (DECISION_SCHEMA) per member of a cluster: the representative, or an exact or near duplicate of it.

    Args:
        members: rows of `pipelines.dedup.buckets.MEMBER_SCHEMA`, each cluster whole; cluster_size 1 is no cluster.
        value_bytes: of one MinHash value.
    """

    def choose(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from choose_sorted(batches, value_bytes)

    ordered = members.repartition("root").sortWithinPartitions("root", *ORDER)
    return ordered.mapInArrow(choose, DECISION_SCHEMA)


def choose_sorted(batches: Iterable[pa.RecordBatch], value_bytes: int) -> Iterator[pa.RecordBatch]:
    """Decisions on rows that are sorted by root and ORDER: the first of each root is its representative."""
    head: _Head | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        root = np.asarray(batch.column("root"))
        starts = np.concatenate([[True], np.diff(root) != 0])
        starts[0] = head is None or head.root != root[0]
        first = np.maximum.accumulate(np.where(starts, np.arange(len(root)), -1))  # -1: the head of the batch before
        heads = _with_head(batch, head)
        yield _decided(batch, heads.take(pa.array(first + 1)), starts, value_bytes)
        head = _head_of(batch, int(first[-1])) if first[-1] >= 0 else head


_OF_HEAD = ("node", "doc_id", "place", "content_hash", "signature")


def _with_head(batch: pa.RecordBatch, head: _Head | None) -> Any:
    """The columns of ORDER's rows that the others are held against, the head of the batch before as row 0."""
    columns = {name: batch.column(name) for name in _OF_HEAD}
    one = {
        name: pa.array([None if head is None else getattr(head, name)], column.type) for name, column in columns.items()
    }
    return pa.table({name: pa.chunked_array([one[name], columns[name]]) for name in _OF_HEAD})


def _head_of(batch: pa.RecordBatch, row: int) -> _Head:
    return _Head(**{name: batch.column(name)[row].as_py() for name in ("root", *_OF_HEAD)})


def _decided(batch: pa.RecordBatch, heads: Any, starts: Any, value_bytes: int) -> pa.RecordBatch:
    heads = heads.combine_chunks()
    own, kept = batch.column("content_hash"), heads.column("content_hash").combine_chunks()
    is_exact = np.asarray(pc.fill_null(pc.equal(own, kept), False))
    left, right = batch.column("signature"), heads.column("signature").combine_chunks()
    values = (is_exact | starts).astype(float)
    is_near: Any = ~is_exact & ~starts & np.asarray(left.is_valid()) & np.asarray(right.is_valid())
    values[is_near] = similarity(left.filter(pa.array(is_near)), right.filter(pa.array(is_near)), value_bytes)
    # The same record twice in one segment has one doc_id, which can't be kept and dropped: it is kept.
    same = np.asarray(pc.equal(batch.column("doc_id"), heads.column("doc_id").combine_chunks()))
    same &= np.asarray(batch.column("place")) == np.asarray(heads.column("place").combine_chunks())
    is_single = (np.asarray(batch.column("cluster_size")) < 2) | (same & ~starts)
    kind: Any = pc.if_else(pa.array(is_exact), "exact", "near")
    kind = pc.if_else(pa.array(starts), REPRESENTATIVE, kind)
    columns = {
        "kind": pc.if_else(pa.array(is_single), SINGLE, kind),
        "similarity": pa.array(values),
        "representative_id": heads.column("doc_id").combine_chunks(),
        "representative_place": heads.column("place").combine_chunks(),
    }
    return pa.record_batch(
        [columns[name] if name in columns else batch.column(name) for name in DECISIONS.names], schema=DECISIONS
    )
