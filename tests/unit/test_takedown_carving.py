"""Taking documents out of committed extraction: what remains is what a new extraction would have left."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from signals_corpus import PARTITION

from gristmill.core.layout import Layout
from pipelines.commit import Attempt
from pipelines.crawl.corpora import add_corpus
from pipelines.parts import run_part
from pipelines.plan import Plan, plan
from pipelines.spark.run import report_of
from pipelines.stages import stage
from pipelines.takedowns import file, load, parse
from pipelines.takedowns.carving import carve, honour
from pipelines.takedowns.committed import standings, taken_down

EXTRACTED = "extracted_documents"
HOSTS = ("example.org", "www.example.org", "example.net", "news.example")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    for number in range(3):
        rows = [
            {"text": f"Page {row} of file {number}." * 20 if row % 7 else "", "url": f"https://{host}/{number}/{row}"}
            for row in range(150)
            for host in [HOSTS[(row + number) % 4] if number < 2 else "news.example"]
        ]
        (crawl / f"{number}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\nno JSON\n")
    layout = Layout(tmp_path / "root")
    add_corpus(layout, "toy", [str(crawl)], segments=1)
    return layout


def planned(layout: Layout, **options: Any) -> Plan:
    row = stage(EXTRACTED)
    return plan(layout, row, PARTITION, row.settings_class(), **options)


def extract(layout: Layout, made: Plan) -> dict[str, Any]:
    """What a worker does for a segment of crawl, without Spark."""
    with Attempt(layout, EXTRACTED, PARTITION) as attempt:
        results = [run_part(replace(task, folder=attempt.folder)) for task in made.tasks]
        report = honour(layout, attempt, made, report_of(made, results))
        attempt.commit(report)
    return report


def contents(layout: Layout) -> dict[str, bytes]:
    folders = (layout.partition_dir(EXTRACTED, PARTITION), layout.quarantine_dir(EXTRACTED, PARTITION))
    return {path: Path(path).read_bytes() for folder in folders for path in layout.parts(folder)}


def facts(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in ("seconds", "cpu_seconds", "created_at")}


def test_carving_equals_extracting_again(layout: Layout) -> None:
    first = extract(layout, planned(layout))
    before = contents(layout)
    assert planned(layout).is_current
    for pattern in ("example.org", "https://news.example/1/*", "nowhere.example"):
        assert file.add(layout, parse(pattern))
        made = planned(layout)
        assert made.is_to_carve == (not made.is_current) == (pattern != "nowhere.example")
        if made.is_to_carve:
            carved = carve(layout, made)
            assert planned(layout).is_current, "and is not carved twice"
    after = contents(layout)
    again = extract(layout, planned(layout, is_forced=True))
    assert contents(layout) == after
    assert facts(again) == facts(carved)
    assert carved["rows_rejected"] == first["rows_rejected"] | {"takedown": first["rows_kept"] - carved["rows_kept"]}
    assert carved["rows_in"] == first["rows_in"] == carved["rows_kept"] + sum(carved["rows_rejected"].values())
    untouched = [path for path in before if path.endswith("part-00002.parquet")]
    assert [after[path] for path in untouched] == [before[path] for path in untouched]
    assert not any(b"example.org" in pq.read_table(p).column("url").to_string().encode() for p in layout.parts(
        layout.partition_dir(EXTRACTED, PARTITION)
    ))  # fmt: skip


def test_each_document_is_one_row_of_quarantine_with_its_pattern(layout: Layout) -> None:
    extract(layout, planned(layout))
    empty = {r["doc_id"] for r in quarantine(layout) if r["reason"] == "empty"}
    file.add(layout, parse("Example.ORG."))
    carve(layout, planned(layout))
    rows = [row for row in quarantine(layout) if row["reason"] == "takedown"]
    assert rows
    assert len({row["doc_id"] for row in rows}) == len(rows)
    assert {row["detail"] for row in rows} == {"example.org"}
    assert {row["url"].split("/")[2] for row in rows} == {"example.org", "www.example.org"}
    assert all(row["failed_rules"] == ["takedown"] for row in rows)
    assert empty == {r["doc_id"] for r in quarantine(layout) if r["reason"] == "empty"}, "they had no text to take down"
    assert taken_down(layout, load(layout)) == {PARTITION: {row["doc_id"] for row in rows}}


def quarantine(layout: Layout) -> list[dict[str, Any]]:
    return [r for p in layout.parts(layout.quarantine_dir(EXTRACTED, PARTITION)) for r in pq.read_table(p).to_pylist()]


def test_a_pattern_removed_brings_its_pages_back(layout: Layout) -> None:
    first = extract(layout, planned(layout))
    before = contents(layout)
    for pattern in ("example.org", "news.example"):
        file.add(layout, parse(pattern))
    carve(layout, planned(layout))
    file.remove(layout, "example.org")
    made = planned(layout)
    assert not made.is_current
    assert not made.is_to_carve, "what came out is not there any more"
    extract(layout, made)
    assert {row["detail"] for row in quarantine(layout) if row["reason"] == "takedown"} == {"news.example"}
    file.remove(layout, "news.example")
    assert facts(extract(layout, planned(layout))) == facts(first)
    assert contents(layout) == before


def test_a_pattern_added_while_a_run_is_on_holds_for_it(layout: Layout) -> None:
    made = planned(layout)
    file.add(layout, parse("example.org"))
    report = extract(layout, made)
    assert report["rows_rejected"]["takedown"] > 0
    assert planned(layout).is_current


def test_other_patterns_leave_a_partition_current(layout: Layout) -> None:
    extract(layout, planned(layout))
    file.add(layout, parse("elsewhere.example"))
    assert planned(layout).is_current
    assert not standings(layout)[PARTITION].is_stale
    file.add(layout, parse("news.example", note="Asked by Jane Doe"))
    standing = standings(layout)[PARTITION]
    assert standing.is_stale
    assert sum(standing.documents.values()) == carve(layout, planned(layout))["rows_rejected"]["takedown"]
    assert all("Jane" not in path.read_text(errors="replace") for path in Path(layout.base).rglob("report.json"))


def test_a_kill_in_the_middle_leaves_what_was_there(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    extract(layout, planned(layout))
    before = contents(layout)
    file.add(layout, parse("example.org"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.commit.Attempt.commit", killed)
        with pytest.raises(KeyboardInterrupt):
            carve(layout, planned(layout))
    assert contents(layout) == before
    assert planned(layout).is_to_carve
    carved = carve(layout, planned(layout))
    assert facts(extract(layout, planned(layout, is_forced=True))) == facts(carved)
