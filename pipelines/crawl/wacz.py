"""WACZ (Web Archive Collection Zipped, Webrecorder's specification 1.1.1): WARC files below `archive/` of a zip.

Each inner WARC file is a crawl file of its own, `x.wacz!/archive/y.warc.gz`. One that is stored as it is, as the
specification asks, is read in place and its offsets lead into it; a deflated one is inflated while it is read.
"""

import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from gristmill.core.errors import CorpusError

SEPARATOR = "!/"
MAX_MEMBERS = 1_000_000  # of a real collection a few hundred; a directory of more is held in memory for nothing
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, 22 bytes the directory repeats, lengths of name and extra
_MEMBER_PATH = re.compile(r"(.*?\.(?:wacz|zip))!/(.+)", re.IGNORECASE | re.DOTALL)
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
    return posixpath.normpath(name.replace("\\", "/")).lstrip("./").startswith("archive/")


def _problem(member: zipfile.ZipInfo, found: dict[str, Any], taken: list[tuple[int, int]]) -> str | None:
    """Why a member is not read."""
    name = member.filename
    if posixpath.normpath(name) != name or name.startswith("/") or "\\" in name or SEPARATOR in name:
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


@contextmanager
def open_member(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """A member of an open WACZ file, seekable; damage of the zip is the end of the member.

    Raises:
        CorpusError: the file is no longer a zip file with that member.
    """
    with _open_zip(file) as archive:
        try:
            member = archive.getinfo(name)
            if member.compress_type == zipfile.ZIP_STORED:
                yield cast(IO[bytes], _Window(file, _data_offset(file, member), member.compress_size))
                return
            inner = archive.open(member)
        except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise CorpusError(
                f"{name} of the WACZ file can't be opened ({type(error).__name__}): the file has changed since "
                f"it was registered; add the corpus again with --replace"
            ) from None
        with inner:
            yield cast(IO[bytes], _Member(inner))


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


class _Member:
    """A member that ends where its damage begins: the WARC reader then finds its last record cut."""

    def __init__(self, inner: IO[bytes]) -> None:
        self._inner = inner

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        try:
            return self._inner.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; backwards in a deflated member means to inflate it again from its beginning."""
        try:
            return self._inner.seek(offset, whence)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            return self._inner.tell()

    def tell(self) -> int:
        """Where the next read begins."""
        return self._inner.tell()


def _open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, zlib.error, ValueError, OverflowError, EOFError, NotImplementedError) as error:
        raise CorpusError(
            f"no zip file that can be read ({' '.join(str(error).split()) or type(error).__name__})"
        ) from None
