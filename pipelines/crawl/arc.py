"""ARC, WARC's predecessor (Internet Archive, 1996): a line of five or ten fields, then the HTTP response."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipelines.crawl.frames import Framing, file_frames
from pipelines.crawl.http import fill_from_http
from pipelines.crawl.rows import Row, clean_url, parse_time, printable
from pipelines.crawl.warc import HEADER_ROOM

# URL (which may hold spaces), address, date, type, [result, checksum, location, offset, file] and length.
_ADDRESS = rb"[0-9A-Fa-f.:-]{1,45}"
_DATE = rb"(?:\d{8,14}|null|-)"
_LINE = (
    rb"[A-Za-z][A-Za-z0-9+.-]{1,20}:[^\r\n]{1,8192} " + _ADDRESS + b" " + _DATE + rb" \S{1,200} "
    rb"(?:[^\r\n]{1,1000} )?\d{1,12}"
)
_FIELDS = re.compile(
    rb"(?P<url>\S.*?) " + _ADDRESS + rb" (?P<date>" + _DATE + rb") (?P<type>\S+) (?:.* )?(?P<length>\d{1,12})\s*"
)


def _content_length(header: bytes) -> int | None:
    match = _FIELDS.fullmatch(header)
    return int(match["length"]) if match else None


ARC_FRAMING = Framing(
    start=re.compile(_LINE + rb"[ \t]*\r?\n"),
    next=re.compile(rb"\n(" + _LINE + rb"[ \t]*\r?\n)"),
    end_of_header=re.compile(rb"\r?\n"),
    content_length=_content_length,
)


def arc_rows(file: Any, limit: int, tally: Counter[str]) -> Iterator[Row]:
    """Rows of an open ARC file; never raises for what the file holds. Arguments as `warc_rows`."""
    for frame in file_frames(file, ARC_FRAMING, limit + HEADER_ROOM):
        match = _FIELDS.fullmatch(frame.header)
        raw_url = match["url"].decode("utf-8", "replace") if match else None
        scheme = (raw_url or "").partition(":")[0].lower()
        kind = {"filedesc": "warcinfo", "dns": "response_without_http"}.get(scheme, "response" if match else "unknown")
        tally[f"record_{kind}"] += 1
        if frame.problem is None and kind != "response":
            continue
        when = parse_time(match["date"].decode() if match else None)
        row = Row(frame.offset, clean_url(raw_url), when, number=frame.number)
        if frame.problem is not None:
            yield row.reject(frame.problem, frame.detail)
        elif row.url is None:
            yield row.reject("broken_target_uri", printable(raw_url))
        else:
            yield fill_from_http(row, frame.content, frame.length, limit)
