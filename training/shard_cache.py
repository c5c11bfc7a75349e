"""Shards of a root that is no local folder, kept as files on this machine so that they can be mapped.

One folder serves all processes of the machine: a lock per shard makes one of them fetch it while the others wait,
and a file has its final name only when it is whole and has the sha256 that the mixture gives. Where a limit is
set, the shards used longest ago go first; a process that has one mapped keeps it until it lets go.
"""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from gristmill.core.errors import EnvironmentProblemError, MissingDataError, SettingsError
from gristmill.core.layout import Layout
from training.digests import file_sha256

CACHE_VARIABLE = "GRISTMILL_CACHE"  # the folder
CACHE_SIZE_VARIABLE = "GRISTMILL_CACHE_GB"  # how much it may hold; unset: no limit
_MARK = ".verified"  # beside a shard: its size and time of change when its sha256 was right
_REMAKE = "run `gristmill run CORPUS --through training_mixture` again"
_BLOCK = 1 << 20
_GIGABYTE = 1e9


class ShardCache:
    """The cache folder, as the environment names it.

    Raises:
        SettingsError: the limit in the environment is no number above 0.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        named = os.environ.get(CACHE_VARIABLE)
        self.folder = Path(named) if named else Path.home() / ".cache" / "gristmill" / "shards"
        self.limit = _limit(os.environ.get(CACHE_SIZE_VARIABLE))

    def has(self, sha256: str) -> bool:
        """Whether a shard is here, by its name alone."""
        return self._file(sha256).is_file()

    def path(self, path: str, sha256: str) -> Path:
        """The local file of the shard `path` (below the root), fetched if it is not here or is damaged.

        Raises:
            MissingDataError: the root has no such file, or one of other content.
            EnvironmentProblemError: the cache can't be written.
        """
        cached = self._file(sha256)
        if self._is_verified(cached):
            self._touch(cached)
            return cached
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder / f"{sha256}.lock"):
                if not self._is_verified(cached):  # another process may have been at it meanwhile
                    if not cached.is_file() or file_sha256(cached) != sha256:
                        self._fetch(self._layout.join(path), sha256, cached)
                    self._mark(cached)
        except OSError as error:
            raise EnvironmentProblemError(
                f"the shard cache {self.folder} can't be written ({error.strerror or error}): "
                f"free some space or name another folder in {CACHE_VARIABLE}"
            ) from None
        if self.limit is not None:
            self._evict(keep=cached)
        return cached

    def _file(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.arrow"

    def _fetch(self, remote: str, sha256: str, cached: Path) -> None:
        unfinished = cached.with_suffix(f".{uuid.uuid4().hex[:8]}.tmp")
        try:
            source = self._open(remote)
            with source, unfinished.open("wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)
                target.flush()
                os.fsync(target.fileno())  # the name must not outlive a power cut that the content did not
            digest = file_sha256(unfinished)
            if digest != sha256:
                raise MissingDataError(f"shard {remote} has sha256 {digest}, the mixture says {sha256}: {_REMAKE}")
            unfinished.replace(cached)
        finally:
            unfinished.unlink(missing_ok=True)

    def _open(self, remote: str) -> Any:
        try:
            return cast(Any, self._layout.fs).open(remote, "rb")
        except FileNotFoundError:
            raise MissingDataError(f"shard {remote} of the mixture is not there: {_REMAKE}") from None

    def _is_verified(self, cached: Path) -> bool:
        try:
            return cached.with_suffix(_MARK).read_text() == _stamp(cached)
        except OSError:  # not there; what else may be wrong with the folder, the fetch will tell
            return False

    def _mark(self, cached: Path) -> None:
        mark = cached.with_suffix(_MARK)
        aside = mark.with_suffix(f".{uuid.uuid4().hex[:8]}.tmp")
        aside.write_text(_stamp(cached))
        aside.replace(mark)

    def _touch(self, cached: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # evicted this moment: the caller's open will tell
            os.utime(cached.with_suffix(_MARK))

    def _evict(self, keep: Path) -> None:
        """Remove the shards used longest ago until the rest is within the limit; `keep` stays in any case."""
        assert self.limit is not None
        with _locked(self.folder / "evict.lock"):
            found: list[tuple[float, int, Path]] = []
            for mark in self.folder.glob(f"*{_MARK}"):
                cached = mark.with_suffix(".arrow")
                with contextlib.suppress(FileNotFoundError):
                    found.append((mark.stat().st_mtime, cached.stat().st_size, cached))
            total = sum(size for _, size, _ in found)
            for _, size, cached in sorted(found):
                if total <= self.limit:
                    break
                if cached != keep:
                    for path in (cached.with_suffix(_MARK), cached):
                        path.unlink(missing_ok=True)
                    total -= size


def _limit(value: str | None) -> float | None:
    if not value:
        return None
    try:
        limit = float(value)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise SettingsError(f"{CACHE_SIZE_VARIABLE} is {value!r}: give the gigabytes the cache may hold, such as 200")
    return limit * _GIGABYTE


def _stamp(cached: Path) -> str:
    facts = cached.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:  # the lock goes with the process, however it ends
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
