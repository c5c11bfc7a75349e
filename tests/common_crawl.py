"""A small Common Crawl: WARC files in its layout with the listings, the CDX index and the columnar index of them."""

import gzip
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.crawl.warc import warc_rows

CRAWL = "CC-MAIN-2024-10"
_LANGUAGES = ("eng", "deu", "isl", "deu,eng", "")
_MIMES = ("text/html", "application/xhtml+xml", "text/plain")


@dataclass
class Page:
    """One line of the index."""

    surt: str
    url: str
    warc_file: str
    offset: int
    length: int
    language: str
    mime: str


@dataclass
class SmallCrawl:
    """What was made."""

    root: Path
    warc_files: list[str] = field(default_factory=list[str])
    pages: list[Page] = field(default_factory=list[Page])  # in the order of the index


def surt_key(url: str) -> str:
    """The SURT form of a URL, as far as the tests' URLs need it."""
    parts = urlsplit(url)
    host = (parts.hostname or "").removeprefix("www.")
    port = f":{parts.port}" if parts.port else ""
    query = f"?{parts.query}" if parts.query else ""
    return ",".join(reversed(host.split("."))) + f"{port}){parts.path.lower() or '/'}{query}"


def generated_warcs(files: int, pages: int) -> list[bytes]:
    """WARC files of small pages on many hosts."""
    letters = random.Random(7)
    return [b"".join(_record(number * pages + page, letters) for page in range(pages)) for number in range(files)]


HOSTS = ("example.org", "www.example.org", "sub.example.org", "example.org:8080", "notexample.org", "news.example.de",
         "haus.is", "a.b.is", "xn--mller-kva.de", "example.com", "zeit.zz")  # fmt: skip


def _record(index: int, letters: random.Random) -> bytes:
    url = f"http://{HOSTS[index % len(HOSTS)]}/{index}"
    words = " ".join("".join(letters.choices("abcdefghijklmnop", k=6)) for _ in range(150))
    page = f"<html><title>{index}</title><body><p>Page {index}. {words}</p></body></html>".encode()
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
    header = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-02-20T03:04:05Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(header.encode() + block + b"\r\n\r\n", mtime=0)


def make_crawl(
    root: Path, warcs: list[bytes], *, segments: int = 2, index_files: int = 4, block: int = 5
) -> SmallCrawl:
    """Lay `warcs` out below `root` as Common Crawl does, indexes and all."""
    crawl = SmallCrawl(root)
    for number, data in enumerate(warcs):
        name = f"crawl-data/{CRAWL}/segments/170.{number % segments}/warc/{CRAWL}-{number:05d}.warc.gz"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        crawl.warc_files.append(name)
        crawl.pages += _pages(root / name, name)
    crawl.warc_files.sort()
    crawl.pages.sort(key=lambda page: (page.surt, page.warc_file, page.offset))
    _listing(root, "warc.paths.gz", crawl.warc_files)
    parts = [crawl.pages[i * len(crawl.pages) // index_files : (i + 1) * len(crawl.pages) // index_files]
             for i in range(index_files)]  # fmt: skip
    _write_cdx(root, parts, block)
    _write_table(root, parts, block)
    return crawl


def _pages(path: Path, name: str) -> list[Page]:
    with path.open("rb") as file:
        rows = [(row.offset, row.url) for row in warc_rows(file, 1 << 26, Counter()) if row.url and row.broken is None]
    ends = [*[offset for offset, _ in rows[1:]], path.stat().st_size]
    return [
        Page(surt_key(url), url, name, offset, end - offset,
             _LANGUAGES[i % len(_LANGUAGES)], _MIMES[i % 7 % len(_MIMES)])
        for i, ((offset, url), end) in enumerate(zip(rows, ends, strict=True))
    ]  # fmt: skip


def _listing(root: Path, name: str, paths: list[str]) -> None:
    path = root / "crawl-data" / CRAWL / name
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in paths).encode(), mtime=0))


def _write_cdx(root: Path, parts: list[list[Page]], block: int) -> None:
    folder = root / f"cc-index/collections/{CRAWL}/indexes"
    folder.mkdir(parents=True)
    cluster: list[str] = []
    for number, part in enumerate(parts):
        data = b""
        for first in range(0, len(part), block):
            lines = part[first : first + block]
            member = gzip.compress("".join(_cdx_line(page) for page in lines).encode(), mtime=0)
            cluster.append(
                f"{lines[0].surt} 20240220030405\tcdx-{number:05d}.gz\t{len(data)}\t{len(member)}\t{len(cluster) + 1}\n"
            )
            data += member
        (folder / f"cdx-{number:05d}.gz").write_bytes(data)
    (folder / "cluster.idx").write_text("".join(cluster))
    names = [f"cc-index/collections/{CRAWL}/indexes/{path.name}" for path in sorted(folder.iterdir())]
    _listing(root, "cc-index.paths.gz", [*names, f"cc-index/collections/{CRAWL}/metadata.yaml"])


def _cdx_line(page: Page) -> str:
    facts = {"url": page.url, "mime": "text/html", "mime-detected": page.mime, "status": "200", "digest": "X",
             "length": str(page.length), "offset": str(page.offset), "filename": page.warc_file}  # fmt: skip
    if page.language:
        facts["languages"] = page.language
    robots = {**facts, "filename": page.warc_file.replace("/warc/", "/robotstxt/"), "status": "404"}
    return f"{page.surt} 20240220030405 {json.dumps(facts)}\n{page.surt} 20240220030406 {json.dumps(robots)}\n"


def _write_table(root: Path, parts: list[list[Page]], group: int) -> None:
    names: list[str] = []
    for subset in ("crawldiagnostics", "warc"):
        for number, part in enumerate(parts):
            name = f"cc-index/table/cc-main/warc/crawl={CRAWL}/subset={subset}/part-{number:05d}.gz.parquet"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            table = pa.table(
                {
                    "url_surtkey": [p.surt for p in part],
                    "url": [p.url for p in part],
                    "url_host_tld": [(urlsplit(p.url).hostname or "").rpartition(".")[2] for p in part],
                    "content_digest": [random.Random(i).randbytes(64).hex() for i, _ in enumerate(part)],
                    "content_mime_detected": [p.mime for p in part],
                    "content_languages": pa.array([p.language or None for p in part], pa.string()),
                    "warc_filename": [p.warc_file for p in part],
                    "warc_record_offset": pa.array([p.offset for p in part], pa.int32()),
                    "warc_record_length": pa.array([p.length for p in part], pa.int32()),
                }
            )
            pq.write_table(table, root / name, row_group_size=max(group, 1), compression="gzip")
            names.append(name)
    _listing(root, "cc-index-table.paths.gz", names)
