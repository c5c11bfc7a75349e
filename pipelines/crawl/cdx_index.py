"""Pages of hosts through Common Crawl's CDX index: two levels, sorted by SURT key, found by binary search.

`cluster.idx` has a line for every block of 3,000 lines: the block's first key, its file, offset and length. A
block is a gzip member of lines `key timestamp {json}`. (The ZipNum format of pywb and wayback.)
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from gristmill.core.errors import CorpusError
from pipelines.crawl.page_filter import PageFilter, page_row
from pipelines.crawl.remote import RemoteBase

_PROBE_BYTES = 8 << 10
_WINDOW_BYTES = 64 << 10
_REQUEST_BYTES = 8 << 20
_MAX_BLOCK_BYTES = 64 << 20  # decompressed; real ones are about 1 MB


@dataclass(frozen=True)
class Block:
    """One block of lines."""

    file: str
    offset: int
    length: int


def find_pages(base: RemoteBase, listing: list[str], wanted: PageFilter) -> Iterator[dict[str, Any]]:
    """Rows of selection.PAGES_SCHEMA of the pages on the filter's hosts that pass it, in the order of the index.

    Args:
        base: of the crawl.
        listing: the paths of `cc-index.paths.gz`.
        wanted: with hosts.

    Raises:
        CorpusError: the index is missing or not one.
    """
    cluster = next((path for path in listing if path.endswith("/cluster.idx")), None)
    if cluster is None:
        raise CorpusError(f"{base.base} lists no cluster.idx for this crawl: it has no CDX index to find hosts in")
    folder = cluster.rpartition("/")[0]
    with base.open(cluster) as file:
        for low, high in wanted.key_ranges():
            for run in _runs(blocks_between(file, low, high)):
                yield from _pages(base, f"{folder}/{run[0].file}", run, (low, high), wanted)


def blocks_between(file: IO[bytes], low: str, high: str) -> Iterator[Block]:
    """The blocks of an open cluster.idx that may hold keys from `low` to before `high`."""
    begin, end = 0, file.seek(0, 2)
    while end - begin > _WINDOW_BYTES:  # `begin` stands at a line whose key is less than `low`, or at 0
        middle = (begin + end) // 2
        start, line = _line_after(file, middle)
        if line is not None and start < end and _key(line) < low:
            begin = start
        else:
            end = middle
    previous: Block | None = None
    for line in _lines_from(file, begin):
        key = _key(line)
        if key >= high:
            break
        if key >= low and previous is not None:
            yield previous
        previous = _block(line)
    if previous is not None:
        yield previous


def _line_after(file: IO[bytes], position: int) -> tuple[int, bytes | None]:
    """The first whole line that begins after `position`, and where; None at the end."""
    size = _PROBE_BYTES
    while True:
        file.seek(position)
        data = _read(file, size)
        first, _, rest = data.partition(b"\n")
        line, newline, _ = rest.partition(b"\n")
        if newline:
            return position + len(first) + 1, line
        if len(data) < size:
            return position, None
        size *= 4


def _read(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def _lines_from(file: IO[bytes], position: int) -> Iterator[bytes]:
    file.seek(position)
    rest = b""
    while data := file.read(_WINDOW_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _key(line: bytes) -> str:
    return line.partition(b"\t")[0].partition(b" ")[0].decode("utf-8", "replace")


def _block(line: bytes) -> Block:
    try:
        _, file, offset, length, *_ = line.decode("utf-8").split("\t")
        block = Block(file, int(offset), int(length))
    except ValueError:
        raise CorpusError(f"cluster.idx of the crawl is damaged: it holds {line[:80]!r}") from None
    if "/" in block.file or block.offset < 0 or not 0 < block.length <= _MAX_BLOCK_BYTES:
        raise CorpusError(f"cluster.idx of the crawl is damaged: it holds {line[:80]!r}")
    return block


def _runs(blocks: Iterator[Block]) -> Iterator[list[Block]]:
    """Blocks that lie behind one another in one file, as much as one request should bring."""
    run: list[Block] = []
    for block in blocks:
        last = run[-1] if run else None
        is_next = last is not None and last.file == block.file and last.offset + last.length == block.offset
        if run and not (is_next and block.offset + block.length - run[0].offset <= _REQUEST_BYTES):
            yield run
            run = []
        run.append(block)
    if run:
        yield run


def _pages(
    base: RemoteBase, path: str, run: list[Block], keys: tuple[str, str], wanted: PageFilter
) -> Iterator[dict[str, Any]]:
    begin = run[0].offset
    data = base.read_span(path, begin, run[-1].offset + run[-1].length)
    for block in run:
        member = data[block.offset - begin : block.offset - begin + block.length]
        try:
            lines = zlib.decompressobj(wbits=31).decompress(member, _MAX_BLOCK_BYTES).split(b"\n")
        except zlib.error:
            raise CorpusError(f"{base.url(path)} is damaged at byte {block.offset}: use a mirror") from None
        for line in lines:
            key = _key(line)
            if keys[0] <= key < keys[1]:
                row = _row(path, line, wanted)
                if row is not None and (wanted.warc_files is None or row["warc_file"] in wanted.warc_files):
                    yield row


def _row(path: str, line: bytes, wanted: PageFilter) -> dict[str, Any] | None:
    try:
        value: Any = json.loads(line.split(b" ", 2)[2])
        facts = cast(dict[str, Any], value)
        if not wanted.takes(
            str(facts["url"]), str(facts.get("languages", "")), str(facts.get("mime-detected") or facts.get("mime"))
        ):
            return None
        return page_row(str(facts["filename"]), int(facts["offset"]), int(facts["length"]), str(facts["url"]))
    except (ValueError, KeyError, IndexError, TypeError):
        raise CorpusError(f"{path} of the crawl is damaged: it holds {line[:80]!r}") from None
