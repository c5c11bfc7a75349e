"""From bytes to text: byte order mark, HTTP header, meta tag, detection, in the order of the WHATWG Encoding and
HTML standards, with two departures that a crawl needs (see `decode_html`)."""

import codecs
import re
from collections.abc import Iterator

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

META_BYTES = 1024  # HTML standard, 13.2.3.3: how far a browser looks for a meta tag
_DETECT_BYTES = 1 << 16
_META = re.compile(rb"<meta\s[^>]{0,512}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml\s[^>]{0,256}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})[\"']", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SURROGATES = re.compile("[\ud800-\udfff]")


def codec_for(label: str | None) -> str | None:
    """Python's codec for a charset label as the WHATWG standard reads it; None for an unknown label.

    `iso-8859-1` and `ascii` mean windows-1252 there, `gb2312` means gb18030 here, its superset.
    """
    if not label:
        return None
    name = map_encoding_to_html5(label.strip().strip("\"'"), fallback_utf8=False)
    if name is None:
        return None
    try:
        found = codecs.lookup("gb18030" if name.lower() == "gbk" else name).name
    except LookupError:
        return None
    return {"utf-16": "utf-16-le"}.get(found, found)


def decode_html(data: bytes, declared: str | None = None) -> tuple[str, str]:
    """Decode a page; returns its text, valid in UTF-8, and the name of the codec that was used. Never raises.

    Departures from the standard: what is valid UTF-8 beyond ASCII is read as UTF-8 though a one-byte charset is
    declared (which decodes anything, so a browser would show mojibake), and where a declared charset does not
    fit the bytes the next candidate that does is taken.

    Args:
        data: the page.
        declared: charset of the HTTP header.
    """
    for mark, codec in _BOMS:
        if data.startswith(mark):
            return _text(data[len(mark) :].decode(codec, "replace")), codec
    if data.isascii() and b"\x1b" not in data and b"\0" not in data:  # escapes: ISO-2022-JP; NUL: UTF-16
        return data.decode("ascii"), "utf-8"
    is_utf8 = _decodes(data, "utf-8")
    first: str | None = None
    for codec in _candidates(data, declared):
        first = first or codec
        if is_utf8 and is_one_byte(codec):
            codec = "utf-8"  # noqa: PLW2901 - the departure above
        text = _decodes(data, codec)
        if text is not None:
            return _text(text), codec
    codec = first or "utf-8"
    return _text(data.decode(codec, "replace")), codec


def is_one_byte(codec: str) -> bool:
    """Say whether every byte is a character of its own in `codec`."""
    return codec.startswith(("cp125", "cp866", "cp874", "iso8859", "koi8", "mac", "ascii"))


def _candidates(data: bytes, declared: str | None) -> Iterator[str]:
    head = data[:META_BYTES]
    for label in (declared, *(m[1].decode("ascii") for p in (_META, _XML) for m in [p.search(head)] if m)):
        codec = codec_for(label)
        if codec is not None and not (codec.startswith("utf-16") and label is not declared):
            yield codec
        elif codec is not None:
            yield "utf-8"  # a meta tag that could be read is not in UTF-16 (HTML standard, 13.2.3.2)
    detected = codec_for(detect_encoding(data, max_len=_DETECT_BYTES))
    if detected is not None:
        yield detected


def _decodes(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return data.decode(codec, "replace") if is_one_byte(codec) else None


def _text(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)
