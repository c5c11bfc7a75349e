"""WARC files for the benchmarks: a sample of whole records, one tiny page, and a large input out of a small one."""

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

PAGES_PER_FILE = 1_000  # a smaller input stays one file, so that no peer starts a worker for a handful of pages
MAX_FILES = 2  # one for each worker
TINY_URL = "https://bench.example/tiny.html"
PROSE = (
    "The library keeps its oldest maps in the cellar, and the people who work there know each of them by name. "
    "In the summer of that year a student asked to see the map of the harbour, which nobody had opened for decades. "
    "They carried it to the long table by the window and rolled it out with both hands, because the paper was dry. "
    "What she found on the edge of the sheet was a note that the engineer had written with a soft pencil. "
    "It said that the depth of the water had been measured twice, and that the second number was to be trusted. "
    "Nobody had read that sentence before, and it explained why the old wall of the harbour stands where it does. "
)


def responses(path: Path) -> Iterator[tuple[Path, int, int]]:
    """File, first byte and end of each response of a WARC file with a gzip member to the record."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    with path.open("rb") as file:
        records = ArchiveIterator(file, parse_http=False)
        found = [(record.record_type == WarcRecordType.response, record.stream_pos) for record in records]
    ends = [start for _, start in found[1:]] + [path.stat().st_size]
    for (is_response, start), end in zip(found, ends, strict=True):
        if is_response:
            yield path, start, end


def sample(paths: list[Path], pages: int, folder: Path) -> int:
    """Write up to `pages` response records of `paths`, evenly spread over them, into WARC files in `folder`.

    Records are copied as they are, byte by byte; 0 pages means all. Returns how many were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = [record for path in paths for record in responses(path)]
    count = min(pages or len(found), len(found))
    chosen = [found[index * len(found) // count] for index in range(count)]
    files = max(1, min(MAX_FILES, count // PAGES_PER_FILE))
    share = -(-count // files)
    for number in range(files):
        with (folder / f"sample-{number:05}.warc.gz").open("wb") as out:
            for path, start, end in chosen[number * share : (number + 1) * share]:
                with path.open("rb") as file:
                    file.seek(start)
                    out.write(file.read(end - start))
    return count


def tiny(folder: Path) -> None:
    """Write one page of prose that every filter keeps: what it costs is what starting costs."""
    folder.mkdir(parents=True, exist_ok=True)
    paragraphs = "".join(f"<p>{sentence}.</p>" for sentence in PROSE.rstrip(". ").split(". "))
    html = f"<html lang=en><head><title>Maps</title></head><body><article>{paragraphs}</article></body></html>"
    http = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(html)}\r\n\r\n{html}"
    header = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-000000000001>\r\n"
        f"WARC-Date: 2024-01-01T00:00:00Z\r\nWARC-Target-URI: {TINY_URL}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    (folder / "tiny.warc.gz").write_bytes(gzip.compress(f"{header}{http}\r\n\r\n".encode(), mtime=0))


def copied(folder: Path, times: int) -> None:
    """Make every WARC file of `folder` stand there `times` times, under names of their own."""
    for path in sorted(folder.glob("*.warc.gz")):
        for number in range(1, times):
            shutil.copy(path, path.with_name(f"copy-{number:04}-{path.name}"))


def repeated(paths: list[Path], total_bytes: int, folder: Path) -> int:
    """Fill `folder` with links to `paths` under names of their own until they weigh `total_bytes`; returns bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    weight = count = 0
    while weight < total_bytes:
        path = paths[count % len(paths)].resolve()
        (folder / f"copy-{count:05}.warc.gz").symlink_to(path)
        weight, count = weight + path.stat().st_size, count + 1
    return weight
