"""URLs and hosts as crawl files hold them, made readable."""

import re
from urllib.parse import quote, urlsplit

URL_LIMIT = 1 << 16
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f<>\"\ud800-\udfff]")


def clean_url(raw: str | None) -> str | None:
    """A readable form of a target URI: brackets stripped, spaces and control characters encoded; None if hopeless.

    wget 1.14 to 1.19 wrote `<http://…>`, after a grammar in the WARC 1.0 standard that 1.1 corrected.
    """
    text = (raw or "").strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1].strip()
    if not _SCHEME.match(text) or len(text) > URL_LIMIT:
        return None
    text = _UNPRINTABLE.sub(lambda m: quote(m[0].encode("utf-8", "replace")), text)
    if text.lower().startswith(("http:", "https:")) and host_of(text) is None:
        return None
    return text


def host_of(url: str) -> str | None:
    """The host of a URL, lower case; None where it has none or can't be parsed."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return host.rstrip(".") or None if host else None
