"""`deduplicated_documents`: of documents that repeat each other, one stays; of repeated paragraphs too, if so set.

`cluster_id` is the doc_id of the cluster's representative, a document's own where nothing repeats it, and
`cluster_size` the number of documents it stands for: 1, or all of its cluster. Together they are what it takes to
sample a page as often as the web holds it (see docs/dedup.md).
"""

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
from pipelines.dedup.paragraph_files import REPEATED_SCHEMA, repeated_path
from pipelines.dedup.paragraphs import hashes_of, is_anything_left, without
from pipelines.dedup.schemes import parameters
from pipelines.schema import DUPLICATE_SCHEMA, VERDICT_SCHEMA

REASONS: Mapping[str, str] = {
    "exact_duplicate": "has the same words in the same order as the document that represents its cluster",
    "near_duplicate": "is much like a document of a cluster that another represents: an equal band of their MinHash "
    "signatures, and the Jaccard similarity verified_jaccard unless that is 0",
    "only_repeated_paragraphs": "each of its paragraphs stays in another document that comes before it, none is left",
}
LIBRARIES = ("pyarrow", "regex")
_REPEATED = "only_repeated_paragraphs"


@dataclass(frozen=True)
class Settings:
    """Nothing to set: what repeats what was decided in `duplicate_clusters`."""


@dataclass(frozen=True)
class SegmentDuplicates:
    """What `duplicate_clusters` says of one segment."""

    duplicates: pa.Table  # DUPLICATE_SCHEMA, of documents of this segment
    representatives: pa.Table  # doc_id and cluster_size, of documents of this segment
    paragraphs: pa.Table  # REPEATED_SCHEMA, of documents of this segment that lose some
    near_threshold: float  # verified_jaccard; unverified, the similarity at which about half of the pairs are found
    corpus: str


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
    return SegmentDuplicates(
        _read(layout, duplicate_path(folder, index), DUPLICATE_SCHEMA),
        _read(layout, representative_path(folder, index), REPRESENTATIVE_SCHEMA),
        _read(layout, repeated_path(folder, index), REPEATED_SCHEMA),
        float(report["settings"].get("verified_jaccard") or parameters(report["signature_settings"]).threshold),
        partition.corpus,
    )


def score(batch: pa.RecordBatch, settings: Settings, side: SegmentDuplicates) -> pa.RecordBatch:
    """Add the cluster, what repeated paragraphs take away, and scratch columns on what the document duplicates.

    `repeated_paragraphs` (int32) and `repeated_characters` (int64, code points of these lines) count what goes; both
    are 0 where paragraphs are not looked at, and for documents that go as a whole.
    """
    del settings
    ids = batch.column("doc_id")
    duplicate_row = pc.index_in(ids, side.duplicates.column("doc_id"))
    representative_row = pc.index_in(ids, side.representatives.column("doc_id"))
    size = pc.coalesce(
        _take(side.representatives, "cluster_size", representative_row),
        _take(side.duplicates, "cluster_size", duplicate_row),
        pa.scalar(1, pa.int64()),
    )
    representative = _take(side.duplicates, "representative_id", duplicate_row)
    batch = with_column(batch, "cluster_id", pc.coalesce(representative, ids))
    batch = with_column(batch, "cluster_size", size)
    batch = _without_repeated(batch, side, pc.is_null(duplicate_row))
    for name in ("kind", "similarity"):
        batch = with_column(batch, f"_{name}", _take(side.duplicates, name, duplicate_row))
    batch = with_column(batch, "_detail", _named(side, representative, duplicate_row))
    threshold: Any = pc.if_else(pc.equal(batch.column("_kind"), "exact"), 1.0, side.near_threshold)
    return with_column(batch, "_threshold", threshold)


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Reject every duplicate; score is the similarity with its representative, which `detail` names.

    The similarity may lie below the threshold: a cluster is a chain of likenesses, and its ends may differ. A
    document of which no letter or digit is left is rejected too; its score is the number of paragraphs it had.
    """
    del settings
    is_emptied: Any = batch.column("_is_emptied")
    count: Any = batch.column("repeated_paragraphs")
    columns = [
        pc.if_else(is_emptied, _REPEATED, pc.binary_join_element_wise(batch.column("_kind"), "duplicate", "_")),
        pc.if_else(is_emptied, count.cast(pa.float64()), batch.column("_similarity")),
        batch.column("_threshold"),
        batch.column("_detail"),
    ]
    return pa.record_batch(columns, schema=VERDICT_SCHEMA)


def edit(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Take the repeated paragraphs out of the text."""
    del settings
    return with_column(batch, "text", pc.coalesce(batch.column("_text"), batch.column("text")))


def tally(batch: pa.RecordBatch) -> Mapping[str, int]:
    """What went from documents that stay, and how many documents stand for others."""
    counts: Any = batch.column("repeated_paragraphs")
    return {
        "repeated_paragraphs": int(pc.sum(counts).as_py() or 0),
        "repeated_characters": int(pc.sum(batch.column("repeated_characters")).as_py() or 0),
        "documents_with_repeated_paragraphs": int(pc.sum(pc.greater(counts, 0)).as_py() or 0),
        "representatives": int(pc.sum(pc.greater(batch.column("cluster_size"), 1)).as_py() or 0),
    }


def _without_repeated(batch: pa.RecordBatch, side: SegmentDuplicates, is_single: Any) -> pa.RecordBatch:
    """Counts, and the new text as scratch columns, of the documents that lose paragraphs."""
    rows, lost = batch.num_rows, side.paragraphs
    counts, characters = [0] * rows, [0] * rows
    texts: list[str | None] = [None] * rows
    is_emptied = [False] * rows
    places: Any = pc.if_else(is_single, pc.index_in(batch.column("doc_id"), lost.column("doc_id")), None)
    for row, place in enumerate(places.to_pylist()):
        text = batch.column("text")[row].as_py() if place is not None else None
        if place is None or text is None:
            continue
        lines: list[int] = lost.column("lines")[place].as_py()
        if hashes_of(text, lines) != dict(zip(lines, lost.column("hashes")[place].as_py(), strict=True)):
            # Lines are cut by number, which only holds for the text that they were counted in.
            raise MissingDataError(
                f"the text of document {batch.column('doc_id')[row]} is not the one whose paragraphs were compared: "
                f"run `gristmill run {side.corpus} --through duplicate_clusters --force`"
            )
        every = text.split("\n")
        counts[row], characters[row] = len(lines), sum(len(every[line]) for line in lines)
        texts[row] = left = without(text, lines)
        is_emptied[row] = not is_anything_left(left)
    batch = with_column(batch, "repeated_paragraphs", counts, pa.int32())
    batch = with_column(batch, "repeated_characters", characters, pa.int64())
    batch = with_column(batch, "_text", texts, batch.schema.field("text").type)
    return with_column(batch, "_is_emptied", is_emptied, pa.bool_())


def _named(side: SegmentDuplicates, representative: Any, rows: Any) -> Any:
    """The representative's doc_id, and its corpus where that is another one."""
    if "representative_corpus" not in side.duplicates.schema.names:  # clusters of one corpus by itself
        return representative
    corpus = _take(side.duplicates, "representative_corpus", rows)
    elsewhere: Any = pc.binary_join_element_wise(representative, corpus, " in corpus ")
    return pc.if_else(pc.equal(corpus, side.corpus), representative, elsewhere)


def _take(table: pa.Table, name: str, rows: Any) -> Any:
    column: Any = table.column(name).combine_chunks()
    return cast(Any, column).take(rows)


def _read(layout: Layout, path: str, schema: pa.Schema) -> pa.Table:
    """A file that is not there says that the segment has no such rows."""
    if not layout.fs.exists(path):
        return schema.empty_table()
    with reading(path), layout.fs.open(path, "rb") as file:
        return pq.ParquetFile(cast(Any, file)).read()
