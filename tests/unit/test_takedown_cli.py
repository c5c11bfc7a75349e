"""`gristmill takedown` on what is committed, without Dagster or Spark."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.cli.main import _exit_code
from gristmill.core.layout import Layout, Partition
from pipelines.schema import DOCUMENT_SCHEMA, DUPLICATE_SCHEMA


def document(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two segments of `books`, one of `copies`: document 1 of books repeats 0, document 20 of copies too."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    layout = Layout(tmp_path)
    places = {("books", "00000"): [0, 2], ("books", "00001"): [1, 3], ("copies", "00000"): [20, 21]}
    for (corpus, segment), numbers in places.items():
        for asset in ("extracted_documents", "quality_filtered_documents", "deduplicated_documents"):
            folder = Path(layout.partition_dir(asset, Partition(corpus, segment)))
            folder.mkdir(parents=True)
            hosts = [("a" if n == 0 else "b") + ".example.org" for n in numbers]
            rows = [
                {"doc_id": document(n), "url": f"https://{host}/{n}", "host": host, "text": str(n)}
                for n, host in zip(numbers, hosts, strict=True)
            ]
            pq.write_table(pa.Table.from_pylist(rows, DOCUMENT_SCHEMA), folder / "part-00000.parquet")
            layout.write_json(str(folder / "report.json"), {"fingerprint": asset, "files": [], "inputs": {}})
    for corpus, segment, number in (("books", "00001", 1), ("copies", "00000", 20)):
        folder = Path(layout.partition_dir("duplicate_clusters", Partition(corpus)))
        folder.mkdir(parents=True)
        row = {"doc_id": document(number), "segment": segment, "representative_id": document(0), "kind": "exact"}
        row |= {"representative_corpus": "books", "representative_segment": "00000", "cluster_id": document(0)}
        pq.write_table(pa.Table.from_pylist([row], DUPLICATE_SCHEMA), folder / "part-00000.parquet")
        layout.write_json(str(folder / "report.json"), {"compared_with": {"books": {}} if corpus == "copies" else {}})
    return tmp_path


def takedown(capsys: pytest.CaptureFixture[str], home: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    code = _exit_code(["takedown", *words, "--home", str(home), *([] if words[0] == "apply" else ["--json"])])
    printed = capsys.readouterr()
    return code, json.loads(printed.out) if printed.out.startswith("{") else {}, printed.err


def test_from_a_pattern_to_its_plan(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, said, _ = takedown(capsys, home, "add", "A.Example.org", "--note", "case 17")
    assert said == {
        "pattern": "a.example.org",
        "kind": "host",
        "is_new": True,
        "documents": 1,
        "partitions": {"books|00000": 1},
        "taken_down_in": [],
    }
    assert not takedown(capsys, home, "add", "a.example.org")[1]["is_new"]
    [row] = takedown(capsys, home, "list")[1]["patterns"]
    assert (row["pattern"], row["note"], row["documents_to_take_down"]) == ("A.Example.org", "case 17", 1)
    _, plan, _ = takedown(capsys, home, "plan")
    assert plan["documents_to_take_down"] == {"books|00000": 1}
    assert plan["stale"] == {
        "extracted_documents": ["books|00000"],
        "quality_filtered_documents": ["books|00000"],
        "duplicate_clusters": ["books", "copies"],
        "deduplicated_documents": ["books|00000", "books|00001", "copies|00000"],
    }
    assert plan["duplicates_that_lose_their_representative"] == {"books|00001": 1, "copies|00000": 1}
    assert plan["commands"] == ["gristmill takedown apply"]
    assert plan["models"] == []
    assert takedown(capsys, home, "remove", "a.example.org")[1]["stale"] == []
    assert takedown(capsys, home, "plan")[1]["stale"] == {}
    assert not (home / "dagster").exists(), "there was no instance to tell"


def test_what_a_later_pattern_means_by_itself_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    takedown(capsys, home, "add", "example.org")
    assert takedown(capsys, home, "add", "b.example.org")[1]["documents"] == 5


def test_mistakes_are_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, why in (
        (["add", "co.uk"], "public suffix"),
        (["add", "*"], "without `*`"),
        (["add", "x.example", "--kind", "site"], "kind 'site' is unknown"),
        (["remove", "x.example"], "has no pattern x.example"),
    ):
        code, _, error = takedown(capsys, home, *words)
        assert code == 2
        assert len(error.splitlines()) == 1
        assert why in error
    (home / "takedowns.yaml").write_text("- a.example.org\n- {pattern: b.example.org, why: x}\n")
    for words in (["list"], ["plan"], ["apply"], ["add", "c.example.org"]):
        code, _, error = takedown(capsys, home, *words)
        assert code == 2
        assert "takedowns.yaml line 2: 'why' is no field" in error


def test_a_note_moves_no_cursor(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "takedowns.yaml").write_text('- {pattern: example.org, note: "[red]\\e[2J\\u202e"}\n')
    assert _exit_code(["takedown", "list", "--home", str(home)]) == 0
    printed = capsys.readouterr().out
    assert r"[red]\x1b[2J\u202e" in printed
    assert "\x1b" not in printed
