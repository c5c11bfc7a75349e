"""Rows of files that hold documents rather than fetches: JSONL, Parquet and plain text."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.crawl.frames import Stream
from pipelines.crawl.kinds import TEXT_FIELDS
from pipelines.crawl.rows import Row, clean_url, parse_time, printable
from pipelines.crawl.stored import sources

_URL_FIELDS = ("url", "source_url", "warc-target-uri", "uri")
_TIME_FIELDS = ("fetched_at", "date", "timestamp", "crawl_date", "created")
_LINE_ROOM = 1 << 16  # fields beside the text
_PARQUET_ROWS = 64


def jsonl_rows(file: Any, limit: int, tally: Counter[str]) -> Iterator[Row]:
    """One row per line; a line that is no JSON object with a text is one `broken_*` row.

    The offset is the line's place in the file, of the decompressed file where it is compressed.
    """
    base = 0
    for source in sources(file):
        stream = Stream(source)
        while True:
            start = base + stream.position
            line, size = _read_line(stream, limit + _LINE_ROOM)
            if not size:
                break
            is_cut = source.problem is not None and not line.endswith(b"\n") and not stream.peek(1)
            if line.strip() and not is_cut:
                tally["record_document"] += 1
                yield _json_row(start, line, size, limit)
            elif is_cut:
                yield Row(start).reject(source.problem or "broken_truncated", "the line that holds the damage")
        base += stream.position
        if source.problem is not None and not stream.position:
            yield Row(base).reject(source.problem, "a member of the file can't be read")


def _read_line(stream: Stream, limit: int) -> tuple[bytes, int]:
    """A line, cut after `limit` + 1 bytes, and how long it really is."""
    parts: list[bytes] = []
    size = kept = 0
    begin, stored = stream.position, stream.consumed()
    while window := stream.peek(1 << 15):
        end = window.find(b"\n")
        data = stream.read(end + 1 if end >= 0 else len(window))
        size += len(data)
        if kept <= limit:
            parts.append(data[: limit + 1 - kept])
            kept += len(parts[-1])
        if end >= 0:
            break
        stream.leave_bomb(begin, stored)
    return b"".join(parts), size


def _json_row(offset: int, line: bytes, size: int, limit: int) -> Row:
    row = Row(offset, is_text=True)
    if size > len(line):
        return row.reject_oversized(size, limit)
    try:
        value: Any = json.loads(line.lstrip(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        return row.reject("broken_json", f"{type(error).__name__} in a line of {size} bytes")
    if not isinstance(value, dict):
        return row.reject("broken_json", f"the line is a {type(value).__name__}, not an object")
    return _document_row(row, cast(dict[str, Any], value), limit)


def _document_row(row: Row, value: dict[str, Any], limit: int) -> Row:
    metadata: Any = value.get("metadata") or value.get("meta")
    fields: dict[str, Any] = {**(cast(dict[str, Any], metadata) if isinstance(metadata, dict) else {}), **value}
    row.url = clean_url(_first_text(fields, _URL_FIELDS))
    when: Any = next((fields[name] for name in _TIME_FIELDS if fields.get(name)), None)
    row.fetched_at = parse_time(when.isoformat() if hasattr(when, "isoformat") else str(when)) if when else None
    row.title = printable(_first_text(fields, ("title",)), 500)
    text = _first_text(value, TEXT_FIELDS)
    if text is None:
        return row.reject("broken_no_text", f"none of {', '.join(TEXT_FIELDS)} holds text")
    body = text.encode("utf-8", "replace")  # a lone surrogate, which JSON can spell, becomes a question mark
    if len(body) > limit:
        return row.reject_oversized(len(body), limit)
    row.body = body
    return row


def _first_text(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((fields[name] for name in names if isinstance(fields.get(name), str)), None)


def parquet_rows(file: Any, limit: int, tally: Counter[str]) -> Iterator[Row]:
    """One row per Parquet row; the offset is the row's number. A row group that can't be read is one row."""
    try:
        parquet = pq.ParquetFile(file)
        names = parquet.schema_arrow.names
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Row(0).reject("broken_parquet", type(error).__name__)
        return
    wanted = [n for n in names if n in (*TEXT_FIELDS, *_URL_FIELDS, *_TIME_FIELDS, "title", "metadata", "meta")]
    first = 0
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        offset = first
        try:
            for batch in parquet.iter_batches(batch_size=_PARQUET_ROWS, row_groups=[group], columns=wanted):
                for value in batch.to_pylist():
                    tally["record_document"] += 1
                    yield _document_row(Row(offset, is_text=True), value, limit)
                    offset += 1
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            yield Row(offset).reject("broken_parquet", f"{first + rows - offset} rows lost: {type(error).__name__}")
        first += rows


def text_rows(file: Any, limit: int, tally: Counter[str]) -> Iterator[Row]:
    """A text file is one document; without a `text/html` record around it nothing in it is markup."""
    tally["record_document"] += 1
    out = io.BytesIO()
    problem: str | None = None
    for source in sources(file):
        stream = Stream(source)
        while out.tell() <= limit and (data := stream.read(1 << 20)):
            out.write(data)
        problem = problem or source.problem
        if out.tell() > limit:
            yield Row(0, is_text=True).reject_oversized(out.tell(), limit)
            return
    row = Row(0, is_text=True, body=out.getvalue())
    yield row if problem is None else row.reject(problem, "the file is damaged")
