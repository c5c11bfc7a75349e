"""`extracted_documents`: the main text of every page of a crawl, with its HTTP facts."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.core.errors import CorpusError
from gristmill.core.settings import to_plain
from pipelines.crawl import hosts, sandbox
from pipelines.crawl.charset import decode_html
from pipelines.crawl.corpora import load_corpus
from pipelines.crawl.markup import MarkupSettings
from pipelines.crawl.optout import opt_out
from pipelines.crawl.plain_text import as_written
from pipelines.crawl.prescan import language_tag
from pipelines.crawl.records import RECORD_SCHEMA, read_records
from pipelines.crawl.sandbox import Answer, Limits, run_in_child
from pipelines.decisions import verdicts
from pipelines.parts import PartTask
from pipelines.schema import DOCUMENT_SCHEMA

LIBRARIES = ("Resiliparse", "brotli", "idna", "pyarrow", "zstandard")

# WHATWG MIME Sniffing, 7.1: how an HTML page begins.
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*<(?:!--|(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|"
    rb"title|b|body|br|p)[\s>])",
    re.IGNORECASE,
)


# The same, 7.3: `text/html` that browsers take for a feed.
_FEED_START = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:[\t\n\x0c\r ]++|<!--.*?-->|<\?[^>]*+>|<![^>]*+>)*+<(?:rss|feed|rdf:RDF)[\s>]", re.DOTALL
)
_FEED_BYTES = 1024
_OTHER_STARTS = (b"%PDF-", b"\x89PNG\r\n", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"\x1f\x8b\x08")
# MIME Sniffing, 5.1: a server that says one of these says nothing.
_UNKNOWN_TYPES = (None, "unknown/unknown", "application/unknown", "*/*")


@dataclass(frozen=True)
class Settings(MarkupSettings):
    """What becomes a document.

    No field is `gristmill.core.settings.scoring`: each decides what is worth parsing, so that none could be decided
    again from signals.
    """

    max_body_bytes: int = 8 << 20
    """Larger payloads are not read: Common Crawl cuts at 1 MiB, since CC-MAIN-2025-13 at 5 MiB."""
    max_cpu_seconds: float = 20.0
    """Of one page, user and system time; the dearest of the hostile pages that the other limits let through took 7
    (8 MiB of `<b><i><div></b></i></div>`; docs/bad-input.md)."""
    max_memory_bytes: int = 3 << 29
    """Of one page's parser; the same page took 0.9 GB, a million `<p>x` 0.8. Enforced on Linux."""
    content_types: tuple[str, ...] = ("text/html", "application/xhtml+xml")
    """Media types that are extracted; a page without a declared one is looked at."""
    http_statuses: tuple[int, ...] = (200,)
    """Others are error pages, redirects and parts."""
    min_characters: int = 1
    """Of extracted text; how much text is enough is for `quality_filtered_documents` to say."""
    blocked_hosts: tuple[str, ...] = ()
    """Lists of hosts and addresses that never enter, in UT1's format (Université Toulouse Capitole): folders with a
    folder per category that holds `domains` and `urls`, archives (.tar.gz) of such a folder, or single files."""
    blocked_categories: tuple[str, ...] = ()
    """Of those lists; none named means all of them."""

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_depth", "max_attributes", "max_memory_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if not self.max_cpu_seconds > 0:
            raise ValueError(f"max_cpu_seconds is {self.max_cpu_seconds}; give more than 0")
        if not self.content_types or not self.http_statuses:
            raise ValueError("content_types and http_statuses need at least one value")


REASONS: dict[str, str] = {
    "revisit": "the crawler found the page unchanged and stored no content",
    "status": "the server's answer was not 200",
    "not_html": "the answer is no HTML page: an image, a PDF, a script …",
    "blocked_host": "the host or address is on a list of blocked ones",
    "opted_out": "the page's owner reserves it from AI training or text and data mining",
    "empty": "no text is left after extraction",
    "takedown": "somebody asked for it to be removed: a pattern of takedowns.yaml means it",
    "broken_attributes": "a tag has more attributes than any real page, and would take hours to parse",
    "broken_chunking": "the chunked transfer coding is damaged",
    "broken_content_encoding": "the compressed payload is damaged",
    "broken_cpu_time": "the page takes more CPU time than allowed",
    "broken_crash": "the page makes the HTML parser crash",
    "broken_gzip": "the gzip member that holds the record is damaged",
    "broken_html": "the HTML parser gave up",
    "broken_http_header": "the HTTP header has no end within 64 kB",
    "broken_http_status": "the response does not begin with an HTTP status line",
    "broken_json": "the line is not a JSON object",
    "broken_memory": "the page takes more memory than allowed",
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
        ("canonical_url", pa.string()),  # rel=canonical, absolute; null where the page names none
        ("html_language", pa.string()),  # as the page or the server declares it, a BCP 47 tag
        ("warc_record", pa.int32()),  # number in the gzip member or zstd frame at warc_offset, which mostly holds one
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
# Columns that are handed on as they came, by what they were called; and those that are looked at row by row.
_SAME = {name: name for name in SCHEMA.names if name in RECORD_SCHEMA.names and name[0] != "_" and name != "charset"}
_SAME["html_bytes"] = "body_bytes"
_READ = [
    *("url", "http_status", "content_type", "charset"),
    *(name for name in RECORD_SCHEMA.names if name[0] == "_" and name != "_body"),
]


def read(task: PartTask, settings: Settings, tally: Counter[str]) -> Iterator[pa.RecordBatch]:
    """The records of the crawl files that `task` names; see `read_records`.

    Raises:
        CorpusError: the corpus is not registered, or was registered again without one of them.
    """
    wanted = {task.source, *task.also}
    files = [file for file in load_corpus(task.layout, task.corpus).files_of(task.segment) if file.path in wanted]
    gone = wanted.difference(file.path for file in files)
    if gone:
        raise CorpusError(
            f"{min(gone)} is not in segment {task.segment} of corpus {task.corpus}: "
            f"it was registered again meanwhile; run the same command again"
        )
    limit = settings.max_body_bytes
    return chain.from_iterable(read_records(task.corpus, file, limit, tally, task.layout) for file in files)


def files(settings: Settings) -> tuple[str, ...]:
    """The lists of blocked hosts: their content is part of what a result depends on.

    Raises:
        SettingsError: one is missing, or holds no list.
    """
    return hosts.list_files(settings.blocked_hosts, settings.blocked_categories)


def score(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Records to documents (SCHEMA): decode, extract, and note what speaks against each.

    The checks that cost nothing come first, and a page that fails one is not parsed. What is parsed is parsed in a
    child process, see `pipelines.crawl.sandbox`.
    """
    rows = batch.select(_READ).to_pylist()
    for row, body in zip(rows, _views(batch.column("_body")), strict=True):
        row["_body"] = body
    blocked = hosts.open_lists(settings.blocked_hosts, settings.blocked_categories)
    pages = [row for row in rows if _is_to_parse(row, settings, blocked)]
    requests = [({"url": row["url"], "charset": row["charset"]}, row["_body"]) for row in pages]
    limits = Limits(settings.max_cpu_seconds, settings.max_memory_bytes)
    answers = run_in_child("pipelines.crawl.pages:open_reader", _markup_values(settings), limits, requests)
    for row, answer in zip(pages, answers, strict=True):
        _take(row, answer, settings)
    least = max(settings.min_characters, 1)
    for row in rows:
        if row["_reason"] is None and (length := _length(row["text"], least)) < least:
            row.update(_reason="empty", _score=float(length), _threshold=float(settings.min_characters))
    columns = [
        batch.column(_SAME[f.name]) if f.name in _SAME else pa.array([row.get(f.name) for row in rows], f.type)
        for f in SCHEMA
    ]
    return pa.record_batch(columns, schema=SCHEMA)


def _views(column: Any) -> list[memoryview | None]:
    """The values of a large_binary column where they lie: a copy of every page costs more than all else done here."""
    if not len(column):
        return []
    _, offsets, data = column.buffers()
    whole = memoryview(data if data is not None else b"")
    at = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1].tolist()
    is_valid = column.is_valid().to_pylist()
    return [whole[at[i] : at[i + 1]] if valid else None for i, valid in enumerate(is_valid)]


def _length(text: str | bytes, enough: int) -> int:
    """Characters of `text`, which is UTF-8 where it is bytes; of what is long `enough` at least so many."""
    return len(text) if isinstance(text, str) or len(text) >= 4 * enough else len(text.decode())


def _markup_values(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in to_plain(settings).items() if name in MarkupSettings.__dataclass_fields__}


def cpu_seconds() -> float:
    """CPU time so far, the child's that reads pages included."""
    return sandbox.cpu_seconds()


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """The verdict that `score` came to: it had to decide what is worth parsing."""
    columns = [batch.column(name).to_pylist() for name in ("_reason", "_score", "_threshold", "_detail")]
    return verdicts(*columns)


def tally(batch: pa.RecordBatch) -> dict[str, int]:
    """Documents by charset, and bytes of HTML that became text."""
    counts = Counter(f"charset_{name}" for name in batch.column("charset").to_pylist())
    counts["html_bytes"] = sum(batch.column("html_bytes").to_pylist())
    return dict(counts)


def _is_to_parse(row: dict[str, Any], settings: Settings, blocked: hosts.BlockedHosts | None) -> bool:
    """Say whether `row` is HTML that nothing speaks against so far; fill it where it is something else."""
    row["_reason"] = row["_broken"]
    row["html_language"] = language_tag(row["_content_language"])
    if row["_reason"] is None:
        reason, score_, threshold = _by_header(row, settings, blocked)
        row.update(_reason=reason, _score=score_, _threshold=threshold)
    if row["_reason"] is not None:
        return False
    if row["_is_text"]:
        text, row["charset"] = decode_html(bytes(row["_body"]), row["charset"])
        row.update(text=as_written(text), title=row["_title"], extractor="none")
    return not row["_is_text"]


def _by_header(
    row: dict[str, Any], settings: Settings, blocked: hosts.BlockedHosts | None
) -> tuple[str | None, float | None, float | None]:
    if blocked is not None and row["url"] is not None and (category := blocked.category_of(row["url"])) is not None:
        row["_detail"] = category
        return "blocked_host", None, None
    if row["_is_revisit"]:
        return "revisit", None, None
    status = row["http_status"]
    if status is not None and status not in settings.http_statuses:
        return "status", float(status), float(settings.http_statuses[0])
    if not row["_is_text"] and not _is_wanted_type(row, settings):
        row["_detail"] = row["content_type"]
        return "not_html", None, None
    detail = opt_out(row["_robots"], row["_tdm"], settings, row["_tdm_policy"])
    if detail is not None:
        row["_detail"] = f"HTTP header {detail}"
        return "opted_out", None, None
    return None, None, None


def _is_wanted_type(row: dict[str, Any], settings: Settings) -> bool:
    body: memoryview = row["_body"]
    if row["content_type"] in _UNKNOWN_TYPES:
        return _HTML_START.match(body) is not None
    if row["content_type"] not in settings.content_types:
        return False
    if row["content_type"] == "text/html" and _FEED_START.match(body[:_FEED_BYTES]):
        return False
    # A server that calls everything HTML is believed unless the first bytes are another format's signature.
    return not bytes(body[:8]).startswith(_OTHER_STARTS)


def _take(row: dict[str, Any], answer: Answer, settings: Settings) -> None:
    if answer.broken is not None:
        row.update(charset=None, _reason=answer.broken, _detail=answer.detail)
        return
    facts = answer.facts
    row["charset"] = facts["charset"]
    if "reason" in facts:
        row.update({f"_{name}": facts.get(name) for name in ("reason", "score", "threshold", "detail")})
        return
    row.update(text=answer.payload, title=facts["title"], extractor=facts["extractor"])
    row.update(canonical_url=facts["canonical_url"], html_language=facts["language"] or row["html_language"])
    detail = opt_out(facts["robots"], facts["tdm"], settings, facts["tdm_policy"])
    if detail is not None:
        row.update(_reason="opted_out", _detail=f"meta tag {detail}")
