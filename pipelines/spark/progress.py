"""One progress bar for all partitions of a run, drawn from what the tasks write down."""

import threading

from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter
from pipelines.parts import read_heartbeats

_POLL_SECONDS = 0.5


class Progress:
    """One bar for all partitions of the run, moved by what the tasks write down as they go."""

    def __init__(self, reporter: Reporter, label: str) -> None:
        self._reporter, self._label = reporter, label
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Layout, int]] = {}  # attempt folder -> its layout and number of tasks
        self._tasks = self._done = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def say(self, line: str) -> None:
        """One line of news."""
        self._reporter.info(line)

    def add(self, layout: Layout, folder: str, tasks: int) -> None:
        """Watch an attempt's folder."""
        with self._lock:
            self._running[folder] = (layout, tasks)
            self._tasks += tasks

    def finished(self, folder: str) -> None:
        """All tasks of an attempt are done."""
        with self._lock:
            self._done += self._running.pop(folder)[1]
            done, tasks = self._done, self._tasks
        self._reporter.progress(self._label, done, tasks, "parts")

    def _poll(self) -> None:
        seen = (0, 0)
        while not self._stop.wait(_POLL_SECONDS):
            with self._lock:
                running, done, tasks = dict(self._running), self._done, self._tasks
            rows = 0
            for folder, (layout, _) in running.items():
                rows_there, done_there = read_heartbeats(layout, folder)
                rows, done = rows + rows_there, done + done_there
            if (rows, done) > seen and done < tasks:
                seen = (rows, done)
                self._reporter.progress(self._label, done, tasks, "parts", f"{rows:,} documents read")
