"""State and new segments give the state that everything at once gives: to the byte, in any order of events."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_corpus import (
    UNVERIFIED,
    Document,
    document,
    expected_representatives,
    remove_segment,
    shard,
    write_segment,
)

from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.commit import Attempt
from pipelines.dedup.clusters import Settings, reusable, run
from pipelines.dedup.verification import MAXIMUM_TEXTS
from pipelines.parts import PartTask, run_part
from pipelines.schema import DOCUMENT_SCHEMA
from pipelines.spark.errors import explain
from pipelines.stages import stage
from pipelines.worker import describe

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore::ResourceWarning")]
ALONE, ALL = UNVERIFIED, replace(UNVERIFIED, scope="all", preferred_corpora=("books",))


class Lines(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)


def cluster(spark: Any, layout: Layout, corpus: str = "c", settings: Settings = ALONE, **how: Any) -> dict[str, Any]:
    return run(spark, layout, Partition(corpus), settings, Lines(), **how)


def duplicates(layout: Layout, corpus: str = "c") -> list[dict[str, Any]]:
    paths = layout.parts(layout.partition_dir("duplicate_clusters", Partition(corpus)))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def representatives(layout: Layout, *corpora: str) -> dict[str, str]:
    return {row["doc_id"]: row["representative_id"] for corpus in corpora for row in duplicates(layout, corpus)}


def documents(count: int, seed: int) -> list[Document]:
    """Documents that share bands and texts often enough to make pairs, chains and stars."""
    order = random.Random(seed)
    made: list[Document] = []
    for index in range(count):
        bands = [order.randrange(2 * count) if order.random() < 0.5 else 10**6 * seed + index for _ in range(4)]
        text = f"t{order.randrange(count)}" if order.random() < 0.2 else None
        made.append(document(f"{seed}-{index}", bands, text, float(order.randrange(3))))
    return made


def of(segments: dict[str, list[list[Document]]]) -> list[Document]:
    return [row for parts in segments.values() for rows in parts for row in rows]


def state_folders(layout: Layout) -> Sequence[str]:
    found = layout.fs.glob(layout.join("cluster_state", "**", "report.json"))
    return [path.rsplit("/", 2)[1] for path in found]


@pytest.mark.usefixtures("each_way")
def test_five_arrivals_a_rebuilt_and_a_removed_segment_are_one_full_run(spark, layout: Layout) -> None:
    grid = shard(documents(400, 1), 5, 5, 2)
    segments: dict[str, list[list[Document]]] = {}
    for index, parts in enumerate(grid):
        segments[f"{index:05d}"] = parts
        write_segment(layout, Partition("c", f"{index:05d}"), parts)
        arrived = cluster(spark, layout)
        assert representatives(layout, "c") == expected_representatives(of(segments))
        assert arrived["tally"]["documents_new"] == sum(map(len, parts))
        assert arrived["tally"]["documents_known"] == len(of(segments)) - sum(map(len, parts))
    full = cluster(spark, layout, is_forced=True)
    assert full["files"] == arrived["files"]
    assert full["tally"]["documents_known"] == 0

    segments["00001"] = [documents(30, 2), [*segments["00001"][0], *documents(5, 3)]]
    write_segment(layout, Partition("c", "00001"), segments["00001"])
    rebuilt = cluster(spark, layout)
    assert representatives(layout, "c") == expected_representatives(of(segments))
    assert rebuilt["tally"]["documents_released"] > 0
    del segments["00002"], segments["00004"]
    segments["00007"] = [documents(40, 4)]
    for gone in ("00002", "00004"):
        remove_segment(layout, Partition("c", gone))
    write_segment(layout, Partition("c", "00007"), segments["00007"])
    changed = cluster(spark, layout)
    assert representatives(layout, "c") == expected_representatives(of(segments))
    assert len(set(state_folders(layout))) <= 4, "versions that nothing needs are gone"
    assert cluster(spark, layout, is_forced=True)["files"] == changed["files"]
    assert len(state_folders(layout)) == 1
    layout.fs.rm(layout.join("cluster_state"), recursive=True)
    remove_segment(layout, Partition("c", "00007"))
    after = cluster(spark, layout)
    assert after["tally"]["documents_known"] == 0
    assert representatives(layout, "c") == expected_representatives(of(segments)[: -len(segments["00007"][0])])


@pytest.mark.usefixtures("each_way")
def test_corpora_are_compared_and_the_preferred_one_keeps_its_documents(spark, layout: Layout) -> None:
    crawl, books = documents(150, 5), documents(60, 5)[:40] + documents(30, 6)
    books = [row | {"doc_id": f"b{row['doc_id']}", "corpus": "books", "quality": 0.0} for row in books]
    write_segment(layout, Partition("crawl", "a"), [crawl[:100]])
    alone = cluster(spark, layout, "crawl", ALL)
    assert alone["compared_with"] == {}
    write_segment(layout, Partition("crawl", "b"), [crawl[100:]])
    write_segment(layout, Partition("books", "x"), [books])
    assert reusable(layout, Partition("crawl"), ALL) is None
    reports = {corpus: cluster(spark, layout, corpus, ALL) for corpus in ("crawl", "books")}
    assert representatives(layout, "crawl", "books") == expected_representatives([*crawl, *books], ["books"])
    crossing = [row for row in duplicates(layout, "crawl") if row["representative_corpus"] == "books"]
    assert crossing
    assert all(row["cluster_id"] == row["representative_id"] for row in crossing)
    assert not [row for row in duplicates(layout, "books") if row["representative_corpus"] != "books"]
    assert reports["books"]["tally"]["documents_new"] == 0, "the first run knows both"
    assert set(reports["crawl"]["compared_with"]) == {"books"}
    assert reusable(layout, Partition("crawl"), ALL) is not None

    write_segment(layout, Partition("other", "y"), [documents(10, 7)])
    path = layout.join(layout.partition_dir("minhash_signatures", Partition("other", "y")), "report.json")
    layout.write_json(path, (layout.read_json(path) or {}) | {"settings": {"bands": 2, "rows": 4}})
    remove_segment(layout, Partition("books", "x"))
    assert reusable(layout, Partition("crawl"), ALL) is None
    lines = Lines()
    left = run(spark, layout, Partition("crawl"), ALL, lines)
    assert representatives(layout, "crawl") == expected_representatives(crawl)
    assert list(left["not_compared"]) == ["other"]
    assert [line for line in lines.lines if "not compared with other" in line]
    assert cluster(spark, layout, "crawl", ALL, is_forced=True)["files"] == left["files"]


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("kind", ["members", "duplicates"])
def test_a_damaged_state_is_made_again(spark, layout: Layout, kind: str) -> None:
    write_segment(layout, Partition("c", "a"), [documents(40, 5)])
    committed = cluster(spark, layout)
    if kind == "members":
        write_segment(layout, Partition("c", "b"), [documents(40, 5)[:20]])
    found = layout.fs.glob(f"{layout.join(committed['state'])}/*/clusters/*-{kind}.parquet")
    layout.write_bytes(found[0], layout.fs.cat_file(found[0])[:-9])
    layout.fs.rm(layout.join("duplicate_clusters"), recursive=True)  # or it would stand
    lines = Lines()
    again = run(spark, layout, Partition("c"), ALONE, lines)
    assert [line for line in lines.lines if line.startswith("note: ") and "everything is compared again" in line]
    assert again["files"] == cluster(spark, layout, is_forced=True)["files"]
    assert again["tally"]["documents_known"] == 0


def write_texts(layout: Layout, segment: str, texts: list[str]) -> None:
    """Commit documents and their real signatures."""
    partition, names = Partition("c", segment), [f"{segment}-{index}" for index in range(len(texts))]
    rows = [
        {"doc_id": name, "corpus": "c", "segment": segment, "text": text}
        for name, text in zip(names, texts, strict=True)
    ]
    source = layout.partition_dir("quality_filtered_documents", partition)
    layout.fs.makedirs(source)
    pq.write_table(pa.Table.from_pylist(rows, DOCUMENT_SCHEMA), f"{source}/part-00000.parquet")
    values = to_plain(stage("minhash_signatures").settings_class())
    with Attempt(layout, "minhash_signatures", partition) as attempt:
        path = f"{source}/part-00000.parquet"
        task = PartTask(
            "minhash_signatures", layout.root, "c", segment, path, "part-00000.parquet", attempt.folder, values
        )
        run_part(task)
        attempt.commit({"rows_kept": len(texts), "fingerprint": f"{segment} {len(texts)}", "settings": values})


@pytest.mark.usefixtures("each_way")
def test_verified_candidates_are_the_same_however_they_arrive(spark, layout: Layout) -> None:
    order = random.Random(8)
    words = [f"word{index}" for index in range(3000)]
    bases = [order.choices(words, k=80) for _ in range(12)]
    texts: list[str] = []
    for _ in range(90):
        text = list(order.choice(bases))
        for _ in range(order.choice((0, 0, 1, 2, 4))):
            text[order.randrange(len(text))] = order.choice(words)
        texts.append(" ".join(text))
    verified = Settings(verified_jaccard=0.8)
    for number in range(3):
        write_texts(layout, f"{number:05d}", texts[number::3])
        arrived = cluster(spark, layout, settings=verified)
    assert arrived["near"] > 0
    assert cluster(spark, layout, settings=verified, is_forced=True)["files"] == arrived["files"]
    shingles = {
        f"{index % 3:05d}-{index // 3}": set(zip(*(text.split()[start:] for start in range(5)), strict=False))
        for index, text in enumerate(texts)
    }
    pairs = [row for row in duplicates(layout) if row["cluster_size"] == 2]
    assert pairs
    for row in pairs:
        one, other = shingles[row["doc_id"]], shingles[row["representative_id"]]
        assert len(one & other) >= 0.8 * len(one | other)
    assert cluster(spark, layout)["near"] > arrived["near"], "unverified, the less alike count too"


@pytest.mark.usefixtures("each_way")
def test_a_bucket_of_ten_thousand_is_one_cluster(spark, layout: Layout) -> None:
    same = [document(f"s{index}", [1, 2, 3, 4]) for index in range(10_000)]
    write_segment(layout, Partition("c", "a"), [same[:4000], same[4000:9000]])
    cluster(spark, layout)
    write_segment(layout, Partition("c", "b"), [same[9000:]])
    report = cluster(spark, layout)
    assert (report["clusters"], report["largest_cluster"], report["near"]) == (1, 10_000, 9_999)
    assert report["tally"]["bucket_rows"] < 1_100 * 5, "new documents alone are looked up"


@pytest.mark.usefixtures("each_way")
def test_a_bucket_too_large_to_verify_is_joined_and_counted(spark, layout: Layout) -> None:
    same = [document(f"s{index}", [1, 2, 3, 4]) for index in range(MAXIMUM_TEXTS + 1)]
    write_segment(layout, Partition("c", "a"), [same[:600]])
    with pytest.raises(Exception, match="it is not there") as error:
        cluster(spark, layout, settings=Settings())
    assert "or set `verified_jaccard: 0` of duplicate_clusters" in str(explain(error.value, "duplicate_clusters"))
    write_segment(layout, Partition("c", "b"), [same[600:]])
    report = cluster(spark, layout, settings=Settings())
    assert (report["clusters"], report["largest_cluster"]) == (1, len(same))
    assert report["tally"]["documents_unverified"] == len(same)
    assert report["tally"]["edges_unverified"] == len(same) - 1
    assert "1,001 documents joined unverified" in describe(stage("duplicate_clusters"), "c", report)
