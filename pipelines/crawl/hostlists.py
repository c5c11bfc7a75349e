"""Lists of hosts as they are published: UT1's folders and archives, hosts files, adblock's rules for domains."""

import codecs
import contextlib
import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from gristmill.core.errors import SettingsError
from pipelines.crawl.hostkeys import entry_keys, is_telling

_FILES = ("domains", "urls")  # of a category; `expressions` are for URLs of searches and of scripts
# A list of so many lines, more than half of which name no host, is of another kind and would block next to nothing.
# Our choice: in UT1's lists, hosts files and lists of domains hardly a line in a thousand names none.
_FEWEST_LINES, _MOST_UNUSABLE = 10, 0.5
_WAY_OUT = "give a host per line, UT1's domains or urls, a hosts file (0.0.0.0 HOST) or adblock's ||HOST^, in UTF-8"


def list_files(paths: Sequence[str], categories: Sequence[str]) -> tuple[str, ...]:
    """The files behind `paths`, in a fixed order: those of folders for `categories`, all others whole.

    Raises:
        SettingsError: a path is missing, a folder holds no list, or a category is in none of them.
    """
    found: list[str] = []
    known: set[str] = set()
    for path in paths:
        if not Path(path).exists():
            raise SettingsError(f"blocked_hosts: {path} does not exist; give a folder or file in UT1's format")
        if not Path(path).is_dir():
            found.append(path)
            known |= _categories_of(path)
            continue
        in_folder = _in_folder(Path(path))
        if not in_folder:
            raise SettingsError(f"blocked_hosts: {path} holds no file called domains or urls; give UT1's folder")
        known |= {category for category, _ in in_folder}
        found += [str(file) for category, file in in_folder if not categories or category in categories]
    for category in categories if paths else ():
        if category not in known:
            some = ", ".join(sorted(known)[:20])
            raise SettingsError(f"blocked_categories: {category} is in none of the lists; there are {some}")
    return tuple(found)


def _in_folder(folder: Path) -> list[tuple[str, Path]]:
    names = [name + suffix for name in _FILES for suffix in ("", ".gz")]
    places = [folder, *sorted(p for p in folder.iterdir() if p.is_dir())]
    found = [(place.name, place / name) for place in places for name in names if (place / name).is_file()]
    # UT1 keeps old names of categories as links to the new ones.
    return [(c, file) for c, file in found if not file.parent.is_symlink() or file.parent == folder] or found


def _categories_of(path: str) -> set[str]:
    if not _is_archive(path):
        return {_stem(path)}
    with readable(path):
        return {category for category, _ in _members(path, names_only=True)}


@contextlib.contextmanager
def readable(path: str) -> Iterator[None]:
    """Name the file where it can't be read: SettingsError."""
    try:
        yield
    except (tarfile.TarError, zlib.error, OSError, EOFError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"blocked_hosts: {path} can't be read ({' '.join(str(error).split())}); give a text file or UT1's folder"
        ) from None


def _is_archive(path: str) -> bool:
    return path.endswith((".tar.gz", ".tgz", ".tar"))


def _stem(path: str) -> str:
    """The category of a file by itself: `adult/domains` is of `adult`, `mine.txt` of `mine`."""
    name = PurePosixPath(path).name.removesuffix(".gz")
    return Path(path).absolute().parent.name if name in _FILES else name.partition(".")[0] or name


def _members(path: str, *, names_only: bool = False) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Category and lines of each list of an archive."""
    with tarfile.open(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if member.isfile() and name.name in _FILES:
                file = None if names_only else archive.extractfile(member)
                yield name.parent.name, file or ()


@dataclass
class Lines:
    """What the lines of a list were."""

    telling: int = 0  # name a host for sure
    unusable: int = 0
    first: tuple[int, str] | None = None  # of the unusable ones: number and beginning
    comments: int = 0
    entries: int = 0  # of the index

    @property
    def count(self) -> int:
        """All but comments and empty lines; a word that may be a top-level domain is neither telling nor unusable."""
        return self.telling + self.unusable

    def found(self) -> str:
        """Those that name no host, for a person."""
        if self.first is None:
            return "it has comments alone" if self.comments else "it is empty"
        number, text = self.first
        return f"line {number:,} is {text}"


def read_list(path: str, categories: Sequence[str]) -> Iterator[tuple[str, Iterator[str], Lines]]:
    """Category, keys of entries and, once these are read, what its lines were, of each list in a file.

    What reading a file raises is for `readable` around the whole.

    Raises:
        SettingsError: it is an archive without a list, or most lines of a list name no host.
    """
    is_empty = True
    for category, raw in _lists(path, categories):
        is_empty = False
        lines = Lines()
        yield category, _keys(raw, lines), lines
        if lines.count >= _FEWEST_LINES and lines.unusable > _MOST_UNUSABLE * lines.count:
            raise SettingsError(
                f"blocked_hosts: {path}: {lines.unusable:,} of {lines.count:,} lines name no host "
                f"({lines.found()}); {_WAY_OUT}"
            )
    if is_empty and not categories:
        raise SettingsError(f"blocked_hosts: {path} holds no file called domains or urls; give UT1's archive")


def require_entries(path: str, lists: Sequence[Lines]) -> None:
    """Refuse a path of the settings whose lists, all together, block nothing.

    Raises:
        SettingsError: no line of them names a host.
    """
    if lists and not any(lines.telling for lines in lists):
        worst = max(lists, key=lambda lines: (lines.unusable, lines.comments))
        raise SettingsError(f"blocked_hosts: {path} has no line that names a host ({worst.found()}); {_WAY_OUT}")


def _keys(raw: Iterable[bytes], lines: Lines) -> Iterator[str]:
    for number, line in enumerate(_decoded(raw), 1):
        keys = None if line is None else entry_keys(line)
        if line is None or keys is None:
            lines.unusable += 1
            if lines.first is None:
                lines.first = (number, "not UTF-8" if line is None else ascii(line.strip()[:40]))
        elif not keys:
            lines.comments += bool(line.strip())
        else:
            if is_telling(line, keys):
                lines.telling += 1
            elif lines.first is None:
                lines.first = (number, f"the single word {keys[0][:40]!a}")
            lines.entries += len(keys)
            yield from keys


def _decoded(raw: Iterable[bytes]) -> Iterator[str | None]:
    """The lines as text; None for one that is not UTF-8. A byte order mark says what Windows wrote."""
    rest = iter(raw)
    first = next(rest, b"")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield from io.StringIO(b"".join(chain([first], rest)).decode("utf-16"))
        return
    for line in chain([first.removeprefix(codecs.BOM_UTF8)], rest):
        try:
            yield line.decode()
        except UnicodeDecodeError:
            yield None


def _lists(path: str, categories: Sequence[str]) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Category and lines of each list of a file."""
    if _is_archive(path):
        yield from ((c, lines) for c, lines in _members(path) if not categories or c in categories)
        return
    with gzip.open(path) if path.endswith(".gz") else Path(path).open("rb") as file:
        yield _stem(path), file
