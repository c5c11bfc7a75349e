"""WACZ files: their WARC files read in place, and what a malicious or damaged zip comes to; then every other kind."""

import gzip
import io
import json
import random
import struct
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from common_crawl import generated_warcs
from crawl_server import Fault, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout
from gristmill.core.settings import build
from pipelines.crawl import extraction
from pipelines.crawl.corpora import Corpus, add_corpus
from pipelines.crawl.discovery import discover
from pipelines.crawl.records import read_records
from pipelines.crawl.wacz import open_member, split_member, warc_members
from pipelines.parts import PartTask, run_part

ONE, TWO = generated_warcs(2, 12)
PAGES = b'{"format": "json-pages-1.0", "id": "pages"}\n{"url": "http://example.org/0", "ts": "2024-02-20T03:04:05Z"}\n'


def wacz(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("datapackage.json", '{"profile": "data-package"}')
        for name, data in members.items():
            archive.writestr(name, data, method)
        archive.writestr("pages/pages.jsonl", PAGES)
    return out.getvalue()


def rows_of(layout: Layout, corpus: Corpus) -> list[dict[str, Any]]:
    return [
        row
        for file in corpus.files
        for batch in read_records(corpus.name, file, 1 << 20, Counter(), layout)
        for row in batch.to_pylist()
    ]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_inner_files_are_crawl_files(layout: Layout, tmp_path: Path, method: int) -> None:
    path = tmp_path / "site.wacz"
    path.write_bytes(wacz({"archive/b.warc.gz": TWO, "archive/a.warc": gzip.decompress(ONE)}, method))
    corpus = add_corpus(layout, "site", [str(path)])
    assert [(f.name, f.kind) for f in corpus.files] == [
        ("site.wacz!/archive/a.warc", "warc"),
        ("site.wacz!/archive/b.warc.gz", "warc"),
    ]
    rows = rows_of(layout, corpus)
    assert len(rows) == 24
    assert all(row["_broken"] is None and row["_body"] for row in rows)
    assert {row["warc_file"] for row in rows} == {f.name for f in corpus.files}
    (tmp_path / "b.warc.gz").write_bytes(TWO)
    alone = rows_of(layout, add_corpus(layout, "alone", [str(tmp_path / "b.warc.gz")]))
    assert [row["warc_offset"] for row in rows[12:]] == [row["warc_offset"] for row in alone]


def test_a_wacz_file_in_a_folder_and_on_a_server(layout: Layout, tmp_path: Path) -> None:
    folder = tmp_path / "crawls"
    folder.mkdir()
    (folder / "x.wacz").write_bytes(wacz({"archive/a.warc.gz": ONE}))
    (folder / "y.warc.gz").write_bytes(TWO)
    (folder / "broken.wacz").write_bytes(b"PK\x03\x04 archive/ no zip")
    (folder / "book.epub").write_bytes(b"PK\x03\x04mimetypeapplication/epub+zip")
    corpus = add_corpus(layout, "both", [str(folder)])
    assert [f.name for f in corpus.files] == ["x.wacz!/archive/a.warc.gz", "y.warc.gz"]
    assert {Path(s.path).name: s.reason.partition(":")[0] for s in corpus.skipped} == {
        "book.epub": "not recognised as any of warc, arc, wet, wacz, jsonl, parquet, text",
        "broken.wacz": "no usable WACZ file",
    }
    with serving(folder) as server:
        remote = add_corpus(layout, "remote", [f"{server.base}/x.wacz"])
        server.served.clear()
        rows = rows_of(layout, remote)
        assert [row["url"] for row in rows] == [row["url"] for row in rows_of(layout, corpus)[:12]]
        assert server.served["x.wacz"] == (folder / "x.wacz").stat().st_size


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("archive/../../x.warc.gz", "climbs"),
        ("archive\\..\\..\\x.warc.gz", "climbs"),
        ("../archive/x.warc.gz", "climbs"),
        ("archive//x.warc.gz", "climbs"),
        ("archive/a!/x.warc.gz", "climbs"),
        ("archive/notes.txt", "no WARC file by its name"),
        ("archive/index.cdx.gz", "no WARC file by its name"),
    ],
)
def test_members_that_are_left_out(layout: Layout, tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / "x.wacz"
    path.write_bytes(wacz({name: TWO, "archive/good.warc.gz": ONE}))
    corpus = add_corpus(layout, "x", [str(path)])
    assert [f.name for f in corpus.files] == ["x.wacz!/archive/good.warc.gz"]
    (skipped,) = corpus.skipped
    assert reason in skipped.reason


def test_duplicate_encrypted_overlapping_and_odd_members(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "d.wacz", "w") as archive:
        archive.writestr("archive/a.warc.gz", ONE)
        archive.writestr("archive/a.warc.gz", TWO)
        archive.writestr("archive/b.warc.gz", TWO, zipfile.ZIP_BZIP2)
        archive.writestr("archive/c.warc.gz", b"")
    with (tmp_path / "d.wacz").open("rb") as file:
        found, aside = warc_members(file)
    assert len(found) == 1
    assert sorted(reason for _, reason in aside) == [
        "a second member of that name",
        "compressed with zip method 12; stored and deflated are read",
        "zero bytes",
    ]
    bomb = bytearray(wacz({"archive/a.warc.gz": ONE, "archive/b.warc.gz": TWO}))
    entry = bomb.rindex(b"PK\x01\x02", 0, bomb.index(b"archive/b.warc.gz", bomb.index(b"PK\x01\x02")))
    first = bomb.index(b"PK\x03\x04", 10)
    bomb[entry + 42 : entry + 46] = struct.pack("<I", first)  # both names point at one member
    found, aside = warc_members(io.BytesIO(bytes(bomb)))
    assert [m.filename for m in found] == ["archive/a.warc.gz"]
    assert aside == [("archive/b.warc.gz", "overlaps another member, as zip bombs do")]


def test_a_deflate_bomb_is_read_in_bounded_memory(layout: Layout, tmp_path: Path) -> None:
    header = b"WARC/1.0\r\nWARC-Type: resource\r\nWARC-Target-URI: http://x.org/\r\nContent-Length: 400000000\r\n\r\n"
    path = tmp_path / "bomb.wacz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/x.warc", "w") as member:
        member.write(header)
        for _ in range(100):
            member.write(bytes(4_000_000))
    assert path.stat().st_size < 1_000_000
    (row,) = rows_of(layout, add_corpus(layout, "bomb", [str(path)]))
    assert row["_broken"] == "broken_oversized"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_damage_inside_is_rows(layout: Layout, tmp_path: Path, method: int) -> None:
    path = tmp_path / "x.wacz"
    data = bytearray(wacz({"archive/a.warc.gz": ONE}, method))
    path.write_bytes(bytes(data))
    corpus = add_corpus(layout, "x", [str(path)])
    middle = data.index(b"archive/a.warc.gz") + len(ONE) // 2
    data[middle : middle + 300] = random.Random(3).randbytes(300)
    path.write_bytes(bytes(data))
    rows = rows_of(layout, corpus)
    assert any(row["_broken"] for row in rows)
    assert sum(row["_broken"] is None for row in rows) >= 4
    if method == zipfile.ZIP_DEFLATED:  # cut between two records: not a silent end
        path.write_bytes(wacz({"archive/a.warc.gz": ONE}, method))
        with path.open("rb") as file, open_member(file, "archive/a.warc.gz") as inner:
            assert inner.read() == ONE
            assert inner.seek(0) == 0
            assert inner.read(5) + inner.read(7) == ONE[:12]
            assert inner.seek(-3, 2) == len(ONE) - 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (wacz({"archive/a.warc.gz": ONE})[:-40], "x.wacz is no usable WACZ file: no zip file that can be read"),
        (wacz({"other/a.warc.gz": ONE}), "holds no usable WARC file below archive/"),
        (b"PK\x03\x04archive/", "no zip file"),
    ],
    ids=["cut", "no archive", "garbage"],
)
def test_a_broken_zip_is_one_line(layout: Layout, tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.wacz").write_bytes(data)
    with pytest.raises(CorpusError, match=message) as caught:
        add_corpus(layout, "x", [str(tmp_path / "x.wacz")])
    assert "\n" not in str(caught.value)


def test_a_zip_that_changed_since_is_one_line(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "x.wacz"
    path.write_bytes(wacz({"archive/a.warc.gz": ONE}))
    corpus = add_corpus(layout, "x", [str(path)])
    for data in (wacz({"archive/b.warc.gz": ONE}), b"no zip"):
        path.write_bytes(data)
        with pytest.raises(CorpusError, match=r"no zip file that can be read|can't be opened .*add the corpus again"):
            rows_of(layout, corpus)


WHOLE = wacz({"archive/a.warc.gz": ONE})


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=40), st.booleans())
@settings(max_examples=120, deadline=None)
def test_any_damage_is_an_error_of_ours_or_rows(position: int, noise: bytes, is_cut: bool) -> None:
    data = WHOLE[:position] if is_cut else WHOLE[:position] + noise + WHOLE[position + len(noise) :]
    file = io.BytesIO(data)
    try:
        members, _ = warc_members(file)
        for member in members:
            with open_member(file, member.filename) as inner:
                assert len(inner.read(1 << 24)) <= 1 << 24
    except CorpusError as error:
        assert len(str(error).splitlines()) == 1


def test_paths_of_members() -> None:
    assert split_member("/a/x.wacz!/archive/y.warc.gz") == ("/a/x.wacz", "archive/y.warc.gz")
    assert split_member("http://h/x.WACZ!/archive/y.warc") == ("http://h/x.WACZ", "archive/y.warc")
    assert split_member("/wow!/x.warc.gz") == ("/wow!/x.warc.gz", None)


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def _members(data: bytes) -> list[bytes]:
    """The records of a WARC file made by `generated_warcs`, decompressed."""
    return [b"WARC/1.0" + part for part in gzip.decompress(data).split(b"WARC/1.0")[1:]]


_TEXT = "The quick brown fox jumps over the lazy dog, and then it goes home to sleep. " * 3
_JSONL = "".join(json.dumps({"text": f"{i} {_TEXT}", "url": f"http://x.org/{i}"}) + "\n" for i in range(3)).encode()
_WET = "".join(
    f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://x.org/{i}\r\nWARC-Date: 2024-02-20T03:04:05Z\r\n"
    f"Content-Type: text/plain\r\nContent-Length: {len(_TEXT)}\r\n\r\n{_TEXT}\r\n\r\n"
    for i in range(3)
).encode()
_HTML = f"<html><body><p>{_TEXT}</p></body></html>"
_HTTP = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{_HTML}"
_ARC_HEAD = "1 0 X\nURL IP-address Archive-date Content-type Archive-length\n"
_ARC = (
    f"filedesc://x.arc 0.0.0.0 20080430204825 text/plain {len(_ARC_HEAD)}\n{_ARC_HEAD}\n"
    + "".join(f"http://x.org/{i} 1.2.3.4 20080430204826 text/html {len(_HTTP)}\n{_HTTP}\n" for i in range(3))
).encode()


def _parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": [f"{i} {_TEXT}" for i in range(3)], "url": ["http://x.org/"] * 3}), out)
    return out.getvalue()


KINDS = {
    "a.warc.gz": (ONE, 12),
    "a.warc": (gzip.decompress(ONE), 12),
    "a.warc.zst": (b"".join(map(_zstd, _members(ONE))), 12),
    "a.arc": (_ARC, 3),
    "a.arc.gz": (gzip.compress(_ARC), 3),
    "a.warc.wet.gz": (gzip.compress(_WET), 3),
    "a.wacz": (wacz({"archive/a.warc.gz": ONE}), 12),
    "a.jsonl": (_JSONL, 3),
    "a.jsonl.gz": (gzip.compress(_JSONL), 3),
    "a.jsonl.zst": (_zstd(_JSONL), 3),
    "a.parquet": (_parquet(), 3),
    "a.txt": (_TEXT.encode(), 1),
    "a.txt.gz": (gzip.compress(_TEXT.encode()), 1),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_becomes_documents(layout: Layout, tmp_path: Path, name: str) -> None:
    data, expected = KINDS[name]
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / name).write_bytes(data)
    (file,) = add_corpus(layout, "c", [str(folder)]).files
    task = PartTask("extracted_documents", str(layout.root), "c", file.segment, file.path, "part-00000.parquet",
                    str(tmp_path / "out"), {})  # fmt: skip
    for sub in ("output", "quarantine", "progress"):
        (tmp_path / "out" / sub).mkdir(parents=True)
    result = run_part(task)
    assert (result.rows_kept, dict(result.rejected)) == (expected, {})
    texts = pq.read_table(tmp_path / "out" / "output" / "part-00000.parquet").column("text").to_pylist()
    assert all(texts)
    assert build(extraction.Settings, {}, "").max_body_bytes > 0


def test_a_kind_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(wacz({"archive/a.warc.gz": ONE}))
    found, _ = discover([str(tmp_path / "x.zip")], "wacz")
    assert [f.name for f in found] == ["x.zip!/archive/a.warc.gz"]


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"\x04\x22\x4d\x18", "compressed with lz4: compress it with"),
        (b"\x5d\x2a\x4d\x18", "zstd dictionary of its own"),
    ],
    ids=["lz4", "zstd dictionary"],
)
def test_compressions_that_are_not_read_say_so(layout: Layout, tmp_path: Path, head: bytes, says: str) -> None:
    (tmp_path / "a.warc.gz").write_bytes(ONE)
    path = tmp_path / "b.warc.zst"
    path.write_bytes(head + b"\x00" * 60)
    with pytest.raises(CorpusError, match=says):
        add_corpus(layout, "c", [str(path)])
    (skipped,) = add_corpus(layout, "c", [str(tmp_path)]).skipped
    assert says in skipped.reason


def test_a_file_on_a_server_that_stumbles_while_it_is_registered(layout: Layout, tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "x.warc.gz").write_bytes(ONE)
    with serving(folder) as server:
        host = server.base.removeprefix("http://")
        server.faults["x.warc.gz"] = [Fault(status=503), Fault(cut_after=100)]
        url = f"http://user:hunter2@{host}/x.warc.gz?signature=hunter2"
        corpus = add_corpus(layout, "c", [url])
        assert [(f.name, f.bytes, f.kind) for f in corpus.files] == [("x.warc.gz", len(ONE), "warc")]
        assert len(rows_of(layout, corpus)) == 12
        for path, says in (("y.warc.gz", "answers 404: no such file"), ("", "give the URLs of files")):
            with pytest.raises(CorpusError, match=says) as caught:
                add_corpus(layout, "d", [f"http://user:hunter2@{host}/{path}?signature=hunter2"])
            assert "hunter2" not in str(caught.value)
        server.faults["x.warc.gz"] = [Fault(is_ignoring_range=True)]
        assert add_corpus(layout, "e", [f"{server.base}/x.warc.gz"]).bytes == len(ONE)
