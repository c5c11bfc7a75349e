"""Live bars for a chain of assets, fed by what the workers say."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from gristmill.cli.output import console, plain

_LABEL_WIDTH = 28


class RunBars:
    """Hears a run (`assets.listener.Listener`): one bar per asset on a terminal, one line per asset elsewhere."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn(f"{{task.description:<{_LABEL_WIDTH}}}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
            console=out,
            disable=not out.is_terminal,
        )
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> "RunBars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def started(self, asset: str, partitions: Sequence[str]) -> None:
        """A new bar, which pulses until the first progress."""
        with self._lock:
            self._begun[asset] = time.monotonic()
            what = f"{len(partitions)} segments" if len(partitions) > 1 else ""
            self._tasks[asset] = self._bars.add_task(asset, total=None, what=what)

    def progress(self, label: str, done: float, total: float, unit: str, note: str) -> None:
        """Move the bar whose asset `label` names, else the one that started last."""
        with self._lock:
            task = self._tasks.get(label.split(maxsplit=1)[0]) if label else None
            if task is None and self._tasks:
                task = next(reversed(self._tasks.values()))
            if task is not None:
                what = f"{done:,.0f}/{total:,.0f} {unit}" + (f" · {note}" if note else "")
                self._bars.update(task, completed=done, total=total or None, what=plain(what))

    def log(self, line: str) -> None:
        """Warnings and notes stand above the bars; other news is in the run's log, and the bars say enough."""
        if line.startswith(("warning: ", "note: ")):
            self._out.print(plain(line))

    def finished(self, asset: str, reports: Mapping[str, dict[str, Any]]) -> None:
        """Fill the bar and say what came of it."""
        what = summary(reports)
        with self._lock:
            self.seconds[asset] = time.monotonic() - self._begun.get(asset, time.monotonic())
            task = self._tasks.pop(asset, None)
            if task is not None:
                self._bars.update(task, completed=1, total=1, what=plain(what))
        if not self._out.is_terminal:
            self._out.print(f"{asset}: {what} ({self.seconds[asset]:.1f} s)", markup=False)


@contextmanager
def bar(label: str, unit: str) -> Iterator["Bar"]:
    """One bar for work in this process."""
    out = console(is_error=True)
    with Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn(f"{{task.description:<{_LABEL_WIDTH}}}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[what]}"),
        TimeElapsedColumn(),
        console=out,
        disable=not out.is_terminal,
    ) as bars:
        yield Bar(bars, bars.add_task(label, total=None, what=""), unit)


class Bar:
    """A bar as a function of (done, total, what is being done)."""

    def __init__(self, bars: Progress, task: TaskID, unit: str) -> None:
        self._bars, self._task, self._unit = bars, task, unit

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """Move to `done` of `total`."""
        note = f" · {what}" if what else ""
        self._bars.update(self._task, completed=done, total=total, what=f"{done:,}/{total:,} {self._unit}{note}")


def summary(reports: Mapping[str, dict[str, Any]]) -> str:
    """A few words on what an asset's reports say: documents kept, examples, or the loss."""
    rows = [report for report in reports.values() if "rows_in" in report and "rows_kept" in report]
    if rows:
        kept = sum(int(r.get("rows_kept", 0)) for r in rows)
        how = " (already there)" if all(r.get("is_reused") for r in rows) else ""
        if not how and all(r.get("is_redecided") or r.get("is_reused") for r in rows):
            how = " (decided again from stored signals)"
        return f"{kept:,} of {sum(int(r['rows_in']) for r in rows):,} documents kept{how}"
    for report in reports.values():
        if isinstance(report.get("examples"), int):
            return f"{report['examples']:,} examples"
        if isinstance(report.get("loss_last"), int | float):
            first = report.get("loss_first")
            begun = f"{first:.3f} → " if isinstance(first, int | float) else ""
            return f"loss {begun}{report['loss_last']:.3f}"
    return "done"
