"""The handle of ranks that a command starts: torchrun, DeepSpeed's launcher, srun, …

The command's standard output carries the events of rank 0; the rest of what it says goes to logs/launcher.log. Its
ranks (training/member.py) follow the lease held here, so that stopping and dying reach them on every node, whatever
the command does with signals. DeepSpeed's, told to end by one, would end processes by pattern on all hosts: it gets
none but the last.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from gristmill.core.errors import EnvironmentProblemError, GristmillError
from gristmill.core.progress import Reporter
from training.events import EventReader
from training.launch import GRACE_AFTER_STOP_SECONDS, POLL_SECONDS, RankDiedError, last_words, said_by_code
from training.lease import Lease
from training.worker import STOPPED

_GRACE_AFTER_END_SECONDS = 10.0  # ranks see the lease's end within a second; their launcher within another


class CommandHandle:
    """Ranks under a command; a context manager that leaves none behind."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        handed: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command`.

        Args:
            command: of the launcher; no shell reads it here.
            environment: of the launcher.
            folder: the run's.
            handed: values for ranks of other machines, which pass through no command line.

        Raises:
            EnvironmentProblemError: there is no such command.
        """
        logs = folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self._log = logs / "launcher.log"
        self.is_stopping = False
        self._lease = Lease(folder)
        self._lease.__enter__()
        try:
            self._lease.hand_over(handed or {})
            with self._log.open("wb") as log:
                self.process = subprocess.Popen(
                    list(command),
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,  # what it starts can be told from all else
                )
        except OSError as error:
            self._lease.__exit__()
            raise EnvironmentProblemError(f"can't start {command[0]} ({error.strerror}): install it") from None
        self._reader = EventReader(cast(IO[bytes], self.process.stdout), self._log)

    def __enter__(self) -> "CommandHandle":
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.__exit__()  # ranks that are left end within a second or two
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_GRACE_AFTER_END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask the ranks of all nodes to save a checkpoint and end."""
        self.is_stopping = True
        self._lease.stop()

    def watch(self, reporter: Reporter) -> int:
        """Pass on what rank 0 reports until the command has ended.

        Returns:
            0 when the run finished, STOPPED when it was asked to stop.

        Raises:
            GristmillError: what a rank said was wrong.
            RankDiedError: it ended without a word; the message holds the end of its log.
        """
        deadline: float | None = None
        while (code := self.process.poll()) is None:
            self._reader.drain(reporter, POLL_SECONDS)
            if deadline is None and (self.is_stopping or self._reader.error or self._reader.deaths):
                grace = GRACE_AFTER_STOP_SECONDS if self.is_stopping else _GRACE_AFTER_END_SECONDS
                deadline = time.monotonic() + grace
            if deadline is not None and time.monotonic() > deadline:
                break  # leaving the context ends what is left
        self._reader.finish(reporter, POLL_SECONDS if code is None else _GRACE_AFTER_END_SECONDS)
        if self._reader.error is not None:
            raise GristmillError(self._reader.error)
        if code == 0 and self._reader.ended in (0, None):
            return 0
        if self.is_stopping or self._reader.ended == STOPPED:
            return STOPPED
        if (death := self._reader.death()) is not None:
            raise RankDiedError(death)
        how = said_by_code(code) if code is not None else "no end"
        raise RankDiedError(f"the launcher of the ranks came to {how}: {last_words(self._log)}")
