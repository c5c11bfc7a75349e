"""Dagster's SQLite files as they are before anything is recorded, kept ready to be copied.

Dagster makes the tables of a new home and of each run with SQLAlchemy and stamps them with Alembic, which imports all
of its migrations for that: half a CPU-second of every first run. The files that it makes so are the same each time, so
they are made once, by Dagster itself, and kept beside this environment's libraries, for these versions alone. `make
setup` makes them by `python -m assets.blank_records`, or else the first command that wants them. Where that can't be,
or what is kept is damaged, Dagster makes its files as ever.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Generator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

_FOLDER = Path(sys.prefix) / "share" / "gristmill"
_MADE_BY = ("dagster", "sqlalchemy", "alembic")
_RUN = "blank"  # the name of the run whose events are the file to be copied for others
RUNS = Path("history", "runs.db")
INDEX = Path("history", "runs", "index.db")
EVENTS = Path("history", "runs", f"{_RUN}.db")  # of one run
SCHEDULES = Path("schedules", "schedules.db")
_OF_A_HOME = (SCHEDULES, RUNS, INDEX)
_KEPT = "immutable=1"  # leaves no files beside it, and needs no right to write
_log = logging.getLogger(__name__)


@lru_cache
def blank_records() -> Path | None:
    """The folder that holds the files, made if it is not there; None where that can't be."""
    versions = "\0".join([*map(version, _MADE_BY), sqlite3.sqlite_version])
    folder = _FOLDER / f"dagster-records-{hashlib.sha256(versions.encode()).hexdigest()[:16]}"
    try:
        if not folder.is_dir():
            _make(folder)
        damaged = [str(name) for name in (*_OF_A_HOME, EVENTS) if not _is_sound(folder / name)]
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        _log.debug("Dagster makes its own files: %s", error)
        return None
    if damaged:
        _log.warning("%s in %s is damaged, Dagster makes its own: remove the folder", ", ".join(damaged), folder)
        return None
    return folder


def fill(home: Path, blank: Path) -> None:
    """Give a home that has no records at all those of `blank`; whatever is in the way, it is left as it is.

    Each of its two folders comes whole and by renaming, and a folder that somebody else has made meanwhile is not
    replaced, unless it is empty. With only one of them the home is as good as new: Dagster makes the other.
    """
    folders = sorted({name.parts[0] for name in _OF_A_HOME}, reverse=True)  # `history` last: it says there are records
    if any((home / name).exists() for name in folders):
        return
    try:
        with _beside(home / "records") as staged:
            for name in _OF_A_HOME:
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(blank / name, staged / name)  # with this user's mode, not the one of who set this up
            for name in folders:
                (staged / name).rename(home / name)
    except OSError as error:
        _log.debug("Dagster makes the records in %s: %s", home, error)


def start_events(path: Path, blank: Path) -> None:
    """Make the file of one run's events, if there is none."""
    if path.exists():
        return
    try:
        with _beside(path) as staged:
            shutil.copyfile(blank / EVENTS, staged / path.name)
            os.link(staged / path.name, path)  # unlike a rename, it replaces nothing
    except OSError as error:
        _log.debug("Dagster makes %s: %s", path, error)


def is_as_made(path: Path, made: Path) -> bool:
    """Whether the file has the tables and the stamp of the one `made` by this Dagster, which has nothing to do then."""
    try:
        return path.is_file() and _shape(path, "mode=rw") == _shape(made)
    except sqlite3.Error:
        return False  # Dagster will say what is wrong


def _make(folder: Path) -> None:
    from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

    folder.parent.mkdir(parents=True, exist_ok=True)
    with _beside(folder) as staged:
        made = staged / "made"
        storage = DagsterSqliteStorage.from_local(str(made))
        with storage.event_log_storage.run_connection(_RUN):  # pyright: ignore[reportAttributeAccessIssue]
            pass
        storage.dispose()
        for name in (*_OF_A_HOME, EVENTS):
            with (made / name).open("rb") as file:
                os.fsync(file.fileno())
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise


@contextlib.contextmanager
def _beside(path: Path) -> Generator[Path]:
    """A folder on the same disk as `path`, for what will be moved there."""
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _is_sound(path: Path) -> bool:
    try:
        with _opened(path, _KEPT) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)] and bool(_shape(path)[1])
    except sqlite3.Error:
        return False


def _shape(path: Path, how: str = _KEPT) -> tuple[list[tuple[str, str]], list[tuple[str]]]:
    with _opened(path, how) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return tables.fetchall(), connection.execute("SELECT version_num FROM alembic_version").fetchall()


@contextlib.contextmanager
def _opened(path: Path, how: str) -> Generator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as connection:
        yield connection


if __name__ == "__main__":
    sys.exit(
        0 if blank_records() else "note: Dagster's records can't be kept ready; a first run starts a little slower"
    )
