"""HTTP facts of a response and its payload with the encodings undone, in bounded memory."""

import re
import zlib
from collections.abc import Callable
from typing import Any, cast

from pipelines.crawl.rows import Row, printable

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]{0,1024})?\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;\"']{1,64})", re.IGNORECASE)
_ESSENCE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_COMMA = re.compile(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")  # outside of quotes
_VALUE_CHARACTERS = 1000  # of a Content-Type header; telling commas apart takes the square of it
_END_OF_HEADER = re.compile(rb"\r?\n\r?\n")
HEADER_BYTES = 1 << 16  # of an HTTP header, status line and all
_STATUS = re.compile(r"HTTP/\d(?:\.\d)?\s+(\d{3})(?:\s|$)|ICY\s+(\d{3})(?:\s|$)", re.IGNORECASE)
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def fill_from_http(row: Row, message: bytes, size: int, limit: int, *, is_cut_by_crawler: bool = False) -> Row:
    """Fill `row` from a raw HTTP response.

    Args:
        row: gets status, type, charset, opt-outs and body, or a `broken_*` reason.
        message: status line, headers and payload, as far as they were read.
        size: bytes of the whole message.
        limit: bytes of the payload, as stored and decoded.
        is_cut_by_crawler: the record says that the crawler stopped early, so encodings may end early too.
    """
    end = _END_OF_HEADER.search(message, 0, HEADER_BYTES)
    if end is None and len(message) > HEADER_BYTES:
        return row.reject("broken_http_header", f"no end within {HEADER_BYTES} bytes")
    first, fields = parse_header(message[: end.start() if end else len(message)])
    body = message[end.end() :] if end else b""
    status = _STATUS.match(first)
    if status is None:
        return row.reject("broken_http_status", "the response does not begin with an HTTP status line")
    row.http_status = int(status[1] or status[2])
    content_type, charset = media_type(fields.get("content-type", []))
    row.content_type, row.charset = printable(content_type, 100), printable(charset, 40)
    row.robots = printable("; ".join(fields.get("x-robots-tag", [])), 1000)
    row.tdm = printable(", ".join(fields.get("tdm-reservation", [])), 40)
    row.tdm_policy = printable((fields.get("tdm-policy") or [None])[0], 200)
    row.content_language = printable(", ".join(fields.get("content-language", [])), 100)
    if len(body) > limit or size > len(message):
        return row.reject_oversized(size, limit)
    if any("chunked" in value.lower() for value in fields.get("transfer-encoding", [])):
        decoded = unchunk(body, is_cut_by_crawler=is_cut_by_crawler)
        if decoded is None:
            return row.reject("broken_chunking", "a chunk is shorter than its size, or no size follows it")
        body = decoded
    codings = [c.strip().lower() for value in fields.get("content-encoding", []) for c in value.split(",")]
    for coding in reversed([c for c in codings if c and c != "identity"]):
        result = decode(body, coding, limit, is_cut_by_crawler=is_cut_by_crawler)
        if result is None:
            return row.reject("broken_content_encoding", printable(f"not valid {coding}", 60))
        if len(result) > limit:
            return row.reject_oversized(len(result), limit)
        body = result
    row.body = body
    return row


def parse_header(block: bytes) -> tuple[str, dict[str, list[str]]]:
    """The first line of an HTTP header and the values of each field, by its name in lower case."""
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError:
        text = block.decode("latin-1")
    lines = text.split("\n")
    fields: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines[1:]:
        if line[:1] in (" ", "\t"):  # a folded line continues the value before it (RFC 9112, 5.2)
            if current:
                current[-1] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        current = fields.setdefault(name.strip().lower(), []) if colon else None
        if current is not None:
            current.append(value.strip())
    return lines[0].strip(), fields


def media_type(values: list[str]) -> tuple[str | None, str | None]:
    """Media type and charset of Content-Type headers, both in lower case, as a browser takes them.

    Fetch standard, "extract a MIME type": the last that can be read counts, and keeps the charset of one before it
    of the same type.
    """
    found: str | None = None
    charset: str | None = None
    for part in (part for value in values for part in _COMMA.split(value[:_VALUE_CHARACTERS])):
        essence, _, parameters = part.partition(";")
        essence = essence.strip().lower()
        if not _ESSENCE.fullmatch(essence):
            continue
        match = _CHARSET.search(parameters)
        charset = match[1].lower() if match else charset if essence == found else None
        found = essence
    if found is None and any(values):
        found = values[-1].partition(";")[0].strip().lower() or None  # shown to a person; no type that is extracted
    return found, charset


def unchunk(body: bytes, *, is_cut_by_crawler: bool = False) -> bytes | None:
    """Undo the chunked transfer coding (RFC 9112, 7.1); None where it is broken.

    A body that does not begin with a chunk is returned as it is: Common Crawl and others store the payload
    decoded and leave the header as it was.
    """
    parts: list[bytes] = []
    position = 0
    while True:
        size_line = _CHUNK_SIZE.match(body, position)
        if size_line is None:
            if not parts:
                return body
            # The last chunk, of size 0, is often missing; anything else after a chunk is damage.
            is_over = not body[position:].strip()
            return b"".join(parts) if is_over or is_cut_by_crawler else None
        size = int(size_line[1], 16)
        if size == 0:
            return b"".join(parts)
        start = size_line.end()
        chunk = body[start : start + size]
        position = start + size
        if len(chunk) < size:
            if is_cut_by_crawler:
                return b"".join([*parts, chunk])
            return None
        ending = _LINE_END.match(body, position)
        if ending is None:
            if not parts:
                return body  # a text that happens to begin with a line of hexadecimal digits
            return b"".join([*parts, chunk]) if position == len(body) else None
        parts.append(chunk)
        position = ending.end()


def decode(body: bytes, coding: str, limit: int, *, is_cut_by_crawler: bool = False) -> bytes | None:
    """Undo one content coding, stopping after `limit` + 1 bytes; None where the payload is damaged.

    A payload that is plain text although a coding is declared is returned as it is.
    """
    if not body:
        return body
    decoder = _DECODERS.get(coding)
    if decoder is not None:
        out, is_whole = decoder(body, limit + 1)
        if is_whole or len(out) > limit or (out and is_cut_by_crawler):
            return out
    return body if _looks_like_text(body) else None


def _looks_like_text(body: bytes) -> bool:
    return _NOT_TEXT.search(body[:512]) is None


def _inflate(body: bytes, size: int, wbits: int) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    total = 0
    while body and total < size:  # a gzip payload may have several members
        decoder = zlib.decompressobj(wbits)
        try:
            parts.append(decoder.decompress(body, size - total))
        except zlib.error:
            return b"".join(parts), bool(parts) and not body.startswith(b"\x1f\x8b")  # trailing bytes are harmless
        total += len(parts[-1])
        if not decoder.eof:
            return b"".join(parts), total >= size
        body = decoder.unused_data if wbits == 31 else b""
    return b"".join(parts), True


def _gunzip(body: bytes, size: int) -> tuple[bytes, bool]:
    return _inflate(body, size, 31)


def _deflate(body: bytes, size: int) -> tuple[bytes, bool]:
    """RFC 9110 means the zlib format; many servers send bare deflate."""
    out, is_whole = _inflate(body, size, 15)
    return (out, True) if is_whole else max(_inflate(body, size, -15), (out, False), key=lambda r: (r[1], len(r[0])))


def _brotli(body: bytes, size: int) -> tuple[bytes, bool]:
    import brotli

    decoder: Any = brotli.Decompressor()
    parts: list[bytes] = []
    total = 0
    try:
        data = body
        while total < size:
            part = cast(bytes, decoder.process(data, output_buffer_limit=size - total))
            data = b""
            parts.append(part)
            total += len(part)
            if decoder.is_finished() or (not part and decoder.can_accept_more_data()):
                break
    except brotli.error:
        return b"".join(parts), False
    return b"".join(parts), bool(decoder.is_finished())


def _zstd(body: bytes, size: int) -> tuple[bytes, bool]:
    import zstandard

    # RFC 9659: a zstd content coding needs a window of no more than 8 MB.
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 23).stream_reader(body, read_across_frames=True)
    parts: list[bytes] = []
    total = 0
    try:
        while total < size and (part := reader.read(min(size - total, 1 << 20))):
            parts.append(part)
            total += len(part)
    except zstandard.ZstdError:
        return b"".join(parts), False
    return b"".join(parts), bool(parts)


_DECODERS: dict[str, Callable[[bytes, int], tuple[bytes, bool]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
