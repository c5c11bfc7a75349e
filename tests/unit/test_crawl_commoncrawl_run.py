"""`corpus add CC-MAIN-…` and its extraction, killed in the middle and run again: equal bytes, no byte fetched twice."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from common_crawl import CRAWL, SmallCrawl, generated_warcs, make_crawl
from crawl_server import CrawlServer, Fault, serving

from gristmill.core.layout import Layout
from pipelines.crawl.commoncrawl import BASE_VARIABLE, CrawlChoice
from pipelines.crawl.corpora import add_corpus, load_corpus
from pipelines.crawl.opening import release_downloads
from pipelines.crawl.page_filter import page_filter
from pipelines.crawl.warc import warc_rows
from pipelines.parts import PartTask, run_part

_WORKER = """
import sys
from pipelines.parts import PartTask, run_part
for line in sys.stdin:
    run_part(PartTask.from_json(line))
"""


def tasks(home: Layout, out: Path) -> list[PartTask]:
    for sub in ("output", "quarantine", "progress"):
        (out / sub).mkdir(parents=True, exist_ok=True)
    return [
        PartTask("extracted_documents", str(home.root), CRAWL, file.segment, file.path,
                 f"part-{index:05d}.parquet", str(out), {})
        for index, file in enumerate(load_corpus(home, CRAWL).files)
    ]  # fmt: skip


def hashes(out: Path) -> dict[str, str]:
    paths = sorted((out / "output").glob("part-*.parquet")) + sorted((out / "quarantine").glob("part-*.parquet"))
    return {f"{p.parent.name}/{p.name}": hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def new_home(tmp_path: Path, name: str) -> Layout:
    (tmp_path / name).mkdir()
    quick = "downloads: {delay_seconds: 0, first_backoff_seconds: 0.02, max_backoff_seconds: 0.1, stall_seconds: 5}\n"
    (tmp_path / name / "settings.yaml").write_text(quick)
    return Layout(tmp_path / name)


def killed_in_the_middle(server: CrawlServer, work: list[PartTask], wanted: int) -> None:
    """Run `work` in a process of its own and kill it, and what it started, once `wanted` bytes of WARC were sent."""
    before = sum(server.served.values())
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    assert worker.stdin is not None
    worker.stdin.write("".join(f"{task.to_json()}\n" for task in work).encode())
    worker.stdin.close()
    while sum(server.served.values()) - before < wanted:
        assert worker.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    time.sleep(0.3)  # what was sent is on its way
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def check(crawl: SmallCrawl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: CrawlChoice) -> Counter[str]:
    """The whole story; returns the bytes of each WARC file that were served."""
    mirror = new_home(tmp_path, "mirror")
    monkeypatch.setenv(BASE_VARIABLE, f"file://{crawl.root}")
    add_corpus(mirror, CRAWL, [], choice=choice)
    for task in tasks(mirror, tmp_path / "expected"):
        run_part(task)
    with serving(crawl.root) as server:
        monkeypatch.setenv(BASE_VARIABLE, server.base)
        home = new_home(tmp_path, "home")
        corpus = add_corpus(home, CRAWL, [], choice=choice)
        last = crawl.warc_files[-1]
        size = (crawl.root / last).stat().st_size
        work = tasks(home, tmp_path / "found")
        server.faults[crawl.warc_files[0]] = [Fault(cut_after=2000), Fault(status=503), Fault(status=500)]
        if choice.is_all:
            server.faults[last] = [Fault(stall_after=size // 2, stall_seconds=60.0)]
            enough = sum((crawl.root / name).stat().st_size for name in crawl.warc_files) - size + size // 2
        else:
            server.faults[last] = [Fault(stall_after=500, stall_seconds=60.0)]
            enough = 1
        killed_in_the_middle(server, work, enough)
        for task in work:
            run_part(task)
        assert hashes(tmp_path / "found") == hashes(tmp_path / "expected")
        assert any((tmp_path / "found" / "output").iterdir())
        release_downloads(home, corpus.files)
        assert not list(Path(home.downloads_dir(), "files").iterdir())
        return Counter({name: server.served[name] for name in crawl.warc_files})


def sizes(crawl: SmallCrawl) -> dict[str, int]:
    return {name: (crawl.root / name).stat().st_size for name in crawl.warc_files}


def test_generated_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crawl = make_crawl(tmp_path / "crawl", generated_warcs(3, 40))
    assert check(crawl, tmp_path, monkeypatch, CrawlChoice()) == sizes(crawl)


def test_chosen_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crawl = make_crawl(tmp_path / "crawl", generated_warcs(3, 40))
    served = check(crawl, tmp_path, monkeypatch, CrawlChoice(page_filter(tlds=["is"])))
    assert all(served[name] < size for name, size in sizes(crawl).items())


def first_records(path: Path, count: int) -> bytes:
    """The members of the first `count` records of a WARC file, and what precedes them."""
    with path.open("rb") as file:
        rows = warc_rows(file, 1 << 26, Counter())
        offset = next((row.offset for index, row in enumerate(rows) if index == count), None)
    return path.read_bytes()[:offset]


@pytest.mark.shared
def test_real_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    files = [*sorted((shared_data / "crawls/realweb").glob("*.warc.gz")),
             *sorted((shared_data / "crawls/debdocs").glob("*.warc.gz"))]  # fmt: skip
    crawl = make_crawl(tmp_path / "crawl", [first_records(path, 120) for path in files], block=50)
    assert check(crawl, tmp_path, monkeypatch, CrawlChoice()) == sizes(crawl)
