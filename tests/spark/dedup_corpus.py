"""Signature segments made by hand, and the clusters a plain union-find says they have."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout, Partition
from pipelines.dedup.clusters import Settings
from pipelines.schema import SIGNATURE_SCHEMA
from pipelines.spark.session import SparkSettings

BANDS, ROWS = 4, 2
ONE_TASK, FRAMES = SparkSettings.single_task_rows, 0  # what is joined in one task: all of it, and nothing
UNVERIFIED = Settings(verified_jaccard=0)  # these signatures have no texts
Document = dict[str, Any]


def document(name: str, bands: Sequence[int], text: str | None = None, quality: float = 1.0) -> Document:
    """A document whose i-th band is all `bands[i]`; documents of one `text` have one content hash."""
    digest = hashlib.blake2b((text or name).encode(), digest_size=16).digest()
    return {
        "doc_id": hashlib.blake2b(name.encode(), digest_size=16).hexdigest(),
        "url": f"https://host/{name}",
        "content_hash": digest,
        "signature": np.repeat(np.array(bands, "<u4"), ROWS).tobytes(),
        "quality": quality,
    }


def write_segments(layout: Layout, corpus: str, segments: Iterable[Sequence[Sequence[Document]]]) -> None:
    """Commit minhash_signatures: per segment a list of parts, per part a list of documents."""
    for index, parts in enumerate(segments):
        write_segment(layout, Partition(corpus, f"{index:05d}"), parts)


def write_segment(layout: Layout, partition: Partition, parts: Sequence[Sequence[Document]]) -> None:
    """Commit the signatures of one segment, in place of those that are there."""
    folder = layout.partition_dir("minhash_signatures", partition)
    remove_segment(layout, partition)
    layout.fs.makedirs(folder)
    for number, rows in enumerate(parts):
        pq.write_table(pa.Table.from_pylist(list(rows), SIGNATURE_SCHEMA), f"{folder}/part-{number:05d}.parquet")
    report = {
        "rows_kept": sum(map(len, parts)),
        "fingerprint": hashlib.sha256(repr((partition, parts)).encode()).hexdigest()[:32],
        "settings": {"bands": BANDS, "rows": ROWS, "shingle_words": 5, "seed": 1},
    }
    layout.write_json(f"{folder}/report.json", report)


def remove_segment(layout: Layout, partition: Partition) -> None:
    """Take the signatures of a segment away."""
    folder = layout.partition_dir("minhash_signatures", partition)
    if layout.fs.exists(folder):
        layout.fs.rm(folder, recursive=True)


def shard(documents: Sequence[Document], seed: int, segments: int, parts: int) -> list[list[list[Document]]]:
    """The same documents in another order and other files."""
    order = random.Random(seed)
    shuffled = list(documents)
    order.shuffle(shuffled)
    grid: list[list[list[Document]]] = [[[] for _ in range(parts)] for _ in range(segments)]
    for row in shuffled:
        grid[order.randrange(segments)][order.randrange(parts)].append(row)
    return grid


def expected_representatives(documents: Sequence[Document], preferred: Sequence[str] = ()) -> dict[str, str]:
    """doc_id of each duplicate to its representative's, by union-find over equal hashes and equal bands.

    Documents of a corpus that is preferred have its name under the key `corpus`, which no signature part has.
    """
    parent = list(range(len(documents)))

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    first: dict[Any, int] = {}
    for index, row in enumerate(documents):
        width = 4 * ROWS
        bands = [(band, row["signature"][band * width : (band + 1) * width]) for band in range(BANDS)]
        for key in [row["content_hash"], *bands]:
            parent[find(index)] = find(first.setdefault(key, index))
    clusters: defaultdict[int, list[Document]] = defaultdict(list)
    for index, row in enumerate(documents):
        clusters[find(index)].append(row)
    expected: dict[str, str] = {}
    for members in clusters.values():
        best = min(
            members, key=lambda row: (_rank(row, preferred), -row["quality"], row["content_hash"], row["doc_id"])
        )
        expected |= {row["doc_id"]: best["doc_id"] for row in members if row is not best}
    return expected


def _rank(row: Document, preferred: Sequence[str]) -> int:
    corpus = row.get("corpus")
    return preferred.index(corpus) if corpus in preferred else len(preferred)
