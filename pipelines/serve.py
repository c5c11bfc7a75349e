"""Stages one after another in one process, with one Spark session for all: `python -m pipelines.serve`.

A session and its first Python worker cost about ten seconds and twelve CPU-seconds, more than most stages of a
small corpus. Whoever runs several stages (a Dagster run, `gristmill run`) starts this once and writes one JSON
object per line to its standard input,

    {"arguments": ["language_filtered_documents", "--partition", "books|00000"], "environment": {…}}

where `arguments` are those of `pipelines.worker` and `environment` holds variables for this command alone
(Dagster Pipes' own). Each is answered on standard output by one line, {"code": 0}. All that a stage prints
goes to standard error. At the end of the input the session is stopped.
"""

import contextlib
import gc
import json
import os
import sys
import traceback
from collections.abc import Generator, Mapping
from typing import Any, cast

from gristmill.core.errors import CorpusError, MissingDataError, SettingsError
from pipelines import worker
from pipelines.spark.session import Spark, SparkSettings, start_spark

_INTERRUPTED = 130


class KeptSession:
    """A Spark session that outlives the stage that asked for it, for as long as the settings stay the same."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._settings: SparkSettings | None = None
        self._session: Spark | None = None

    @contextlib.contextmanager
    def open(self, settings: SparkSettings, name: str) -> Generator[Spark]:
        """The session, started if there is none with `settings`; stopped where more than the input is at fault."""
        if self._session is None or settings != self._settings:
            self.close()
            self._session = self._stack.enter_context(start_spark(settings, name))
            self._settings = settings
        try:
            yield self._session
        except (SettingsError, MissingDataError, CorpusError):
            raise  # the user's to mend; Spark is well
        except BaseException:
            self.close()  # its JVM may be what failed
            raise

    def close(self) -> None:
        """Stop the session, if there is one."""
        self._session = None
        self._stack.close()


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Generator[None]:
    saved = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def main() -> int:
    """Serve commands until the input ends; returns the exit code."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a stage or the JVM prints is no answer
    kept = KeptSession()
    try:
        for line in sys.stdin:
            command = cast(dict[str, Any], json.loads(line))
            with _variables(command.get("environment", {})):
                try:
                    code = worker.main(command["arguments"], open_session=kept.open)
                except Exception:  # a fault of ours: its traceback goes to the log, the next stage may still run
                    traceback.print_exc()
                    code = 1
            print(json.dumps({"code": code}), file=answers, flush=True)
            if code == _INTERRUPTED:
                return code
    finally:
        kept.close()
        gc.freeze()  # else Python searches all modules for garbage before it leaves
    return 0


if __name__ == "__main__":
    sys.exit(main())
