"""What may be taken down: a host with its subdomains, an address, addresses that begin alike, a document.

Addresses are compared in a normal form (RFC 3986, section 6.2): the host in lower case and punycode, without default
port, fragment, user information and a dot at its end, the path without dot segments and with as few percent signs as
may be. http and https are one address: who asks for a page to be removed means both.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast, get_args
from urllib.parse import quote, urlsplit

from gristmill.core.errors import SettingsError
from pipelines.crawl.hostkeys import host_key, is_address

Kind = Literal["host", "url", "doc_id"]
KINDS: tuple[str, ...] = get_args(Kind)
LONGEST = 1 << 13  # characters; the longest addresses that browsers send and servers take
_DOC_ID = re.compile(r"[0-9a-f]{32}")  # pipelines.crawl.rows.document_id
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21}
_WEB = ("http", "https")
_TO_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}|[^!-~]|[*\"<>\\^`{|}]|%")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True)
class Pattern:
    """One entry of the file."""

    kind: Kind
    pattern: str  # in normal form; an address without its scheme, with `*` at its end where it is a beginning
    written: str  # as it stands in the file
    added_at: str = ""
    note: str = ""  # may name a person: it is shown by `gristmill takedown list` and goes nowhere else
    is_broad: bool = False  # a public suffix, which somebody said is meant
    line: int = 0  # of the file, from 1

    @property
    def key(self) -> str:
        """16 hex digits that stand for the pattern in reports: what is asked for may say something of a person."""
        return hashlib.sha256(f"{self.kind}\0{self.pattern}".encode()).hexdigest()[:16]

    @property
    def is_prefix(self) -> bool:
        """Whether it means all addresses that begin so."""
        return self.kind == "url" and self.pattern.endswith("*")

    def __str__(self) -> str:
        return self.written


def parse(
    text: str, kind: str = "", *, added_at: str = "", note: str = "", is_broad: bool = False, line: int = 0
) -> Pattern:
    """Read a pattern as a person writes it.

    Args:
        text: `example.org`, `https://example.org/page`, `https://example.org/private/*` or a doc_id.
        kind: one of KINDS; empty: what it looks like.
        added_at: ISO 8601.
        note: why, for people.
        is_broad: a public suffix is meant, with all that is registered under it.
        line: where in the file it stands.

    Raises:
        SettingsError: it is none of these, or means far too much.
    """
    written = text.strip()
    if not written:
        raise SettingsError("a pattern is empty; give a host, an address or a doc_id")
    if len(written) > LONGEST or _CONTROL.search(written):
        raise SettingsError(
            f"pattern {written[:40]!r}… is longer than {LONGEST} characters or holds control characters"
        )
    if kind and kind not in KINDS:
        raise SettingsError(f"pattern {written}: kind {kind!r} is unknown; known are {', '.join(KINDS)}")
    found = kind or _looks_like(written)
    normal = {"host": _host, "url": _url, "doc_id": _doc_id}[found](written)
    if found == "host" and not is_broad and is_public_suffix(normal):
        raise SettingsError(
            f"pattern {written} is a public suffix and means every site below it; name a host, or say that it is "
            "meant: --broad, or `broad: true` in the file"
        )
    return Pattern(cast("Kind", found), normal, written, added_at, note, is_broad, line)


def _looks_like(text: str) -> str:
    if _DOC_ID.fullmatch(text.lower()):
        return "doc_id"
    return "url" if "/" in text else "host"


def _doc_id(text: str) -> str:
    if not _DOC_ID.fullmatch(text.lower()):
        raise SettingsError(f"pattern {text} is no doc_id; give its 32 hex digits")
    return text.lower()


def _host(text: str) -> str:
    if "*" in text:
        raise SettingsError(f"pattern {text}: a host means its subdomains too; write it without `*`")
    bare = text
    if (port := re.fullmatch(r"([^:]+):(\d+)", text)) is not None:
        if int(port[2]) not in _DEFAULT_PORTS.values():
            raise SettingsError(f"pattern {text}: a host has no port; give http://{text}/* for what is served there")
        bare = port[1]
    key = host_key(bare)
    if is_address(key):
        return key
    if len(key) > 253 or not all(_LABEL.fullmatch(label) for label in key.split(".")):
        raise SettingsError(
            f"pattern {text} is no host; give one such as example.org, an address with `/`, or a doc_id"
        )
    if key.replace(".", "").isdigit():
        raise SettingsError(f"pattern {text} is neither a host nor a whole IP address")
    return key


def _url(text: str) -> str:
    star = text.endswith("*")
    bare = text[:-1] if star else text
    if "*" in bare:
        raise SettingsError(f"pattern {text}: `*` stands at the end alone; write %2A where an address itself has one")
    address = bare if _SCHEME.match(bare) else f"https://{bare}"
    rest = address[address.index("://") + 3 :]
    if star and not re.search(r"[/?]", rest):
        raise SettingsError(
            f"pattern {text}: the host must be whole before `*`; give {bare.rstrip('/')}/* for its pages, "
            "or the host alone for its subdomains too"
        )
    if star and "#" in rest:
        raise SettingsError(f"pattern {text}: what follows `#` is no part of an address; leave it out")
    normal = normal_url(address)
    host = "" if normal is None else host_in(place_of(normal))
    if normal is None or not host:
        raise SettingsError(f"pattern {text} is no address; give one such as https://example.org/page")
    _host(host)
    return normal + "*" * star


def place_of(normal: str) -> str:
    """Host and port of an address in normal form, with the scheme where it is neither http nor https."""
    scheme = _SCHEME.match(normal)
    start = scheme.end() if scheme else 0
    return normal[: normal.index("/", start)] if "/" in normal[start:] else normal


def host_in(place: str) -> str:
    """The host of what `place_of` gives."""
    bare = place.rpartition("://")[2]
    return bare.partition("]")[0][1:] if bare.startswith("[") else bare.partition(":")[0]


def normal_url(url: str) -> str | None:
    """`url` as addresses are compared: `example.org/page?x=1` for http and https; None where it has no host.

    Other schemes keep theirs: `ftp://example.org/file`.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    scheme = parts.scheme.lower()
    name = host_key(host)
    place = f"[{name}]" if ":" in name else name
    if port is not None and port != _DEFAULT_PORTS.get(scheme):
        place = f"{place}:{port}"
    path = _without_dots(_TO_ESCAPE.sub(_escaped, parts.path)) or "/"
    query = f"?{_TO_ESCAPE.sub(_escaped, parts.query)}" if parts.query else ""
    return f"{'' if scheme in _WEB else scheme + '://'}{place}{path}{query}"


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    if len(text) == 3:
        character = chr(int(text[1:], 16))
        return character if character in _UNRESERVED else text.upper()
    return quote(text.encode("utf-8", "replace"), safe="")


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for number, segment in enumerate(segments):
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
            continue
        if number == len(segments) - 1:
            kept.append("")
    return "/".join(kept)


def is_public_suffix(host: str) -> bool:
    """Whether anybody may register names below `host`, as below com, co.uk or github.io (publicsuffix.org)."""
    if "." not in host:
        return ":" not in host
    suffixes = _suffixes()
    parent = host.partition(".")[2]
    return host in suffixes or (f"*.{parent}" in suffixes and f"!{host}" not in suffixes)


@lru_cache
def _suffixes() -> frozenset[str]:
    from tldextract import TLDExtract

    # The list in the package, so that nothing is downloaded and every machine says the same.
    listed = TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True).tlds
    return frozenset(line if line.isascii() else host_key(line) for line in listed)
