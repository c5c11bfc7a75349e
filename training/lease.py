"""A launcher's lease on a run folder, which the ranks of every node follow: who leads, go on, stop, or end.

The launcher writes it anew every two seconds; ranks on other machines read it. So one file proves three things that no
launcher proves for all: that a node sees the same folder (a shared file system), that the run is asked to save and stop
(whatever signals torchrun, DeepSpeed's launcher, pdsh, Slurm or Kubernetes forward), and that the launcher still lives
(whatever they leave behind when it is killed).
"""

import contextlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import psutil

from gristmill.core.errors import EnvironmentProblemError
from gristmill.core.layout import storage_error

LEASE_NAME = ".lease.json"
BEAT_SECONDS = 2.0
# Without a beat for so long, the launcher is taken for dead: ten times what an NFS client caches a file (acregmin).
LOST_SECONDS = 30.0
_LOOK_SECONDS = 0.2
State = Literal["running", "stopping", "lost"]


class Lease:
    """The launcher's side; a context manager. What it leaves behind says that it is over."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.token = folder, secrets.token_hex(8)
        self._beat, self._is_stopping = 0, False
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True)

    def __enter__(self) -> "Lease":
        try:
            for old in self._folder.glob(".members-*"):
                shutil.rmtree(old, ignore_errors=True)
            for old in self._folder.glob(".environment-*"):  # of a launcher that was killed
                old.unlink(missing_ok=True)
            members_folder(self._folder, self.token).mkdir(parents=True)
            self._write()
        except OSError as error:
            raise storage_error(error, str(self._folder)) from error
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._write(is_over=True)
        environment_file(self._folder, self.token).unlink(missing_ok=True)
        shutil.rmtree(members_folder(self._folder, self.token), ignore_errors=True)

    def stop(self) -> None:
        """Ask the ranks of all nodes to save a checkpoint and end."""
        self._is_stopping = True  # the thread writes it: this may be called in a signal handler

    def hand_over(self, values: Mapping[str, str]) -> None:
        """Leave values of variables for the ranks, for this user alone; rank 0 removes them once all have read them."""
        if values:
            path = environment_file(self._folder, self.token)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(dict(values), file)

    def _beat_on(self) -> None:
        due, has_told = time.monotonic() + BEAT_SECONDS, False
        while not self._end.wait(_LOOK_SECONDS):
            if time.monotonic() >= due or self._is_stopping != has_told:
                due, has_told = time.monotonic() + BEAT_SECONDS, self._is_stopping
                with contextlib.suppress(OSError):  # a full disk for a moment; for long, and the ranks end
                    self._write()

    def _write(self, *, is_over: bool = False) -> None:
        with self._lock:
            self._beat += 1
            facts = {
                "token": self.token,
                "beat": self._beat,
                "is_stopping": self._is_stopping,
                "is_over": is_over,
                "machine": _machine(),
                "pid": os.getpid(),
                "started": psutil.Process().create_time(),
            }
            path = self._folder / LEASE_NAME
            aside = path.with_name(f"{path.name}.{self.token}")
            aside.write_text(json.dumps(facts), encoding="utf-8")
            aside.replace(path)


class Follower:
    """A rank's side: joins a lease that lives, then says what it says."""

    def __init__(self, folder: Path, rank: int, world_size: int) -> None:
        self._folder, self._rank, self._world_size = folder, rank, world_size
        self.token = ""
        self._beat, self._heard = -1, time.monotonic()

    def join(self, seconds: float) -> None:
        """Wait until a launcher is seen at work on the folder, and sign in.

        Raises:
            EnvironmentProblemError: none is within `seconds`.
        """
        deadline, first = time.monotonic() + seconds, None
        while True:
            found = read_lease(self._folder)
            at = (found["token"], found["beat"]) if found and not found["is_over"] else None
            if first is not None and at is not None and at[0] == first[0] and at[1] != first[1]:
                break  # it moves: nobody is dead, and the file is no copy
            first = at or first
            if time.monotonic() > deadline:
                raise EnvironmentProblemError(
                    f"rank {self._rank} on {os.uname().nodename} sees no launcher at work on {self._folder} after "
                    f"{seconds:.0f} s: all nodes need the same root on a file system that they share, the same "
                    "settings, and rank 0 started"
                )
            time.sleep(0.2)
        self.token, self._beat, self._heard = at[0], at[1], time.monotonic()
        (members_folder(self._folder, self.token) / f"rank-{self._rank}").write_text(os.uname().nodename)

    def handed(self) -> dict[str, str]:
        """The values that the launcher left for this run's ranks."""
        try:
            text = environment_file(self._folder, self.token).read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        return cast(dict[str, str], json.loads(text))

    def wait_for_all(self, seconds: float) -> None:
        """On rank 0: wait until every rank has signed in, then remove the values left for them.

        Raises:
            EnvironmentProblemError: some have not within `seconds`; the message says which.
        """
        deadline = time.monotonic() + seconds
        while missing := self._missing():
            if time.monotonic() > deadline:
                raise EnvironmentProblemError(
                    f"rank {', '.join(map(str, missing))} of {self._world_size} not seen in {self._folder} after "
                    f"{seconds:.0f} s: all nodes need the same root on a file system that they share, and their ranks "
                    "started"
                )
            if self.state() != "running":
                return
            time.sleep(0.2)
        environment_file(self._folder, self.token).unlink(missing_ok=True)

    def _missing(self) -> list[int]:
        folder = members_folder(self._folder, self.token)
        with contextlib.suppress(OSError):
            there = {path.name for path in folder.iterdir()}
            return [rank for rank in range(self._world_size) if f"rank-{rank}" not in there]
        return list(range(self._world_size))

    def state(self) -> State:
        """What the launcher wants now; lost where it ended, was replaced or is not heard of for LOST_SECONDS."""
        found = read_lease(self._folder)
        if found is not None and found["token"] == self.token:
            if found["is_over"] or _is_dead_here(found):
                return "lost"
            if found["beat"] != self._beat:
                self._beat, self._heard = found["beat"], time.monotonic()
            if found["is_stopping"]:
                return "stopping"
        elif found is not None:
            return "lost"  # another launcher has taken the run over
        return "lost" if time.monotonic() - self._heard > LOST_SECONDS else "running"


def read_lease(folder: Path) -> dict[str, Any] | None:
    """The lease as it is now, None where there is none that can be read."""
    try:
        found: Any = json.loads((folder / LEASE_NAME).read_text(encoding="utf-8"))
        return found if found.keys() >= {"token", "beat", "is_stopping", "is_over", "machine", "pid"} else None
    except (OSError, ValueError, AttributeError):
        return None


def members_folder(folder: Path, token: str) -> Path:
    """Where the ranks that follow a lease sign in."""
    return folder / f".members-{token}"


def environment_file(folder: Path, token: str) -> Path:
    """Where values of named variables lie for the moment that ranks need to read them."""
    return folder / f".environment-{token}"


def _machine() -> str:
    """Tells processes that share a process table; empty where that is unknown."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _is_dead_here(lease: Mapping[str, Any]) -> bool:
    """Whether the launcher was a process of this machine and is no more; sooner known than by missing beats."""
    if not lease["machine"] or lease["machine"] != _machine():
        return False
    try:
        process = psutil.Process(int(lease["pid"]))
        return process.create_time() != lease.get("started") or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
