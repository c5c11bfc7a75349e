"""Through the worker: a decision made again on Spark, killed on the way; recipes per corpus; no Spark for nothing."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gristmill.core.layout import Layout, Partition
from pipelines.crawl.corpora import add_corpus

pytestmark = pytest.mark.spark
EXTRACTED, LANGUAGE, QUALITY = "extracted_documents", "language_filtered_documents", "quality_filtered_documents"
STORY = "The old ferryman walked down to the river number {} because the bell had rung twice before the sun was up. "
PATIENCE_SECONDS = 240


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corpora, one of them with the recipe for code, through the stages that filter."""
    base = tmp_path_factory.mktemp("redecide")
    home = Layout(str(base / "home"))
    for name, recipe in (("books", None), ("code", "code")):
        (base / name).mkdir()
        rows = [{"text": "".join(STORY.format(i * j) for j in range(1 + i % 9))} for i in range(60)]
        (base / name / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        add_corpus(home, name, [str(base / name)], segments=1, recipe=recipe)
    lines = [
        json.dumps({"arguments": command(base / "home", stage, *partitions("books", "code"))[3:]})
        for stage in (EXTRACTED, LANGUAGE, QUALITY)
    ]
    serve = [sys.executable, "-m", "pipelines.serve"]  # one session for all three
    done = subprocess.run(serve, input="\n".join(lines), capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert [json.loads(line)["code"] for line in done.stdout.splitlines()] == [0, 0, 0], done.stderr
    return base / "home"


def partitions(*corpora: str) -> list[str]:
    return [word for corpus in corpora for word in ("--partition", f"{corpus}|00000")]


def command(root: Path, stage: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipelines.worker", stage, "--root", str(root), "--master", "local[1]", *arguments]


def work(root: Path, stage: str, *corpora: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    given = ["--settings", json.dumps(settings)] if settings else []
    line = command(root, stage, *partitions(*corpora), *given)
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def report_of(root: Path, corpus: str, stage: str = QUALITY) -> dict[str, Any]:
    report = Layout(str(root)).report(stage, Partition(corpus, "00000"))
    assert report is not None
    return report


def digests(root: Path) -> dict[str, str]:
    found = [
        path for kind in (QUALITY, f"quarantine/{QUALITY}", f"signals/{QUALITY}") for path in (root / kind).rglob("*")
    ]
    return {
        str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in found if f.suffix == ".parquet"
    }


def test_each_corpus_has_its_own_settings_in_one_call(root: Path) -> None:
    plain, code = report_of(root, "books"), report_of(root, "code")
    assert plain["settings"]["families"] != code["settings"]["families"] == ["gopher_repetition", "gopher_quality"]
    assert (plain["settings"]["min_words"], code["settings"]["min_words"]) == (50, 10)
    assert plain["rows_rejected"] != code["rows_rejected"]
    assert report_of(root, "code", LANGUAGE)["settings"]["languages"] == []


def test_what_is_up_to_date_starts_no_spark(root: Path) -> None:
    done = work(root, QUALITY, "books", "code")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("already there for the same inputs") == 2
    assert "ready in" not in done.stderr


def test_only_what_is_out_of_date_is_run(root: Path) -> None:
    before = report_of(root, "code")["created_at"]
    done = work(root, QUALITY, "books", "code", min_words=10)
    assert done.returncode == 0, done.stderr
    assert "code|00000: already there" in done.stderr
    assert report_of(root, "code")["created_at"] == before
    again = report_of(root, "books")
    assert (again["is_redecided"], again["rows_scored"]) == (True, 0)
    assert "books|00000: decided again from stored signals, 0 of 60 documents measured" in done.stderr


def test_killed_while_it_decides_it_is_finished_by_the_next_run(root: Path) -> None:
    done = work(root, QUALITY, "books", min_words=30)
    assert done.returncode == 0, done.stderr
    expected = digests(root)
    assert work(root, QUALITY, "books", min_words=20).returncode == 0
    line = command(root, QUALITY, "--partition", "books|00000", "--settings", '{"min_words": 30}')
    run = subprocess.Popen(line, stderr=subprocess.DEVNULL, env=os.environ.copy())
    end = time.monotonic() + PATIENCE_SECONDS
    while not list((root / ".tmp").rglob("output")) and run.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait(timeout=60)
    last = work(root, QUALITY, "books", min_words=30)
    assert last.returncode == 0, last.stderr
    assert digests(root) == expected
