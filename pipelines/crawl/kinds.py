"""What a crawl file is, told by its first bytes; its name is believed only when they say nothing."""

import fnmatch
import json
import posixpath
import zlib
from typing import Any, Literal, get_args

Kind = Literal["warc", "arc", "wet", "wacz", "jsonl", "parquet", "text"]
"""What a file is; `wacz` is a zip of WARC files, each of which becomes a crawl file of kind `warc`."""
KINDS: tuple[Kind, ...] = get_args(Kind)

HEAD_BYTES = 1 << 16  # enough for the warcinfo record and the record after it
GZIP_MAGIC, ZSTD_MAGIC, LZ4_MAGIC, PARQUET_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"PAR1"
ZIP_MAGIC = b"PK\x03\x04"
_WACZ_SIGNS = (b"archive/", b"datapackage.json", b"pages/pages.jsonl")  # names of first members
_ZSTD_DICTIONARY_MAGIC = b"\x5d\x2a\x4d\x18"  # the skippable frame of IIPC's zstd compression for WARC files
TEXT_FIELDS = ("text", "content", "raw_content")
"""Fields that hold a document's text in JSONL and Parquet, the first that is there wins.

`text` is what Hugging Face datasets, Dolma and datatrove write, `content` C4's mirrors and GitHub dumps,
`raw_content` CCNet and RedPajama.
"""

# Companions of a crawl that are no documents of it: listings, statistics, checksums, Hadoop markers, indexes.
_COMPANIONS = (
    *(
        "*manifest*",
        "stats.json",
        "readme*",
        "license*",
        "copying*",
        "_success",
        "*.crc",
        "*.md5",
        "*.sha1",
        "*.sha256",
    ),
    *("*.cdx", "*.cdx.gz", "*.cdxj", "*.cdxj.gz", "*.paths", "*.paths.gz"),
)
_TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".tex")
# fmt: off
SOURCE_SUFFIXES = frozenset((
    ".asm", ".bash", ".c", ".cc", ".cl", ".clj", ".cmake", ".cpp", ".cs", ".css", ".cu", ".cxx", ".d", ".dart", ".el",
    ".erl", ".ex", ".exs", ".f", ".f90", ".f95", ".fs", ".go", ".groovy", ".h", ".hh", ".hpp", ".hs", ".hxx", ".java",
    ".jl", ".js", ".jsx", ".kt", ".kts", ".lisp", ".lua", ".m", ".mjs", ".ml", ".mli", ".mm", ".nim", ".pas", ".php",
    ".pl", ".pm", ".proto", ".ps1", ".py", ".pyi", ".r", ".rb", ".rs", ".s", ".scala", ".scm", ".scss", ".sh", ".sol",
    ".sql", ".swift", ".tcl", ".ts", ".tsx", ".v", ".vb", ".vhd", ".vim", ".vue", ".zig",
))
# fmt: on
"""Of source code, which is text in a folder that holds nothing but text: beside crawl files lie people's scripts."""
_SUFFIX_KINDS: dict[str, Kind] = {
    ".wet": "wet",
    ".warc": "warc",
    ".wat": "warc",
    ".arc": "arc",
    ".wacz": "wacz",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def is_companion(name: str) -> bool:
    """Say whether a file of a folder goes by a name that listings, statistics and checksums have."""
    base = posixpath.basename(name).lower()
    return any(fnmatch.fnmatch(base, pattern) for pattern in _COMPANIONS)


def plain_suffix(name: str) -> str:
    """The extension below `.gz` and its like: `a.warc.gz` gives `.warc`."""
    base = posixpath.basename(name).lower()
    for compression in (".gz", ".zst", ".lz4"):
        base = base.removesuffix(compression)
    return posixpath.splitext(base)[1]


def kind_by_name(name: str) -> Kind | None:
    """The kind a file's extension claims."""
    suffix = plain_suffix(name)
    return "text" if suffix in _TEXT_SUFFIXES or suffix in SOURCE_SUFFIXES else _SUFFIX_KINDS.get(suffix)


def kind_by_content(head: bytes) -> Kind | None:
    """The kind of a file that begins with `head` (up to HEAD_BYTES, as stored); None if it can't be told."""
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    if head.startswith(ZIP_MAGIC):
        return "wacz" if any(sign in head for sign in _WACZ_SIGNS) else None
    plain = decompress_head(head)
    if plain.startswith(b"WARC/"):
        return "wet" if b"\nwarc-type: conversion" in plain.lower() else "warc"
    if plain.startswith(b"filedesc:"):
        return "arc"
    if _is_document_line(plain):
        return "jsonl"
    return "text" if _is_text(plain) else None


def unread_form(head: bytes) -> str | None:
    """Why a file that begins with `head` can't be read although it may well be a crawl file; None for any other."""
    if head.startswith(LZ4_MAGIC):
        return "compressed with lz4: compress it with gzip or zstd, one member per record (`fastwarc recompress`)"
    if head.startswith(_ZSTD_DICTIONARY_MAGIC):
        return "compressed with a zstd dictionary of its own: compress it with plain zstd or gzip, one frame per record"
    return None


def decompress_head(head: bytes, limit: int = 4 * HEAD_BYTES) -> bytes:
    """What `head` holds decompressed, at most `limit` bytes; broken data gives what could be read."""
    if head.startswith(GZIP_MAGIC):
        return _gunzip_head(head, limit)
    if head.startswith(ZSTD_MAGIC):
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(head, read_across_frames=True)
        try:
            return reader.read(limit)
        except zstandard.ZstdError:
            return b""
    return head


def _gunzip_head(head: bytes, limit: int) -> bytes:
    out = b""
    while head.startswith(GZIP_MAGIC) and len(out) < limit:
        member = zlib.decompressobj(wbits=31)
        try:
            out += member.decompress(head, limit - len(out))
        except zlib.error:
            break
        head = member.unused_data
    return out


def _is_document_line(plain: bytes) -> bool:
    """Say whether the first line is a JSON object with a text field, or the long beginning of one."""
    line, newline, _ = plain.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if not line.startswith(b"{"):
        return False
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        is_cut = not newline and len(plain) >= HEAD_BYTES
        return is_cut and any(f'"{field}"'.encode() in line for field in TEXT_FIELDS)
    return isinstance(value, dict) and any(field in value for field in TEXT_FIELDS)


def _is_text(plain: bytes) -> bool:
    if not plain.strip() or b"\0" in plain:
        return False
    try:
        plain[:-4].decode("utf-8") if len(plain) > 4 else plain.decode("utf-8")  # the cut may halve a character
    except UnicodeDecodeError as error:
        return error.end >= len(plain) - 8
    return True
