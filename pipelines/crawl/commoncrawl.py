"""A Common Crawl id as a corpus: its files in Common Crawl's own segments, or pages of it that pass a filter."""

import itertools
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter
from pipelines.crawl.answers import public_url
from pipelines.crawl.cache import download_folder, download_settings
from pipelines.crawl.discovery import FoundFile, hash_facts
from pipelines.crawl.page_filter import PageFilter
from pipelines.crawl.remote import RemoteBase
from pipelines.crawl.segments import assign, default_segments, number_groups

if TYPE_CHECKING:
    import pyarrow as pa

BASE_VARIABLE = "GRISTMILL_COMMONCRAWL_URL"
DEFAULT_BASE = "https://data.commoncrawl.org"
_CRAWL_ID = re.compile(r"CC-MAIN-\d{4}-\d{2}")
_PATH = re.compile(r"crawl-data/[\w-][\w.-]*/segments/(?P<segment>[\w-][\w.-]*)/(?:warc|wet)/[\w-][\w.-]*")
_LISTING_LIMIT = 256 << 20  # a listing of 90,000 paths is about 12 MB
_TABLE_ROWS = 1 << 16
MAX_PAGES = 5_000_000  # about 2 GB of memory while they are put in order; whole files are the better way to more


@dataclass(frozen=True)
class CrawlChoice:
    """What of a crawl is wanted."""

    pages: PageFilter = field(default_factory=PageFilter)
    max_files: int | None = None  # the first files of the listing only

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.pages.is_empty and self.max_files is None


def is_crawl_id(name: str) -> bool:
    """Say whether `name` is a Common Crawl id such as `CC-MAIN-2024-10`."""
    return bool(_CRAWL_ID.fullmatch(name))


def crawl_files(
    layout: Layout, corpus: str, crawl: str, segments: int | None, choice: CrawlChoice
) -> tuple[list[FoundFile], dict[str, str]]:
    """The files of `crawl`, or bundles of chosen pages of it, and the segment of each.

    Sizes of whole files are not in Common Crawl's listing and are given as 0. Without `segments` whole files keep
    Common Crawl's own; bundles are spread by size.

    Raises:
        CorpusError: the crawl does not exist, its index can't be reached or is not one, or no page passes.
    """
    if choice.max_files is not None and choice.max_files < 1:
        raise CorpusError(f"--limit-files {choice.max_files}: give 1 file or more")
    base = (os.environ.get(BASE_VARIABLE) or DEFAULT_BASE).rstrip("/")
    if base.find("://") < 1 and not Path(base).is_dir():
        raise CorpusError(
            f"{BASE_VARIABLE} is {base!r}, neither a URL, which begins with https:// or s3://, nor a folder that is "
            f"there: mend it, or unset it for Common Crawl's own"
        )
    settings = download_settings(layout)
    reporter, folder = Reporter(), download_folder(layout, settings)
    with RemoteBase(base, settings, folder) as remote:
        if choice.pages.is_empty:
            return _whole_files(remote, crawl, segments, choice.max_files)
        wanted = choice.pages
        if choice.max_files is not None:
            files, _ = _whole_files(remote, crawl, None, choice.max_files)
            wanted = replace(wanted, warc_files=frozenset(file.name for file in files))
        pages = _chosen_pages(remote, crawl, wanted, reporter, folder)
    from pipelines.crawl.selection import write_selection

    bundles = write_selection(layout, corpus, base, pages)
    sizes = {bundle.name: bundle.bytes for bundle in bundles}
    return bundles, assign(sizes, segments or default_segments(sizes))


def _whole_files(
    remote: RemoteBase, crawl: str, segments: int | None, max_files: int | None
) -> tuple[list[FoundFile], dict[str, str]]:
    groups: dict[str, list[str]] = {}
    files: dict[str, FoundFile] = {}
    for line in sorted(set(_listing(remote, crawl, "warc.paths.gz")))[:max_files]:
        match = _PATH.fullmatch(line)
        if match is None:
            where = public_url(remote.url(f"crawl-data/{crawl}/warc.paths.gz"))
            raise CorpusError(f"{where} is no listing of WARC files (it holds {line[:80]!r}): check {BASE_VARIABLE}")
        # What Common Crawl has published does not change: the path is the fingerprint.
        files[line] = FoundFile(line, remote.url(line), 0, "warc", hash_facts(line))
        groups.setdefault(match["segment"], []).append(line)
    names = number_groups(list(groups.values())) if segments is None else assign(dict.fromkeys(files, 0), segments)
    return [files[name] for name in sorted(files)], names


def _chosen_pages(remote: RemoteBase, crawl: str, wanted: PageFilter, reporter: Reporter, folder: Path) -> "pa.Table":
    """The CDX index finds hosts with a few small requests; the columnar one answers the rest with few columns."""
    import pyarrow as pa

    from pipelines.crawl.selection import PAGES_SCHEMA

    index = "CDX" if wanted.hosts else "columnar"
    reporter.info(f"{crawl}: looking for {wanted.describe()} in the {index} index")
    tables = _by_host(remote, crawl, wanted) if wanted.hosts else _by_column(remote, crawl, wanted, reporter, folder)
    taken, rows = [PAGES_SCHEMA.empty_table()], 0
    for table in tables:
        taken.append(table)
        rows += table.num_rows
        if rows > MAX_PAGES:
            raise CorpusError(
                f"more than {MAX_PAGES:,} pages of {crawl} pass the filter ({wanted.describe()}): "
                f"give --limit or a narrower filter, or take whole files"
            )
    pages = pa.concat_tables(taken)
    if not pages.num_rows:
        raise CorpusError(f"no page of {crawl} passes the filter ({wanted.describe()}): widen it")
    reporter.info(f"{crawl}: {pages.num_rows:,} pages chosen ({wanted.describe()})")
    return pages


def _by_host(remote: RemoteBase, crawl: str, wanted: PageFilter) -> Iterator["pa.Table"]:
    import pyarrow as pa

    from pipelines.crawl import cdx_index
    from pipelines.crawl.selection import PAGES_SCHEMA

    listing = _listing(remote, crawl, "cc-index.paths.gz")
    rows = itertools.islice(cdx_index.find_pages(remote, listing, wanted), wanted.limit)
    while batch := list(itertools.islice(rows, _TABLE_ROWS)):
        yield pa.Table.from_pylist(batch, PAGES_SCHEMA)


def _by_column(
    remote: RemoteBase, crawl: str, wanted: PageFilter, reporter: Reporter, folder: Path
) -> Iterator["pa.Table"]:
    from pipelines.crawl import columnar_index

    found = 0

    def report(done: int, total: int) -> None:
        reporter.progress(f"choosing pages of {crawl}", done, total, "index files", f"{found:,} pages")

    listing = _listing(remote, crawl, "cc-index-table.paths.gz")
    warc_files = "" if wanted.warc_files is None else " ".join(sorted(wanted.warc_files))
    memory = columnar_index.Memory(folder, remote.base, crawl, wanted.describe(), str(wanted.limit), warc_files)
    for pages in columnar_index.find_pages(remote, listing, wanted, memory, report):
        found += pages.num_rows
        yield pages
    memory.forget()


def _listing(remote: RemoteBase, crawl: str, name: str) -> list[str]:
    """The lines of a gzip file of paths that Common Crawl keeps beside a crawl."""
    path = f"crawl-data/{crawl}/{name}"
    shown = public_url(remote.url(path))
    try:
        packed = remote.read_whole(path, _LISTING_LIMIT)
    except CorpusError as error:
        if " answers 404" in str(error):
            raise CorpusError(f"Common Crawl has no crawl {crawl} ({shown} answers 404): check the id") from None
        raise CorpusError(
            f"can't reach Common Crawl: {error}; or set {BASE_VARIABLE} to a mirror, or download WARC files and give "
            f"their folder"
        ) from None
    try:
        decoder = zlib.decompressobj(wbits=31)
        lines = decoder.decompress(packed, _LISTING_LIMIT).decode("ascii").split()
    except (zlib.error, UnicodeDecodeError):
        raise CorpusError(f"{shown} is not a gzip file of paths: check {BASE_VARIABLE}") from None
    if not decoder.eof:
        raise CorpusError(f"{shown} is cut short or larger than any listing: check {BASE_VARIABLE}")
    if not lines:
        raise CorpusError(f"{shown} lists no file: check the crawl id")
    return lines
