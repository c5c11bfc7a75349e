"""A page's record is read again from the crawl file, by its offset, whatever the file is."""

import gzip
import io
import json
import os
import zlib
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.core.errors import CorpusError, MissingDataError
from gristmill.core.layout import Layout
from pipelines.crawl.corpora import add_corpus, load_corpus
from pipelines.crawl.records import read_records
from pipelines.report.captures import Capture
from pipelines.report.raw_record import READ_BYTES, read_raw

BODIES = [b"<html>first</html>", b"<html>second, \x1b[31mred</html>", b"<html>third</html>"]


def record(number: int, body: bytes, fields: str = "") -> bytes:
    http = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{fields}\r\n".encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://mill.example/{number}\r\n"
        f"WARC-Date: 2026-01-01T00:00:00Z\r\nContent-Type: application/http\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def chunked(body: bytes) -> bytes:
    packed = gzip.compress(body)
    return f"{len(packed):x}\r\n".encode() + packed + b"\r\n0\r\n\r\n"


RECORDS = [
    record(0, BODIES[0]),
    record(1, BODIES[1]),
    record(2, chunked(BODIES[2]), "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n"),
]


def zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


FILES = {
    "members.warc.gz": b"".join(map(gzip.compress, RECORDS)),
    "one.warc.gz": gzip.compress(b"".join(RECORDS)),
    "plain.warc": b"".join(RECORDS),
    "frames.warc.zst": b"".join(map(zstd, RECORDS)),
}


def captures(layout: Layout, path: Path) -> list[Capture]:
    """Every record of a file, as the stages would have it."""
    add_corpus(layout, "toy", [str(path)], is_replacing=True)
    (file,) = load_corpus(layout, "toy").files
    rows: list[dict[str, Any]] = []
    for batch in read_records("toy", file, 1 << 20, Counter(), layout):
        rows += batch.to_pylist()
    return [capture_of(row, file.segment) for row in rows]


def capture_of(row: dict[str, Any], segment: str) -> Capture:
    place = row["warc_file"], row["warc_offset"], row["warc_record"]
    return Capture(row["doc_id"], "toy", segment, "extracted_documents", row["url"], *place, None, "part-00000.parquet")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "home")


@pytest.mark.parametrize("name", FILES)
def test_a_record_is_found_by_its_offset(layout: Layout, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    found = captures(layout, path)
    assert len(found) == len(BODIES)
    for number, (capture, body) in enumerate(zip(found, BODIES, strict=True)):
        raw = read_raw(layout, capture)
        assert raw.body == body
        assert f"https://mill.example/{number}".encode() in raw.header
        assert raw.http_header.startswith(b"HTTP/1.1 200 OK")
        assert (raw.charset, raw.is_cut, raw.warnings) == ("utf-8", False, ())


def test_only_the_member_is_decompressed(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "members.warc.gz"
    path.write_bytes(FILES["members.warc.gz"])
    found = captures(layout, path)
    offset = found[1].warc_offset or 0
    path.write_bytes(b"\0" * offset + path.read_bytes()[offset:])
    raw = read_raw(layout, found[1])
    assert raw.body == BODIES[1]
    assert "has changed since" in raw.warnings[0]


def test_lines_rows_and_texts(layout: Layout, tmp_path: Path) -> None:
    lines = [json.dumps({"url": f"https://mill.example/{n}", "text": f"text {n}"}) for n in range(3)]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    for capture, line in zip(captures(layout, tmp_path / "a.jsonl.gz"), lines, strict=True):
        assert json.loads(read_raw(layout, capture).body) == json.loads(line)
    pq.write_table(pa.table({"text": ["one", "two", "three"]}), tmp_path / "a.parquet", row_group_size=2)
    for capture, text in zip(captures(layout, tmp_path / "a.parquet"), ("one", "two", "three"), strict=True):
        assert json.loads(read_raw(layout, capture).body) == {"text": text}
    (tmp_path / "a.txt").write_text("A text.\nTwo lines.\n")
    (capture,) = captures(layout, tmp_path / "a.txt")
    assert read_raw(layout, capture).body == b"A text.\nTwo lines.\n"


def test_a_file_that_is_gone_or_another_is_said(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "members.warc.gz"
    path.write_bytes(FILES["members.warc.gz"])
    found = captures(layout, path)
    path.rename(tmp_path / "moved.warc.gz")
    with pytest.raises(MissingDataError, match="is not there any more"):
        read_raw(layout, found[0])
    path.write_bytes(b"short")
    with pytest.raises(MissingDataError, match="has no record at byte"):
        read_raw(layout, found[2])
    captures(layout, tmp_path / "moved.warc.gz")
    with pytest.raises(CorpusError, match="has no file members"):
        read_raw(layout, found[0])


def test_a_damaged_record_is_shown_as_far_as_it_can_be_read(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "members.warc.gz"
    whole = gzip.compress(record(0, os.urandom(5000)))
    path.write_bytes(whole[: len(whole) // 2])
    (capture,) = captures(layout, path)
    raw = read_raw(layout, capture)
    assert raw.header
    assert "broken_truncated" in raw.warnings[0]


def test_a_bomb_is_cut(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "members.warc.gz"
    path.write_bytes(gzip.compress(record(0, b"a" * (READ_BYTES + 1000)), 1))
    (capture,) = captures(layout, path)
    raw = read_raw(layout, capture)
    assert raw.is_cut
    assert len(raw.body) <= READ_BYTES
    squeezed = zlib.compressobj(wbits=31)
    inner = io.BytesIO()
    for _ in range(64):
        inner.write(squeezed.compress(bytes(1 << 20)))
    inner.write(squeezed.flush())
    path.write_bytes(gzip.compress(record(0, inner.getvalue(), "Content-Encoding: gzip\r\n")))
    (capture,) = captures(layout, path)
    raw = read_raw(layout, capture)
    assert raw.body == inner.getvalue()
    assert "shown as stored" in raw.warnings[0]


@pytest.mark.shared
def test_odd_crawls_are_read_as_the_extraction_read_them(layout: Layout, shared_data: Path) -> None:
    rows_seen = 0
    for path in sorted((shared_data / "crawls" / "odd").rglob("*")):
        if not path.name.endswith((".warc", ".warc.gz", ".warc.zst", ".arc", ".arc.gz", ".wacz")):
            continue
        add_corpus(layout, "toy", [str(path)], is_replacing=True)
        for file in load_corpus(layout, "toy").files:
            for batch in islice(read_records("toy", file, 1 << 20, Counter(), layout), 1):
                for row in batch.slice(0, 12).to_pylist():
                    raw = read_raw(layout, capture_of(row, file.segment))
                    assert row["_body"] is None or raw.is_cut or raw.body == row["_body"], (path, row["warc_offset"])
                    rows_seen += 1
    assert rows_seen > 100
