"""Start the ranks of a run as plain child processes, watch them, and leave none behind.

Each rank finds its place in RANK, LOCAL_RANK and WORLD_SIZE, as under torchrun, and meets the others over a
file, so that no port is opened to other machines. Rank 0 speaks to the launcher by JSON lines on its standard
output; everything else that a rank prints goes to logs/rank-<n>.log.
"""

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from gristmill.core.errors import GristmillError
from gristmill.core.progress import Reporter
from training.worker import STOPPED

EVENT_PREFIX = "\x1egristmill "  # a record separator: no library prints one
LAUNCHER_VARIABLE = "GRISTMILL_LAUNCHER_PID"
RENDEZVOUS_VARIABLE = "GRISTMILL_RENDEZVOUS"
_POLL_SECONDS = 0.1
_GRACE_AFTER_DEATH_SECONDS = 3.0  # the others may still say why they die
_GRACE_AFTER_STOP_SECONDS = 120.0  # they save a checkpoint first
_PR_SET_PDEATHSIG = 1


class RankDiedError(GristmillError):
    """A rank ended in a way that is not the run's."""

    exit_code = 1


class EventReporter(Reporter):
    """A reporter for rank 0: sends what it is told to the launcher."""

    def info(self, message: str) -> None:
        """One line of news."""
        self._send(info=message)

    def warning(self, message: str) -> None:
        """One line a person should look at."""
        self._send(warning=message)

    def progress(self, label: str, done: float, total: float, unit: str, note: str = "") -> None:
        """Move a progress bar."""
        self._send(progress=[label, done, total, unit, note])

    def result(self, value: dict[str, Any]) -> None:
        """What the run made."""
        self._send(result=value)

    def error(self, line: str) -> None:
        """The one line that says why the run stops."""
        self._send(error=line)

    def _send(self, **event: Any) -> None:
        # One write, so that a library's print on another thread can't split it.
        sys.stdout.write("\n" + EVENT_PREFIX + json.dumps(event) + "\n")
        sys.stdout.flush()


def die_with_launcher() -> None:
    """Called first in a rank: the kernel kills this process when its launcher is gone, however it went."""
    launcher = int(os.environ.get(LAUNCHER_VARIABLE, "0"))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if launcher and os.getppid() != launcher:  # it went before the line above took hold
        os._exit(STOPPED)


def rank_environment(rank: int, ranks: int, rendezvous: Path) -> dict[str, str]:
    """The environment of one rank; processor cores are shared out evenly."""
    threads = max(
        1, (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) // ranks
    )
    environment = os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",  # libraries look for it; the file below is what is used
        "MASTER_PORT": "0",
        RENDEZVOUS_VARIABLE: str(rendezvous),
        LAUNCHER_VARIABLE: str(os.getpid()),
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if sys.platform == "linux":  # ranks of one machine: nothing listens beyond loopback
        environment |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    environment.pop("DAGSTER_PIPES_CONTEXT", None)  # the launcher alone speaks to Dagster
    return environment


class Ranks:
    """The running ranks; use as a context manager, which leaves no process behind."""

    def __init__(self, module: str, arguments: Sequence[str], ranks: int, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = logs
        self._rendezvous = logs / f".rendezvous-{os.getpid()}"
        self._rendezvous.unlink(missing_ok=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.is_stopping = False
        for rank in range(ranks):
            log = (logs / f"rank-{rank}.log").open("wb")
            with log:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", module, *arguments],
                        env=rank_environment(rank, ranks, self._rendezvous),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE if rank == 0 else log,
                        stderr=log,
                    )
                )
        output = cast(IO[bytes], self.processes[0].stdout)
        threading.Thread(target=self._read, args=(output, logs / "rank-0.log"), daemon=True).start()

    def __enter__(self) -> "Ranks":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in self.processes:
            process.wait()
        self._rendezvous.unlink(missing_ok=True)

    def stop(self) -> None:
        """Ask every rank to save a checkpoint and end."""
        self.is_stopping = True
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def watch(self, reporter: Reporter) -> int:
        """Pass on what rank 0 reports until all ranks have ended.

        Returns:
            0 when they finished, STOPPED when they were asked to stop.

        Raises:
            GristmillError: what a rank said was wrong.
            RankDiedError: a rank died without a word; the message holds the end of its log.
        """
        error: str | None = None
        deadline: float | None = None
        while True:
            error = self._drain(reporter, _POLL_SECONDS) or error
            codes = [process.poll() for process in self.processes]
            if all(code is not None for code in codes):
                break
            if deadline is None and (self.is_stopping or any(codes)):
                grace = _GRACE_AFTER_STOP_SECONDS if self.is_stopping else _GRACE_AFTER_DEATH_SECONDS
                deadline = time.monotonic() + grace
            if deadline is not None and time.monotonic() > deadline:
                for process in self.processes:
                    process.kill()
        error = self._drain(reporter, _POLL_SECONDS) or error
        codes = [process.wait() for process in self.processes]
        if error is not None:
            raise GristmillError(error)
        if not any(codes):
            return 0
        if STOPPED in codes or self.is_stopping:
            return STOPPED
        rank = next(r for r, code in enumerate(codes) if (code and code != -signal.SIGKILL) or code == codes[0] != 0)
        raise RankDiedError(f"rank {rank} of {len(codes)} ended with {_say(codes[rank])}: {self._last_words(rank)}")

    def _drain(self, reporter: Reporter, seconds: float) -> str | None:
        """Pass on the events that wait; returns the line of an error event."""
        error: str | None = None
        with contextlib.suppress(queue.Empty):
            while True:
                event = json.loads(self._lines.get(timeout=seconds))
                if "progress" in event:
                    reporter.progress(*event["progress"])
                for name in ("info", "warning", "result"):
                    if name in event:
                        getattr(reporter, name)(event[name])
                error = event.get("error", error)
        return error

    def _read(self, output: IO[bytes], log: Path) -> None:
        prefix = EVENT_PREFIX.encode()
        with log.open("ab") as file:
            for line in output:
                if line.startswith(prefix):
                    self._lines.put(line[len(prefix) :].decode())
                elif line.strip():
                    file.write(line)
                    file.flush()

    def _last_words(self, rank: int) -> str:
        path = self.logs / f"rank-{rank}.log"
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1] if lines else 'it said nothing'} (see {path})"


def _say(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
