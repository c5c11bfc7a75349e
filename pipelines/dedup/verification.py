"""Candidate pairs held against their texts: which documents of a bucket are as alike as the threshold says.

Two documents share a bucket by chance too (Leskovec et al., Mining of Massive Datasets, 3.4.3: candidates, then a
check of each). Only the texts of documents that have company in a bucket are read, each once; their shingle sets
travel to the tasks that compare, which hold the sets of one bucket at a time. Buckets with the same members, as the
bands of two near-identical documents have, are compared once, and those with the same least document in one place
(`pipelines.dedup.candidate_groups`), so that a set is sent once for all of them. Whether a pair is verified depends on
its two texts alone, and which documents a bucket connects on its set of texts alone: not on order, sharding, or what
arrived when.

A bucket of more than MAXIMUM_TEXTS texts, or MAXIMUM_SHINGLES shingles, is joined unverified: a page that a crawl holds
a thousand times over is a template, and comparing all its pairs would cost the square. More members never split what
was joined, as fewer never join what was split.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gristmill.core.layout import Layout
from pipelines.dedup.candidate_groups import edges_of
from pipelines.dedup.candidate_texts import TextPart, shingle_sets
from pipelines.dedup.schemes import Parameters

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EDGE_SCHEMA = "node bigint, other bigint, is_verified boolean"
MAXIMUM_TEXTS = 1_000  # of a bucket: half a million pairs, a second of work at a thousand shingles each
MAXIMUM_SHINGLES = 1 << 22  # of a bucket: 32 MiB of hashes, about 25 MB of text, five times that while compared
CANDIDATES_AT, CANDIDATES_FOUND = 0.8, 0.995  # of pairs this similar, at least this share has a band in common
CANDIDATE_ROWS = 4  # a band at least: with fewer, texts that have a fifth in common meet all the time
_SHINGLE_BYTES = 4 << 20  # of a batch on its way to the JVM
_SHINGLE_SCHEMA = "least bigint, node bigint, content_hash binary, buckets array<binary>, shingles binary"
_ROW_BITS = 32  # of a node: its part's ordinal << 32 | its row
_Row = tuple[int, int, bytes, list[bytes], bytes]


@dataclass(frozen=True)
class Limits:
    """From where on a bucket is joined unverified."""

    texts: int = MAXIMUM_TEXTS
    shingles: int = MAXIMUM_SHINGLES


def candidate_bands(parameters: Parameters) -> Parameters:
    """The bands in which to look for candidates that will be verified: the same values, in shorter bands if need be.

    Bands alone have to tell pairs from chance, so they are long, and of the pairs of similarity 0.8 14 bands of 8 find
    92 %. Verification tells better, so the longest bands are taken that find 99.5 % of them: 18 of 6 of the same 112
    values. On real pages that is an eighth more candidates (docs/dedup.md, `make bench-dedup-truth`).
    """
    values = parameters.permutations
    for rows in range(parameters.rows, CANDIDATE_ROWS - 1, -1):
        cut = replace(parameters, rows=rows, bands=values // rows)
        if cut.probability(CANDIDATES_AT) >= CANDIDATES_FOUND:
            return cut
    return parameters


def verified_edges(
    spark: "SparkSession",
    layout: Layout,
    buckets: "DataFrame",
    sources: Sequence[TextPart],
    parameters: Parameters,
    threshold: float,
    limits: Limits | None = None,
) -> "DataFrame":
    """Edges (node, other, is_verified), node > other, that connect the documents of each bucket that are alike.

    Connected components of these edges are those of all pairs that share a bucket and whose shingle sets have a
    Jaccard similarity of `threshold` or more, and of all documents of each bucket beyond `limits`. A pair may come
    twice, from buckets that overlap; pairs that others connect already may be missing.

    Args:
        spark: the session.
        layout: where the parts lie.
        buckets: columns key (binary), node (bigint, part ordinal << 32 | row of the signature part), content_hash
            (binary; any name of the text): one row per document and bucket, one document per text (equal texts are
            connected by the caller). A bucket of one document gives nothing.
        sources: the parts that the nodes lie in; others may be among them.
        parameters: what the signatures were made with: texts are cut into shingles as they were for them.
        threshold: similarity, above 0 and at most 1.
        limits: from where on a bucket is joined unverified; for tests.

    Raises:
        MissingDataError: (from the action on the result) a text is gone, or is not the one that was signed.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    most = limits or Limits()
    by_ordinal = {source.ordinal: source for source in sources}
    bucket = Window.partitionBy("key")
    size, least = f.count("*").over(bucket).alias("size"), f.min("node").over(bucket).alias("least")
    sized = buckets.select("key", "node", "content_hash", size, least).where("size > 1")
    beyond = sized.where(f.col("size") > most.texts).where("node != least")
    joined = beyond.select("node", f.col("least").alias("other"), f.lit(False).alias("is_verified"))

    all_members = f.array_sort(f.collect_list(f.struct("node", "content_hash"))).alias("members")
    within = sized.where(f.col("size") <= most.texts).groupBy("key").agg(all_members)
    distinct = within.groupBy("members").agg(f.min("key").alias("bucket"))
    places = f.struct(f.col("members")[0]["node"].alias("least"), "bucket").alias("place")
    member = distinct.select(places, f.explode("members").alias("member"))
    node = f.col("member.node")
    wanted = (
        member.groupBy("member")
        .agg(f.collect_list("place").alias("places"))
        .select(f.shiftright(node, _ROW_BITS).alias("ordinal"), node, "member.content_hash", "places")
    )
    # A number of its own: told by their bytes, which are few, Spark would hand all parts to one task.
    tasks = max(1, min(len(sources), int(spark.conf.get("spark.sql.shuffle.partitions") or 1)))
    root = layout.root

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from shingle_rows(Layout(root), batches, by_ordinal, parameters)

    def compare(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from edges_of(batches, threshold, most.shingles)

    shingles = wanted.repartition(tasks, "ordinal").sortWithinPartitions("node").mapInArrow(read, _SHINGLE_SCHEMA)
    grouped = shingles.repartition("least").sortWithinPartitions("least", "content_hash", "node")
    return grouped.mapInArrow(compare, EDGE_SCHEMA).unionByName(joined)


def shingle_rows(
    layout: Layout, batches: Iterable[pa.RecordBatch], sources: Mapping[int, TextPart], parameters: Parameters
) -> Iterator[pa.RecordBatch]:
    """Rows (least, node, content_hash, buckets, shingles): each wanted document's shingle set, once for each `least`.

    Args:
        layout: where the parts lie.
        batches: (ordinal, node, content_hash, places) sorted by node; places are (least, bucket), the document's
            buckets with the least node of each.
        sources: the parts by ordinal.
        parameters: of the signatures.
    """
    rows, size = list[_Row](), 0
    for ordinal, nodes, hashes, places in _runs(batches):
        wanted = [node & ((1 << _ROW_BITS) - 1) for node in nodes]
        found = shingle_sets(layout, sources[ordinal], wanted, parameters)
        for node, digest, its_places, shingles in zip(nodes, hashes, places, found, strict=True):
            data, buckets = shingles.tobytes(), defaultdict[int, list[bytes]](list)
            for place in its_places:
                buckets[place["least"]].append(place["bucket"])
            for least in sorted(buckets):
                rows.append((least, node, digest, sorted(buckets[least]), data))
                size += len(data)
                if size >= _SHINGLE_BYTES:
                    yield _batch(rows)
                    rows, size = [], 0
    if rows:
        yield _batch(rows)


def _runs(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, list[int], list[bytes], list[list[Any]]]]:
    """The wanted rows of one part after the other; ids and hashes alone, some hundred bytes a document."""
    current, nodes, hashes, places = -1, list[int](), list[bytes](), list[list[Any]]()
    for batch in batches:
        columns: list[list[Any]] = [batch.column(n).to_pylist() for n in ("ordinal", "node", "content_hash", "places")]
        for ordinal, node, digest, its_places in zip(*columns, strict=True):
            if ordinal != current:
                if nodes:
                    yield current, nodes, hashes, places
                current, nodes, hashes, places = ordinal, [], [], []
            nodes.append(node)
            hashes.append(digest)
            places.append(its_places)
    if nodes:
        yield current, nodes, hashes, places


def _batch(rows: Sequence[_Row]) -> pa.RecordBatch:
    columns = (list(column) for column in zip(*rows, strict=True))
    types = (pa.int64(), pa.int64(), pa.binary(), pa.list_(pa.binary()), pa.binary())
    names = ["least", "node", "content_hash", "buckets", "shingles"]
    return pa.record_batch([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names=names)
