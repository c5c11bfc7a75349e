"""One process and one session for several stages: what a failing stage leaves for the next."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gristmill.core.layout import Layout, Partition
from pipelines.crawl.corpora import add_corpus

pytestmark = pytest.mark.spark
STORY = "The old ferryman walked down to the river because the bell had rung twice before the sun was up. "


@pytest.fixture
def root(tmp_path: Path) -> Path:
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    rows = [json.dumps({"text": STORY * (3 + i), "url": f"http://a.example/{i}"}) for i in range(4)]
    (crawl / "a.jsonl").write_text("\n".join(rows) + "\n")
    add_corpus(Layout(str(tmp_path / "data")), "books", [str(crawl)], segments=1)
    return tmp_path / "data"


@pytest.fixture
def server() -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"GRISTMILL_SPARK_MASTER": "local[1]"},
    )
    yield process
    process.kill()
    process.wait(timeout=60)
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        with contextlib.suppress(OSError):
            stream.close()


def ask(server: "subprocess.Popen[str]", *arguments: str) -> int:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps({"arguments": arguments}) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())["code"]


def java_of(server: "subprocess.Popen[str]") -> psutil.Process:
    [java] = [p for p in psutil.Process(server.pid).children(recursive=True) if p.name() == "java"]
    return java


def test_stages_share_a_session_and_outlive_a_failure_and_a_killed_jvm(
    root: Path, server: "subprocess.Popen[str]"
) -> None:
    where = ("--root", str(root), "--partition", "books|00000")
    assert ask(server, "extracted_documents", *where) == 0
    java = java_of(server)
    assert ask(server, "clean_documents", *where) == 2, "nothing is there to read: a user's error"
    assert ask(server, "language_filtered_documents", *where) == 0
    assert java_of(server) == java, "the same JVM"
    java.kill()
    while java.is_running() and java.status() != psutil.STATUS_ZOMBIE:  # its parent reaps it in its own time
        time.sleep(0.05)
    assert ask(server, "quality_filtered_documents", *where) == 2, "one line, and no other exit code"
    assert ask(server, "quality_filtered_documents", *where) == 0, "a new JVM"
    layout = Layout(str(root))
    assert layout.require_report("quality_filtered_documents", Partition("books", "00000"))["rows_in"] == 4
    assert server.stdin is not None
    server.stdin.close()
    assert server.wait(timeout=60) == 0
    assert server.stderr is not None
    said = server.stderr.read()
    assert "error: quality_filtered_documents books|00000: Spark's JVM was killed" in said
