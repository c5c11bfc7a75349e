"""The index of lists of hosts: sorted hashes, in files of the user's cache folder that processes map and share.

The newest few indexes are kept. What lies there is checked against its checksum each time it is opened (50 MB take
0.1 s), and made anew where anything does not fit; it is never written in place, so that who has it mapped keeps it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.crawl.hostkeys import hash_of
from pipelines.crawl.hostlists import Lines, read_list, readable, require_entries

CACHE_VARIABLE = "XDG_CACHE_HOME"
KEPT_INDEXES = 4  # in the cache folder: as many sets of lists as a person may use by turns; UT1's takes some 50 MB
_FORMAT = "3"  # of the index; another one is made anew
_LOCK_NAME = "lock"
State = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class ListIndex:
    """Entries by their hash."""

    hashes: npt.NDArray[np.uint64]  # sorted
    category: npt.NDArray[np.uint16]  # of the entry at the same place
    names: tuple[str, ...]  # of categories
    has_paths: bool
    skipped: tuple[str, ...] = field(default=())  # a sentence per list that has unusable lines

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

    Raises:
        SettingsError: a list is damaged, or names no hosts.
    """
    known_by = json.dumps([_FORMAT, list(paths), list(categories), state])
    key = hashlib.blake2b(known_by.encode(), digest_size=12).hexdigest()
    cache = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache") / "gristmill" / "blocked_hosts"
    found = _load(cache / key)
    if found is not None:
        return found
    with contextlib.ExitStack() as stack:
        try:
            cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = stack.enter_context((cache / _LOCK_NAME).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process makes it, the others wait and share
        except OSError:
            return _build(paths, categories, state)  # nowhere to keep it: a copy for each process
        found = _load(cache / key)
        if found is not None:
            return found
        made = _build(paths, categories, state)
        try:
            _store(made, cache / key)
            _forget_old(cache)
        except OSError:  # a full disk
            return made
        return _load(cache / key) or made


def _build(paths: Sequence[str], categories: Sequence[str], state: State) -> ListIndex:
    names: list[str] = []
    digests, which = bytearray(), array("H")
    has_paths = False
    skipped: list[str] = []
    of_path: dict[str, list[Lines]] = {path: [] for path in paths}
    for file, _, _ in state:
        with readable(file):
            for name, keys, lines in read_list(file, categories):
                if name not in names:
                    names.append(name)
                for key in keys:
                    digests += hash_of(key)
                    has_paths = has_paths or "/" in key
                which.extend(array("H", [names.index(name)]) * lines.entries)
                for path in paths:
                    if path == file or Path(path) in Path(file).parents:
                        of_path[path].append(lines)
                if lines.unusable:
                    counted = f"{lines.unusable:,} of {lines.count:,} lines name no host and are skipped"
                    skipped.append(f"blocked_hosts: {file}: {counted} ({lines.found()})")
    for path, lists in of_path.items():
        require_entries(path, lists)
    # Of equal entries the first counts: the order of the settings, then the lists' own.
    hashes, first = np.unique(np.frombuffer(digests, np.uint64), return_index=True)
    category = np.frombuffer(which, np.uint16)[first] if which else np.zeros(0, np.uint16)
    return ListIndex(hashes, category, tuple(names), has_paths, tuple(skipped))


def _store(index: ListIndex, folder: Path) -> None:
    """Write an index so that it is there whole or not at all."""
    facts = {
        "names": index.names,
        "has_paths": index.has_paths,
        "skipped": index.skipped,
        "checksum": _checksum(index),
    }
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        np.save(Path(made) / "hashes.npy", index.hashes)
        np.save(Path(made) / "category.npy", index.category)
        (Path(made) / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        if not folder.is_dir():
            folder.unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
        for name in ("hashes.npy", "category.npy", "facts.json"):  # the last says that the others are whole
            (Path(made) / name).replace(folder / name)


def _load(folder: Path) -> ListIndex | None:
    """The index that was stored there; None where there is none, or a damaged one."""
    try:
        facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        index = ListIndex(
            np.load(folder / "hashes.npy", mmap_mode="r"),
            np.load(folder / "category.npy", mmap_mode="r"),
            tuple(facts["names"]),
            facts["has_paths"],
            tuple(facts["skipped"]),
        )
        if facts["checksum"] != _checksum(index):
            return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)  # in use: not to be forgotten
    return index


def _checksum(index: ListIndex) -> str:
    facts = json.dumps([index.names, index.has_paths, index.skipped])
    digest = hashlib.blake2b(facts.encode(), digest_size=16)
    for values in (index.hashes, index.category):
        digest.update(f"{values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _forget_old(cache: Path) -> None:
    """Leave the newest indexes; call with the lock held. What stays mapped elsewhere lives until it is let go."""
    folders = [path for path in cache.iterdir() if path.name != _LOCK_NAME]
    whole = [path for path in folders if (path / "facts.json").is_file()]
    newest = sorted(whole, key=lambda path: path.stat().st_mtime, reverse=True)[:KEPT_INDEXES]
    for path in set(folders) - set(newest):  # leftovers of processes that were killed, too
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
