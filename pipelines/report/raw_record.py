"""The record of a page in the crawl file it came from, read again by its offset: nothing before it is decompressed.

A record of a WARC or ARC file is found at the offset of its gzip member or zstd frame; one of several in a member by
its number. What is no web archive is read by what its offset means there: the byte of a line of JSONL, the number of
a row of Parquet, the beginning of a text.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

from gristmill.core.errors import CorpusError, MissingDataError
from gristmill.core.layout import Layout
from pipelines.crawl.arc import ARC_FRAMING
from pipelines.crawl.corpora import CrawlFile, load_corpus
from pipelines.crawl.discovery import hash_facts
from pipelines.crawl.frames import Stream, frames
from pipelines.crawl.http import fill_from_http
from pipelines.crawl.rows import Row
from pipelines.crawl.selection import SCHEME, read_bundle
from pipelines.crawl.stored import open_stored, sources
from pipelines.crawl.wacz import open_member, split_member
from pipelines.crawl.warc import WARC_FRAMING
from pipelines.report.captures import Capture

READ_BYTES = 16 << 20  # of one record that are held, and of its decoded payload
_FRAMINGS = {"warc": WARC_FRAMING, "wet": WARC_FRAMING, "arc": ARC_FRAMING}
_END_OF_HEADER = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class RawRecord:
    """A record as it is stored."""

    path: str  # of the file that was read
    offset: int
    header: bytes  # of the record; none where the file has no records
    http_header: bytes  # status line and fields, where it holds an HTTP response
    body: bytes  # the payload with transfer and content encodings undone, as stored where that can't be done
    content_length: int  # of the record, as stored
    charset: str | None  # as the HTTP header declares it
    is_cut: bool  # the record is longer than what is held
    warnings: tuple[str, ...] = ()


def read_raw(layout: Layout, capture: Capture) -> RawRecord:
    """Read a capture's record again.

    Raises:
        CorpusError: the corpus is not registered any more, or has no such file.
        MissingDataError: the file is not where it was registered, or is another one at that offset.
    """
    offset = capture.warc_offset
    if capture.warc_file is None or offset is None:
        raise MissingDataError(f"of document {capture.doc_id} no WARC file and offset are known")
    file, path = _file_of(layout, capture)
    try:
        with _opened(path) as stored:
            kind = file.kind
            if kind in _FRAMINGS:
                found = _record(stored, path, offset, capture.warc_record, _FRAMINGS[kind])
            else:
                found = RawRecord(path, offset, b"", b"", *_document(stored, kind, offset))
    except FileNotFoundError:
        raise MissingDataError(
            f"{path} is not there any more, where corpus {capture.corpus} was registered: put it back, "
            f"or register its new place with `gristmill corpus add {capture.corpus} PATH --replace`"
        ) from None
    except (OSError, EOFError) as error:
        raise MissingDataError(f"{path} can't be read at byte {offset}: {' '.join(str(error).split())}") from None
    if not file.path.startswith(SCHEME) and _has_changed(file):
        changed = f"{path} has changed since corpus {capture.corpus} was registered"
        found = replace(found, warnings=(*found.warnings, changed))
    return found


def _file_of(layout: Layout, capture: Capture) -> tuple[CrawlFile, str]:
    """The registered file that holds the capture, and the path or URL to read."""
    corpus = load_corpus(layout, capture.corpus)
    for file in corpus.files:
        if file.name == capture.warc_file:
            return file, file.path
    for file in corpus.files_of(capture.segment):
        if file.path.startswith(SCHEME):  # a bundle of chosen pages of many WARC files
            bundle = read_bundle(layout, file.path)
            if any(p["warc_file"] == capture.warc_file and p["offset"] == capture.warc_offset for p in bundle.pages):
                return file, f"{bundle.base}/{capture.warc_file}"
    raise CorpusError(
        f"corpus {capture.corpus} has no file {capture.warc_file} any more: it was registered again with other files"
    )


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    container, member = split_member(path)
    with open_stored(container) as stored:
        if member is None:
            yield stored
        else:
            with open_member(stored, member) as inner:
                yield inner


def _has_changed(file: CrawlFile) -> bool:
    """Whether a local file has another size or time of change than when it was registered; False where unknown."""
    if "://" in file.path or split_member(file.path)[1] is not None:
        return False
    now = Path(file.path).stat()
    return hash_facts(file.name, str(now.st_size), str(now.st_mtime_ns), file.kind) != file.fingerprint


class _Tail:
    """An open file from a byte on, as a file of its own."""

    def __init__(self, file: Any, begin: int) -> None:
        self._file, self._begin = file, begin
        file.seek(begin)

    def read(self, size: int = -1) -> bytes:
        return cast(bytes, self._file.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        at = self._file.seek(offset + self._begin if whence == 0 else offset, whence)
        return int(self._file.tell() if at is None else at) - self._begin

    def tell(self) -> int:
        return int(self._file.tell()) - self._begin


def _record(stored: Any, path: str, offset: int, number: int, framing: Any) -> RawRecord:
    source = next(iter(sources(_Tail(stored, offset), framing.start)), None)
    frame = None if source is None else next(islice(frames(source, framing, READ_BYTES), number, None), None)
    if frame is None or not (frame.header or frame.content):
        why = frame.problem if frame is not None and frame.problem else "the file ends before it"
        raise MissingDataError(
            f"{path} has no record at byte {offset} ({why}): it is another file than the one that was read"
        )
    warnings = (f"the record is damaged: {frame.problem} ({frame.detail})",) if frame.problem else ()
    content, is_cut = frame.content[:READ_BYTES], frame.length > READ_BYTES
    http_header, body, charset = b"", content, None
    if content[:5].upper() == b"HTTP/":
        end = _END_OF_HEADER.search(content)
        cut = end.end() if end else len(content)
        http_header, body = content[:cut], content[cut:]
        filled = fill_from_http(Row(0), content, frame.length, READ_BYTES, is_cut_by_crawler=True)
        charset = filled.charset
        if filled.body is not None:
            body = filled.body
        elif filled.broken:
            warnings += (f"the payload is shown as stored: {filled.broken} ({filled.detail})",)
    return RawRecord(path, offset, frame.header, http_header, body, frame.length, charset, is_cut, warnings)


def _document(stored: Any, kind: str, offset: int) -> tuple[bytes, int, str, bool]:
    """Body, its length, charset, and whether it is cut, of a document in a file that is no web archive."""
    if kind == "parquet":
        import json

        import pyarrow.parquet as pq

        parquet, first = pq.ParquetFile(stored), 0
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if offset < first + rows:
                (row,) = parquet.read_row_group(group).slice(offset - first, 1).to_pylist()
                data = json.dumps(row, ensure_ascii=False, indent=1, default=str).encode()
                return data[:READ_BYTES], len(data), "utf-8", len(data) > READ_BYTES
            first += rows
        return b"", 0, "utf-8", False
    out, left, passed = b"", READ_BYTES, 0
    for source in sources(stored):  # an offset counts decompressed bytes: what lies before is passed over
        stream = Stream(source)
        stream.skip(offset - passed)
        passed += stream.position
        if passed < offset:
            continue
        while left > 0 and (window := stream.read(min(left, 1 << 16))):
            end = window.find(b"\n") if kind == "jsonl" else -1
            out += window[: end + 1] if end >= 0 else window
            left -= len(window)
            if end >= 0:
                return out, len(out), "utf-8", False
    return out, len(out), "utf-8", left <= 0
