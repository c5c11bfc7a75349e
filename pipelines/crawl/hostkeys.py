"""How hosts and addresses are compared with lists of them."""

import hashlib
import ipaddress
import re
from urllib.parse import unquote

_MOST_SEGMENTS = 32  # of a path that are compared with the lists
_ASCII_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_PLAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+")  # nearly every line of a list: its own key
_HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_REMARK = re.compile(r"\s#.*", re.DOTALL)
# Adblock's rule for a whole domain; other options (third-party, script …) are for parts of pages.
_ADBLOCK = re.compile(r"\|\|([^\s/|^$@]+)\^(?:\$(?:all|doc|document|important)(?:,(?:all|doc|document|important))*)?")


def host_key(host: str) -> str:
    """A host as lists and pages are compared: lower case, punycode, without port and trailing dot.

    Unicode names are mapped as browsers map them (UTS 46); what is no host name stays as it is.
    """
    host = host.strip().lower()
    if not _ASCII_HOST.issuperset(host):
        host = unquote(host)
        if not host.startswith("[") and host.count(":") == 1:
            host = host.partition(":")[0]
        if not host.isascii():
            host = _to_ascii(host)
    return host.strip("[]").rstrip(".")


def _to_ascii(host: str) -> str:
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        try:
            return host.encode("idna").decode("ascii").lower()  # what IDNA 2008 forbids, such as emoji
        except UnicodeError:
            return host


def path_keys(path: str, query: str = "") -> list[str]:
    """A path's prefixes by whole segments, the shortest first, the last with the query; none for the root."""
    segments = [s for s in unquote(path).lower().split("/") if s and s != "."]
    keys = ["/".join(segments[: n + 1]) for n in range(min(len(segments), _MOST_SEGMENTS))]
    return [*keys, f"{'/'.join(segments)}?{unquote(query).lower()}"] if query else keys


def entry_keys(line: str) -> tuple[str, ...] | None:
    """The keys of a line of a list, each `host` or `host/path`; none for a comment, None for what names no host.

    A line is a host, an address, a host with the beginning of a path, a URL, a line of a hosts file (`0.0.0.0 host …`)
    or adblock's rule for a domain (`||host^`).
    """
    text = line.strip()
    if _PLAIN.fullmatch(text):
        return (text,)
    if not text or text[0] in "#;!" or text.startswith("[Adblock"):
        return ()
    text = _REMARK.sub("", text)
    if (rule := _ADBLOCK.fullmatch(text)) is not None:
        text = rule[1]
    fields = text.split()
    if len(fields) > 1 and (address := _address(fields[0])) is not None:
        if not (address.is_unspecified or address.is_loopback):
            # 255.255.255.255 broadcasthost, fe80::1%lo0 localhost: what a hosts file begins with; else a host's address
            return None if any("." in name for name in fields[1:]) else ()
        # localhost, localhost.localdomain, 0.0.0.0: names of the machine itself, in every hosts file
        names = [n for n in fields[1:] if "." in n and n != "localhost.localdomain" and _address(n) is None]
        keys = [key for name in names if (key := _entry_key(name)) is not None]
        return tuple(keys) if len(keys) == len(names) else None
    key = _entry_key(text)
    return None if key is None else (key,)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _entry_key(text: str) -> str | None:
    scheme = _SCHEME.match(text)
    host, slash, rest = text[scheme.end() if scheme else 0 :].partition("/")
    host = host_key(host.rpartition("@")[2].removeprefix("*.").lstrip("."))
    if not _HOST.fullmatch(host) and _address(host) is None:
        return None
    path, _, query = rest.partition("#")[0].partition("?")
    keys = path_keys(path, query) if slash else []
    return f"{host.removeprefix('www.')}/{keys[-1]}" if keys else host


def is_telling(line: str, keys: tuple[str, ...]) -> bool:
    """Whether `keys` of `line` are surely hosts: a single word may be any word, `.zip` and `*.zip` are domains."""
    return any("." in key or ":" in key for key in keys) or (bool(keys) and line.strip().startswith((".", "*.")))


def hash_of(key: str) -> bytes:
    """Eight bytes that stand for a key: the same in every process."""
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()


def is_address(host: str) -> bool:
    """Whether a host is an IPv4 or IPv6 address, which has no domains above it."""
    if ":" not in host and not host[-1:].isdigit():
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
