"""What every reader of crawl files hands on: one row per page, document or unreadable record."""

import datetime
import hashlib
import re
from dataclasses import dataclass, field

import pyarrow as pa

from pipelines.crawl.urls import clean_url, host_of

__all__ = ["RECORD_SCHEMA", "Row", "clean_url", "document_id", "host_of", "parse_time", "printable"]
RECORD_SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        ("url", pa.string()),
        ("host", pa.string()),
        ("corpus", pa.string()),
        ("segment", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("fetched_at", pa.timestamp("us", tz="UTC")),
        ("http_status", pa.int32()),  # null for what was not fetched over HTTP
        ("content_type", pa.string()),  # media type as declared, lower case
        ("charset", pa.string()),  # as declared in the HTTP header
        ("warc_record", pa.int32()),  # number of the record in its gzip member or zstd frame; 0 where it has its own
        ("body_bytes", pa.int64()),  # of the decoded payload
        ("_body", pa.large_binary()),  # the payload with transfer and content encodings undone
        ("_title", pa.string()),
        ("_is_text", pa.bool_()),  # plain text in UTF-8 already: no markup to extract from
        ("_is_revisit", pa.bool_()),  # the page did not change: its content lies in another record
        ("_robots", pa.string()),  # X-Robots-Tag headers, joined by semicolons
        ("_tdm", pa.string()),  # TDM-Reservation headers, joined by commas
        ("_tdm_policy", pa.string()),  # TDM-Policy header
        ("_content_language", pa.string()),  # Content-Language headers, joined by commas
        ("_broken", pa.string()),  # reason why the record can't be read
        ("_score", pa.float64()),
        ("_threshold", pa.float64()),
        ("_detail", pa.string()),
    ]
)
"""The batches that `pipelines.crawl.records.read_records` yields; `_` columns are never written."""


@dataclass
class Row:
    """One page, document or unreadable record, before its identity in the corpus is added."""

    offset: int
    url: str | None = None
    fetched_at: datetime.datetime | None = None
    http_status: int | None = None
    content_type: str | None = None
    charset: str | None = None
    body: bytes | None = None
    title: str | None = None
    is_text: bool = False
    is_revisit: bool = False
    robots: str | None = None
    tdm: str | None = None
    tdm_policy: str | None = None
    content_language: str | None = None
    broken: str | None = None
    score: float | None = None
    threshold: float | None = None
    detail: str | None = None
    warc_file: str | None = None  # where the record lies, where that is not the crawl file
    number: int = 0  # among the records of the member at `offset`
    notes: list[str] = field(default_factory=list[str])  # names to count in the stage's tally

    def reject(self, reason: str, detail: str | None = None) -> "Row":
        """Mark the record unreadable and drop its body."""
        self.broken, self.detail, self.body = reason, detail, None
        return self

    def reject_oversized(self, size: int, limit: int) -> "Row":
        """Mark the record too large."""
        self.score, self.threshold = float(size), float(limit)
        return self.reject("broken_oversized", f"more than {limit} bytes")


def document_id(corpus: str, warc_file: str, offset: int, number: int = 0) -> str:
    """32 hex digits (BLAKE2b, 128 bits) of where a document lies: the same on every run and cluster."""
    place = (corpus, warc_file, str(offset), *([str(number)] if number else []))
    key = "\0".join(place).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(key, digest_size=16).hexdigest()


def parse_time(raw: str | None) -> datetime.datetime | None:
    """A WARC-Date (ISO 8601, with or without a fraction) or ARC date (14 digits) in UTC; None if unreadable."""
    text = (raw or "").strip()
    try:
        if re.fullmatch(r"\d{14}", text):
            return datetime.datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC)
        when = datetime.datetime.fromisoformat(text)
        when = when.replace(tzinfo=datetime.UTC) if when.tzinfo is None else when.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return None
    return when


def printable(text: str | None, limit: int = 200) -> str | None:
    """A short single line for a detail or header column, valid in UTF-8 whatever it came from."""
    if text is None:
        return None
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ").split())
    return line[:limit] or None
