"""Downloads from a server that misbehaves: every byte once, resumed where it broke, else one clear line."""

import gzip
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest
from crawl_server import CrawlServer, Fault, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import CorpusError
from pipelines.crawl.answers import public_url, range_of, retry_after
from pipelines.crawl.cache import DownloadCache, Span
from pipelines.crawl.download import Client, DownloadSettings
from pipelines.crawl.politeness import HostGate, locked

SIZE = 300_000
CONTENT = random.Random(1).randbytes(SIZE)
QUICK = DownloadSettings(
    delay_seconds=0.0, first_backoff_seconds=0.02, max_backoff_seconds=0.1, stall_seconds=0.4, attempts=4
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CrawlServer]:
    root = tmp_path / "served"
    root.mkdir()
    (root / "a.bin").write_bytes(CONTENT)
    with serving(root) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> DownloadCache:
    return DownloadCache(tmp_path / "downloads", QUICK)


def read(cache: DownloadCache, server: CrawlServer, path: str = "a.bin") -> bytes:
    with cache.open([Span(f"{server.base}/{path}")], path) as file:
        return file.read()


def test_a_file_is_fetched_once_and_read_from_the_folder_afterwards(server: CrawlServer, cache: DownloadCache) -> None:
    assert read(cache, server) == read(cache, server) == CONTENT
    assert server.served["a.bin"] == SIZE
    assert server.count("a.bin") == 1
    assert all(agent.startswith("gristmill/") for agent in server.agents)
    cache.release([Span(f"{server.base}/a.bin")])
    assert not list((cache.folder / "files").iterdir())
    assert read(cache, server) == CONTENT
    assert server.served["a.bin"] == 2 * SIZE


FAULTS = {
    "cut": [Fault(cut_after=100_000), Fault(cut_after=50_000), Fault(cut_after=1)],
    "429": [Fault(status=429, headers={"Retry-After": "0"}), Fault(cut_after=7)],
    "429 with a date": [Fault(status=429, headers={"Retry-After": formatdate(time.time() - 5, usegmt=True)})],
    "503 burst": [Fault(status=503)] * 3,
    "500 once": [Fault(cut_after=1000), Fault(status=500)],
    "stall": [Fault(stall_after=40_000, stall_seconds=1.0)],
    "too long a length": [Fault(declared_length=SIZE + 10)],
    "no length": [Fault(has_no_length=True)],
    "no length, cut": [Fault(has_no_length=True, cut_after=200_000)],
    "redirect": [Fault(redirect="/b.bin")],
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_byte_comes_once_whatever_breaks(server: CrawlServer, cache: DownloadCache, name: str) -> None:
    (server.root / "b.bin").write_bytes(CONTENT)
    server.faults["a.bin"] = list(FAULTS[name])
    assert read(cache, server) == CONTENT
    assert sum(server.served.values()) == SIZE
    assert not server.faults["a.bin"]


def test_a_server_without_ranges_is_read_from_its_beginning_again(server: CrawlServer, cache: DownloadCache) -> None:
    server.faults["a.bin"] = [Fault(cut_after=100_000), Fault(is_ignoring_range=True)]
    assert read(cache, server) == CONTENT
    assert server.served["a.bin"] == 100_000 + SIZE  # its answer begins at byte 0: what is here already is passed over


def test_without_a_validator_what_a_server_without_ranges_sends_is_not_glued(
    server: CrawlServer, cache: DownloadCache, capsys: pytest.CaptureFixture[str]
) -> None:
    server.has_etags = False
    server.faults["a.bin"] = [Fault(cut_after=100_000), Fault(is_ignoring_range=True)]
    assert read(cache, server) == CONTENT
    assert "fetching it from its beginning" in capsys.readouterr().err


def test_a_file_that_changes_in_the_middle_is_not_glued_together(server: CrawlServer, cache: DownloadCache) -> None:
    other = CONTENT[::-1] + b"longer"
    server.faults["a.bin"] = [
        Fault(cut_after=100_000),
        Fault(hook=lambda: (server.root / "a.bin").write_bytes(other)),
    ]
    assert read(cache, server) == other


def test_a_file_that_never_stays_the_same_is_given_up(server: CrawlServer, cache: DownloadCache) -> None:
    def change() -> None:
        (server.root / "a.bin").write_bytes(random.randbytes(SIZE))

    server.faults["a.bin"] = [Fault(cut_after=1000, hook=change) for _ in range(20)]
    with pytest.raises(CorpusError, match=r"has changed .* again and again"):
        read(cache, server)


def test_what_was_there_when_the_process_died_is_not_fetched_again(server: CrawlServer, cache: DownloadCache) -> None:
    server.faults["a.bin"] = [Fault(stall_after=120_000, stall_seconds=60.0)]
    patient = DownloadSettings(delay_seconds=0.0)
    child = multiprocessing.get_context("fork").Process(
        target=read, args=(DownloadCache(cache.folder, patient), server)
    )
    child.start()
    while server.served["a.bin"] < 120_000:
        time.sleep(0.02)
    data = next((cache.folder / "files").glob("*.data"))
    while data.stat().st_size < 120_000:
        time.sleep(0.02)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert read(cache, server) == CONTENT
    assert server.served["a.bin"] == SIZE
    assert server.requests[-1][1] == "bytes=120000-"


def test_killed_behind_the_last_byte(server: CrawlServer, cache: DownloadCache) -> None:
    read(cache, server)
    state = next((cache.folder / "files").glob("*.json"))
    state.write_text('{"span": 0, "etag": null, "modified": null, "total": null}')
    assert read(cache, server) == CONTENT  # the server says 416, and how long the file is
    assert server.served["a.bin"] == SIZE


def test_garbage_in_the_folder_means_to_begin_again(server: CrawlServer, cache: DownloadCache) -> None:
    read(cache, server)
    next((cache.folder / "files").glob("*.json")).write_text("{")
    assert read(cache, server) == CONTENT


def test_a_shorter_file_than_what_is_here(server: CrawlServer, cache: DownloadCache) -> None:
    server.faults["a.bin"] = [Fault(cut_after=200_000), *[Fault(status=404)]]
    with pytest.raises(CorpusError, match=r"a.bin answers 404: no such file"):
        read(cache, server)
    (server.root / "a.bin").write_bytes(CONTENT[:1000])
    assert read(cache, server) == CONTENT[:1000]


def test_an_empty_file(server: CrawlServer, cache: DownloadCache) -> None:
    (server.root / "a.bin").write_bytes(b"")
    assert read(cache, server) == b""


def test_a_body_compressed_on_its_way_is_what_it_was_before(server: CrawlServer, cache: DownloadCache) -> None:
    packed = gzip.compress(CONTENT, mtime=0)
    whole = {"encoding": "gzip", "body": packed, "is_ignoring_range": True}
    server.faults["a.bin"] = [Fault(cut_after=90_000, **whole), Fault(**whole), Fault(**whole)]
    assert read(cache, server) == CONTENT


def test_a_gzip_file_that_the_server_calls_encoded_stays_as_it_is(server: CrawlServer, cache: DownloadCache) -> None:
    packed = gzip.compress(CONTENT, mtime=0)
    (server.root / "x.warc.gz").write_bytes(packed)
    server.faults["x.warc.gz"] = [Fault(encoding="gzip", cut_after=1000), Fault(encoding="gzip")]
    assert read(cache, server, "x.warc.gz") == packed
    assert server.served["x.warc.gz"] == len(packed)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=404), r"a.bin answers 404: no such file: check the crawl id or the URL"),
        (Fault(status=403), r"a.bin answers 403: access refused; .*wait, lower the setting downloads.connections"),
        (Fault(status=401), r"a.bin answers 401: it needs a log-in"),
        (Fault(status=418), r"a.bin answers 418: check the URL"),
        (Fault(status=429, headers={"Retry-After": "7200"}), r"status 429, and the server asks for 7,200 s of silence"),
        (Fault(redirect="/a.bin"), r"a.bin redirects more than 5 times"),
        (Fault(status=503), r"gave up on .*a.bin after 4 attempts without progress \(status 503\): run the same comm"),
        (Fault(cut_after=0), r"gave up on .*a.bin after 4 attempts without progress"),
    ],
    ids=lambda value: value.replace(" ", "_")[:30] if isinstance(value, str) else "",
)
def test_what_can_not_be_had_is_one_line(server: CrawlServer, cache: DownloadCache, fault: Fault, message: str) -> None:
    server.faults["a.bin"] = [fault] * 20
    with pytest.raises(CorpusError, match=message) as caught:
        read(cache, server)
    assert "\n" not in str(caught.value)


def test_bytes_that_were_won_are_kept_after_giving_up(server: CrawlServer, cache: DownloadCache) -> None:
    server.faults["a.bin"] = [Fault(cut_after=100_000), *[Fault(status=500)] * 4]
    with pytest.raises(CorpusError, match="what was fetched is kept"):
        read(cache, server)
    assert read(cache, server) == CONTENT
    assert server.served["a.bin"] == SIZE


def test_a_dripping_server_is_left_and_resumed(server: CrawlServer, tmp_path: Path) -> None:
    strict = DownloadSettings(
        delay_seconds=0.0, first_backoff_seconds=0.01, stall_seconds=0.2, min_bytes_per_second=10_000_000
    )
    with Client(strict, tmp_path / "d") as client:
        got = b"".join(client.fetch(f"{server.base}/a.bin"))
    assert got == CONTENT


def test_no_password_is_ever_shown(
    server: CrawlServer, cache: DownloadCache, capsys: pytest.CaptureFixture[str]
) -> None:
    host = server.base.removeprefix("http://")
    server.faults["a.bin"] = [Fault(status=503)] * 4
    with (
        pytest.raises(CorpusError) as caught,
        cache.open([Span(f"http://user:hunter2@{host}/a.bin?X-Amz-Signature=hunter2")], "a.bin"),
    ):
        pass
    assert "hunter2" not in str(caught.value) + "".join(capsys.readouterr())
    assert not [path for path in cache.folder.rglob("*") if "hunter2" in path.name]
    assert not [path for path in cache.folder.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert public_url("https://u:p@x.org/a?b=c#d") == "https://x.org/a"


def test_two_tasks_that_want_the_same_file_fetch_it_once(server: CrawlServer, cache: DownloadCache) -> None:
    server.faults["a.bin"] = [Fault(cut_after=100_000)]
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(read(cache, server))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 4
    assert server.served["a.bin"] == SIZE


def test_a_host_is_asked_by_few_at_once(server: CrawlServer, tmp_path: Path) -> None:
    for number in range(6):
        (server.root / f"{number}.bin").write_bytes(CONTENT)
        server.faults[f"{number}.bin"] = [Fault(hook=lambda: time.sleep(0.05))]
    caches = [DownloadCache(tmp_path / "downloads", QUICK) for _ in range(6)]
    threads = [
        threading.Thread(target=read, args=(cache, server, f"{number}.bin")) for number, cache in enumerate(caches)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(server.served.values()) == 6 * SIZE
    assert server.most_open <= QUICK.connections


def test_turns_are_a_delay_apart_and_silence_is_kept_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    gates = [HostGate(tmp_path, "x.org:80", 2, 0.5) for _ in range(3)]
    for gate in gates:
        gate.wait_for_turn()
    assert slept == [0.0, 0.5, 1.0]
    gates[0].hold_off(60.0)
    gates[2].wait_for_turn()
    assert slept[-1] == 60.0


def test_a_lock_of_a_removed_file_is_taken_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with locked(path, is_waiting=True) as mine:
        assert mine
        with locked(path, is_waiting=False) as theirs:
            assert not theirs
        path.unlink()
        with locked(path, is_waiting=False) as theirs:
            assert theirs


def test_spans_are_one_entry_and_resume_in_their_middle(server: CrawlServer, cache: DownloadCache) -> None:
    url = f"{server.base}/a.bin"
    spans = [Span(url, 10, 50_010), Span(url, 100_000, 200_000), Span(url, 299_000, 300_000)]
    expected = CONTENT[10:50_010] + CONTENT[100_000:200_000] + CONTENT[299_000:]
    server.faults["a.bin"] = [Fault(), Fault(cut_after=30_000), *[Fault(status=500)] * 4]
    with pytest.raises(CorpusError), cache.open(spans, "pages"):
        pass
    with cache.open(spans, "pages") as file:
        assert file.read() == expected
    assert server.served["a.bin"] == len(expected)
    assert "bytes=130000-199999" in [asked for _, asked, _ in server.requests]


def test_spans_of_a_server_without_ranges_are_refused(server: CrawlServer, cache: DownloadCache) -> None:
    server.faults["*"] = [Fault(is_ignoring_range=True)] * 3
    with (
        pytest.raises(CorpusError, match="sends files whole only"),
        cache.open([Span(f"{server.base}/a.bin", 5, 9)], "x"),
    ):
        pass


def test_the_folder_is_kept_below_its_limit(server: CrawlServer, tmp_path: Path) -> None:
    limited = DownloadSettings(delay_seconds=0.0, max_folder_bytes=2 * SIZE)
    cache = DownloadCache(tmp_path / "downloads", limited)
    for number in range(5):
        (server.root / f"{number}.bin").write_bytes(CONTENT)
        read(cache, server, f"{number}.bin")
    assert len(list((cache.folder / "files").glob("*.data"))) <= 3
    for path in (cache.folder / "files").glob("*.data"):  # never read, and left by a corpus that was given up
        path.with_suffix(".json").write_text("{}")
        os.utime(path, (0, 0))
    read(cache, server, "4.bin")
    assert len(list((cache.folder / "files").glob("*.data"))) <= 3
    server.served.clear()
    keeping = DownloadCache(tmp_path / "downloads", DownloadSettings(keep="always"))
    keeping.release([Span(f"{server.base}/4.bin")])
    assert read(cache, server, "4.bin") == CONTENT
    assert server.served["4.bin"] == 0


@pytest.mark.parametrize("values", [{"connections": 0}, {"delay_seconds": -1.0}, {"stall_seconds": 0.0}])
def test_settings_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give"):
        DownloadSettings(**values)  # pyright: ignore[reportArgumentType]


@given(
    st.text(max_size=30)
    | st.integers().map(str)
    | st.sampled_from(["\u00b2", "9" * 5000, "Fri, 31 Dec 99999 00:00:00 GMT"])
)
@settings(max_examples=200, deadline=None)
def test_any_header_is_a_pause_or_none(value: str) -> None:
    pause = retry_after(value)
    assert pause is None or pause >= 0
    for header in (value, f"bytes {value}-{value}/{value}", f"bytes */{value}"):
        range_of(SimpleNamespace(headers={"Content-Range": header}))


def test_headers_that_are_no_numbers_do_no_harm(server: CrawlServer, cache: DownloadCache) -> None:
    for headers in ({"Retry-After": "\u00b2"}, {"Retry-After": "-1"}, {"Retry-After": "soon"}):
        server.faults["a.bin"].append(Fault(status=429, headers=headers))
    server.faults["a.bin"].append(Fault(headers={"Content-Range": "bytes \u00b2-9/x"}, cut_after=1000))
    assert read(cache, server) == CONTENT
