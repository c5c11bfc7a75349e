"""From the paths a person gives to the files of a corpus: what each is, what was left aside and why."""

import hashlib
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import fsspec

from gristmill.core.errors import CorpusError
from pipelines.crawl.answers import public_url
from pipelines.crawl.kinds import (
    HEAD_BYTES,
    KINDS,
    SOURCE_SUFFIXES,
    Kind,
    is_companion,
    kind_by_content,
    kind_by_name,
    plain_suffix,
    unread_form,
)
from pipelines.crawl.remote import WebFile
from pipelines.crawl.wacz import SEPARATOR, warc_members


@dataclass(frozen=True)
class FoundFile:
    """A usable file, not yet in a segment."""

    name: str
    path: str
    bytes: int
    kind: Kind
    fingerprint: str


@dataclass(frozen=True, order=True)
class SkippedFile:
    """A file of a given folder that is no part of the corpus."""

    path: str
    reason: str


@dataclass(frozen=True)
class _Candidate:
    name: str  # path below the folder that was given, or the file's name
    path: str
    stored: str  # the path in its file system's own terms
    fs: Any
    is_explicit: bool

    @property
    def shown(self) -> str:
        """The path as it may be shown."""
        return public_url(self.path) if "://" in self.path else self.path


def discover(paths: Sequence[str], kind: Kind | None) -> tuple[list[FoundFile], list[SkippedFile]]:
    """Find the files below `paths` (local paths or fsspec URLs, files or folders), sorted by name.

    Raises:
        CorpusError: a path is missing, holds nothing usable, can't be read or can't be recognised, or two
            files go by the same name.
    """
    if kind is not None and kind not in KINDS:
        raise CorpusError(f"unknown kind {kind!r}; choose one of {', '.join(KINDS)}")
    found: dict[str, FoundFile] = {}
    names_by_path: dict[str, str] = {}
    skipped: set[SkippedFile] = set()
    for given in paths:
        usable, aside = list[FoundFile](), list[SkippedFile]()
        for candidate in _candidates(given):
            results, left_out = _expand(candidate, _examine(candidate, kind))
            aside += left_out
            usable += results
        if kind is None and any(result.kind != "text" for result in usable):
            scripts = [result for result in usable if plain_suffix(result.name) in SOURCE_SUFFIXES]
            aside += (SkippedFile(s.path, "a program beside crawl files; --kind text takes it") for s in scripts)
            usable = [result for result in usable if result not in scripts]
        for result in usable:
            other = found.get(result.name)
            if other is not None and other.path != result.path:
                raise CorpusError(
                    f"{other.path} and {result.path} would both go by the name {result.name!r}: "
                    f"give the folder above them, or rename one"
                )
            if names_by_path.setdefault(result.path, result.name) != result.name:
                raise CorpusError(f"{result.path} is given twice, by itself and by a folder: give it once")
            found[result.name] = result
        skipped.update(aside)
        if not usable:
            raise CorpusError(_nothing_usable(given, sorted(aside)))
    return [found[name] for name in sorted(found)], sorted(skipped)


def _nothing_usable(given: str, aside: list[SkippedFile]) -> str:
    why = f" ({len(aside)} set aside, such as {posixpath.basename(aside[0].path)}: {aside[0].reason})" if aside else ""
    return f"no crawl file in {given}{why}: give a folder or files of kind {', '.join(KINDS)}"


def _candidates(given: str) -> Iterator[_Candidate]:
    if not given.strip():
        raise CorpusError("an empty path was given: give a folder or a file")
    if "://" in given and not given.startswith("file://"):
        yield from _remote_candidates(given)
        return
    local = Path(given.removeprefix("file://")).expanduser().absolute()
    fs = fsspec.filesystem("file")
    try:
        if local.is_dir():
            for path in sorted(_walk(local)):
                yield _Candidate(path.relative_to(local).as_posix(), str(path), str(path), fs, False)
        elif local.exists():
            yield _Candidate(local.name, str(local), str(local), fs, True)
        else:
            raise CorpusError(f"{given} does not exist: give the path of a folder or file")
    except OSError as error:
        raise CorpusError(f"can't look into {given}: {error.strerror or error}; mend its permissions") from None


def _walk(folder: Path) -> Iterator[Path]:
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():  # a link to a folder may lead back up
            yield from _walk(child)
        else:
            yield child


def _remote_candidates(given: str) -> Iterator[_Candidate]:
    if given.startswith(("http://", "https://")):
        name = posixpath.basename(urlsplit(given).path)  # without the query, which may sign the URL
        if not name:
            raise CorpusError(
                f"{public_url(given)} is no file: a web server can't list a folder, give the URLs of files"
            )
        yield _Candidate(name, given, given, WebFile(given, HEAD_BYTES), True)
        return
    try:
        fs, base = cast(tuple[Any, str], fsspec.core.url_to_fs(given))
        if fs.isfile(base):
            yield _Candidate(posixpath.basename(base), fs.unstrip_protocol(base), base, fs, True)
            return
        listing = sorted(cast(list[str], fs.find(base)))
    except (OSError, ValueError, ImportError) as error:
        why = " ".join(str(error).split()).replace(given, public_url(given)) or type(error).__name__
        raise CorpusError(f"can't read {public_url(given)}: {why}") from None
    if not listing:
        raise CorpusError(f"{public_url(given)} does not exist or holds no file: give the URL of a folder or file")
    for path in listing:
        name = posixpath.relpath(path, base)
        yield _Candidate(name, fs.unstrip_protocol(path), path, fs, False)


def _examine(candidate: _Candidate, kind: Kind | None) -> FoundFile | SkippedFile:
    """Look at one file; only a file of a folder may be set aside, one given by name must be usable."""
    base = posixpath.basename(candidate.name)
    if not candidate.is_explicit and any(part.startswith(".") for part in candidate.name.split("/")):
        return SkippedFile(candidate.path, "hidden")
    if not candidate.is_explicit and is_companion(base):
        return SkippedFile(candidate.path, "listing, statistics or checksums, no crawl file")
    try:
        candidate.path.encode()
    except UnicodeEncodeError:
        if not candidate.is_explicit:
            return SkippedFile(repr(candidate.path), "its name is not valid UTF-8")
        raise CorpusError(f"{candidate.shown!r}: the file's name is not valid UTF-8; rename it") from None
    try:
        if isinstance(candidate.fs, fsspec.get_filesystem_class("file")):
            if not candidate.is_explicit and not Path(candidate.path).exists():
                return _aside(candidate, "a link to nothing")
            mode = Path(candidate.path).stat().st_mode
            if not stat.S_ISREG(mode):
                return _aside(candidate, "not a regular file")
        info = cast(dict[str, Any], candidate.fs.info(candidate.stored))
        size = int(info.get("size") or 0)
        with candidate.fs.open(candidate.stored, "rb") as file:
            head = cast(bytes, file.read(HEAD_BYTES))
    except OSError as error:
        raise CorpusError(
            f"can't read {candidate.shown}: {error.strerror or error}; mend its permissions or leave it out"
        ) from None
    if not head:
        return _aside(candidate, "zero bytes")
    unread = unread_form(head)
    if unread is not None:
        return _aside(candidate, unread)
    decided = _decide_kind(candidate, head, kind)
    if isinstance(decided, SkippedFile):
        return decided
    return FoundFile(candidate.name, candidate.path, size, decided, _fingerprint(candidate, info, size, decided))


def _expand(candidate: _Candidate, found: FoundFile | SkippedFile) -> tuple[Sequence[FoundFile], Sequence[SkippedFile]]:
    """The files that one file stands for: a WACZ file's WARC files, else itself."""
    if isinstance(found, SkippedFile):
        return (), (found,)
    if found.kind != "wacz":
        return (found,), ()
    try:
        with candidate.fs.open(candidate.stored, "rb") as file:
            members, left_out = warc_members(file)
    except OSError as error:
        raise CorpusError(f"can't read {candidate.shown}: {error.strerror or error}; leave it out") from None
    except CorpusError as error:
        if candidate.is_explicit:
            raise CorpusError(f"{candidate.shown} is no usable WACZ file: {error}; leave it out") from None
        return (), (SkippedFile(candidate.path, f"no usable WACZ file: {error}"),)
    files = [
        FoundFile(
            f"{found.name}{SEPARATOR}{member.filename}",
            f"{found.path}{SEPARATOR}{member.filename}",
            member.compress_size,
            "arc" if plain_suffix(member.filename) == ".arc" else "warc",
            hash_facts(found.fingerprint, member.filename, str(member.CRC)),
        )
        for member in members
    ]
    return files, [SkippedFile(f"{found.path}{SEPARATOR}{name}", reason) for name, reason in left_out]


def _decide_kind(candidate: _Candidate, head: bytes, kind: Kind | None) -> Kind | SkippedFile:
    seen, claimed = kind_by_content(head), kind_by_name(candidate.name)
    if kind is not None:
        is_fitting = kind in (seen, claimed) or {kind, seen} == {"warc", "wet"} or seen is None
        if candidate.is_explicit or is_fitting:
            return kind
        return SkippedFile(candidate.path, f"looks like {seen}, not {kind}")
    if candidate.is_explicit:
        if seen is not None and (seen != "text" or claimed in (None, "text")):
            return seen
        raise CorpusError(
            f"{candidate.shown} is not recognised as any of {', '.join(KINDS)}"
            f"{f' although its name says {claimed}' if claimed else ''}: leave it out, or say what it is with --kind"
        )
    if seen == "text":  # anything readable is text: in a folder the name has to agree
        if claimed is None:
            return SkippedFile(candidate.path, "text, but not by its name; --kind text takes it")
        seen = None
    # A folder's `x.warc.gz` that does not begin like one is read as one: what can't be read becomes a
    # quarantine row, where it is seen, rather than a line in a list.
    return seen or claimed or SkippedFile(candidate.path, f"not recognised as any of {', '.join(KINDS)}")


def _aside(candidate: _Candidate, reason: str) -> SkippedFile:
    if candidate.is_explicit:
        raise CorpusError(f"{candidate.shown} is no crawl file ({reason}): leave it out")
    return SkippedFile(candidate.path, reason)


def _fingerprint(candidate: _Candidate, info: dict[str, Any], size: int, kind: Kind) -> str:
    """Hash of what tells that the file is still the same: no bytes are read."""
    if isinstance(candidate.fs, fsspec.get_filesystem_class("file")):
        version = str(Path(candidate.path).stat().st_mtime_ns)
    else:
        version = str(info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or "")
    return hash_facts(candidate.name, str(size), version, kind)


def hash_facts(*facts: str) -> str:
    """32 hex digits of an ordered list of texts."""
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]
