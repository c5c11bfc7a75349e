"""WARC records to rows: responses, resources, conversions and revisits; the others are counted."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipelines.crawl.frames import Frame, Framing, file_frames
from pipelines.crawl.http import fill_from_http
from pipelines.crawl.rows import Row, clean_url, parse_time, printable

HEADER_ROOM = 1 << 16  # HTTP headers that come with a payload of the largest size


def parse_header(block: bytes) -> dict[str, str]:
    """Names in lower case to values of a WARC header block; the first of a repeated name wins."""
    fields: dict[str, str] = {}
    current: str | None = None
    for line in block.decode("utf-8", "replace").split("\n")[1:]:
        if line[:1] in (" ", "\t"):  # a folded line continues the value before it
            if current is not None:
                fields[current] += " " + line.strip()
            continue
        name, _, value = line.partition(":")
        name = name.strip().lower()
        current = name if name and name not in fields else None
        if current is not None:
            fields[current] = value.strip()
    return fields


_LENGTH = re.compile(rb"\ncontent-length[ \t]*:[ \t]*(\d{1,15})[ \t\r]*\n", re.IGNORECASE)
_TYPE = re.compile(rb"\nwarc-type[ \t]*:[ \t]*([a-z]+)[ \t\r]*\n", re.IGNORECASE)


def _content_length(header: bytes) -> int | None:
    match = _LENGTH.search(header)
    return int(match[1]) if match else None


# Some writers end their lines with two carriage returns.
WARC_FRAMING = Framing(
    start=re.compile(rb"WARC/[01]\.\d{1,2}[ \t]*\r*\n", re.IGNORECASE),
    next=re.compile(rb"(WARC/[01]\.\d{1,2}[ \t]*\r*\n(?:WARC|Content)-[A-Za-z-]{1,40}:)", re.IGNORECASE),
    end_of_header=re.compile(rb"\r*\n\r*\n"),
    content_length=_content_length,
)


def warc_rows(file: Any, limit: int, tally: Counter[str]) -> Iterator[Row]:
    """Rows of an open WARC file, WET and WAT included; never raises for what the file holds.

    Args:
        file: open for reading bytes, seekable.
        limit: bytes of a payload; larger ones are `broken_oversized`.
        tally: counts records that are no pages as `record_<type>`.
    """
    for frame in file_frames(file, WARC_FRAMING, limit + HEADER_ROOM):
        match = _TYPE.search(frame.header)
        kind = match[1].decode().lower() if match else "unknown"
        if frame.problem is None and kind in _COUNTED:
            tally[f"record_{kind}"] += 1
            continue
        fields = parse_header(frame.header)
        if kind == "response" and not _holds_http(fields):
            kind = "response_without_http"  # DNS look-ups, FTP listings
        tally[f"record_{kind if kind in _ROWS or kind in _COUNTED else 'unknown'}"] += 1
        if frame.problem is not None or kind in _ROWS:
            yield _row(frame, fields, kind, limit)


_ROWS = ("response", "resource", "conversion", "revisit")
_COUNTED = ("warcinfo", "request", "metadata", "continuation", "response_without_http")


def _holds_http(fields: dict[str, str]) -> bool:
    return fields.get("content-type", "application/http").lower().startswith("application/http")


def _row(frame: Frame, fields: dict[str, str], kind: str, limit: int) -> Row:
    raw_url = fields.get("warc-target-uri")
    row = Row(frame.offset, clean_url(raw_url), parse_time(fields.get("warc-date")), number=frame.number)
    if frame.problem is not None:
        return row.reject(frame.problem, f"{kind} record: {frame.detail}" if fields else frame.detail)
    if row.url is None:
        return row.reject("broken_target_uri", printable(raw_url) or f"the {kind} record has no WARC-Target-URI")
    if row.fetched_at is None:
        row.notes.append("date_unreadable")
    is_cut = "warc-truncated" in fields
    if is_cut:
        row.notes.append("cut_by_crawler")
    if kind == "revisit":
        row.is_revisit = True
        row.detail = printable(fields.get("warc-refers-to-target-uri"))
        return row
    if kind == "response":
        return fill_from_http(row, frame.content, frame.length, limit, is_cut_by_crawler=is_cut)
    # A resource or conversion record is its content: no HTTP message around it.
    declared = fields.get("content-type", "").lower()
    row.content_type = printable(declared.partition(";")[0].strip(), 100)
    row.is_text = kind == "conversion" and row.content_type in (None, "text/plain")
    if frame.length > limit:
        return row.reject_oversized(frame.length, limit)
    row.body = frame.content
    return row
