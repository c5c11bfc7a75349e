"""`deduplicated_documents`: of documents that repeat each other, one stays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading
from pipelines.decisions import with_column
from pipelines.dedup.duplicate_files import REPRESENTATIVE_SCHEMA, duplicate_path, representative_path
from pipelines.schema import DUPLICATE_SCHEMA, VERDICT_SCHEMA

REASONS: Mapping[str, str] = {
    "exact_duplicate": "has the same words in the same order as the document that represents its cluster",
    "near_duplicate": "shares a band of its MinHash signature with a document of a cluster that another represents",
}
LIBRARIES = ("pyarrow",)


@dataclass(frozen=True)
class Settings:
    """Nothing to set: what repeats what was decided in `duplicate_clusters`."""


@dataclass(frozen=True)
class SegmentDuplicates:
    """What `duplicate_clusters` says of one segment."""

    duplicates: pa.Table  # DUPLICATE_SCHEMA, of documents of this segment
    representatives: pa.Table  # doc_id and cluster_size, of documents of this segment
    near_threshold: float  # similarity at which a pair is as likely found as not, about


def lsh_threshold(bands: int, rows: int) -> float:
    """(1/b)^(1/r), about where a common band becomes likely (Leskovec et al., Mining of Massive Datasets, 3.4.2)."""
    return (1 / bands) ** (1 / rows)


def load_side_input(layout: Layout, partition: Partition) -> SegmentDuplicates:
    """Read the duplicates and representatives of one segment.

    Raises:
        MissingDataError: the clusters are not there, or were computed without this segment.
    """
    report = layout.require_report("duplicate_clusters", Partition(partition.corpus))
    if partition.segment not in report["segments"]:
        raise MissingDataError(
            f"duplicate_clusters of {partition.corpus} does not cover segment {partition.segment}: "
            f"run `gristmill run {partition.corpus} --through duplicate_clusters` first"
        )
    folder = layout.partition_dir("duplicate_clusters", Partition(partition.corpus))
    index = report["segments"].index(partition.segment)
    signed_with = report["signature_settings"]
    return SegmentDuplicates(
        _read(layout, duplicate_path(folder, index), DUPLICATE_SCHEMA),
        _read(layout, representative_path(folder, index), REPRESENTATIVE_SCHEMA),
        lsh_threshold(signed_with["bands"], signed_with["rows"]),
    )


def score(batch: pa.RecordBatch, settings: Settings, side: SegmentDuplicates) -> pa.RecordBatch:
    """Add cluster_size (1 for a document that nothing repeats) and scratch columns on what it duplicates."""
    del settings
    duplicate_row = pc.index_in(batch.column("doc_id"), side.duplicates.column("doc_id"))
    representative_row = pc.index_in(batch.column("doc_id"), side.representatives.column("doc_id"))
    size = pc.coalesce(
        _take(side.representatives, "cluster_size", representative_row),
        _take(side.duplicates, "cluster_size", duplicate_row),
        pa.scalar(1, pa.int64()),
    )
    batch = with_column(batch, "cluster_size", size)
    for name in ("kind", "similarity", "representative_id"):
        batch = with_column(batch, f"_{name}", _take(side.duplicates, name, duplicate_row))
    threshold: Any = pc.if_else(pc.equal(batch.column("_kind"), "exact"), 1.0, side.near_threshold)
    return with_column(batch, "_threshold", threshold)


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Reject every duplicate; score is the similarity with its representative, which `detail` names.

    The similarity may lie below the threshold: a cluster is a chain of likenesses, and its ends may differ.
    """
    del settings
    kind = batch.column("_kind")
    reason: Any = pc.binary_join_element_wise(kind, "duplicate", "_")
    columns = [reason, batch.column("_similarity"), batch.column("_threshold"), batch.column("_representative_id")]
    return pa.record_batch(columns, schema=VERDICT_SCHEMA)


def _take(table: pa.Table, name: str, rows: Any) -> Any:
    column: Any = table.column(name).combine_chunks()
    return cast(Any, column).take(rows)


def _read(layout: Layout, path: str, schema: pa.Schema) -> pa.Table:
    """A file that is not there says that the segment has no such rows."""
    if not layout.fs.exists(path):
        return schema.empty_table()
    with reading(path), layout.fs.open(path, "rb") as file:
        return pq.ParquetFile(cast(Any, file)).read()
