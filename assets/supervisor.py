"""Runs one command and sees to it that nothing of it is left: `python -m assets.supervisor [--patience=S] COMMAND …`.

With a patience, a command that is to stop is told so once, by SIGTERM, and has so many seconds to end what it started
by itself: a training run saves a checkpoint on all its nodes.

A worker has descendants of its own (a JVM, pyspark's daemon and its Python workers, training ranks), some in
sessions of their own, some orphaned by a parent that was killed. On Linux this process adopts the orphans
(PR_SET_CHILD_SUBREAPER), so that the whole tree stays below it, and it hears when its own parent dies
(PR_SET_PDEATHSIG), so that a Dagster step that is killed with `kill -9` takes its worker with it.

Standard library and psutil only: it starts in a tenth of a second.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import psutil

SECONDS_PER_SIGNAL = 3.0  # between INT, TERM and KILL: a Spark session stops in about one second
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36
PATIENCE_OPTION = "--patience="
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def prctl(option: int, value: int) -> None:
    """Call prctl(2) where there is one; elsewhere the signals alone have to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end_all(find: Callable[[], Sequence[psutil.Process]], seconds: float = SECONDS_PER_SIGNAL) -> None:
    """Signal what `find` returns with INT, TERM, then KILL, until it returns nothing.

    Args:
        find: called again and again, since a process that is told to stop may still start others.
        seconds: patience after each signal.
    """
    for number in _SIGNALS:
        deadline = time.monotonic() + seconds
        told: set[int] = set()
        while alive := [p for p in find() if _is_alive(p)]:
            for process in alive:
                if process.pid not in told:
                    told.add(process.pid)
                    with contextlib.suppress(psutil.Error):
                        process.send_signal(number)
            if time.monotonic() >= deadline:
                break
            time.sleep(0.05)
        if not alive:
            return


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _descendants() -> list[psutil.Process]:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # bury adopted orphans, so that they do not count as alive
            pass
    return psutil.Process().children(recursive=True)


def main(command: Sequence[str]) -> int:
    """Run `command`; returns its exit code, 128 + n where signal n ended it."""
    patience = 0.0
    if command[0].startswith(PATIENCE_OPTION):
        patience, command = float(command[0].removeprefix(PATIENCE_OPTION)), command[1:]
    stop: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    parent = os.getppid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked to be told
        return 128 + signal.SIGTERM
    worker = subprocess.Popen(command, preexec_fn=_in_child)  # noqa: PLW1509  (this process has one thread)
    code = _wait(worker, stop)
    if stop and patience:
        worker.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(timeout=patience)
    end_all(_descendants)
    return code if code >= 0 else 128 - code


def _in_child() -> None:
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # should even this process be killed
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _wait(worker: "subprocess.Popen[Any]", stop: Sequence[int]) -> int:
    """The worker's exit code; or that of a stopped one, as soon as we are told to stop."""
    while not stop:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return worker.wait(timeout=0.1)
    return -signal.SIGTERM


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
