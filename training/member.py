"""One rank under another launcher: `python -m training.member --run-folder F -- MODULE ARGUMENT…`.

torchrun, DeepSpeed's launcher, srun or a Kubernetes job start this once per rank and say which by RANK and WORLD_SIZE.
It follows the lease on the run's folder (training/lease.py) and keeps the rank itself as a child, as the local launcher
does: so a rank ends with whatever started it, saves when asked to, and its lines reach logs/rank-<n>.log and Dagster.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gristmill.core.errors import GristmillError, SettingsError, one_line
from gristmill.core.progress import Reporter
from training.events import EventReporter
from training.launch import RankDiedError, Ranks, end_with_parent
from training.lease import Follower
from training.rank_environment import LAUNCHER_VARIABLE, member_environment
from training.worker import STOPPED

_ASK_SECONDS = 1.0  # between readings of the lease


def outside_place() -> tuple[int, int] | None:
    """(rank, world size) where another launcher started this process as a rank; None where nobody did.

    Raises:
        SettingsError: RANK and WORLD_SIZE are no place.
    """
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None or world_size is None or LAUNCHER_VARIABLE in os.environ:
        return None
    if not (rank.isdecimal() and world_size.isdecimal() and int(rank) < int(world_size)):
        raise SettingsError(
            f"RANK={rank[:20]!r} of WORLD_SIZE={world_size[:20]!r} is no place: unset both, or mend them"
        )
    return int(rank), int(world_size)


class MemberHandle:
    """A rank of this process's place, once its run's launcher is seen; a context manager."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        follower: Follower,
        environment: dict[str, str],
        logs: Path,
    ) -> None:
        self._follower, self._asked, self._is_asked = follower, time.monotonic(), False
        self._ranks = Ranks(module, arguments, [environment], logs)

    def __enter__(self) -> "MemberHandle":
        return self

    def __exit__(self, *_: object) -> None:
        self._ranks.__exit__()

    def stop(self) -> None:
        """Ask the rank to save a checkpoint, with all the others, and end; its launcher sets how long that may take."""
        self._is_asked = True
        self._ranks.ask()

    def watch(self, reporter: Reporter) -> int:
        """As `Ranks.watch`, and as the lease says meanwhile."""
        return self._ranks.watch(reporter, self._follow)

    def _follow(self) -> None:
        if time.monotonic() - self._asked < _ASK_SECONDS:
            return
        self._asked = time.monotonic()
        state = self._follower.state()
        if state == "lost":
            self._ranks.is_stopping = True
            self._ranks.kill()  # another launcher may be at work on the folder already: nothing may be saved any more
        elif state == "stopping" and not self._is_asked:
            self.stop()


def start_member(
    folder: Path,
    place: tuple[int, int],
    module: str,
    arguments: Sequence[str],
    names: Sequence[str],
    interface: str,
    seconds: float,
) -> MemberHandle:
    """Join the run in `folder` and start the rank at `place`.

    Args:
        folder: the run's, on a file system that all nodes share.
        place: (rank, world size).
        module: that the rank runs.
        arguments: its command line.
        names: of variables that the rank is given.
        interface: network interface that ranks meet over, or empty.
        seconds: patience with the launcher and the other ranks.

    Raises:
        EnvironmentProblemError: the launcher, or on rank 0 another rank, is not seen on the folder.
    """
    follower = Follower(folder, *place)
    follower.join(seconds)
    environment = member_environment(names, interface, follower.handed())
    if place[0] == 0:
        follower.wait_for_all(seconds)
    return MemberHandle(module, arguments, follower, environment, folder / "logs")


def stop_on_signals(handle: Any) -> None:
    """SIGTERM and SIGINT ask `handle` to stop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: handle.stop())


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the rank's exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.member", description=__doc__)
    parser.add_argument("--run-folder", required=True, type=Path)
    parser.add_argument("--join-seconds", type=float, default=300.0)
    parser.add_argument("--interface", default="")
    parser.add_argument("--pass", dest="names", action="append", default=[], metavar="NAME")
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    end_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(STOPPED))
    reporter = EventReporter()
    try:
        place = outside_place()
        if place is None:
            raise SettingsError("no RANK and WORLD_SIZE: start this with torchrun, DeepSpeed's launcher or srun")
        _require_ranks(given.run_folder, place[1])
        with start_member(
            given.run_folder, place, given.module, given.arguments, given.names, given.interface, given.join_seconds
        ) as handle:
            stop_on_signals(handle)
            code = handle.watch(reporter)
    except RankDiedError as error:
        reporter.died(one_line(error))
        code = error.exit_code
    except GristmillError as error:
        reporter.error(one_line(error))
        code = error.exit_code
    if os.environ.get("RANK") == "0":
        reporter.ended(code)
    return code


def _require_ranks(folder: Path, world_size: int) -> None:
    try:
        ranks = json.loads((folder / "config.json").read_text(encoding="utf-8"))["settings"]["ranks"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # the folder is not there: `join` says what that means
    if ranks != world_size:
        raise SettingsError(f"the launcher started {world_size} ranks and setting ranks is {ranks}: give both the same")


if __name__ == "__main__":
    sys.exit(main())
