"""How often a server is asked: a few connections at once, a pause between requests, silence when it says so.

The turns are kept in files of the download folder, with operating-system locks, so that all processes which
share that folder (the Spark workers of a machine, or of a cluster with one file system) share one budget per
host. A lock dies with its process.
"""

import contextlib
import fcntl
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

_POLL_SECONDS = 0.05
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]")


class HostGate:
    """The budget of one host."""

    def __init__(self, folder: Path, host: str, connections: int, delay_seconds: float) -> None:
        self._stem = folder / "hosts" / _UNSAFE.sub("_", host)
        self._connections, self._delay = connections, delay_seconds
        self._stem.parent.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def connection(self) -> Iterator[None]:
        """Hold one of the host's connections; waits until one is free."""
        with contextlib.ExitStack() as held:
            while not self._take_any(held):
                time.sleep(_POLL_SECONDS)
            yield

    def _take_any(self, held: contextlib.ExitStack) -> bool:
        first = random.randrange(self._connections)  # noqa: S311 - spreads waiters, no secret
        for step in range(self._connections):
            slot = (first + step) % self._connections
            if held.enter_context(locked(Path(f"{self._stem}.slot-{slot}"), is_waiting=False)):
                return True
        return False

    def wait_for_turn(self) -> None:
        """Wait until the host may be asked again, and take that moment for this request."""
        with self._next_moment() as moment:
            now = time.time()
            turn = max(now, moment.read())
            moment.write(turn + self._delay)
        time.sleep(max(0.0, turn - now))

    def hold_off(self, seconds: float) -> None:
        """Let nobody ask the host for `seconds`."""
        with self._next_moment() as moment:
            moment.write(max(moment.read(), time.time() + seconds))

    @contextlib.contextmanager
    def _next_moment(self) -> Iterator["_Moment"]:
        path = Path(f"{self._stem}.next")
        with locked(path, is_waiting=True):
            yield _Moment(path)


class NoGate:
    """For a person's single request: nothing is shared with other processes."""

    def connection(self) -> contextlib.AbstractContextManager[None]:
        """Free at once."""
        return contextlib.nullcontext()

    def wait_for_turn(self) -> None:
        """It is always this one's turn."""

    def hold_off(self, seconds: float) -> None:
        """Wait here."""
        time.sleep(seconds)


class _Moment:
    """A time in a file; what can't be read is long past."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> float:
        try:
            return float(self._path.read_text(encoding="ascii"))
        except ValueError:
            return 0.0

    def write(self, when: float) -> None:
        self._path.write_text(f"{when:.3f}", encoding="ascii")


@contextlib.contextmanager
def locked(path: Path, *, is_waiting: bool, is_shared: bool = False) -> Iterator[bool]:
    """Hold the lock of the file `path` (made if missing); yields False where somebody else has it.

    The file may be removed by whoever holds its lock alone: whoever waited for it takes the new one.
    """
    mode = (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | (0 if is_waiting else fcntl.LOCK_NB)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, mode)
            except BlockingIOError:
                yield False
                return
            if _is_still(descriptor, path):
                yield True
                return
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for a child process that was forked meanwhile
            os.close(descriptor)


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
