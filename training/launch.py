"""Start the ranks of a run as plain child processes, watch them, and leave none behind.

Each rank finds its place in RANK, LOCAL_RANK and WORLD_SIZE, as under torchrun. Rank 0 speaks to the launcher by JSON
lines on its standard output (training/events.py); everything else that a rank prints goes to logs/rank-<n>.log.
Other ways to launch: training/launchers.py.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from gristmill.core.errors import GristmillError
from gristmill.core.progress import Reporter
from training.events import EventReader, EventReporter
from training.rank_environment import LAUNCHER_VARIABLE, RENDEZVOUS_VARIABLE
from training.worker import STOPPED

__all__ = ["LAUNCHER_VARIABLE", "RENDEZVOUS_VARIABLE", "EventReporter", "RankDiedError", "Ranks", "die_with_launcher"]

POLL_SECONDS = 0.1
GRACE_AFTER_STOP_SECONDS = 120.0  # they save a checkpoint first
_GRACE_AFTER_DEATH_SECONDS = 3.0  # the others may still say why they die
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class RankDiedError(GristmillError):
    """A rank ended in a way that is not the run's."""

    exit_code = 1


def end_with_parent() -> None:
    """From here on the kernel kills this process when its parent is gone, however it went (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def die_with_launcher() -> None:
    """Called first in a rank: the kernel kills this process when its launcher is gone, however it went."""
    launcher = int(os.environ.get(LAUNCHER_VARIABLE, "0"))
    end_with_parent()
    if launcher and os.getppid() != launcher:  # it went before the line above took hold
        os._exit(STOPPED)


class Ranks:
    """The running ranks; use as a context manager, which leaves no process behind."""

    def __init__(
        self, module: str, arguments: Sequence[str], environments: Sequence[Mapping[str, str]], logs: Path
    ) -> None:
        """Start `python -m module arguments` once per environment, each of which holds its RANK."""
        logs.mkdir(parents=True, exist_ok=True)
        self.is_stopping = False
        self.processes: list[subprocess.Popen[bytes]] = []
        self._logs = [logs / f"rank-{environment['RANK']}.log" for environment in environments]
        self._ranks = [environment["RANK"] for environment in environments]
        self._reader: EventReader | None = None
        for environment, path in zip(environments, self._logs, strict=True):
            is_first = environment["RANK"] == "0"
            with path.open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", module, *arguments],
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if is_first else log,
                    stderr=log,
                )
            self.processes.append(process)
            if is_first:
                self._reader = EventReader(cast(IO[bytes], process.stdout), path)

    def __enter__(self) -> "Ranks":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for process in self.processes:
            process.wait()

    def stop(self) -> None:
        """Ask every rank to save a checkpoint and end."""
        self.is_stopping = True
        self.ask()

    def ask(self) -> None:
        """The same, where another decides how long that may take and what came of it."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End every rank now."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def watch(self, reporter: Reporter, tick: Callable[[], None] = lambda: None) -> int:
        """Pass on what rank 0 reports until all ranks have ended.

        Args:
            reporter: hears it.
            tick: called about ten times a second meanwhile.

        Returns:
            0 when they finished, STOPPED when they were asked to stop.

        Raises:
            GristmillError: what a rank said was wrong.
            RankDiedError: a rank died without a word; the message holds the end of its log.
        """
        deadline: float | None = None
        while True:
            if self._reader is None:
                time.sleep(POLL_SECONDS)
            else:
                self._reader.drain(reporter, POLL_SECONDS)
            tick()
            codes = [process.poll() for process in self.processes]
            if all(code is not None for code in codes):
                break
            if deadline is None and (self.is_stopping or any(codes)):
                grace = GRACE_AFTER_STOP_SECONDS if self.is_stopping else _GRACE_AFTER_DEATH_SECONDS
                deadline = time.monotonic() + grace
            if deadline is not None and time.monotonic() > deadline:
                self.kill()
        if self._reader is not None:
            self._reader.finish(reporter, _GRACE_AFTER_DEATH_SECONDS)
        codes = [process.wait() for process in self.processes]
        if self._reader is not None and self._reader.error is not None:
            raise GristmillError(self._reader.error)
        if not any(codes):
            return 0
        if STOPPED in codes or self.is_stopping:
            return STOPPED
        at = next(i for i, code in enumerate(codes) if (code and code != -signal.SIGKILL) or code == codes[0] != 0)
        raise RankDiedError(
            f"rank {self._ranks[at]} ended with {said_by_code(codes[at])}: {last_words(self._logs[at])}"
        )


def last_words(log: Path) -> str:
    """The last line of a log, and where the rest is."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1] if lines else 'it said nothing'} (see {log})"


def said_by_code(code: int) -> str:
    """An exit code of subprocess in words."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
