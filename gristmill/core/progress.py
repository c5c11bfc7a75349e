"""How a worker tells its watcher what it does: a Dagster run page, a terminal, or both.

A worker is an ordinary program: it takes command-line arguments and runs without Dagster. Only its
messages go through Dagster Pipes, and only when Dagster really launched it (outside, `open_dagster_pipes`
yields a mock that is truthy everywhere).
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

PROGRESS_KEY = "gristmill_progress"
ERROR_KEY = "gristmill_error"
RESULT_KEY = "gristmill_result"
_PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"
_LOG_EVERY_SECONDS = 10.0


class Reporter:
    """Reports to the terminal, and to Dagster when launched by it."""

    def __init__(self, pipes: Any | None = None) -> None:
        self._pipes = pipes
        self._last_log = 0.0

    def info(self, message: str) -> None:
        """One line of news."""
        if self._pipes is not None:
            self._pipes.log.info(message)
        else:
            print(message, file=sys.stderr, flush=True)

    def warning(self, message: str) -> None:
        """One line a person should look at."""
        if self._pipes is not None:
            self._pipes.log.warning(message)
        else:
            print(f"warning: {message}", file=sys.stderr, flush=True)

    def progress(self, label: str, done: float, total: float, unit: str, note: str = "") -> None:
        """Move a progress bar: `done` of `total` units; also a log line now and then."""
        if self._pipes is not None:
            self._pipes.report_custom_message(
                {PROGRESS_KEY: {"label": label, "done": done, "total": total, "unit": unit, "note": note}}
            )
        now = time.monotonic()
        if done >= total or now - self._last_log >= _LOG_EVERY_SECONDS:
            self._last_log = now
            self.info(f"{label}: {done:,.0f} of {total:,.0f} {unit}{' · ' + note if note else ''}")

    def result(self, value: dict[str, Any]) -> None:
        """What the worker made (a run id, a folder), for the program that launched it; JSON-ready."""
        if self._pipes is not None:
            self._pipes.report_custom_message({RESULT_KEY: value})
        else:
            print(json.dumps({RESULT_KEY: value}), flush=True)

    def error(self, line: str) -> None:
        """The one line that says why the worker stops."""
        if self._pipes is not None:
            self._pipes.report_custom_message({ERROR_KEY: line})
        print(f"error: {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def open_reporter() -> Iterator[Reporter]:
    """A reporter for this process, through Dagster Pipes when Dagster launched it."""
    if _PIPES_VARIABLE not in os.environ:
        yield Reporter()
        return
    from dagster_pipes import (
        PipesContext,
        PipesDefaultContextLoader,
        PipesDefaultMessageWriter,
        PipesEnvVarParamsLoader,
    )

    # Not `open_dagster_pipes`: it opens one context per process for ever, and a process may serve several steps.
    with PipesContext(PipesEnvVarParamsLoader(), PipesDefaultContextLoader(), PipesDefaultMessageWriter()) as pipes:
        yield Reporter(pipes)
