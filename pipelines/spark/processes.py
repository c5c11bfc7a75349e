"""Spark leaves nothing running and nothing lying about, however the worker ends."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

SCRATCH_PREFIX = "gristmill-spark-"
_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05


def children() -> list[psutil.Process]:
    """Every process below this one: the JVM, its Python daemon, the daemon's workers."""
    try:
        return psutil.Process().children(recursive=True)
    except psutil.Error:
        return []


def end(processes: list[psutil.Process], grace: float = _GRACE_SECONDS) -> None:
    """Wait until `processes` are gone; what stays after `grace` seconds is told to end, then killed."""
    alive = _wait(processes, grace)
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            with contextlib.suppress(psutil.Error):
                stop(process)
        alive = _wait(alive, grace / 2)


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still run after so many seconds. One that ended but for its parent's asking has ended: Spark's Python
    workers are orphans then, and whoever adopted them may not ask before this process is gone."""
    deadline = time.monotonic() + seconds
    while (alive := [p for p in processes if _runs(p)]) and time.monotonic() < deadline:
        psutil.wait_procs(alive, timeout=_POLL_SECONDS)
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder for this process, below TMPDIR; those of killed processes are removed on the way."""
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{SCRATCH_PREFIX}*-*"):
        owner = folder.name.removeprefix(SCRATCH_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            if owner.isdecimal() and folder.stat().st_uid == os.getuid() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(folder, ignore_errors=True)
