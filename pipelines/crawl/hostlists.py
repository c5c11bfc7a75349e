"""Lists of hosts in UT1's format, and the index of one: sorted hashes in a file that processes share."""

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import tarfile
import tempfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.core.errors import SettingsError
from pipelines.crawl.hostkeys import entry_key, hash_of

_FILES = ("domains", "urls")  # of a category; `expressions` are for URLs of searches and of scripts
_FORMAT = "2"  # of the index; another one is made anew
CACHE_VARIABLE = "XDG_CACHE_HOME"
State = tuple[tuple[str, int, int], ...]


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
    with _readable(path):
        return {category for category, _ in _members(path, names_only=True)}


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise SettingsError(
            f"blocked_hosts: {path} can't be read ({error}); give a text file or UT1's folder"
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


def _entries(path: str, categories: Sequence[str]) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Category and lines of each list of a file."""
    if _is_archive(path):
        yield from ((c, lines) for c, lines in _members(path) if not categories or c in categories)
        return
    with gzip.open(path) if path.endswith(".gz") else Path(path).open("rb") as file:
        yield _stem(path), file


@dataclass(frozen=True)
class ListIndex:
    """Entries by their hash."""

    hashes: npt.NDArray[np.uint64]  # sorted
    category: npt.NDArray[np.uint16]  # of the entry at the same place
    names: tuple[str, ...]  # of categories
    has_paths: bool

    def first(self, keys: Sequence[str]) -> str | None:
        """The category of the first of `keys` that is an entry."""
        wanted = np.frombuffer(b"".join(map(hash_of, keys)), np.uint64)
        places = np.searchsorted(self.hashes, wanted)
        for place, value in zip(places.tolist(), wanted.tolist(), strict=True):
            if place < len(self.hashes) and int(self.hashes[place]) == value:
                return self.names[int(self.category[place])]
        return None


def open_index(paths: Sequence[str], categories: Sequence[str], state: State) -> ListIndex:
    """The index of the lists, from the user's cache folder where it lies there already.

    Args:
        paths: as in the settings.
        categories: as in the settings.
        state: name, size and time of change of every file, by which an index is known.
    """
    key = hashlib.blake2b(json.dumps([_FORMAT, list(categories), state]).encode(), digest_size=12).hexdigest()
    cache = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache") / "gristmill" / "blocked_hosts"
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (cache / f"{key}.lock").open("w")
    except OSError:
        return _build(state, categories)  # nowhere to keep it: a copy for each process
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process makes it, the others wait and share
        if not (cache / key / "facts.json").is_file():
            _store(_build(state, categories), cache / key)
        facts: dict[str, Any] = json.loads((cache / key / "facts.json").read_text())
        return ListIndex(
            np.load(cache / key / "hashes.npy", mmap_mode="r"),
            np.load(cache / key / "category.npy", mmap_mode="r"),
            tuple(facts["names"]),
            bool(facts["has_paths"]),
        )


def _build(state: State, categories: Sequence[str]) -> ListIndex:
    names: list[str] = []
    digests, which = bytearray(), array("H")
    has_paths = False
    for path, _, _ in state:
        with _readable(path):
            for name, lines in _entries(path, categories):
                if name not in names:
                    names.append(name)
                before = len(digests)
                for line in lines:
                    key = entry_key(line.decode("utf-8", "replace"))
                    if key is not None:
                        digests += hash_of(key)
                        has_paths = has_paths or "/" in key
                which.extend(array("H", [names.index(name)]) * ((len(digests) - before) // 8))
    # Of equal entries the first counts: the order of the settings, then the lists' own.
    hashes, first = np.unique(np.frombuffer(digests, np.uint64), return_index=True)
    category = np.frombuffer(which, np.uint16)[first] if which else np.zeros(0, np.uint16)
    return ListIndex(hashes, category, tuple(names), has_paths)


def _store(index: ListIndex, folder: Path) -> None:
    """Write an index so that it is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        np.save(Path(made) / "hashes.npy", index.hashes)
        np.save(Path(made) / "category.npy", index.category)
        facts = {"names": index.names, "has_paths": index.has_paths}
        folder.mkdir(exist_ok=True)
        for name in ("hashes.npy", "category.npy"):
            (Path(made) / name).replace(folder / name)
        (Path(made) / "facts.json").write_text(json.dumps(facts))
        (Path(made) / "facts.json").replace(folder / "facts.json")  # the last: says that the others are whole
