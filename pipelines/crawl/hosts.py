"""Lists of blocked hosts and addresses, millions of entries at a few bytes each.

A list is kept as the sorted 64-bit hashes of its entries, made once per content and mapped into the memory of every
process that needs it, so that all workers of a machine share one copy. Two of five million entries and a page's few
names have equal hashes once in 10^11 pages.
"""

import logging
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gristmill.core.errors import SettingsError
from pipelines.crawl import hostlists
from pipelines.crawl.hostindex import ListIndex, State, open_index
from pipelines.crawl.hostkeys import host_key, is_address, path_keys

_LOG = logging.getLogger(__name__)
_LOCK = threading.Lock()  # partitions are planned by many threads; one reads the lists


class BlockedHosts:
    """Says which category blocks an address."""

    def __init__(self, index: ListIndex) -> None:
        self._index = index
        self._by_host: Any = lru_cache(maxsize=1 << 14)(self._category_of_host)

    @property
    def skipped(self) -> tuple[str, ...]:
        """A sentence per list that has lines without a host."""
        return self._index.skipped

    def category_of(self, url: str) -> str | None:
        """The category that blocks `url`: by its host, a domain that holds it, or a beginning of its path."""
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            return None
        if not host:
            return None
        host = host_key(host)
        found: str | None = self._by_host(host)
        if found is not None or not self._index.has_paths or (not parts.path.strip("/") and not parts.query):
            return found
        bare = host.removeprefix("www.")
        return self._index.first([f"{bare}/{key}" for key in path_keys(parts.path, parts.query)])

    def _category_of_host(self, host: str) -> str | None:
        labels = host.split(".")
        if is_address(host):
            return self._index.first([host])
        return self._index.first([".".join(labels[n:]) for n in range(len(labels))])


@lru_cache(maxsize=2)
def _opened(paths: tuple[str, ...], categories: tuple[str, ...], state: State) -> BlockedHosts | SettingsError:
    try:
        return BlockedHosts(open_index(paths, categories, state))
    except SettingsError as error:
        return error  # remembered too: each partition asks again


@lru_cache(maxsize=8)
def _warn(line: str) -> None:
    _LOG.warning("%s", line)


def list_files(paths: Sequence[str], categories: Sequence[str]) -> tuple[str, ...]:
    """The files behind `paths`, in a fixed order; the lists are read once, and what of them is unusable is logged.

    Raises:
        SettingsError: one is missing or damaged, holds no list, or names no hosts.
    """
    blocked = open_lists(tuple(paths), tuple(categories))
    for line in blocked.skipped if blocked is not None else ():
        _warn(line)
    return hostlists.list_files(paths, categories)


def open_lists(paths: tuple[str, ...], categories: tuple[str, ...]) -> BlockedHosts | None:
    """The lists at `paths`, all or those of `categories`; None where there are none.

    Raises:
        SettingsError: one is missing or damaged, holds no list, or names no hosts.
    """
    if not paths:
        return None
    files = hostlists.list_files(paths, categories)
    state = tuple((path, (s := Path(path).stat()).st_size, s.st_mtime_ns) for path in files)
    with _LOCK:
        opened = _opened(paths, categories, state)
    if isinstance(opened, SettingsError):
        raise opened
    return opened
