"""Spark leaves nothing running and nothing lying about, however the worker ends."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

SCRATCH_PREFIX = "gristmill-spark-"
_GRACE_SECONDS = 5.0


def children() -> list[psutil.Process]:
    """Every process below this one: the JVM, its Python daemon, the daemon's workers."""
    try:
        return psutil.Process().children(recursive=True)
    except psutil.Error:
        return []


def end(processes: list[psutil.Process], grace: float = _GRACE_SECONDS) -> None:
    """Wait until `processes` are gone; what stays after `grace` seconds is told to end, then killed."""
    _, alive = psutil.wait_procs(processes, timeout=grace)
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in alive:
            with contextlib.suppress(psutil.Error):
                stop(process)
        _, alive = psutil.wait_procs(alive, timeout=grace / 2)


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
