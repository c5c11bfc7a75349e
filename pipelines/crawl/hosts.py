"""Lists of blocked hosts and addresses, millions of entries at a few bytes each.

A list is kept as the sorted 64-bit hashes of its entries, made once per content and mapped into the memory of every
process that needs it, so that all workers of a machine share one copy. Two of five million entries and a page's few
names have equal hashes once in 10^11 pages.
"""

import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.crawl.hostkeys import host_key, path_keys
from pipelines.crawl.hostlists import ListIndex, list_files, open_index

__all__ = ["BlockedHosts", "list_files", "open_lists"]


class BlockedHosts:
    """Says which category blocks an address."""

    def __init__(self, index: ListIndex) -> None:
        self._index = index
        self._by_host: Any = lru_cache(maxsize=1 << 14)(self._category_of_host)

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
        if _is_address(host):
            return self._index.first([host])
        return self._index.first([".".join(labels[n:]) for n in range(len(labels))])


def _is_address(host: str) -> bool:
    if ":" not in host and not host[-1:].isdigit():
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=2)
def _opened(paths: tuple[str, ...], categories: tuple[str, ...], state: tuple[tuple[str, int, int], ...]) -> Any:
    return BlockedHosts(open_index(paths, categories, state))


def open_lists(paths: tuple[str, ...], categories: tuple[str, ...]) -> BlockedHosts | None:
    """The lists at `paths`, all or those of `categories`; None where there are none.

    Raises:
        SettingsError: one is missing, or holds no list.
    """
    if not paths:
        return None
    state = tuple((path, (s := Path(path).stat()).st_size, s.st_mtime_ns) for path in list_files(paths, categories))
    opened: BlockedHosts = _opened(paths, categories, state)
    return opened
