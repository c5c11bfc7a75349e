"""`duplicate_clusters`: which documents of a corpus repeat which, and the one of each cluster that stays.

Documents with equal content hash, or with an equal band of their signatures (Broder 1997; LSH after Indyk
and Motwani 1998), lie in one bucket; a bucket is a star around its least node, and what hangs together is
a cluster. All of it is shuffled on Spark; the driver sees numbers and file names. The representative
is the best in quality, then the oldest, then the least content hash, then the least doc_id: the content
decides, so sharding, order and number of workers can't.
"""

import posixpath
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.commit import Attempt, now
from pipelines.dedup.buckets import BUCKET_SCHEMA, DOCUMENT_SCHEMA, SignaturePart, bucket_rows, document_rows
from pipelines.dedup.duplicate_files import (
    DUPLICATE_ROWS,
    REPRESENTATIVE_FOLDER,
    FixedGroupWriter,
    duplicate_path,
    write_duplicates,
    write_representatives,
)
from pipelines.fingerprint import fingerprint
from pipelines.schema import DUPLICATE_SCHEMA
from pipelines.stages import stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

REASONS: Mapping[str, str] = {}
LIBRARIES = ("pyspark", "pyarrow")
SOURCE = "minhash_signatures"
_FILE_SCHEMA = "name string, rows bigint, bytes bigint, sha256 string, kind string, segment string, number bigint"
_STEPS = 5


@dataclass(frozen=True)
class Settings:
    """Bands, rows and shingles are the signatures' own settings: nothing here can disagree with them."""


def run(
    spark: "SparkSession",
    layout: Layout,
    partition: Partition,
    settings: Settings,
    reporter: Reporter,
    *,
    is_forced: bool = False,
) -> dict[str, Any]:
    """Cluster all committed segments of the corpus of `partition`; returns the committed report.

    Raises:
        MissingDataError: no signatures are there, or segments were signed with different settings.
    """
    from pipelines.spark.run import engine

    row = stage("duplicate_clusters")
    corpus = Partition(partition.corpus)
    segments, reports, signed_with, inputs = _inputs(layout, corpus.corpus)
    plain = to_plain(settings)
    mark = fingerprint(row, plain, inputs)
    if not is_forced and (committed := reusable(layout, corpus, settings)) is not None:
        reporter.info(f"{row.name} {corpus.key}: already there for the same inputs, settings and code")
        return committed | {"is_reused": True}
    started = time.monotonic()
    with Attempt(layout, row.name, corpus) as attempt:
        job = _Job(spark, layout, attempt.output, list(reports), reporter)
        found = job.cluster(_parts(layout, segments), int(signed_with["bands"]))
        rows_in = sum(int(report["rows_kept"]) for report in reports.values())
        report = found | {
            "stage": row.name,
            "corpus": corpus.corpus,
            "segment": None,
            "segments": list(reports),
            "rows_in": rows_in,
            "rows_kept": rows_in - found["exact"] - found["near"],
            "rows_rejected": {},
            "settings": plain,
            "signature_settings": signed_with,
            "code_version": row.code_version,
            "libraries": row.libraries,
            "inputs": inputs,
            "fingerprint": mark,
            "engine": engine(spark),
            "seconds": round(time.monotonic() - started, 3),
            "created_at": now(),
        }
        attempt.commit(report)
    return report


def reusable(layout: Layout, partition: Partition, settings: Settings) -> dict[str, Any] | None:
    """The committed report if it still stands, so that no Spark is needed to say so; None if not.

    Raises:
        MissingDataError: as `run`.
    """
    row = stage("duplicate_clusters")
    *_, inputs = _inputs(layout, partition.corpus)
    committed = layout.report(row.name, Partition(partition.corpus))
    is_same = committed is not None and committed.get("fingerprint") == fingerprint(row, to_plain(settings), inputs)
    return committed if is_same else None


def _inputs(
    layout: Layout, corpus: str
) -> tuple[list[Partition], dict[str, dict[str, Any]], dict[str, Any], dict[str, str]]:
    """The segments that are signed, their reports, the settings they were signed with, and their fingerprints."""
    from pipelines.spark.run import require_segments

    segments = require_segments(layout, SOURCE, corpus)
    reports = {str(p.segment): layout.require_report(SOURCE, p) for p in segments}
    inputs = {f"{SOURCE} {segment}": str(report["fingerprint"]) for segment, report in reports.items()}
    return segments, reports, _common_settings(reports, corpus), inputs


class _Job:
    """The clustering of one corpus: reads parts, writes files below `folder`."""

    def __init__(
        self, spark: "SparkSession", layout: Layout, folder: str, segments: Sequence[str], reporter: Reporter
    ) -> None:
        self._spark, self._layout, self._folder, self._segments = spark, layout, folder, segments
        self._reporter = reporter
        self._step = 0

    def cluster(self, parts: Sequence[SignaturePart], bands: int) -> dict[str, Any]:
        """Find the clusters and write them; returns the numbers and files of the report."""
        from pyspark.sql import functions as f

        from pipelines.dedup.components import connected_components
        from pipelines.spark.checkpoint import checkpointer

        root, segments, folder = self._layout.root, self._segments, self._folder
        self._layout.fs.makedirs(posixpath.join(folder, REPRESENTATIVE_FOLDER), exist_ok=True)
        with checkpointer(self._spark, self._layout, folder) as checkpoint:
            self._advance("bucketing signatures")
            edges = star_edges(self._from_parts(parts, lambda ids: bucket_rows(root, parts, ids, bands), BUCKET_SCHEMA))
            members = connected_components(edges, checkpoint, self._on_round)
            self._advance("choosing representatives")
            roots = members.select(f.col("root").alias("node"), "root").distinct()
            documents = self._from_parts(parts, lambda ids: document_rows(root, parts, ids), DOCUMENT_SCHEMA)
            clustered = documents.join(members.unionByName(roots), "node").persist()
            best = representatives(clustered).persist()
            self._advance("writing")
            kept = best.select("representative_segment", "representative_id", "cluster_size").toDF(
                "segment", "doc_id", "cluster_size"
            )
            representative_files = self._write(
                kept, lambda batches: write_representatives(root, folder, segments, batches)
            )
            files = self._write(
                duplicates(clustered, best), lambda batches: write_duplicates(root, folder, segments, batches)
            )
        if not files:  # a folder of Parquet has a schema, even with nothing in it
            empty = FixedGroupWriter(self._layout, duplicate_path(folder, 0), DUPLICATE_SCHEMA).close()
            files: list[dict[str, Any]] = [empty | {"kind": "kept", "segment": segments[0], "number": 0}]
        self._advance("done")
        return _summary(files, representative_files)

    def _from_parts(
        self, parts: Sequence[SignaturePart], read: Callable[[list[int]], Iterator[Any]], schema: str
    ) -> "DataFrame":
        """A frame that one task per part reads by itself, through our own file access on any storage."""

        def in_worker(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                yield from read(batch.column("id").to_pylist())

        return self._spark.range(0, len(parts), 1, max(len(parts), 1)).mapInArrow(in_worker, schema)

    def _write(
        self, rows: "DataFrame", write: Callable[[Iterable[pa.RecordBatch]], Iterator[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        names = [field.split()[0] for field in _FILE_SCHEMA.split(", ")]

        def in_worker(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for file in write(batches):
                yield pa.RecordBatch.from_pylist([{name: file[name] for name in names}])

        ordered = rows.repartition("segment").sortWithinPartitions("segment", "doc_id")
        found = [row.asDict() for row in ordered.mapInArrow(in_worker, _FILE_SCHEMA).collect()]
        return sorted(found, key=lambda file: (file["kind"], file["segment"]))

    def _advance(self, note: str) -> None:
        self._step += 1
        self._spark.sparkContext.setJobDescription(f"duplicate_clusters: {note}")
        self._reporter.progress("duplicate_clusters", min(self._step, _STEPS), _STEPS, "steps", note)

    def _on_round(self, number: int, edges: int) -> None:
        if number == 1:
            self._step += 1
        note = f"components, round {number}, {edges:,} edges"
        self._reporter.progress("duplicate_clusters", self._step, _STEPS, "steps", note)


def star_edges(buckets: "DataFrame") -> "DataFrame":
    """Edges (node, other) from each node of a bucket to the bucket's least: n - 1 for n nodes, not n²."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    least = f.min("node").over(Window.partitionBy("key")).alias("other")
    return buckets.select("node", least).where("node != other")


def representatives(clustered: "DataFrame") -> "DataFrame":
    """One row per cluster: its representative (columns representative_…) and cluster_size.

    A minimum of structs is combined before the shuffle: a huge cluster costs no more than a small one.
    """
    from pyspark.sql import functions as f

    order = f.struct("disfavour", "fetched_at", "content_hash", "doc_id", "segment", "signature")
    best = clustered.groupBy("root").agg(f.min(order).alias("best"), f.count("*").alias("cluster_size"))
    return best.select(
        "root",
        "cluster_size",
        f.col("best.doc_id").alias("representative_id"),
        f.col("best.segment").alias("representative_segment"),
        f.col("best.content_hash").alias("representative_hash"),
        f.col("best.signature").alias("representative_signature"),
    )


def duplicates(clustered: "DataFrame", best: "DataFrame") -> "DataFrame":
    """The rows of every cluster but its representative (DUPLICATE_ROWS)."""
    from pyspark.sql import functions as f

    is_exact = (f.col("content_hash") == f.col("representative_hash")).alias("is_exact")
    names = [field.split()[0] for field in DUPLICATE_ROWS.split(", ")]
    joined = clustered.join(best, "root").where("doc_id != representative_id")
    return joined.select("*", is_exact).select(*names)


def _summary(files: list[dict[str, Any]], representative_files: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of the report, added up over the files."""
    exact = sum(int(file["number"]) for file in files)
    near = sum(int(file["rows"]) for file in files) - exact
    every = [{key: value for key, value in file.items() if key != "number"} for file in files + representative_files]
    return {
        "clusters": sum(int(file["rows"]) for file in representative_files),
        "exact": exact,
        "near": near,
        "largest_cluster": max((int(file["number"]) for file in representative_files), default=0),
        "files": every,
        "quarantine_files": [],
        "bytes": sum(int(file["bytes"]) for file in every),
        "tally": {"exact": exact, "near": near},
    }


def _parts(layout: Layout, segments: Sequence[Partition]) -> list[SignaturePart]:
    return [
        SignaturePart(path, index)
        for index, partition in enumerate(segments)
        for path in layout.parts(layout.partition_dir(SOURCE, partition))
    ]


def _common_settings(reports: Mapping[str, dict[str, Any]], corpus: str) -> dict[str, Any]:
    """The settings all segments were signed with: values of other permutations can't be compared."""
    first, *others = reports
    for segment in others:
        if reports[segment]["settings"] != reports[first]["settings"]:
            raise MissingDataError(
                f"segments {first} and {segment} of {corpus} have signatures made with different settings: "
                f"run `gristmill run {corpus} --through {SOURCE}` over all segments first"
            )
    return reports[first]["settings"]
