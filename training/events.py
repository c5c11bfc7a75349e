"""Rank 0 speaks to whoever launched it by JSON lines on its standard output, through any launcher in between.

A launcher may mix the lines of many ranks and put a host's name before each (pdsh does): an event is found anywhere in
a line, by a mark that no library prints.
"""

import contextlib
import json
import queue
import sys
import threading
from pathlib import Path
from typing import IO, Any

from gristmill.core.progress import Reporter

EVENT_PREFIX = "\x1egristmill "  # a record separator: no library prints one


class EventReporter(Reporter):
    """A reporter for a rank: sends what it is told to the launcher."""

    def info(self, message: str) -> None:
        """One line of news."""
        self._send(info=message)

    def warning(self, message: str) -> None:
        """One line a person should look at."""
        self._send(warning=message)

    def progress(self, label: str, done: float, total: float, unit: str, note: str = "") -> None:
        """Move a progress bar."""
        self._send(progress=[label, done, total, unit, note])

    def result(self, value: dict[str, Any]) -> None:
        """What the run made."""
        self._send(result=value)

    def error(self, line: str) -> None:
        """The one line that says why the run stops."""
        self._send(error=line)

    def died(self, line: str) -> None:
        """That this rank died without giving a reason; another one may have it."""
        self._send(died=line)

    def ended(self, code: int) -> None:
        """The exit code of rank 0, which not every launcher hands on."""
        self._send(ended=code)

    def _send(self, **event: Any) -> None:
        # One write, so that a library's print on another thread can't split it.
        sys.stdout.write("\n" + EVENT_PREFIX + json.dumps(event) + "\n")
        sys.stdout.flush()


class EventReader:
    """Reads events from a process's output on a thread of its own; every other line goes to a log.

    Attributes:
        error: the line of the first error event, None before there is one.
        deaths: lines of ranks that died, in the order in which they came.
        ended: the exit code that rank 0 told, None before it did.
    """

    def __init__(self, output: IO[bytes], log: Path) -> None:
        self.error: str | None = None
        self.deaths: list[str] = []
        self.ended: int | None = None
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(output, log), daemon=True)
        self._thread.start()

    def drain(self, reporter: Reporter, seconds: float) -> None:
        """Pass on the events that wait; returns when there was none for `seconds`."""
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get(timeout=seconds)
                if "progress" in event:
                    reporter.progress(*event["progress"])
                for name in ("info", "warning", "result"):
                    if name in event:
                        getattr(reporter, name)(event[name])
                self.error = self.error or event.get("error")
                self.deaths += [event["died"]] if "died" in event else []
                self.ended = event.get("ended", self.ended)

    def death(self) -> str | None:
        """Why ranks died, as far as known: the first that was not merely left by another."""
        own = [line for line in self.deaths if "onnection" not in line]  # gloo's word where a peer went
        return next(iter(own + self.deaths), None)

    def finish(self, reporter: Reporter, seconds: float) -> None:
        """After the process has ended: read to the end of what it wrote, and pass it on."""
        self._thread.join(timeout=seconds)
        self.drain(reporter, 0.01)

    def _read(self, output: IO[bytes], log: Path) -> None:
        mark = EVENT_PREFIX.encode()
        with output, log.open("ab") as file:
            for line in output:
                before, found, rest = line.partition(mark)
                event = _parsed(rest) if found else None
                if event is not None:
                    self._events.put(event)
                elif before.strip():
                    file.write(line)
                    file.flush()


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        event: Any = json.loads(text)
    except ValueError:  # another rank's line was written into this one
        return None
    return event if isinstance(event, dict) else None
