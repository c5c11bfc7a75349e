"""WACZ (Web Archive Collection Zipped, Webrecorder's specification 1.1.1): WARC files below `archive/` of a zip.

Each inner WARC file is a crawl file of its own, `x.wacz!/archive/y.warc.gz`. One that is stored as it is, as the
specification asks, is read in place and its offsets lead into it; a deflated one is inflated while it is read.
"""

import contextlib
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

from gristmill.core.errors import CorpusError

SEPARATOR = "!/"
MAX_MEMBERS = 1_000_000  # of a real collection a few hundred; a directory of more is held in memory for nothing
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, 22 bytes the directory repeats, lengths of name and extra
_MEMBER_PATH = re.compile(r"(.*?\.(?:wacz|zip))!/(.+)", re.IGNORECASE | re.DOTALL)
_CHUNK = 1 << 16
_DAMAGE = b"\nthe zip member is damaged from here on: nothing more of it can be read\n"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SUFFIXES = (".warc", ".warc.gz", ".warc.zst", ".arc", ".arc.gz")


def split_member(path: str) -> tuple[str, str | None]:
    """The zip file of a path and the member in it, None for a path that is no member."""
    match = _MEMBER_PATH.fullmatch(path)
    return (match[1], match[2]) if match else (path, None)


def warc_members(file: IO[bytes]) -> tuple[list[zipfile.ZipInfo], list[tuple[str, str]]]:
    """The WARC files of an open WACZ file, sorted by name, and members of `archive/` left aside, each with a reason.

    Raises:
        CorpusError: it is no zip file that can be read, or holds no WARC file; without the file's name.
    """
    with _open_zip(file) as archive:
        members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise CorpusError(f"its directory has {len(members):,} entries")
    found: dict[str, zipfile.ZipInfo] = {}
    aside: list[tuple[str, str]] = []
    taken: list[tuple[int, int]] = []
    for member in members:
        if member.is_dir() or not _is_in_archive(member.filename):
            continue
        problem = _problem(member, found, taken)
        if problem is not None:
            aside.append((member.filename, problem))
            continue
        found[member.filename] = member
        taken.append((member.header_offset, member.header_offset + member.compress_size))
    if not found:
        raise CorpusError("it holds no usable WARC file below archive/")
    return [found[name] for name in sorted(found)], aside


def _is_in_archive(name: str) -> bool:
    """Whether a member lies in `archive/`, or says so and climbs out of it."""
    if name.replace("\\", "/").lstrip("./").startswith("archive/"):
        return True
    return posixpath.normpath(name.replace("\\", "/")).lstrip("./").startswith("archive/")


def _problem(member: zipfile.ZipInfo, found: dict[str, Any], taken: list[tuple[int, int]]) -> str | None:
    """Why a member is not read."""
    name = member.filename
    if posixpath.normpath(name) != name or not name.startswith("archive/") or "\\" in name or SEPARATOR in name:
        return "its name climbs out of the archive or is no plain path"
    if not name.lower().endswith(_SUFFIXES):
        return "no WARC file by its name"
    if name in found:
        return "a second member of that name"
    if member.flag_bits & 0x1:
        return "encrypted"
    if member.compress_type not in _METHODS:
        return f"compressed with zip method {member.compress_type}; stored and deflated are read"
    if any(begin < member.header_offset + member.compress_size and member.header_offset < end for begin, end in taken):
        return "overlaps another member, as zip bombs do"
    return None if member.file_size else "zero bytes"


@contextlib.contextmanager
def open_member(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """A member of an open WACZ file, seekable; damage of the zip is the end of the member.

    Raises:
        CorpusError: the file is no longer a zip file with that member.
    """
    with _open_zip(file) as archive:
        try:
            member = archive.getinfo(name)
            window = _Window(file, _data_offset(file, member), member.compress_size)
        except (KeyError, zipfile.BadZipFile) as error:
            raise CorpusError(
                f"{name} of the WACZ file can't be opened ({type(error).__name__}): the file has changed since "
                f"it was registered; add the corpus again with --replace"
            ) from None
        is_stored = member.compress_type == zipfile.ZIP_STORED
        yield cast(IO[bytes], window if is_stored else _Inflated(window))


def _data_offset(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin: behind its local header (APPNOTE 6.3.10, 4.3.7)."""
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size:
        raise zipfile.BadZipFile("no local header")
    magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    if magic != b"PK\x03\x04":
        raise zipfile.BadZipFile("no local header")
    return member.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes


class _Window:
    """A stretch of an open file as a file of its own."""

    def __init__(self, file: IO[bytes], begin: int, size: int) -> None:
        self._file, self._begin, self._size, self._position = file, begin, size, 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer at the end of the stretch."""
        left = max(0, self._size - self._position)
        self._file.seek(self._begin + self._position)
        data = self._file.read(left if size < 0 else min(size, left))
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, as of any file."""
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position


class _Inflated:
    """A deflated member as a file.

    Where it is damaged or cut it ends in `_DAMAGE`, which is no record: the reader makes a row of it.
    """

    def __init__(self, window: _Window) -> None:
        self._window = window
        self._restart()

    def _restart(self) -> None:
        self._window.seek(0)
        self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        self._ready, self._position, self._is_done = b"", 0, False

    def read(self, size: int = -1) -> bytes:
        """The next bytes; in bounded memory when `size` is given."""
        out = bytearray()
        while (size < 0 or len(out) < size) and (self._ready or not self._is_done):
            if not self._ready:
                self._ready = self._inflate()
            taken = len(self._ready) if size < 0 else size - len(out)
            out += self._ready[:taken]
            self._ready = self._ready[taken:]
        self._position += len(out)
        return bytes(out)

    def _inflate(self) -> bytes:
        data = self._decoder.unconsumed_tail or self._window.read(_CHUNK)
        before = self._decoder.copy()
        try:
            out = self._decoder.decompress(data, _CHUNK)
        except zlib.error:
            self._is_done = True
            return _salvage(before, data) + _DAMAGE
        self._is_done = self._decoder.eof or not data
        return out + _DAMAGE if self._is_done and not self._decoder.eof else out

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; backwards means to inflate from the beginning again."""
        if whence == 2:
            while self.read(_CHUNK):
                pass
            offset += self._position
        elif whence == 1:
            offset += self._position
        if offset < self._position:
            self._restart()
        while self._position < offset and self.read(min(_CHUNK, offset - self._position)):
            pass
        return self._position

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position


def _salvage(decoder: Any, data: bytes) -> bytes:
    """What `data` holds before the damage."""
    out = b""
    with contextlib.suppress(zlib.error):
        for at in range(len(data)):
            out += decoder.decompress(data[at : at + 1])
    return out


def _open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, zlib.error, ValueError, OverflowError, EOFError, NotImplementedError) as error:
        raise CorpusError(
            f"no zip file that can be read ({' '.join(str(error).split()) or type(error).__name__})"
        ) from None
