"""Clusters on Spark against union-find, whatever the sharding, the order and the shape."""

import datetime
import itertools
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_corpus import (
    FRAMES,
    ONE_TASK,
    UNVERIFIED,
    Document,
    document,
    expected_representatives,
    shard,
    write_segments,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.dedup.clusters import run
from pipelines.dedup.components import connected_components
from pipelines.dedup.duplicate_files import representative_path
from pipelines.schema import DUPLICATE_SCHEMA

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore::ResourceWarning")]


class Quiet(Reporter):
    """Collects what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)


def cluster(spark: Any, layout: Layout, corpus: str = "c", **how: Any) -> dict[str, Any]:
    return run(spark, layout, Partition(corpus), UNVERIFIED, Quiet(), **how)


def duplicates(layout: Layout, corpus: str = "c") -> list[dict[str, Any]]:
    paths = layout.parts(layout.partition_dir("duplicate_clusters", Partition(corpus)))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def components(spark: Any, edges: list[tuple[int, int]]) -> dict[int, int]:
    frame = spark.createDataFrame(edges, "node bigint, other bigint")
    rounds: list[int] = []
    found = connected_components(frame, lambda f: f.localCheckpoint(eager=True), lambda n, _: rounds.append(n))
    assert rounds[-1] < 20
    return {row.node: row.root for row in found.collect()}


def test_components_of_a_chain_a_star_a_ring_and_random_graphs(spark) -> None:
    order = random.Random(3)
    chain = list(range(2001))
    order.shuffle(chain)
    edges = list(itertools.pairwise(chain))
    edges += [(10_000, 10_000 + leaf) for leaf in range(1, 3000)]
    edges += [(20_000 + i, 20_000 + (i + 1) % 50) for i in range(50)]
    edges += [(30_000 + order.randrange(400), 30_000 + order.randrange(400)) for _ in range(250)]
    edges = [(a, b) for a, b in edges if a != b]
    edges += [(b, a) for a, b in edges[::3]]
    found = components(spark, edges)
    parent: dict[int, int] = {}

    def find(node: int) -> int:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in edges:
        low, high = sorted((find(a), find(b)))
        parent[high] = low
    assert found == {node: find(node) for node in list(parent) if find(node) != node}


def test_components_of_nothing(spark) -> None:
    assert components(spark, [(1, 2)]) == {2: 1}
    frame = spark.createDataFrame([], "node bigint, other bigint")
    assert connected_components(frame, lambda f: f.localCheckpoint(eager=True)).count() == 0


DOCUMENTS = st.lists(
    st.tuples(st.lists(st.integers(0, 60), min_size=4, max_size=4), st.integers(0, 60), st.integers(0, 2)),
    min_size=20,
    max_size=90,
)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DOCUMENTS, st.integers(0, 1000))
def test_the_same_representatives_however_sharded(spark, tmp_path_factory, single_task_rows, drawn, seed: int) -> None:
    documents = [
        document(f"d{index}", [band if band > 5 else 1000 + index for band in bands], f"t{text}", float(quality))
        for index, (bands, text, quality) in enumerate(drawn)
    ]
    expected = expected_representatives(documents)
    for segments, parts, rows in ((1, 1, FRAMES), (3, 2, FRAMES), (2, 3, ONE_TASK), (1, 1, ONE_TASK)):
        single_task_rows(rows)
        layout = Layout(str(tmp_path_factory.mktemp("sharded")))
        write_segments(layout, "c", shard(documents, seed + segments, segments, parts))
        report = cluster(spark, layout)
        found = duplicates(layout)
        assert {row["doc_id"]: row["representative_id"] for row in found} == expected
        assert report["rows_kept"] == report["rows_in"] - len(expected)
        assert found == sorted(found, key=lambda row: (row["segment"], row["doc_id"]))


def golden() -> list[list[list[Document]]]:
    early, late = (datetime.datetime(2026, month, 1, tzinfo=datetime.UTC) for month in (1, 6))
    a = document("a", [1, 2, 3, 4], "A")
    copy = document("copy", [1, 2, 3, 4], "A")
    near = document("near", [1, 2, 9, 9], "B")
    best = document("best", [1, 8, 8, 8], "C", quality=2.0)
    far = document("far", [7, 7, 9, 9], "D", quality=0.5)  # shares a band with near alone
    old = document("old", [20, 20, 20, 20], "E") | {"fetched_at": early}
    young = document("young", [20, 21, 21, 21], "F") | {"fetched_at": late}
    undated = document("undated", [20, 22, 22, 22], "G")
    mute = [document(f"mute{i}", [], "***", quality=0.0) | {"signature": None} for i in range(2)]
    nothing = document("nothing", [], quality=0.0) | {"signature": None, "content_hash": None}
    lonely = document("lonely", [50, 51, 52, 53])
    swapped = document("swapped", [51, 50, 54, 55])  # equal values, in other bands
    return [[[a, near, young], [mute[0], nothing, lonely]], [[copy, best, old, mute[1]], [far, undated, swapped]]]


@pytest.mark.usefixtures("each_way")
def test_golden_clusters(spark, layout: Layout) -> None:
    write_segments(layout, "c", golden())
    report = cluster(spark, layout)
    names = [f"{row['url']}".removeprefix("https://host/") for parts in golden() for rows in parts for row in rows]
    ids = {document(name, [])["doc_id"]: name for name in names}
    found = {ids[row["doc_id"]]: row for row in duplicates(layout)}
    named = {name: (ids[row["representative_id"]], row["kind"], row["similarity"]) for name, row in found.items()}
    mute_first, mute_second = sorted(("mute0", "mute1"), key=lambda name: document(name, [])["doc_id"])
    assert named == {
        "a": ("best", "near", 0.25),
        "copy": ("best", "near", 0.25),
        "near": ("best", "near", 0.25),
        "far": ("best", "near", 0.0),
        "young": ("old", "near", 0.25),
        "undated": ("old", "near", 0.25),
        mute_second: (mute_first, "exact", 1.0),
    }
    assert found["a"]["cluster_size"] == 5
    assert found["a"]["representative_segment"] == "00001"
    facts = {key: report[key] for key in ("rows_in", "rows_kept", "clusters", "exact", "near", "largest_cluster")}
    assert facts == {"rows_in": 13, "rows_kept": 6, "clusters": 3, "exact": 1, "near": 6, "largest_cluster": 5}
    folder = layout.partition_dir("duplicate_clusters", Partition("c"))
    heads = pq.read_table(representative_path(folder, 1)).to_pylist()
    assert {ids[row["doc_id"]]: row["cluster_size"] for row in heads}["best"] == 5
    again = cluster(spark, layout)
    assert again["is_reused"]
    assert again["created_at"] == report["created_at"]
    forced = cluster(spark, layout, is_forced=True)
    assert forced["files"] == report["files"]


@pytest.mark.usefixtures("each_way")
def test_the_same_bytes_whatever_the_parallelism(spark, layout: Layout) -> None:
    write_segments(layout, "c", golden())
    first = cluster(spark, layout)["files"]
    before = spark.conf.get("spark.sql.shuffle.partitions")
    for partitions in ("1", "7"):
        spark.conf.set("spark.sql.shuffle.partitions", partitions)
        assert cluster(spark, layout, is_forced=True)["files"] == first
    spark.conf.set("spark.sql.shuffle.partitions", before)


@pytest.mark.usefixtures("each_way")
def test_a_chain_of_documents_is_one_cluster(spark, layout: Layout) -> None:
    links = [document(f"link{i}", [10_000 + i // 2, 20_000 + (i + 1) // 2, i, -i % 2**32]) for i in range(2000)]
    write_segments(layout, "c", shard(links, 1, 2, 2))
    report = cluster(spark, layout)
    assert (report["clusters"], report["largest_cluster"], report["near"]) == (1, 2000, 1999)


@pytest.mark.usefixtures("each_way")
def test_empty_segments_and_texts_without_signatures(spark, layout: Layout) -> None:
    nothing = [document(f"n{i}", [], quality=0.0) | {"signature": None, "content_hash": None} for i in range(3)]
    for corpus, segments in {"empty": [[[]]], "partless": [[]], "mute": [[nothing], [[]]]}.items():
        write_segments(layout, corpus, segments)
        report = cluster(spark, layout, corpus)
        assert (report["clusters"], report["rows_kept"]) == (0, report["rows_in"])
        (path,) = layout.parts(layout.partition_dir("duplicate_clusters", Partition(corpus)))
        assert pq.read_table(path).schema == DUPLICATE_SCHEMA


def test_signatures_of_other_settings_are_refused(spark, layout: Layout) -> None:
    with pytest.raises(MissingDataError, match="gristmill run c --through minhash_signatures"):
        cluster(spark, layout)
    write_segments(layout, "c", [[[]], [[]]])
    path = layout.join(layout.partition_dir("minhash_signatures", Partition("c", "00001")), "report.json")
    report = layout.read_json(path) or {}
    layout.write_json(path, report | {"settings": report["settings"] | {"seed": 2}})
    with pytest.raises(MissingDataError, match="different settings"):
        cluster(spark, layout)


def test_an_unreadable_part_leaves_the_committed_clusters(spark, layout: Layout) -> None:
    write_segments(layout, "c", golden())
    committed = cluster(spark, layout)
    part = Path(layout.parts(layout.partition_dir("minhash_signatures", Partition("c", "00000")))[0])
    part.write_bytes(b"not parquet")
    with pytest.raises(Exception, match="Parquet"):
        cluster(spark, layout, is_forced=True)
    assert layout.report("duplicate_clusters", Partition("c")) == committed
    assert pa.concat_tables([pa.Table.from_pylist(duplicates(layout))]).num_rows == 7
    assert not layout.fs.exists(layout.join(".tmp"))
