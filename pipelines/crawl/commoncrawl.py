"""A Common Crawl id alone as a corpus: its files by URL, in Common Crawl's own segments."""

import os
import re
import zlib

from gristmill.core.errors import CorpusError
from pipelines.crawl.discovery import FoundFile, hash_facts
from pipelines.crawl.segments import assign, number_groups

BASE_VARIABLE = "GRISTMILL_COMMONCRAWL_URL"
DEFAULT_BASE = "https://data.commoncrawl.org"
_CRAWL_ID = re.compile(r"CC-MAIN-\d{4}-\d{2}")
_PATH = re.compile(r"crawl-data/[\w.-]+/segments/(?P<segment>[\w.-]+)/(?:warc|wet)/[\w.-]+")
_TIMEOUT_SECONDS = 60.0
_LISTING_LIMIT = 256 << 20  # a listing of 90,000 paths is about 12 MB


def is_crawl_id(name: str) -> bool:
    """Say whether `name` is a Common Crawl id such as `CC-MAIN-2024-10`."""
    return bool(_CRAWL_ID.fullmatch(name))


def crawl_files(crawl: str, segments: int | None) -> tuple[list[FoundFile], dict[str, str]]:
    """The WARC files of `crawl` and the segment of each.

    Sizes are not in Common Crawl's listing and are given as 0. Without `segments` its own segments are kept.

    Raises:
        CorpusError: the listing can't be reached or is not one.
    """
    base = os.environ.get(BASE_VARIABLE, DEFAULT_BASE).rstrip("/")
    url = f"{base}/crawl-data/{crawl}/warc.paths.gz"
    listing = _fetch(url, crawl)
    groups: dict[str, list[str]] = {}
    files: dict[str, FoundFile] = {}
    for line in listing.split():
        match = _PATH.fullmatch(line)
        if match is None:
            raise CorpusError(f"{url} is no listing of WARC files (it holds {line[:80]!r}): check {BASE_VARIABLE}")
        # What Common Crawl has published does not change: the path is the fingerprint.
        files[line] = FoundFile(line, f"{base}/{line}", 0, "warc", hash_facts(line))
        groups.setdefault(match["segment"], []).append(line)
    if not files:
        raise CorpusError(f"{url} lists no file: check the crawl id")
    names = number_groups(list(groups.values())) if segments is None else assign(dict.fromkeys(files, 0), segments)
    return [files[name] for name in sorted(files)], names


def _fetch(url: str, crawl: str) -> str:
    import requests

    try:
        with requests.get(url, timeout=_TIMEOUT_SECONDS, stream=True) as answer:
            if answer.status_code == 404:
                raise CorpusError(f"Common Crawl has no crawl {crawl} ({url} answers 404): check the id")
            answer.raise_for_status()
            packed = answer.raw.read(_LISTING_LIMIT)
    except (requests.RequestException, OSError) as error:
        raise CorpusError(
            f"can't reach Common Crawl at {url} ({type(error).__name__}): check the network, set {BASE_VARIABLE} "
            f"to a mirror, or download WARC files and give their folder"
        ) from None
    try:
        return zlib.decompressobj(wbits=31).decompress(packed, _LISTING_LIMIT).decode("ascii")
    except (zlib.error, UnicodeDecodeError):
        raise CorpusError(f"{url} is not a gzip file of paths: check {BASE_VARIABLE}") from None
