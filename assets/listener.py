"""Who else hears what a worker says: the command line's progress bars, when it runs Dagster in its own process."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol


class Listener(Protocol):
    """Hears the news of runs that execute in this process; called from several threads."""

    def started(self, asset: str, partitions: Sequence[str]) -> None:
        """`asset` starts on these partition keys; none for an asset without partitions."""

    def progress(self, label: str, done: float, total: float, unit: str, note: str) -> None:
        """`done` of `total` units of what `label` names."""

    def log(self, line: str) -> None:
        """One line of news."""

    def finished(self, asset: str, reports: Mapping[str, dict[str, Any]]) -> None:
        """`asset` is done: its committed report per partition key, or under its own name."""


class SilentListener:
    """Hears everything and says nothing."""

    def started(self, asset: str, partitions: Sequence[str]) -> None:
        """Nothing to do."""

    def progress(self, label: str, done: float, total: float, unit: str, note: str) -> None:
        """Nothing to do."""

    def log(self, line: str) -> None:
        """Nothing to do."""

    def finished(self, asset: str, reports: Mapping[str, dict[str, Any]]) -> None:
        """Nothing to do."""


_listeners: list[Listener] = []
_SILENT = SilentListener()


def listener() -> Listener:
    """The listener in force."""
    return _listeners[-1] if _listeners else _SILENT


@contextlib.contextmanager
def listening(heard_by: Listener | None) -> Iterator[None]:
    """Let `heard_by` hear what happens in this process meanwhile."""
    if heard_by is None:
        yield
        return
    _listeners.append(heard_by)
    try:
        yield
    finally:
        _listeners.remove(heard_by)
