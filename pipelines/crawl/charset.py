"""From bytes to text: byte order mark, HTTP header, meta tag, detection, in the order of the WHATWG Encoding and
HTML standards, with departures that a crawl needs (see `decode_html`)."""

import codecs
import re
from collections.abc import Iterator

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from pipelines.crawl.prescan import declared_charset

_DETECT_BYTES = 1 << 16
_UTF_16_BYTES, _UTF_16_NULS = 1024, 0.4  # markup is in Latin letters, whatever the language
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# What the WHATWG labels mean in Python: these encodings hold vendors' extensions that the plain codecs lack.
_SUPERSETS = {
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
}
_ISO_2022_JP = re.compile(rb"\x1b\$[@B]")  # shifts to Kanji, which nothing else in ASCII does
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
        found = codecs.lookup(_SUPERSETS.get(name.lower(), name)).name
    except LookupError:
        return None
    return {"utf-16": "utf-16-le"}.get(found, found)


def decode_html(data: bytes, declared: str | None = None) -> tuple[str, str]:
    """Decode a page; returns its text, valid in UTF-8, and the name of the codec that was used. Never raises.

    Departures from the standard: UTF-16 without a byte order mark and ISO-2022-JP are told by their NUL
    bytes and escapes, what is valid UTF-8
    beyond ASCII is read as UTF-8 though a one-byte charset is declared (which decodes anything, so a browser would
    show mojibake), and where a declared charset does not fit the bytes the next candidate that does is taken.

    Args:
        data: the page.
        declared: charset of the HTTP header.
    """
    for mark, codec in _BOMS:
        if data.startswith(mark):
            return _text(data[len(mark) :].decode(codec, "replace")), codec
    if data.isascii() and b"\x1b" not in data and b"\0" not in data:  # escapes: ISO-2022-JP; NUL: UTF-16
        return data.decode("ascii"), "utf-8"
    if data.isascii() and _ISO_2022_JP.search(data):
        return _text(data.decode("iso2022_jp", "replace")), "iso2022_jp"
    if (wide := _utf_16_without_mark(data)) is not None:
        return _text(data.decode(wide, "replace")), wide
    as_utf8 = _decodes(data, "utf-8")
    first: str | None = None
    for codec in _candidates(data, declared):
        first = first or codec
        if as_utf8 is not None and (codec == "utf-8" or is_one_byte(codec)):
            return as_utf8, "utf-8"  # the departure above
        text = None if codec == "utf-8" else _decodes(data, codec)
        if text is not None:
            return _text(text), codec
    codec = first or "utf-8"
    return _text(data.decode(codec, "replace")), codec


def is_one_byte(codec: str) -> bool:
    """Say whether every byte is a character of its own in `codec`."""
    return codec.startswith(("cp125", "cp866", "cp874", "iso8859", "koi8", "mac", "ascii"))


def _candidates(data: bytes, declared: str | None) -> Iterator[str]:
    codec = codec_for(declared)
    if codec is not None:
        yield codec
    codec = codec_for(declared_charset(data))
    if codec is not None:  # a meta tag that could be read is not in UTF-16 (HTML standard, 13.2.3.2)
        yield "utf-8" if codec.startswith("utf-16") else codec
    detected = codec_for(detect_encoding(data, max_len=_DETECT_BYTES))
    if detected is not None:
        yield detected


def _utf_16_without_mark(data: bytes) -> str | None:
    """UTF-16 where every other byte of the beginning is NUL but for some, as of Latin letters."""
    head = data[:_UTF_16_BYTES]
    if b"\0" not in head or len(head) < 4:
        return None
    even, odd = (head[start::2].count(0) for start in (0, 1))
    needed = _UTF_16_NULS * (len(head) // 2)
    if odd >= needed and 4 * even < odd:
        return "utf-16-le"
    return "utf-16-be" if even >= needed and 4 * odd < even else None


def _decodes(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return data.decode(codec, "replace") if is_one_byte(codec) else None


def _text(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)
