"""Written aside, renamed, then committed: a partition exists for a reader from its report.json on."""

import contextlib
import datetime
import posixpath
import uuid
from types import TracebackType
from typing import Any, Self

from gristmill.core.layout import REPORT_NAME, Layout, Partition, storage_error


class Attempt:
    """One attempt to write one partition of one asset; leaves nothing behind unless it commits.

    Use as a context manager: write below `output`, `quarantine` and `signals`, then call `commit`.
    """

    def __init__(self, layout: Layout, asset: str, partition: Partition) -> None:
        self._layout, self._asset, self._partition = layout, asset, partition
        self.folder = layout.new_temporary_dir(asset, partition)
        self.output = posixpath.join(self.folder, "output")
        self.quarantine = posixpath.join(self.folder, "quarantine")
        self.signals = posixpath.join(self.folder, "signals")
        self.is_committed = False

    def __enter__(self) -> Self:
        # What a killed run left is nobody's: a partition has one writer at a time.
        self._remove(self._layout.temporary_dir(self._asset, self._partition))
        try:
            for folder in (self.output, self.quarantine, self.signals, posixpath.join(self.folder, "progress")):
                self._make(folder)
        except OSError as error:
            raise storage_error(error, self.folder) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            folder = self._layout.temporary_dir(self._asset, self._partition)
            self._remove(folder)
            while self._layout.is_local and (folder := posixpath.dirname(folder)) != self._layout.base:
                self._layout.fs.rmdir(folder)  # ends at the first that another attempt is in

    def commit(self, report: dict[str, Any]) -> None:
        """Move the files into place and write `report` last."""
        final = self._layout.partition_dir(self._asset, self._partition)
        rejected = self._layout.quarantine_dir(self._asset, self._partition)
        measured = self._layout.signals_dir(self._asset, self._partition)
        fs = self._layout.fs
        try:
            with contextlib.suppress(FileNotFoundError):
                fs.rm(posixpath.join(final, REPORT_NAME))  # from here until the end, not there for any reader
            for source, target in ((self.signals, measured), (self.output, final), (self.quarantine, rejected)):
                self._remove(target)
                if source == self.signals and not self._layout.parts(source):
                    continue  # most stages store none
                fs.makedirs(posixpath.dirname(target), exist_ok=True)
                if fs.exists(source):  # an object store has no empty folders
                    fs.mv(source, target, recursive=True)
            self._layout.write_json(posixpath.join(final, REPORT_NAME), report)
        except OSError as error:
            raise storage_error(error, final) from error
        self.is_committed = True

    def _make(self, folder: str) -> None:
        for is_last in (False, False, True):
            try:
                return self._layout.fs.makedirs(folder, exist_ok=True)
            except FileNotFoundError:  # an attempt that ended just now took an empty parent with it
                if is_last:
                    raise
        return None

    def _remove(self, folder: str) -> None:
        if self._layout.fs.exists(folder):
            self._layout.fs.rm(folder, recursive=True)


def unfinished_name(path: str) -> str:
    """A name beside `path` for a task attempt to write to before it renames: attempts may overlap."""
    return f"{path}.{uuid.uuid4().hex[:8]}.tmp"


def now() -> str:
    """The time for a report, UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
