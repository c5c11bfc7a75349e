"""Pages through Common Crawl's columnar index: Parquet files of which only what is needed is fetched.

The files hold the CDX index in its order, by SURT key, so that the files of a TLD are found by binary search over
their footers; row groups are left out by their statistics; of the others the columns of the filter are fetched
first, and the place of the pages only where one passes.
"""

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import CorpusError
from pipelines.commit import unfinished_name
from pipelines.crawl.page_filter import MAX_RECORD_BYTES, WARC_PATH, PageFilter
from pipelines.crawl.remote import RemoteBase
from pipelines.crawl.selection import PAGES_SCHEMA

_KEY, _TLD, _LANGUAGES, _MIME = "url_surtkey", "url_host_tld", "content_languages", "content_mime_detected"
_PLACE = ("warc_filename", "warc_record_offset", "warc_record_length", "url")
_SUBSET = "/subset=warc/"
Bounds = tuple[str, str] | None


class IndexFile:
    """One Parquet file of the index, opened by its footer."""

    def __init__(self, base: RemoteBase, path: str) -> None:
        self._where = base.url(path)
        self._file = base.open(path)
        try:
            self._parquet = pq.ParquetFile(pa.PythonFile(self._file, mode="r"), pre_buffer=True)
        except (pa.ArrowException, ValueError, OSError) as error:
            raise CorpusError(f"{self._where} is no Parquet file ({type(error).__name__}): use a mirror") from None
        self._columns = {self._parquet.schema.column(i).path: i for i in range(len(self._parquet.schema))}

    def close(self) -> None:
        """Let go of it."""
        self._parquet.close()
        self._file.close()

    def bounds(self) -> Bounds:
        """The least and the greatest key; None where the file does not say."""
        groups = [self._statistics(group, _KEY) for group in range(self._parquet.num_row_groups)]
        known = [bounds for bounds in groups if bounds is not None]
        return (min(b[0] for b in known), max(b[1] for b in known)) if len(known) == len(groups) > 0 else None

    def pages(self, wanted: PageFilter) -> Iterator[pa.Table]:
        """Tables of selection.PAGES_SCHEMA of the pages that pass, one per row group, in the order of the file."""
        first = [
            name
            for name, values in ((_TLD, wanted.tlds), (_LANGUAGES, wanted.languages), (_MIME, wanted.mimes))
            if values
        ]
        missing = [name for name in (*first, *_PLACE) if name not in self._columns]
        if missing:
            raise CorpusError(f"{self._where} has no column {missing[0]}: this crawl's index can't answer the filter")
        for group in range(self._parquet.num_row_groups):
            if not self._may_hold(group, wanted):
                continue
            mask = _mask(self._read(group, first), wanted) if first else None
            if mask is not None and not cast(Any, pc).any(mask).as_py():
                continue
            place = self._read(group, _PLACE)
            yield self._places(place if mask is None else place.filter(mask), wanted)

    def _read(self, group: int, columns: Sequence[str]) -> pa.Table:
        try:
            return self._parquet.read_row_group(group, columns=list(columns))
        except (pa.ArrowException, ValueError, OSError) as error:
            raise CorpusError(f"{self._where} is damaged ({type(error).__name__}): use a mirror") from None

    def _places(self, table: pa.Table, wanted: PageFilter) -> pa.Table:
        compute = cast(Any, pc)
        try:
            pages = pa.table(
                [table.column(name).cast(f.type) for name, f in zip(_PLACE, PAGES_SCHEMA, strict=True)],
                schema=PAGES_SCHEMA,
            )
        except (pa.ArrowException, ValueError) as error:
            raise CorpusError(f"{self._where} is damaged ({type(error).__name__}): use a mirror") from None
        names = pages.column("warc_file")
        is_wanted = compute.match_substring_regex(names, f"^{WARC_PATH}$")
        if wanted.warc_files is not None:
            is_wanted = compute.and_(is_wanted, compute.is_in(names, pa.array(sorted(wanted.warc_files), pa.string())))
        pages = pages.filter(is_wanted)
        offset, length = compute.min_max(pages.column("offset")), compute.min_max(pages.column("length"))
        if pages.num_rows and (
            offset["min"].as_py() < 0 or length["min"].as_py() < 1 or length["max"].as_py() > MAX_RECORD_BYTES
        ):
            raise CorpusError(f"{self._where} is damaged (a record lies nowhere): use a mirror")
        return pages

    def _may_hold(self, group: int, wanted: PageFilter) -> bool:
        pairs = ((_TLD, wanted.tlds), (_LANGUAGES, wanted.languages), (_MIME, wanted.mimes))
        for name, values in pairs:
            bounds = self._statistics(group, name) if values else None
            if bounds is not None and not any(_is_between(value, bounds) for value in values):
                return False
        return True

    def _statistics(self, group: int, name: str) -> Bounds:
        index = self._columns.get(name)
        if index is None:
            return None
        statistics = self._parquet.metadata.row_group(group).column(index).statistics
        if statistics is None or not statistics.has_min_max:
            return None
        return str(statistics.min), str(statistics.max)


def _is_between(value: str, bounds: tuple[str, str]) -> bool:
    begin = value.removesuffix("*")
    # A value may stand at the front of a longer one: `deu,eng` holds deu.
    return begin <= bounds[1] and bounds[0][: len(begin)] <= begin


def _mask(table: pa.Table, wanted: PageFilter) -> Any:
    compute = cast(Any, pc)
    masks: list[Any] = []
    if wanted.tlds:
        masks.append(compute.is_in(table.column(_TLD), pa.array(wanted.tlds)))
    if wanted.languages:
        main = compute.utf8_slice_codeunits(table.column(_LANGUAGES), 0, 3)
        masks.append(compute.is_in(main, pa.array(wanted.languages)))
    if wanted.mimes:
        column = table.column(_MIME)
        mask = compute.is_in(column, pa.array([mime for mime in wanted.mimes if not mime.endswith("/*")], pa.string()))
        for mime in wanted.mimes:
            if mime.endswith("/*"):
                mask = compute.or_(mask, compute.fill_null(compute.starts_with(column, mime.removesuffix("*")), False))
        masks.append(mask)
    together = masks[0]
    for mask in masks[1:]:
        together = compute.and_(together, mask)
    return together


class Memory:
    """Pages of index files that are done, on the disk, so that an interrupted search goes on behind them."""

    def __init__(self, folder: Path, *facts: str) -> None:
        self.folder = folder / "index" / hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]

    def recall(self, path: str) -> pa.Table | None:
        """The pages of an index file that was done before."""
        try:
            return pq.read_table(self._place(path))
        except (OSError, pa.ArrowException):
            return None

    def keep(self, path: str, pages: pa.Table) -> None:
        """Remember that an index file is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(unfinished_name(str(self._place(path))))
        pq.write_table(pages, unfinished)
        unfinished.replace(self._place(path))

    def forget(self) -> None:
        """Remove it all: the search is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _place(self, path: str) -> Path:
        return self.folder / f"{hashlib.sha256(path.encode()).hexdigest()[:32]}.parquet"


def find_pages(
    base: RemoteBase, listing: Sequence[str], wanted: PageFilter, memory: Memory, report: Callable[[int, int], None]
) -> Iterator[pa.Table]:
    """Tables of selection.PAGES_SCHEMA of the pages that pass the filter, one per index file, in their order.

    Args:
        base: of the crawl.
        listing: the paths of `cc-index-table.paths.gz`.
        wanted: without hosts, which the CDX index finds at less cost.
        memory: of an earlier search for the same.
        report: told how many of how many index files are done.

    Raises:
        CorpusError: the index is missing or not one.
    """
    paths = sorted(path for path in listing if _SUBSET in path and path.endswith(".parquet"))
    if not paths:
        raise CorpusError(f"{base.base} lists no columnar index for this crawl: use --host, which needs none")
    opened: dict[int, IndexFile] = {}
    found = 0

    def at(index: int) -> IndexFile:
        if index not in opened:
            opened[index] = IndexFile(base, paths[index])
        return opened[index]

    try:
        ranges = wanted.key_ranges()
        needed = files_between(lambda i: at(i).bounds(), len(paths), ranges) if ranges else list(range(len(paths)))
        for done, index in enumerate(needed):
            report(done, len(needed))
            pages = memory.recall(paths[index])
            if pages is None:
                pages = _first_rows(at(index).pages(wanted), None if wanted.limit is None else wanted.limit - found)
                memory.keep(paths[index], pages)
            if index in opened:
                opened.pop(index).close()
            yield pages
            found += pages.num_rows
            if wanted.limit is not None and found >= wanted.limit:
                break
        report(len(needed), len(needed))
    finally:
        for file in opened.values():
            file.close()


def _first_rows(tables: Iterator[pa.Table], limit: int | None) -> pa.Table:
    """The first `limit` rows of all `tables`; no more tables are asked for than that takes."""
    taken = [PAGES_SCHEMA.empty_table()]
    rows = 0
    for table in tables:
        taken.append(table)
        rows += table.num_rows
        if limit is not None and rows >= limit:
            break
    return pa.concat_tables(taken).slice(0, limit)


def files_between(bounds: Callable[[int], Bounds], count: int, ranges: Sequence[tuple[str, str]]) -> list[int]:
    """Which of `count` sorted files may hold keys of `ranges`; all of them where they turn out not to be sorted.

    Args:
        bounds: least and greatest key of a file; asked of as few as possible.
        count: how many files there are.
        ranges: from a key to before another.
    """
    seen: dict[int, tuple[str, str]] = {}

    def known(index: int) -> tuple[str, str]:
        if index not in seen:
            found = bounds(index)
            if found is None:
                raise _UnsortedError
            seen[index] = found
        return seen[index]

    needed: set[int] = set()
    try:
        for low, high in ranges:
            first = _first(count, lambda i, key=low: known(i)[1] >= key)
            last = _first(count, lambda i, key=high: known(i)[0] >= key)
            needed.update(range(first, last))
    except _UnsortedError:
        return list(range(count))
    order = sorted(seen)
    if any(seen[a][1] > seen[b][0] for a, b in itertools.pairwise(order)):
        return list(range(count))
    return sorted(needed)


class _UnsortedError(Exception):
    """A file does not say what keys it holds."""


def _first(count: int, holds: Callable[[int], bool]) -> int:
    """The first index for which `holds`, which is false up to there and true from there on; `count` if nowhere."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
