"""Repeated paragraphs found on Spark against a plain loop, whatever the sharding and the number of tasks."""

import datetime
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.dedup import clusters
from pipelines.dedup.paragraph_files import repeated_path, write_repeated_paragraphs
from pipelines.dedup.paragraphs import paragraphs
from pipelines.plan import plan
from pipelines.schema import DOCUMENT_SCHEMA, DUPLICATE_SCHEMA, SIGNATURE_SCHEMA
from pipelines.segments import live_segments
from pipelines.spark.run import run_map_stage
from pipelines.stages import stage

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore::ResourceWarning")]
Document = dict[str, Any]
CORPORA = ("books", "crawl")
SENTENCES = [f"Sentence {chr(97 + n // 26)}{chr(97 + n % 26)} of the common stock of sentences." for n in range(60)]


def documents(count: int, seed: int) -> list[Document]:
    """Documents of which many share sentences; some are duplicates already, and some say one thing twice."""
    order = random.Random(seed)
    made: list[Document] = []
    for number in range(count):
        lines = [*order.choices(SENTENCES, k=order.randrange(1, 9)), f"Only {chr(97 + number)} says this.", "short"]
        order.shuffle(lines)
        made.append(
            {
                "doc_id": f"{order.randrange(1 << 64):016x}",
                "text": "\n\n".join(lines),
                "content_hash": order.randbytes(16),
                "quality": float(order.randrange(3)),
                "fetched_at": order.choice([None, datetime.datetime(2020, 1, 1 + number % 3, tzinfo=datetime.UTC)]),
                "corpus": order.choice(CORPORA),
                "is_duplicate": order.random() < 0.2,
            }
        )
    return made


def expected(rows: list[Document], preferred: tuple[str, ...], min_characters: int) -> dict[str, list[int]]:
    """doc_id to the lines it loses."""

    def standing(row: Document) -> tuple[Any, ...]:
        rank = preferred.index(row["corpus"]) if row["corpus"] in preferred else len(preferred)
        fetched = row["fetched_at"]
        return rank, -row["quality"], fetched is None, fetched or 0, row["content_hash"], row["doc_id"]

    seen: set[int] = set()
    lost: defaultdict[str, list[int]] = defaultdict(list)
    for row in sorted((row for row in rows if not row["is_duplicate"]), key=standing):
        found = paragraphs(row["text"], min_characters)
        for line, value in zip(found.lines.tolist(), found.hashes.tolist(), strict=True):
            if value in seen:
                lost[row["doc_id"]].append(line)
            seen.add(value)
    return dict(lost)


def write(layout: Layout, rows: list[Document], seed: int, segments: int, parts: int) -> list[Partition]:
    """The rows in a random order and random files; one segment of each corpus stays empty."""
    order = random.Random(seed)
    cells: defaultdict[tuple[Partition, int], list[Document]] = defaultdict(list)
    for row in order.sample(rows, len(rows)):
        partition = Partition(row["corpus"], f"{order.randrange(segments):05d}")
        cells[partition, order.randrange(parts)].append(row)
    every = [Partition(corpus, f"{index:05d}") for corpus in CORPORA for index in range(segments + 1)]
    for partition in every:
        for number in range(parts):
            some = cells[partition, number]
            for asset, schema in (
                ("quality_filtered_documents", DOCUMENT_SCHEMA),
                ("minhash_signatures", SIGNATURE_SCHEMA),
            ):
                folder = layout.partition_dir(asset, partition)
                layout.fs.makedirs(folder, exist_ok=True)
                pq.write_table(pa.Table.from_pylist(some, schema), f"{folder}/part-{number:05d}.parquet")
                layout.write_json(f"{folder}/report.json", {})
        gone = [row for number in range(parts) for row in cells[partition, number] if row["is_duplicate"]]
        if gone:
            layout.fs.makedirs(layout.join("gone", partition.corpus), exist_ok=True)
            pq.write_table(pa.Table.from_pylist(gone, DUPLICATE_SCHEMA), duplicates_of(layout, partition))
    return every


def duplicates_of(layout: Layout, partition: Partition) -> str:
    return layout.join("gone", partition.corpus, f"{partition.segment}.parquet")


@pytest.mark.parametrize("preferred", [(), ("crawl",)], ids=["no preference", "crawl first"])
def test_the_same_paragraphs_go_whatever_the_sharding(spark, tmp_path: Path, preferred: tuple[str, ...]) -> None:
    rows = documents(120, 5)
    wanted = expected(rows, preferred, 10)
    assert len(wanted) > 60
    for seed, segments, parts in ((1, 1, 1), (2, 3, 2)):
        layout = Layout(str(tmp_path / f"{seed}"))
        every = write(layout, rows, seed, segments, parts)
        found: dict[str, list[int]] = {}
        for corpus in CORPORA:
            folder = layout.join("out", corpus)
            files = write_repeated_paragraphs(
                spark,
                layout,
                folder,
                corpus,
                random.Random(seed).sample(every, len(every)),
                duplicates={p: duplicates_of(layout, p) for p in every},
                preferred_corpora=preferred,
                min_characters=10,
            )
            assert [file["segment"] for file in files] == [f"{index:05d}" for index in range(segments)]
            assert {file["kind"] for file in files} == {"repeated_paragraphs"}
            for index, file in enumerate(files):
                table = pq.read_table(repeated_path(folder, index)).to_pylist()
                assert [row["doc_id"] for row in table] == sorted(row["doc_id"] for row in table)
                assert (len(table), sum(len(row["lines"]) for row in table)) == (file["rows"], file["number"])
                found |= {row["doc_id"]: row["lines"] for row in table}
        assert found == wanted
    again = layout.join("again")
    duplicates = {p: duplicates_of(layout, p) for p in every}
    repeated = write_repeated_paragraphs(
        spark, layout, again, "crawl", every, duplicates=duplicates, preferred_corpora=preferred, min_characters=10
    )
    assert repeated == files


def test_a_record_that_lies_there_twice_is_one_document(spark, tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    partition = Partition("books", "00000")
    copy = {
        "doc_id": "a",
        "text": "shared by both\nonly here\nshared by both",
        "content_hash": b"a" * 16,
        "quality": 2.0,
    }
    other = {"doc_id": "b", "text": "another\nshared by both", "content_hash": b"b" * 16, "quality": 1.0}
    for number, rows in enumerate(([copy, copy], [other, copy])):
        for asset, schema in (
            ("quality_filtered_documents", DOCUMENT_SCHEMA),
            ("minhash_signatures", SIGNATURE_SCHEMA),
        ):
            folder = layout.partition_dir(asset, partition)
            layout.fs.makedirs(folder, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows, schema), f"{folder}/part-{number:05d}.parquet")
            layout.write_json(f"{folder}/report.json", {})
    out = layout.join("out")
    (file,) = write_repeated_paragraphs(spark, layout, out, "books", [partition], duplicates={})
    lost = {row["doc_id"]: row["lines"] for row in pq.read_table(repeated_path(out, 0)).to_pylist()}
    assert lost == {"a": [2], "b": [1]}
    assert file["number"] == 2


def test_from_clusters_to_texts(spark, tmp_path: Path) -> None:
    """Settings to files to texts: afterwards no paragraph is there twice, and none is lost, over both corpora."""
    layout = Layout(str(tmp_path))
    rows = [row | {"is_duplicate": False} for row in documents(40, 9)]
    every = [p for p in write(layout, rows, 4, 1, 2) if p.segment == "00000"]
    for partition in every:
        for asset in ("quality_filtered_documents", "minhash_signatures"):
            report = {"fingerprint": partition.key, "rows_kept": 0, "settings": {"scheme": "gristmill"}}
            layout.write_json(f"{layout.partition_dir(asset, partition)}/report.json", report)
    for partition in live_segments(layout, "minhash_signatures"):
        if partition not in every:
            layout.fs.rm(layout.partition_dir("minhash_signatures", partition), recursive=True)
    how = clusters.Settings(scope="all", repeated_paragraphs=True, paragraph_min_characters=10)
    texts: list[str] = []
    stage_row = stage("deduplicated_documents")
    for partition in every:
        report = clusters.run(spark, layout, Partition(partition.corpus), how, Reporter())
        assert report["repeated_paragraphs"] > 10
        made = run_map_stage(
            spark, layout, [plan(layout, stage_row, partition, stage_row.settings_class())], Reporter()
        )
        (numbers,) = made.values()
        assert numbers["tally"]["repeated_paragraphs"] == report["repeated_paragraphs"]
        assert numbers["rows_in"] == numbers["rows_kept"] + sum(numbers["rows_rejected"].values())
        for path in layout.parts(layout.partition_dir("deduplicated_documents", partition)):
            texts += pq.read_table(path).column("text").to_pylist()
    after = [value for text in texts for value in paragraphs(text, 10).hashes.tolist()]
    before = {value for row in rows for value in paragraphs(row["text"], 10).hashes.tolist()}
    assert len(after) == len(set(after))
    assert set(after) == before
