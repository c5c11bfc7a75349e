"""What a command and everything that it starts costs: wall and CPU seconds.

    python -m benchmarks.usage OUT.json COMMAND ARGUMENT…

Two figures, either of which can only be too low; the higher one counts. `reaped`: the kernel adds a process's CPU to
its parent's account when the parent waits for it, and this program makes itself the reaper of every orphan below it
(prctl, PR_SET_CHILD_SUBREAPER) and waits for all: killed children and servers that outlive their parent are in it. What
is not: children of a parent that ignores SIGCHLD, as PySpark's daemon does when it ends, with its workers' CPU.
`sampled`: the CPU of every process as last seen in /proc, which misses at most a tenth of a second of each.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_SAMPLE_SECONDS = 0.1
_LEFT_ALONE_SECONDS = 20.0  # how long what outlives the command may go on by itself


@dataclass(frozen=True)
class Usage:
    """Cost of a command and everything that it started, in seconds."""

    wall: float
    reaped: float
    sampled: float
    exit_code: int
    output: str  # stdout and stderr

    @property
    def cpu(self) -> float:
        """CPU seconds, user and system: the higher of two lower bounds."""
        return max(self.reaped, self.sampled)


def measured(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Usage:
    """Run `command` to its end, and the end of all that it started."""
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "usage.json", Path(folder) / "log"
        wrapped = [sys.executable, str(Path(__file__).resolve()), str(out), *command]
        with log.open("wb") as stream:
            subprocess.run(wrapped, env=env, cwd=cwd, stdout=stream, stderr=subprocess.STDOUT, check=False)
        output = log.read_text(encoding="utf-8", errors="replace")
        if not out.exists():
            return Usage(0.0, 0.0, 0.0, 1, output)
        return Usage(**json.loads(out.read_text()), output=output)


class _Sampler(threading.Thread):
    """CPU seconds of every descendant, as last seen; what a process does after that is missed."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.is_over, self.seen = False, dict[tuple[int, int], float]()

    def run(self) -> None:
        tick = os.sysconf("SC_CLK_TCK")
        while not self.is_over:
            parents, used = dict[int, int](), dict[int, tuple[int, float]]()
            for name in os.listdir("/proc"):  # noqa: PTH208 - names alone, and often
                if name.isdigit():
                    with contextlib.suppress(OSError, IndexError, ValueError):
                        fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                        parents[int(name)] = int(fields[1])
                        used[int(name)] = int(fields[19]), (int(fields[11]) + int(fields[12])) / tick
            for pid, (born, seconds) in used.items():
                if _descends(pid, parents, os.getpid()):
                    self.seen[pid, born] = seconds
            time.sleep(_SAMPLE_SECONDS)


def _descends(pid: int, parents: Mapping[int, int], ancestor: int) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


def _wait_for_orphans() -> None:
    """Reap everything left below this process; what does not end by itself is ended."""
    deadline = time.monotonic() + _LEFT_ALONE_SECONDS
    is_ending = False
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        if time.monotonic() > deadline:
            for child in _children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL if is_ending else signal.SIGTERM)
            is_ending, deadline = True, time.monotonic() + 5
        time.sleep(0.05)


def main() -> int:
    """Measure the command of the command line; the figures go to the file named first."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sampler = _Sampler()
    sampler.start()
    started = time.monotonic()
    code = subprocess.Popen(sys.argv[2:]).wait()
    wall = time.monotonic() - started
    _wait_for_orphans()
    sampler.is_over = True
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {"wall": wall, "reaped": spent.ru_utime + spent.ru_stime, "sampled": sum(sampler.seen.values())}
    Path(sys.argv[1]).write_text(json.dumps(figures | {"exit_code": code}))
    return code


if __name__ == "__main__":
    sys.exit(main())
