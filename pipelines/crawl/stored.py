"""A crawl file as stored: its gzip members or zstd frames one by one, each with its offset and its own damage.

A WARC file in Common Crawl's style is one gzip member per record. A damaged member costs that member: reading
goes on at the next one that begins with a record. (FastWARC's own iterator stops at the first damaged member,
and ends without a word at an empty one.)
"""

import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import fsspec

from pipelines.crawl.kinds import GZIP_MAGIC, ZSTD_MAGIC

_CHUNK = 1 << 15
_BEGIN = 1 << 10
ABANDONED = "broken_oversized"  # what a bomb is called whose decompression was given up


class Source(Protocol):
    """Decompressed bytes of one member, or of a file that is not compressed."""

    offset: int  # where it begins in the file as stored
    is_plain: bool
    problem: str | None  # a `broken_*` reason, once reading has met it

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end or where the damage begins."""
        ...

    def consumed(self) -> int:
        """Bytes as stored that were read so far."""
        ...

    def abandon(self, problem: str) -> None:
        """Read no further: what follows is not worth its decompression."""
        ...


def open_stored(path: str) -> Any:
    """Open a local path or URL for reading bytes, seekable."""
    if "://" not in path:
        return open(path, "rb", buffering=_CHUNK)  # noqa: PTH123 - a Path's open can't say more
    fs, stored = cast(tuple[Any, str], fsspec.core.url_to_fs(path))
    if path.startswith("http") and not cast(dict[str, Any], fs.info(stored)).get("partial"):
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        fs.get_file(stored, spool)  # the server sends files whole only
        spool.seek(0)
        return spool
    return fs.open(stored, "rb")


class RawReader:
    """Sequential reads with a way back."""

    def __init__(self, file: Any) -> None:
        self._file, self._pushed, self._position = file, b"", 0

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end of the file."""
        data, self._pushed = self._pushed[:size], self._pushed[size:]
        if len(data) < size:
            data += cast(bytes, self._file.read(size - len(data)))
        self._position += len(data)
        return data

    def unread(self, data: bytes) -> None:
        """Give back the last bytes read."""
        self._pushed, self._position = data + self._pushed, self._position - len(data)

    def seek(self, position: int) -> None:
        """Go on at byte `position`."""
        self._file.seek(position)
        self._pushed, self._position = b"", position

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position


class PlainSource:
    """A file that is not compressed."""

    is_plain = True
    problem: str | None = None

    def __init__(self, raw: RawReader, size: int) -> None:
        self.raw, self.size, self.offset = raw, size, 0

    def read(self, size: int) -> bytes:
        """About `size` bytes."""
        return self.raw.read(min(size, 1 << 20))

    def consumed(self) -> int:
        """Bytes that were read so far."""
        return self.raw.tell()

    def abandon(self, problem: str) -> None:
        """Nothing to spare: passing over bytes that are not compressed costs nothing."""


class Member:
    """One gzip member or zstd frame; checks its checksum when read to its end.

    Members that do not begin with a record go on where the one before them ended: some tools cut their output
    into members anywhere.
    """

    is_plain = False

    def __init__(self, raw: RawReader, form: "_Form") -> None:
        self._raw, self._form = raw, form
        self.offset = raw.tell()
        self.problem: str | None = None
        self._decoder = form.codec()
        self._pending, self._is_done = b"", False
        self._out, self._given = b"", 0

    def read(self, size: int) -> bytes:
        """Up to `size` decompressed bytes; after the last, the file stands at the next member."""
        # A step of a bomb gives megabytes, which are handed on by the piece.
        if self._given >= len(self._out):
            self._out, self._given = self._step(size), 0
        if self._given == 0 and len(self._out) <= size:
            out, self._out = self._out, b""
            return out
        out = self._out[self._given : self._given + size]
        self._given += len(out)
        return out

    def consumed(self) -> int:
        """Bytes of the file that were read so far."""
        return self._raw.tell() - self.offset - len(self._pending)

    def abandon(self, problem: str) -> None:
        """Read no further, and stand behind what was decompressed."""
        self.problem, self._is_done = problem, True
        self._raw.unread(self._pending)
        self._pending = self._out = b""

    def _step(self, size: int) -> bytes:
        while not self._is_done:
            data = self._pending or self._raw.read(_CHUNK)
            if not data:
                self.problem, self._is_done = "broken_truncated", True
                break
            before: Any = self._decoder.copy()
            try:
                out = cast(bytes, self._decoder.decompress(data, size))
            except Exception as error:
                if not _is_codec_error(error):
                    raise
                self.problem, self._is_done = self._form.broken, True
                return _salvage(before, data)
            self._pending = cast(bytes, self._decoder.unconsumed_tail)
            if self._decoder.eof:
                self._raw.unread(cast(bytes, self._decoder.unused_data))
                self._is_done = not self._goes_on()
            if out:
                return out
        return b""

    def _goes_on(self) -> bool:
        """Say whether the next member begins no record, and stand ready to read it."""
        self._pending = b""
        begin = _begin(self._raw, self._form)
        if not begin or (self._form.start is not None and self._form.start.match(begin.lstrip(b"\r\n"))):
            return False
        self._decoder = self._form.codec()
        return True


def _salvage(decoder: Any, data: bytes) -> bytes:
    """What `data` holds before the damage, byte by byte: whole records, or at least the damaged one's URL."""
    out = b""
    if decoder is None:
        return out
    for byte in data:
        try:
            out += cast(bytes, decoder.decompress(bytes([byte])))
        except zlib.error:
            break
    return out


class Garbage:
    """Bytes between members that begin no member."""

    is_plain = False
    problem: str | None

    def __init__(self, offset: int, problem: str) -> None:
        self.offset, self.problem = offset, problem

    def read(self, size: int) -> bytes:
        """Nothing: there is nothing that could be read."""
        return b""

    def consumed(self) -> int:
        """Nothing."""
        return 0

    def abandon(self, problem: str) -> None:
        """There is nothing to leave."""


class _ZstdCodec:
    """zstandard's frame decoder with zlib's interface; steps of 1 kB bound what a bomb can produce to 32 MB."""

    def __init__(self) -> None:
        import zstandard

        self._decoder: Any = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        self.unconsumed_tail = self.unused_data = b""
        self.eof = False

    def copy(self) -> None:
        """A zstd decoder can't be copied: nothing is salvaged of a damaged step."""
        return

    def decompress(self, data: bytes, size: int) -> bytes:
        """Decompress one step of `data`."""
        out = cast(bytes, self._decoder.decompress(data[:1024]))
        self.eof = bool(self._decoder.eof)
        rest = data[1024:]
        self.unused_data = cast(bytes, self._decoder.unused_data) + rest if self.eof else b""
        self.unconsumed_tail = b"" if self.eof else rest
        return out


def _is_codec_error(error: Exception) -> bool:
    if isinstance(error, zlib.error):
        return True
    return type(error).__name__ == "ZstdError"


@dataclass(frozen=True)
class _Form:
    """A compression format, and what tells that a member begins with a record (None: nothing does)."""

    magic: bytes
    codec: Callable[[], Any]
    broken: str
    start: re.Pattern[bytes] | None
    lookahead: int  # compressed bytes that give the first decompressed ones


def sources(file: Any, start: re.Pattern[bytes] | None = None) -> Iterator[Source]:
    """The members of an open file in order; each must be read to its end before the next is asked for.

    Args:
        file: open for reading bytes, seekable.
        start: matches at the beginning of a record; without it members are parts of one stream.
    """
    raw = RawReader(file)
    head = raw.read(_CHUNK)
    raw.unread(head)
    forms = (
        _Form(GZIP_MAGIC, lambda: zlib.decompressobj(wbits=31), "broken_gzip", start, _BEGIN),
        _Form(ZSTD_MAGIC, _ZstdCodec, "broken_zstd", start, (1 << 17) + _BEGIN),  # a zstd block has up to 128 kB
    )
    by_magic = next((form for form in forms if head.startswith(form.magic)), None)
    form = by_magic
    if start is not None and not start.match(head.lstrip(b"\r\n\0")):
        # The first bytes may be damaged, magic and all: what a later member holds decides.
        likely_first = sorted(forms, key=lambda form: form is not by_magic)
        otherwise = None if start.search(head) else by_magic
        form = next((form for form in likely_first if _find_member(raw, 0, form)), otherwise)
    raw.seek(0)
    if form is not None:
        yield from _members(raw, form)
        return
    size = cast(int, file.seek(0, 2)) or file.tell()
    raw.seek(0)
    yield PlainSource(raw, size)


def _members(raw: RawReader, form: _Form) -> Iterator[Source]:
    while True:
        _skip_padding(raw)
        offset = raw.tell()
        head = raw.read(len(form.magic))
        if not head:
            return
        raw.unread(head)
        source: Source = Member(raw, form) if head == form.magic else Garbage(offset, form.broken)
        yield source
        while source.read(_CHUNK):  # nothing, unless the reader gave up on it
            pass
        # Damage may hide the beginning of another member; what was decompressed and then abandoned hides nothing.
        onward = raw.tell() if source.problem == ABANDONED else offset + 1
        if source.problem is not None and not _find_member(raw, onward, form):
            return


def _skip_padding(raw: RawReader) -> None:
    """Pass over NUL bytes, which tapes and preallocating file systems leave behind."""
    while data := raw.read(_CHUNK):
        rest = data.lstrip(b"\0")
        if rest:
            raw.unread(rest)
            return


def _find_member(raw: RawReader, position: int, form: _Form) -> bool:
    """Go to the next member from `position` on that begins with a record; False if there is none."""
    raw.seek(position)
    window = raw.read(_CHUNK)
    while len(window) >= len(form.magic):
        at = window.find(form.magic)
        while at >= 0:
            raw.seek(position + at)
            begin = _begin(raw, form)
            if begin and (form.start is None or form.start.match(begin.lstrip(b"\r\n"))):
                return True
            at = window.find(form.magic, at + 1)
        position += len(window) - len(form.magic) + 1
        raw.seek(position)
        window = raw.read(_CHUNK)
    return False


def _begin(raw: RawReader, form: _Form) -> bytes:
    """The first decompressed bytes of the member where `raw` stands, none if there is none; passes nothing."""
    data = raw.read(form.lookahead)
    raw.unread(data)
    if not data.startswith(form.magic):
        return b""
    decoder, out = form.codec(), b""
    try:
        while data and len(out) < _BEGIN and not decoder.eof:
            out += cast(bytes, decoder.decompress(data, 4 * _BEGIN))
            data = cast(bytes, decoder.unconsumed_tail)
    except Exception as error:
        if not _is_codec_error(error):
            raise
        return b""
    return out
