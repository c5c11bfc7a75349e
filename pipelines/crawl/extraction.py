"""`extracted_documents`: the main text of every page of a crawl, with its HTTP facts."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gristmill.core.errors import CorpusError
from pipelines.crawl.charset import decode_html
from pipelines.crawl.corpora import load_corpus
from pipelines.crawl.markup import Page, normalise, parse_page, shape
from pipelines.crawl.optout import opt_out
from pipelines.crawl.records import read_records
from pipelines.decisions import verdicts
from pipelines.parts import PartTask
from pipelines.schema import DOCUMENT_SCHEMA

LIBRARIES = ("FastWARC", "Resiliparse", "brotli", "pyarrow", "zstandard")
MAIN_CONTENT, ALL_TEXT = "resiliparse main content", "resiliparse all text"


# WHATWG MIME Sniffing, 7.1: how an HTML page begins.
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*<(?:!--|(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|"
    rb"title|b|body|br|p)[\s>])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Settings:
    """What becomes a document."""

    max_body_bytes: int = 8 << 20
    """Larger payloads are not read: Common Crawl cuts at 1 MiB, since CC-MAIN-2025-13 at 5 MiB."""
    content_types: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    """Media types that are extracted; a page without a declared one is looked at."""
    http_statuses: tuple[int, ...] = (200,)
    """Others are error pages, redirects and parts."""
    max_depth: int = 1000
    """Nested elements; Blink builds no deeper tree than 512. resiliparse takes time with the square of the depth:
    0.07 s at 2,000, 9 s at 20,000."""
    max_attributes: int = 2000
    """Of one tag; parsing takes time with the square of it: 0.01 s at 2,000, 0.8 s at 20,000."""
    min_characters: int = 1
    """Of extracted text; how much text is enough is for `quality_filtered_documents` to say."""
    is_main_content: bool = True
    """Leave navigation, headers, footers and side bars out; otherwise all visible text."""
    is_falling_back: bool = True
    """Take all visible text where no main content is found (27 of 10,397 development pages, among them one of
    52,000 characters); the quality rules know what to do with what is left."""
    has_comments: bool = False
    """Take comment sections for main content."""
    is_honouring_opt_out: bool = True
    """Reject pages whose owner reserves them from text and data mining (Directive (EU) 2019/790, article 4)."""
    opt_out_directives: tuple[str, ...] = ("noai",)
    """Of X-Robots-Tag and meta robots; `noimageai` speaks of images and is left out."""
    is_honouring_tdm_reservation: bool = True
    """TDM Reservation Protocol (W3C community group report, 2024): header or meta `tdm-reservation: 1`."""
    is_honouring_noindex: bool = False
    """`noindex` and `none` speak of search engines, not of training."""

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_depth", "max_attributes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if not self.content_types or not self.http_statuses:
            raise ValueError("content_types and http_statuses need at least one value")


REASONS: dict[str, str] = {
    "revisit": "the crawler found the page unchanged and stored no content",
    "status": "the server's answer was not 200",
    "not_html": "the answer is no HTML page: an image, a PDF, a script …",
    "opted_out": "the page's owner reserves it from AI training or text and data mining",
    "empty": "no text is left after extraction",
    "broken_attributes": "a tag has more attributes than any real page, and would take hours to parse",
    "broken_chunking": "the chunked transfer coding is damaged",
    "broken_content_encoding": "the compressed payload is damaged",
    "broken_gzip": "the gzip member that holds the record is damaged",
    "broken_html": "the HTML parser gave up",
    "broken_http_header": "the HTTP header can't be parsed",
    "broken_http_status": "the response does not begin with an HTTP status line",
    "broken_json": "the line is not a JSON object",
    "broken_no_text": "the document has no field that holds text",
    "broken_oversized": "the payload is larger than the limit, as stored or decompressed",
    "broken_parquet": "the Parquet file or a row group of it can't be read",
    "broken_record_header": "the record's own header can't be parsed",
    "broken_row": "the extractor raised an error on this page alone",
    "broken_target_uri": "the record's target URI is missing or is no URI",
    "broken_too_deep": "elements nest deeper than the limit, and would take hours to extract",
    "broken_truncated": "the record ends early",
    "broken_zstd": "the zstd frame that holds the record is damaged",
}

_SIGNALS = pa.schema(
    [
        ("title", pa.string()),
        ("http_status", pa.int32()),
        ("content_type", pa.string()),
        ("charset", pa.string()),  # the codec that decoded the page
        ("html_bytes", pa.int64()),
        ("extractor", pa.string()),
    ]
)
_SCRATCH = pa.schema(
    [("_reason", pa.string()), ("_score", pa.float64()), ("_threshold", pa.float64()), ("_detail", pa.string())]
)
SCHEMA = pa.schema([*DOCUMENT_SCHEMA, *_SIGNALS, *_SCRATCH])
"""What `score` returns; all but the scratch columns is what the stage writes."""


def read(task: PartTask, settings: Settings, tally: Counter[str]) -> Iterator[pa.RecordBatch]:
    """The records of the crawl file that `task.source` names; see `read_records`.

    Raises:
        CorpusError: the corpus is not registered, or was registered again without this file.
    """
    for file in load_corpus(task.layout, task.corpus).files_of(task.segment):
        if file.path == task.source:
            return read_records(task.corpus, file, settings.max_body_bytes, tally, task.layout)
    raise CorpusError(
        f"{task.source} is not in segment {task.segment} of corpus {task.corpus}: "
        f"it was registered again meanwhile; run the same command again"
    )


def score(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Records to documents (SCHEMA): decode, extract, and note what speaks against each.

    The checks that cost nothing come first, and a page that fails one is not parsed.
    """
    rows = [_document(row, settings) for row in batch.to_pylist()]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """The verdict that `score` came to: it had to decide what is worth parsing."""
    columns = [batch.column(name).to_pylist() for name in ("_reason", "_score", "_threshold", "_detail")]
    return verdicts(*columns)


def tally(batch: pa.RecordBatch) -> dict[str, int]:
    """Documents by charset, and bytes of HTML that became text."""
    counts = Counter(f"charset_{name}" for name in batch.column("charset").to_pylist())
    counts["html_bytes"] = sum(batch.column("html_bytes").to_pylist())
    return dict(counts)


def _document(row: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """One output row; `_reason` stays None where the page is kept."""
    row["html_bytes"], row["_reason"] = row["body_bytes"], row["_broken"]
    if row["_reason"] is None:
        reason, score_, threshold = _by_header(row, settings)
        row.update(_reason=reason, _score=score_, _threshold=threshold)
    if row["_reason"] is None:
        if row["_is_text"]:
            text = normalise(_decoded(row))
            row.update(text=text, title=row["_title"], extractor="none")
        else:
            _extract(row, settings)
    if row["_reason"] is None and len(row["text"]) < max(settings.min_characters, 1):
        row.update(_reason="empty", _score=float(len(row["text"])), _threshold=float(settings.min_characters))
    return row


def _by_header(row: dict[str, Any], settings: Settings) -> tuple[str | None, float | None, float | None]:
    if row["_is_revisit"]:
        return "revisit", None, None
    status = row["http_status"]
    if status is not None and status not in settings.http_statuses:
        return "status", float(status), float(settings.http_statuses[0])
    if not row["_is_text"] and not _is_wanted_type(row, settings):
        row["_detail"] = row["content_type"]
        return "not_html", None, None
    detail = opt_out(row["_robots"], row["_tdm"], settings)
    if detail is not None:
        row["_detail"] = f"HTTP header {detail}"
        return "opted_out", None, None
    return None, None, None


def _is_wanted_type(row: dict[str, Any], settings: Settings) -> bool:
    body: bytes = row["_body"]
    if row["content_type"] is None:
        return _HTML_START.match(body) is not None
    if row["content_type"] not in settings.content_types:
        return False
    # A server that calls everything HTML is believed unless the first bytes are another format's signature.
    return not body.startswith((b"%PDF-", b"\x89PNG\r\n", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"\x1f\x8b\x08"))


def _decoded(row: dict[str, Any]) -> str:
    text, row["charset"] = decode_html(row["_body"], row["charset"])
    return text


def _extract(row: dict[str, Any], settings: Settings) -> None:
    html = _decoded(row)
    row["extractor"] = MAIN_CONTENT
    measured = shape(html, settings.max_depth, settings.max_attributes)
    for reason, value, limit in (
        ("broken_too_deep", measured.depth, settings.max_depth),
        ("broken_attributes", measured.attributes, settings.max_attributes),
    ):
        if value > limit:
            row.update(_reason=reason, _score=float(value), _threshold=float(limit))
            return
    try:
        page = parse_page(
            html,
            is_main_content=settings.is_main_content,
            is_falling_back=settings.is_falling_back,
            has_comments=settings.has_comments,
        )
    except (ValueError, RuntimeError) as error:
        row.update(_reason="broken_html", _detail=type(error).__name__)
        return
    _take(row, page, settings)


def _take(row: dict[str, Any], page: Page, settings: Settings) -> None:
    row.update(text=page.text, title=page.title, extractor=ALL_TEXT if page.is_whole else MAIN_CONTENT)
    detail = opt_out(page.robots, page.tdm, settings)
    if detail is not None:
        row.update(_reason="opted_out", _detail=f"meta tag {detail}")
