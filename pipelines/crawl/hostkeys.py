"""How hosts and addresses are compared with lists of them."""

import hashlib
from urllib.parse import unquote

_MOST_SEGMENTS = 32  # of a path that are compared with the lists
_ASCII_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")


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


def entry_key(line: str) -> str | None:
    """The key of a line of a list: `host` or `host/path`; None for a comment or an empty line."""
    text = line.strip()
    if not text or text[0] in "#;!":
        return None
    if "://" in text:
        text = text.partition("://")[2]
    host, slash, rest = text.partition("/")
    host = host_key(host.rpartition("@")[2].removeprefix("*.").lstrip("."))
    if not host:
        return None
    path, _, query = rest.partition("#")[0].partition("?")
    keys = path_keys(path, query) if slash else []
    return f"{host.removeprefix('www.')}/{keys[-1]}" if keys else host


def hash_of(key: str) -> bytes:
    """Eight bytes that stand for a key: the same in every process."""
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()
