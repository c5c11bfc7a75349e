"""The registry of corpora: what is taken, what is set aside, what is refused, and how segments are balanced."""

import gzip
import http.server
import json
import random
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout
from pipelines.crawl.commoncrawl import BASE_VARIABLE
from pipelines.crawl.corpora import add_corpus, list_corpora, load_corpus
from pipelines.crawl.kinds import kind_by_content
from pipelines.crawl.segments import assign, default_segments

compress = partial(gzip.compress, mtime=0)  # the test ids must be the same in every process

WARC = b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 0\r\n\r\n\r\n\r\n"
WET = WARC + b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 0\r\n\r\n\r\n\r\n"


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    folder = tmp_path / "crawl"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.warc.gz").write_bytes(compress(WARC))
    (folder / "deep" / "b.warc").write_bytes(WARC * 40)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "home")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (WARC, "warc"),
        (compress(WARC), "warc"),
        (compress(WARC) + compress(WET), "wet"),
        (b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain 75\n1 0 X\n", "arc"),
        (b'{"text": "a", "url": "http://x.org"}\n', "jsonl"),
        (compress(b'{"content": "a"}\n'), "jsonl"),
        (b'{"uri": "a"}\n', "text"),
        (b"PAR1....", "parquet"),
        ("Grüße".encode(), "text"),
        (b"\x00\x01\x02", None),
        (compress(b"\x00\x01"), None),
        (b"\x1f\x8b\x08 broken", None),
        (b"", None),
    ],
)
def test_the_kind_is_told_by_content(content: bytes, kind: str | None) -> None:
    assert kind_by_content(content) == kind


def test_zstd_files_are_looked_into() -> None:
    import zstandard

    assert kind_by_content(zstandard.compress(WARC)) == "warc"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_have_a_kind_or_none(data: bytes) -> None:
    kind_by_content(data)
    kind_by_content(b"\x1f\x8b" + data)
    kind_by_content(b"{" + data)


def test_a_corpus_is_registered_and_read_back(home: Layout, crawl: Path) -> None:
    corpus = add_corpus(home, "small", [str(crawl)], segments=2)
    assert [f.name for f in corpus.files] == ["a.warc.gz", "deep/b.warc"]
    assert corpus.segments == ("00000", "00001")
    assert [f.name for f in corpus.files_of("00001")] == ["deep/b.warc"]
    assert corpus.bytes == sum(f.bytes for f in corpus.files)
    assert load_corpus(home, "small") == corpus
    assert list_corpora(home) == [corpus]


def test_what_is_no_crawl_file_is_set_aside_with_a_reason(home: Layout, crawl: Path) -> None:
    (crawl / "manifest.tsv.gz").write_bytes(b"x")
    (crawl / "stats.json").write_bytes(b"{}")
    (crawl / "README").write_bytes(b"x")
    (crawl / ".hidden.warc").write_bytes(WARC)
    (crawl / "nothing.warc").write_bytes(b"")
    (crawl / "picture.png").write_bytes(b"\x89PNG\x00")
    (crawl / "notes.csv").write_bytes(b"a,b")
    corpus = add_corpus(home, "small", [str(crawl)])
    assert len(corpus.files) == 2
    assert {Path(s.path).name for s in corpus.skipped} == {
        *("manifest.tsv.gz", "stats.json", "README", ".hidden.warc", "nothing.warc", "picture.png", "notes.csv")
    }
    assert all(s.reason for s in corpus.skipped)


def test_a_file_that_is_not_what_its_name_says_is_kept_for_the_quarantine(home: Layout, crawl: Path) -> None:
    (crawl / "c.warc.gz").write_bytes(b"\x1f\x8b\x08 broken")
    assert [f.kind for f in add_corpus(home, "small", [str(crawl)]).files] == ["warc"] * 3


def test_the_same_set_again_changes_nothing(home: Layout, crawl: Path) -> None:
    first = add_corpus(home, "small", [str(crawl)], segments=2)
    assert add_corpus(home, "small", [str(crawl)]) == first
    assert add_corpus(home, "small", [str(crawl)], segments=2) == first


def test_paths_given_in_any_order_make_the_same_corpus(home: Layout, crawl: Path) -> None:
    paths = [str(crawl / "a.warc.gz"), str(crawl / "deep")]
    one = add_corpus(home, "one", paths, segments=2)
    two = add_corpus(home, "two", paths[::-1], segments=2)
    assert one.files == two.files


def test_other_files_need_replace(home: Layout, crawl: Path) -> None:
    add_corpus(home, "small", [str(crawl)])
    (crawl / "a.warc.gz").write_bytes(compress(WARC * 2))
    with pytest.raises(CorpusError, match=r"1 have changed since.*--replace"):
        add_corpus(home, "small", [str(crawl)])
    with pytest.raises(CorpusError, match=r"other files \(2 then, 1 now\).*--replace"):
        add_corpus(home, "small", [str(crawl / "deep")])
    replaced = add_corpus(home, "small", [str(crawl)], is_replacing=True)
    assert load_corpus(home, "small") == replaced


def test_a_file_that_changes_has_another_fingerprint(home: Layout, crawl: Path) -> None:
    before = add_corpus(home, "one", [str(crawl)]).files[0]
    (crawl / "a.warc.gz").write_bytes(compress(WARC * 2))
    after = add_corpus(home, "two", [str(crawl)]).files[0]
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize("name", ["", "a/b", "..", "a..b", ".a", "a b", "ä"])
def test_bad_names(home: Layout, crawl: Path, name: str) -> None:
    with pytest.raises(CorpusError, match="can't name a corpus"):
        add_corpus(home, name, [str(crawl)])
    with pytest.raises(CorpusError, match="can't name a corpus"):
        load_corpus(home, name)


def test_bad_paths(home: Layout, crawl: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "useless").mkdir()
    (tmp_path / "useless" / "README").write_bytes(b"x")
    (tmp_path / "odd.bin").write_bytes(b"\x00\x01")
    (tmp_path / "nothing.warc").write_bytes(b"")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.warc.gz").write_bytes(compress(WARC))
    for paths, message in (
        ([], "needs a path"),
        ([""], "empty path"),
        ([str(tmp_path / "missing")], "does not exist"),
        ([str(tmp_path / "empty")], "no crawl file in"),
        ([str(tmp_path / "useless")], "1 set aside, such as README"),
        ([str(tmp_path / "odd.bin")], "not recognised"),
        ([str(tmp_path / "nothing.warc")], "zero bytes"),
        ([str(crawl), str(tmp_path / "other")], "would both go by the name"),
        ([str(crawl), str(crawl / "deep")], "given twice"),
    ):
        with pytest.raises(CorpusError, match=message) as caught:
            add_corpus(home, "small", paths)
        assert "\n" not in str(caught.value)
    assert list_corpora(home) == []


def test_a_kind_that_is_said_is_believed(home: Layout, tmp_path: Path) -> None:
    (tmp_path / "odd.bin").write_bytes(b"\x00\x01")
    assert add_corpus(home, "small", [str(tmp_path / "odd.bin")], kind="warc").files[0].kind == "warc"
    with pytest.raises(CorpusError, match="unknown kind"):
        add_corpus(home, "other", [str(tmp_path / "odd.bin")], kind="zip")  # pyright: ignore[reportArgumentType]


def test_text_by_another_name_is_left_out_with_a_hint_or_taken_as_text(home: Layout, tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    others = {"Makefile": "all:\n", "page.html": "<p>A page\n", "data.json": '{"a": 1}\n', "table.csv": "a,b\n"}
    for name, content in {"main.py": "print(1)\n", **others}.items():
        (folder / name).write_text(content)
    corpus = add_corpus(home, "some", [str(folder)])
    assert [file.name for file in corpus.files] == ["main.py"]
    assert {Path(s.path).name for s in corpus.skipped} == set(others)
    assert {s.reason for s in corpus.skipped} == {"text, but not by its name; --kind text takes it"}
    assert {file.name for file in add_corpus(home, "all", [str(folder)], kind="text").files} == {"main.py", *others}


def test_unknown_and_unreadable_registrations(home: Layout, crawl: Path) -> None:
    with pytest.raises(CorpusError, match=r"not registered.*known: none yet.*gristmill corpus add small"):
        load_corpus(home, "small")
    add_corpus(home, "small", [str(crawl)])
    path = Path(home.corpus_path("small"))
    for content in ("{", "[]", json.dumps({"format_version": 1}), json.dumps({"format_version": 99})):
        path.write_text(content)
        with pytest.raises(CorpusError):
            load_corpus(home, "small")


def test_segments_out_of_range(home: Layout, crawl: Path) -> None:
    with pytest.raises(CorpusError, match="give 1 or more"):
        add_corpus(home, "small", [str(crawl)], segments=0)
    assert len(add_corpus(home, "small", [str(crawl)], segments=99).segments) == 2


def test_default_segments() -> None:
    assert default_segments({"a": 10}) == 1
    assert default_segments({f"{i}": 1_000_000_000 for i in range(5)}) == 5
    assert default_segments({"a": 9_000_000_000, "b": 1}) == 2


@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(0, 1000), min_size=1), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_segments_do_not_depend_on_order_and_are_balanced(sizes: dict[str, int], segments: int) -> None:
    shuffled = list(sizes.items())
    random.Random(segments).shuffle(shuffled)
    found = assign(sizes, segments)
    assert found == assign(dict(shuffled), segments)
    loads = {s: sum(sizes[n] for n in found if found[n] == s) for s in set(found.values())}
    assert sorted(loads) == [f"{i:05d}" for i in range(min(segments, len(sizes)))]
    mean, largest = sum(sizes.values()) / len(loads), max(sizes.values())
    assert max(loads.values()) <= mean + (1 - 1 / len(loads)) * largest  # Graham's bound for any list schedule


class _CommonCrawl(http.server.BaseHTTPRequestHandler):
    listing = b"".join(
        b"crawl-data/CC-MAIN-2024-10/segments/170.%d/warc/CC-MAIN-%05d.warc.gz\n" % (i % 2, i) for i in range(4)
    )

    def do_GET(self) -> None:
        is_known = self.path == "/crawl-data/CC-MAIN-2024-10/warc.paths.gz"
        self.send_response(200 if is_known else 404)
        self.end_headers()
        self.wfile.write(compress(self.listing) if is_known else b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_common_crawl_id_takes_its_listing(home: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _CommonCrawl) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv(BASE_VARIABLE, base)
        try:
            corpus = add_corpus(home, "CC-MAIN-2024-10", [])
            with pytest.raises(CorpusError, match="has no crawl CC-MAIN-2019-01"):
                add_corpus(home, "CC-MAIN-2019-01", [])
        finally:
            server.shutdown()
            thread.join()
    assert corpus.segments == ("00000", "00001")
    assert len(corpus.files_of("00000")) == 2
    assert corpus.files[0].path == f"{base}/{corpus.files[0].name}"
    monkeypatch.setenv(BASE_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(CorpusError, match="can't reach Common Crawl"):
        add_corpus(home, "CC-MAIN-2024-18", [])
