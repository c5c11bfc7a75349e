"""The hostile pages of `benchmarks.hostile`: what each is, and the crawl file that holds it between two good pages."""

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MB = 1 << 20
GOOD_URLS = ("http://good.example/1", "http://good.example/2")
HOSTILE_URL = "http://hostile.example/"
_PARAGRAPH = "<p>A good page with a few good sentences, which must come through whatever its neighbour does.</p>"
_GOOD = f"<html><head><title>Good</title></head><body>{_PARAGRAPH * 5}</body></html>".encode()


@dataclass(frozen=True)
class Case:
    """One hostile page: chunks of the bytes between two good records, or of a whole file."""

    what: str
    chunks: Callable[[], Iterable[bytes]]
    suffix: str = ".warc"
    says: str = ""  # where the page is kept: what its text must hold


def _header(length: int, url: str) -> bytes:
    return (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def record(body: bytes, headers: str = "Content-Type: text/html\r\n", url: str = HOSTILE_URL, lie: int = 0) -> bytes:
    """A response record; `lie` is added to its length."""
    block = f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + body
    return _header(len(block) + lie, url) + block + b"\r\n\r\n"


def good(number: int) -> bytes:
    """One of the two neighbours."""
    return record(_GOOD, url=GOOD_URLS[number])


def write_case(case: Case, folder: Path) -> Path:
    """Write the file of a case: WARC records around the hostile one, members where it is compressed."""
    path = folder / f"case{case.suffix}"
    with path.open("wb") as file:
        if case.suffix == ".jsonl":
            file.writelines(_lines(case))
        else:
            pack: Callable[[bytes], bytes] = _PACKERS[case.suffix]
            file.write(pack(good(0)))
            file.writelines(case.chunks())
            file.write(pack(good(1)))
    return path


def _zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


_PACKERS: dict[str, Callable[[bytes], bytes]] = {".warc": bytes, ".warc.gz": gzip.compress, ".warc.zst": _zstd}


def _lines(case: Case) -> Iterator[bytes]:
    lines = [json.dumps({"text": "A good document. " * 9, "url": url}).encode() + b"\n" for url in GOOD_URLS]
    yield lines[0]
    yield from case.chunks()
    yield b"\n" + lines[1]


def page(body: bytes, headers: str = "Content-Type: text/html\r\n", lie: int = 0) -> Callable[[], Iterable[bytes]]:
    """A hostile record of one piece."""
    return lambda: [record(body, headers, lie=lie)]


def repeated(unit: bytes, size: int = 8 * MB - 4096, before: bytes = b"<p>text ") -> Callable[[], Iterable[bytes]]:
    """A page of one thing over and over, just within the limit on bytes."""
    return lambda: [record(before + unit * ((size - len(before)) // len(unit)))]


def encoded(coding: str, pack: Callable[[], bytes]) -> Callable[[], Iterable[bytes]]:
    """A page with a content coding."""
    return lambda: [record(pack(), f"Content-Type: text/html\r\nContent-Encoding: {coding}\r\n")]


def deflated_zeros(total: int, before: bytes = b"") -> Iterator[bytes]:
    """A gzip member of `before` and `total` NUL bytes, made without compressing all of them."""
    step = 16 * MB
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = bytes(step)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    check = zlib.crc32(before)
    for _ in range(total // step):
        yield block
        check = zlib.crc32(zeros, check)
    size = len(before) + total // step * step
    yield packer.flush() + check.to_bytes(4, "little") + (size % (1 << 32)).to_bytes(4, "little")


def _gzip_bomb() -> bytes:
    return b"".join(deflated_zeros(6 << 30))  # 6 MB as stored


def _zstd_bomb() -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=3).compress(bytes(64 * MB)) * 160  # frame after frame: 10 GB


def _brotli_bomb() -> bytes:
    import brotli

    packer = brotli.Compressor(quality=1)
    return b"".join([*(packer.process(bytes(64 * MB)) for _ in range(16)), packer.finish()])


def _nested_gzip() -> bytes:
    inner = _GOOD
    for _ in range(30):
        inner = gzip.compress(inner)
    return inner


def _nested_bomb() -> bytes:
    return gzip.compress(gzip.compress(bytes(1 << 30), 6), 6)


def _member_bomb() -> Iterator[bytes]:
    length = 10 << 30
    return deflated_zeros(length, _header(length, HOSTILE_URL))


def _zstd_member_bomb() -> Iterator[bytes]:
    import zstandard

    packer = zstandard.ZstdCompressor(level=3).compressobj()
    yield packer.compress(_header(10 << 30, HOSTILE_URL))
    zeros = bytes(64 * MB)
    for _ in range(160):
        yield packer.compress(zeros)
    yield packer.flush()


def _many_records() -> Iterator[bytes]:
    """One zstd frame of a few kB that holds 32 MB of tiny records."""
    tiny = b"WARC/1.0\r\nContent-Length: 0\r\nWARC-Type: metadata\r\n\r\n\r\n\r\n"
    yield _zstd(tiny * (32 * MB // len(tiny)))


def _long_line() -> Iterator[bytes]:
    yield b'{"text": "'
    yield from itertools.repeat(b"x" * MB, 50)


def _body(size: int) -> Iterator[bytes]:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    yield _header(len(block) + size, HOSTILE_URL) + block
    yield from itertools.repeat(b"<p>text</p>\n" * (MB // 12) + b"    ", size // MB)
    yield b"\r\n\r\n"


def _long_header(size: int) -> Iterator[bytes]:
    yield _header(size + 17, HOSTILE_URL) + b"HTTP/1.1 200 OK\r\n"
    yield from itertools.repeat(b"X-Long: ".ljust(MB, b"y"), size // MB)
    yield b"\r\n\r\n"


def _long_warc_header() -> Iterator[bytes]:
    yield b"WARC/1.0\r\nWARC-Type: response\r\nX-Long: "
    yield from itertools.repeat(b"y" * MB, 100)
    yield b"\r\n\r\n"


_TEXT = "<html><body>" + "<p>日本語の文章がここにあります。中文的句子在这里。</p>" * 20 + "</body></html>"
_RUSSIAN = "<html><body>" + "<p>Простое предложение на русском языке для проверки.</p>" * 20 + "</body></html>"
_KOREAN = "<html><body>" + "<p>이것은 한국어로 쓰인 간단한 문장입니다.</p>" * 20 + "</body></html>"
_JAPANESE = "<html><body>" + "<p>これは日本語で書かれた簡単な文章です。</p>" * 20 + "</body></html>"
_UTF8 = "Content-Type: text/html; charset=utf-8\r\n"
_DEEP_TABLE = b"<table><tr><td>"

CASES: dict[str, Case] = {
    "body_100_mb": Case("a body of 100 MB", lambda: _body(100 * MB)),
    "nested_100000": Case("100,000 nested `<div>`", page(b"<div>" * 100_000 + b"text")),
    "nested_900": Case(
        "900 nested `<div>`, within the limit, and 7 MB of text in the innermost",
        page(b"<div>" * 900 + b"text " * 1_400_000),
    ),
    "nested_inline": Case("50,000 nested `<b><i>`", page(b"<b><i>" * 50_000 + b"text")),
    "adoption_agency": Case("unclosed formatting elements in paragraph after paragraph", repeated(b"<b><i><u><p>x")),
    "misnested": Case("closing tags in the wrong order, 8 MB", repeated(b"<b><i><div></b></i></div>")),
    "deep_tables": Case("100,000 tables in tables", page(_DEEP_TABLE * 100_000)),
    "tables_300": Case("300 tables in tables, text fostered out of each", page(b"<table>x<tr>y<td>" * 300)),
    "unclosed_a": Case("8 MB of `<a <a <a`", repeated(b"<a ", before=b"")),
    "attributes_20000": Case(
        "20,000 attributes", page(b"<p " + b" ".join(b"a%d=1" % n for n in range(20_000)) + b">text")
    ),
    "attribute_8_mb": Case("one attribute of 8 MB", page(b"<p title='" + b"x" * (8 * MB - 4096) + b"'>text</p>")),
    "gzip_bomb": Case("gzip bomb in Content-Encoding: 6 MB to 6 GB", encoded("gzip", _gzip_bomb)),
    "zstd_bomb": Case("zstd bomb in Content-Encoding: 1 MB to 10 GB", encoded("zstd", _zstd_bomb)),
    "brotli_bomb": Case("brotli bomb in Content-Encoding: 1 kB to 1 GB", encoded("br", _brotli_bomb)),
    "nested_codings": Case(
        "30 gzip codings around a page, all declared", encoded(", ".join(["gzip"] * 30), _nested_gzip)
    ),
    "nested_bomb": Case("gzip in gzip: 5 kB to 1 GB", encoded("gzip, gzip", _nested_bomb)),
    "codings_1000": Case(
        "1,000 codings declared",
        page(_GOOD, "Content-Type: text/html\r\nContent-Encoding: " + ", ".join(["br"] * 1000) + "\r\n"),
    ),
    "gzip_member_bomb": Case("a gzip member of 10 MB that holds a record of 10 GB", _member_bomb, ".warc.gz"),
    "zstd_frame_bomb": Case("a zstd frame of 1 MB that holds a record of 10 GB", _zstd_member_bomb, ".warc.zst"),
    "zstd_frame_of_records": Case("a zstd frame of 3 kB that holds 600,000 empty records", _many_records, ".warc.zst"),
    "nul_bytes": Case("8 MB of NUL bytes in a page", repeated(b"\0")),
    "surrogates_json": Case(
        "lone surrogates, as JSON can spell them",
        lambda: [b'{"text": "a \\ud800 b \\udfff", "title": "\\ud800", "url": "http://x/\\ud800"}'],
        ".jsonl",
    ),
    "surrogate_references": Case("a million `&#xD800;`", repeated(b"&#xD800;")),
    "endless_line": Case("a line of 50 MB in JSONL", _long_line, ".jsonl"),
    "deep_json": Case("a line of 1 MB of `[`", lambda: [b'{"text": ' + b"[" * MB], ".jsonl"),
    "warc_length_short": Case("WARC Content-Length 500 too small", page(_GOOD, lie=-500)),
    "warc_length_long": Case("WARC Content-Length 300 too large", page(_GOOD, lie=300)),
    "warc_length_huge": Case("WARC Content-Length of 10^14", lambda: [record(_GOOD, lie=10**14)]),
    "warc_length_negative": Case(
        "WARC Content-Length -1", lambda: [record(_GOOD).replace(b"Content-Length: ", b"Content-Length: -")]
    ),
    "http_length_short": Case(
        "HTTP Content-Length 10 of 500", page(_GOOD, "Content-Type: text/html\r\nContent-Length: 10\r\n")
    ),
    "http_length_huge": Case(
        "HTTP Content-Length of 10^30", page(_GOOD, "Content-Type: text/html\r\nContent-Length: 1" + "0" * 30 + "\r\n")
    ),
    "http_length_negative": Case(
        "HTTP Content-Length -5", page(_GOOD, "Content-Type: text/html\r\nContent-Length: -5\r\n")
    ),
    "header_100_mb": Case("an HTTP header of 100 MB", lambda: _long_header(100 * MB)),
    "headers_million": Case("a million HTTP headers", page(_GOOD, "".join(f"X-{n}: 1\r\n" for n in range(600_000)))),
    "warc_header_100_mb": Case("a WARC header of 100 MB", _long_warc_header),
    "utf_16_as_utf_8": Case(
        "UTF-16 declared as UTF-8", page(_GOOD.decode().encode("utf-16-le"), _UTF8), says="A good page"
    ),
    "unknown_charset": Case(
        "a charset nobody knows",
        page(_RUSSIAN.encode(), "Content-Type: text/html; charset=x-klingon\r\n"),
        says="Простое",
    ),
    "bom_against_header": Case(
        "UTF-8 mark against a header that says windows-1251",
        page(b"\xef\xbb\xbf" + _RUSSIAN.encode(), "Content-Type: text/html; charset=windows-1251\r\n"),
        says="Простое",
    ),
    "iso_2022_jp": Case(
        "ISO-2022-JP declared as UTF-8", page(_JAPANESE.encode("iso2022_jp"), _UTF8), says="これは日本語"
    ),
    **{
        f"as_utf_8_{codec}": Case(f"{codec} declared as UTF-8", page(text.encode(codec), _UTF8), says=text[15:25])
        for codec, text in (
            ("shift_jis", _JAPANESE),
            ("gb18030", _TEXT),
            ("big5", _TEXT.replace("日本語の文章がここにあります", "").replace("这里", "這裡")),
            ("euc_kr", _KOREAN),
            ("koi8_r", _RUSSIAN),
            ("cp1251", _RUSSIAN),
        )
    },
    "entities": Case("a million entities", repeated(b"&eacute;")),
    "ampersands": Case("8 MB of `&amp;`", repeated(b"&amp;")),
    "non_breaking": Case("8 MB of `&nbsp;`", repeated(b"&nbsp;")),
    "unclosed_comment": Case("a comment of 8 MB that is never closed", repeated(b"y", before=b"<p>text<!--")),
    "unclosed_script": Case("a script of 8 MB that is never closed", repeated(b"y", before=b"<p>text<script>")),
    "unclosed_cdata": Case(
        "a CDATA section of 8 MB that is never closed", repeated(b"y", before=b"<p>text<svg><![CDATA[")
    ),
    "plaintext": Case("`<plaintext>` before 8 MB of tags", repeated(b"<p>", before=b"<plaintext>")),
    "paragraphs": Case("a page of a million `<p>x`", page(b"<p>x" * 1_000_000)),
    "list_items": Case("8 MB of `<li>x`", repeated(b"<li>x", before=b"<ul>")),
    "table_cells": Case("8 MB of `<tr><td>x`", repeated(b"<tr><td>x", before=b"<table>")),
    "options": Case("8 MB of `<option>x`", repeated(b"<option>x", before=b"<select>")),
    "breaks": Case("8 MB of `<br>`", repeated(b"<br>")),
    "less_than": Case("8 MB of `<`", repeated(b"<", before=b"")),
    "spaces": Case("8 MB of spaces in `<pre>`", repeated(b" ", before=b"<pre>a")),
    "carriage_returns": Case("8 MB of carriage returns", repeated(b"\r")),
    "links": Case("8 MB of `<a href=x>y</a>`", repeated(b"<a href=x>y</a>")),
    "classes": Case("8 MB of elements with ids and classes", repeated(b"<div id=comment class='nav x'>y</div>")),
    "metas": Case(
        "8 MB of `<meta name=robots content=x>`", repeated(b"<meta name=robots content=x>", before=b"<head>")
    ),
    "title_8_mb": Case("a title of 8 MB", repeated(b"t", before=b"<title>")),
    "base_loop": Case(
        "8 MB of `<base href=..><link rel=canonical>`",
        repeated(b"<base href=..//><link rel=canonical href=x/>", before=b"<head>"),
    ),
}
