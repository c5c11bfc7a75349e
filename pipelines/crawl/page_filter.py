"""Which pages of a crawl are wanted, in the terms of Common Crawl's indexes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gristmill.core.errors import CorpusError
from pipelines.crawl.iso639 import three_letters

WARC_PATH = r"crawl-data/[\w-][\w.-]*/segments/[\w-][\w.-]*/warc/[\w-][\w.-]*"  # nothing that climbs
_HOST = re.compile(r"(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*(:\d{1,5})?")
_TLD = re.compile(r"[a-z0-9-]{1,63}")
_MIME = re.compile(r"[a-z0-9.+-]+/([a-z0-9.+-]+|\*)")
_WWW = re.compile(r"www\d*\.")  # no part of a SURT key
_AFTER = {")": "*", ",": "-", ":": ";"}  # the next character: one past every key that goes on with the first
MAX_RECORD_BYTES = 1 << 30


@dataclass(frozen=True)
class PageFilter:
    """Pages that are wanted: of each kind of condition that is given, one value has to hold.

    Made by `page_filter`, which checks and normalises the values.
    """

    hosts: tuple[str, ...] = ()  # without www.; `*.x.org` is x.org and every host below it
    tlds: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()  # ISO 639-3; a page's first language counts
    mimes: tuple[str, ...] = ()  # as detected from the content; `text/*` is every text type
    limit: int | None = None  # pages, in the order of the index
    warc_files: frozenset[str] | None = None  # None: of the whole crawl

    @property
    def is_empty(self) -> bool:
        """Whether every page is wanted."""
        return not (self.hosts or self.tlds or self.languages or self.mimes or self.limit is not None)

    def key_ranges(self) -> list[tuple[str, str]]:
        """First key and the one past the last, for the SURT keys of the hosts or, without one, of the TLDs."""
        ranges = {(f"{tld},", f"{tld}-") for tld in self.tlds} if not self.hosts else set[tuple[str, str]]()
        for host in self.hosts:
            name, _, port = host.removeprefix("*.").partition(":")
            surt = ",".join(reversed(name.split("."))) + (f":{port}" if port else "")
            # What follows a host in a key: `)` its path, `:` a port, `,` a host below it.
            ends = "),:" if host.startswith("*.") else ")"
            ranges |= {(surt + end, surt + _AFTER[end]) for end in ends}
        return sorted(ranges)

    def takes(self, url: str, languages: str, mime: str) -> bool:
        """Say whether a page with these facts of the index is wanted."""
        host = (urlsplit(url).hostname or "").rstrip(".")
        return (
            (not self.hosts or any(_is_of(host, wanted) for wanted in self.hosts))
            and (not self.tlds or host.rpartition(".")[2] in self.tlds)
            and (not self.languages or languages.partition(",")[0] in self.languages)
            and (not self.mimes or self.takes_mime(mime))
        )

    def takes_mime(self, mime: str) -> bool:
        """Say whether a media type is wanted."""
        return mime in self.mimes or f"{mime.partition('/')[0]}/*" in self.mimes

    def describe(self) -> str:
        """The filter for a person."""
        parts = [
            f"{name} {' or '.join(values)}"
            for name, values in (
                *(("host", self.hosts), ("tld", self.tlds), ("language", self.languages), ("mime", self.mimes)),
            )
            if values
        ]
        return ", ".join(parts) or "every page"


def _is_of(host: str, wanted: str) -> bool:
    name = wanted.removeprefix("*.").partition(":")[0]
    return (
        _WWW.sub("", host, count=1) == name or host == name or (wanted.startswith("*.") and host.endswith(f".{name}"))
    )


def page_filter(
    hosts: Iterable[str] = (),
    tlds: Iterable[str] = (),
    languages: Iterable[str] = (),
    mimes: Iterable[str] = (),
    limit: int | None = None,
) -> PageFilter:
    """A filter of what a person typed.

    Raises:
        CorpusError: a value can't be one of its kind; names it and says what to give.
    """
    if limit is not None and limit < 1:
        raise CorpusError(f"--limit {limit}: give 1 page or more")
    return PageFilter(
        tuple(sorted({_host(value) for value in hosts})),
        tuple(sorted({_checked("--tld", v.lower().lstrip("."), _TLD, "give one label, such as de") for v in tlds})),
        tuple(sorted({three_letters(value) for value in languages})),
        tuple(sorted({_checked("--mime", v.lower(), _MIME, "give a media type such as text/html") for v in mimes})),
        limit,
    )


def _host(value: str) -> str:
    text = value.strip().lower().rstrip(".")
    is_wild = text.startswith("*.")
    try:
        text = text.removeprefix("*.").encode("idna").decode("ascii")
    except UnicodeError:
        raise CorpusError(f"--host {value!r} is no host name: give one such as example.org or *.example.org") from None
    text = _WWW.sub("", text, count=1) if text.count(".") > 1 else text
    return ("*." if is_wild else "") + _checked("--host", text, _HOST, "give one such as example.org or *.example.org")


def _checked(option: str, value: str, pattern: re.Pattern[str], way_out: str) -> str:
    if pattern.fullmatch(value) is None:
        raise CorpusError(f"{option} {value!r} can't be one: {way_out}")
    return value


def page_row(warc_file: str, offset: int, length: int, url: str) -> dict[str, Any] | None:
    """A row of selection.PAGES_SCHEMA; None for a record outside of the `warc` files (redirects, robots.txt).

    Raises:
        ValueError: the place can't be one.
    """
    if re.fullmatch(WARC_PATH, warc_file) is None:
        return None
    if offset < 0 or not 0 < length <= MAX_RECORD_BYTES:
        raise ValueError(f"no record can lie at {offset}, {length} bytes long")
    return {"warc_file": warc_file, "offset": offset, "length": length, "url": url}
