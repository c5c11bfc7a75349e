"""Chosen pages of a crawl: where each lies, in a Parquet file beside the registration; read by range request.

One row group is one bundle: a crawl file of the corpus, and so one part. Its pages may lie in many WARC files.
"""

import hashlib
import io
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout, storage_error
from pipelines.commit import unfinished_name
from pipelines.crawl.cache import Span
from pipelines.crawl.discovery import FoundFile, hash_facts
from pipelines.crawl.rows import Row
from pipelines.crawl.warc import warc_rows

SCHEME = "pages:"
PAGES_SCHEMA = pa.schema(
    [
        pa.field("warc_file", pa.string(), nullable=False),  # as Common Crawl lists it, below its base
        pa.field("offset", pa.int64(), nullable=False),  # of the record's gzip member
        pa.field("length", pa.int64(), nullable=False),
        pa.field("url", pa.string()),
    ]
)
BUNDLE_BYTES, BUNDLE_PAGES = 64 << 20, 4096  # a bundle is fetched whole and is one task
_SPAN_BYTES = 16 << 20  # of one request; held in memory while its pages are read
_BASE = b"base"


@dataclass(frozen=True)
class Bundle:
    """The pages of one crawl file that was put together from chosen records."""

    base: str  # URL or path that the names of WARC files continue
    pages: list[dict[str, Any]]  # rows of PAGES_SCHEMA, sorted by file and offset

    def spans(self, gap: int) -> list[Span]:
        """What to ask for: pages of one file that lie at most `gap` bytes apart come together."""
        spans: list[Span] = []
        for page in self.pages:
            url, start = f"{self.base}/{page['warc_file']}", page["offset"]
            stop = start + page["length"]
            last = spans[-1] if spans else None
            if last and last.url == url and start <= last.end + gap and stop - last.begin <= _SPAN_BYTES:
                spans[-1] = Span(url, last.begin, max(stop, last.end))
            else:
                spans.append(Span(url, start, stop))
        return spans


@dataclass(frozen=True)
class SelectedPages:
    """An open bundle."""

    bundle: Bundle
    spans: list[Span]
    read: Callable[[Span], bytes]  # asked for one span after the other

    def rows(self, limit: int, tally: Counter[str]) -> Iterator[Row]:
        """The pages, with the offset and file name that reading the whole WARC file would give them."""
        waiting = iter(self.spans)
        span, data = Span("", 0, 0), b""
        for page in self.bundle.pages:
            offset, stop = page["offset"], page["offset"] + page["length"]
            if span.url != f"{self.bundle.base}/{page['warc_file']}" or stop > span.end:
                span = next(waiting)
                data = self.read(span)
            member = io.BytesIO(data[offset - span.begin : stop - span.begin])
            for row in warc_rows(member, limit, tally):
                row.offset, row.warc_file = offset + row.offset, page["warc_file"]
                yield row


def write_selection(layout: Layout, corpus: str, base: str, pages: pa.Table) -> list[FoundFile]:
    """Store chosen pages and return the bundles, as files of a corpus.

    Args:
        layout: where the registry lies.
        corpus: name of the corpus.
        base: URL or path that the names of WARC files continue.
        pages: rows of PAGES_SCHEMA in any order; a record named twice is read once.
    """
    ordered = _sorted_once(pages)
    digest = hashlib.sha256(base.encode())
    bundles: list[pa.Table] = []
    first = held = 0
    for row, (name, offset, length) in enumerate(zip(*(ordered.column(i).to_pylist() for i in range(3)), strict=True)):
        digest.update(f"{name}\0{offset}\0{length}\n".encode())
        if row > first and (held + length > BUNDLE_BYTES or row - first >= BUNDLE_PAGES):
            bundles.append(ordered.slice(first, row - first))
            first, held = row, 0
        held += length
    bundles.append(ordered.slice(first))
    stored = f"{corpus}.{digest.hexdigest()[:16]}.pages.parquet"
    _write(layout, layout.selection_path(stored), ordered.schema.with_metadata({_BASE: base.encode()}), bundles)
    return [_bundle_file(stored, index, bundle) for index, bundle in enumerate(bundles)]


def _sorted_once(pages: pa.Table) -> pa.Table:
    compute = cast(Any, pc)
    ordered = pages.sort_by([("warc_file", "ascending"), ("offset", "ascending")]).combine_chunks()
    if ordered.num_rows < 2:
        return ordered
    is_repeated = None
    for name in ("warc_file", "offset"):
        column = ordered.column(name)
        is_equal = compute.equal(column.slice(1), column.slice(0, len(column) - 1))
        is_repeated = is_equal if is_repeated is None else compute.and_(is_repeated, is_equal)
    is_first = compute.invert(is_repeated).to_numpy()
    return ordered.filter(pa.array([True, *is_first.tolist()]))


def _bundle_file(stored: str, index: int, bundle: pa.Table) -> FoundFile:
    lengths = cast(list[int], bundle.column("length").to_pylist())
    facts = [f"{page['warc_file']} {page['offset']} {page['length']}" for page in bundle.to_pylist()]
    return FoundFile(f"pages-{index:05d}", f"{SCHEME}{stored}#{index}", sum(lengths), "warc", hash_facts(*facts))


def _write(layout: Layout, path: str, schema: pa.Schema, bundles: list[pa.Table]) -> None:
    unfinished = unfinished_name(path)
    try:
        layout.fs.makedirs(posixpath.dirname(path), exist_ok=True)
        with pq.ParquetWriter(unfinished, schema, filesystem=layout.fs, compression="zstd") as writer:
            for bundle in bundles:
                writer.write_table(bundle.combine_chunks(), row_group_size=max(bundle.num_rows, 1))
        layout.fs.mv(unfinished, path)
    except OSError as error:
        raise storage_error(error, path) from error


def read_bundle(layout: Layout, path: str) -> Bundle:
    """The pages of a crawl file whose path begins with SCHEME.

    Raises:
        CorpusError: the list of pages is gone or damaged.
    """
    name, _, index = path.removeprefix(SCHEME).rpartition("#")
    stored = layout.selection_path(posixpath.basename(name))
    try:
        with layout.fs.open(stored, "rb") as file:
            parquet = pq.ParquetFile(file)
            pages = parquet.read_row_group(int(index)).to_pylist()
            base = parquet.schema_arrow.metadata[_BASE].decode()
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{stored}, the list of chosen pages, can't be read ({type(error).__name__}): "
            f"add the corpus again with the same filters and --replace"
        ) from None
    return Bundle(base, pages)


def remove_other_selections(layout: Layout, corpus: str, paths: set[str]) -> None:
    """Remove lists of pages that a registration put in the place of another no longer needs."""
    pattern = re.compile(re.escape(corpus) + r"\.[0-9a-f]{16}\.pages\.parquet(\.[0-9a-f]+\.tmp)?")
    wanted = {path.removeprefix(SCHEME).rpartition("#")[0] for path in paths}
    for path in layout.parts(layout.join("corpora"), suffix=""):
        name = posixpath.basename(path)
        if pattern.fullmatch(name) and name not in wanted:
            layout.fs.rm(path)
