"""Workers through Dagster Pipes: started under a supervisor, heard while they run, gone when the step ends.

The stock client signals its direct child once and never kills, so a JVM or a training rank outlives a
cancelled run. Here every worker runs below `assets.supervisor`, and whatever ends the step ends the tree.
"""

import contextlib
import os
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import dagster as dg
import psutil
from dagster_pipes import PipesParams

from assets.listener import listener
from assets.logs import captured_files
from assets.supervisor import PATIENCE_OPTION, SECONDS_PER_SIGNAL, end_all
from gristmill.core.progress import ERROR_KEY, PROGRESS_KEY, RESULT_KEY

MARK_VARIABLE = "GRISTMILL_WORKER_MARK"  # inherited by all that a worker starts
LAST_LINES = 20
_SUPERVISOR_SECONDS = 3 * SECONDS_PER_SIGNAL + 1


class _News:
    """What a worker said through Pipes, passed on as it comes."""

    def __init__(self) -> None:
        self.error: str | None = None
        self.result: dict[str, Any] = {}

    def hear(self, message: Mapping[str, Any]) -> bool:
        """Take one Pipes message; True where it was for us alone and Dagster need not see it."""
        method, params = message.get("method"), message.get("params") or {}
        if method == "log":
            prefix = "warning: " if str(params.get("level", "")).upper() == "WARNING" else ""
            listener().log(prefix + str(params.get("message", "")))
        if method != "report_custom_message" or not isinstance(params.get("payload"), dict):
            return False
        payload = cast(dict[str, Any], params["payload"])
        if PROGRESS_KEY in payload:
            listener().progress(**payload[PROGRESS_KEY])
        if ERROR_KEY in payload:
            self.error = str(payload[ERROR_KEY])
        if RESULT_KEY in payload:
            self.result |= payload[RESULT_KEY]
        return bool(payload.keys() & {PROGRESS_KEY, ERROR_KEY, RESULT_KEY})


class _Handler:
    """Stands before Dagster's message handler and lets `news` hear first."""

    def __init__(self, handler: Any, news: _News) -> None:
        self._handler, self._news = handler, news

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    def handle_message(self, message: Mapping[str, Any]) -> None:
        if self._news.hear(message):
            return
        try:
            self._handler.handle_message(message)
        except Exception as error:  # a full disk, say: the reader must live on, the worker's reason is still to come
            listener().log(f"warning: Dagster could not record a message: {' '.join(str(error).split())[:200]}")


class _LiveMessages(dg.PipesTempFileMessageReader):
    def __init__(self, news: _News) -> None:
        super().__init__()
        self._news = news

    @property
    def expected_writer_count(self) -> int:
        return 1  # the inherited property says so too, with a warning that it is in preview

    @contextlib.contextmanager
    def read_messages(self, handler: Any) -> Iterator[PipesParams]:
        with super().read_messages(cast(Any, _Handler(handler, self._news))) as params:
            yield params


def run_hosted(context: dg.AssetExecutionContext, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a stage of `pipelines.worker` in the process that the run keeps for its Spark stages.

    Args:
        context: of the asset that the worker materializes.
        arguments: of `pipelines.worker`.

    Raises:
        dagster.Failure: the worker failed; its description is the worker's own line.
    """
    from assets.host import current_host

    news = _News()
    with _messages(context, news) as variables, _sinks() as (_, err):
        host = current_host()
        code = host.run(arguments, variables, err)
    if code != 0 or news.error is not None:
        command = ["pipelines.worker", *arguments]
        raise dg.Failure(news.error or death(command, code, host.lines), allow_retries=False) from None
    return news.result


@contextlib.contextmanager
def _messages(context: dg.AssetExecutionContext, news: _News) -> Iterator[dict[str, str]]:
    session = dg.open_pipes_session(
        context=context.op_execution_context,
        context_injector=dg.PipesTempFileContextInjector(),
        message_reader=_LiveMessages(news),
    )
    with session as pipes:
        yield dict(pipes.get_bootstrap_env_vars())


def run_worker(context: dg.AssetExecutionContext, command: Sequence[str], *, patience: float = 0.0) -> dict[str, Any]:
    """Run `python -m …` as a worker of this step and wait for it.

    Args:
        context: of the asset that the worker materializes.
        command: arguments of this Python interpreter, such as `["-m", "pipelines.worker", …]`.
        patience: seconds that a worker has to end by itself when the run is cancelled, before all of it is ended.

    Returns:
        What the worker handed to `Reporter.result`.

    Raises:
        dagster.Failure: the worker failed; its description is the worker's own line.
    """
    news, mark = _News(), uuid.uuid4().hex
    with _messages(context, news) as variables, _sinks() as (out, err):
        process = start_supervised(command, mark, variables, stdin=subprocess.DEVNULL, patience=patience)
        lines: deque[str] = deque(maxlen=LAST_LINES)
        pumps = [
            pump(cast(IO[bytes], process.stdout), out, lines),
            pump(cast(IO[bytes], process.stderr), err, lines),
        ]
        try:
            code = process.wait()
        finally:
            end_supervised(process, mark, patience)
            for thread in pumps:
                thread.join(timeout=2)
    if code != 0 or news.error is not None:
        raise dg.Failure(news.error or death(command, code, lines), allow_retries=False) from None
    return news.result


def start_supervised(
    command: Sequence[str], mark: str, variables: Mapping[str, str], *, stdin: int, patience: float = 0.0
) -> "subprocess.Popen[bytes]":
    """Start `python COMMAND` below a supervisor, everything it starts carrying `mark` in its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "assets.supervisor", f"{PATIENCE_OPTION}{patience:g}", sys.executable, *command],
        env={**os.environ, **variables, MARK_VARIABLE: mark},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C in the terminal reaches the step, and the step decides
    )


def end_supervised(process: "subprocess.Popen[bytes]", mark: str, patience: float = 0.0) -> None:
    """Nothing that carries `mark` is left when this returns."""
    try:
        if process.poll() is None:
            process.terminate()  # the supervisor ends the tree, then itself
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_SUPERVISOR_SECONDS + patience)
    finally:
        end_all(lambda: _marked(mark), seconds=1.0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)


def _marked(mark: str) -> list[psutil.Process]:
    """Processes of ours that inherited `mark`: finds what a supervisor that was killed left behind."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK_VARIABLE) == mark:
                found.append(process)
    return found


def death(command: Sequence[str], code: int, lines: Sequence[str]) -> str:
    """What to say of a worker that ended without saying why."""
    name = " ".join(word for word in command[:3] if word != "-m")
    number = -code if code < 0 else code - 128 if code > 128 else 0
    how = f"was ended by signal {number}" if number else f"ended with exit code {code}"
    hint = " (the machine may be out of memory)" if number == 9 else ""
    if lines and lines[-1].startswith("error: "):  # its reason did not come through Pipes
        return lines[-1].removeprefix("error: ")
    said = "\n".join(lines)
    return f"{name} {how}{hint} without saying why" + (f"; its last lines:\n{said}" if said else "")


@contextlib.contextmanager
def _sinks() -> Iterator[tuple[IO[str], IO[str]]]:
    """Where the worker's stdout and stderr go: this step's compute logs, and no terminal when they are files."""
    files = captured_files()
    if files is None:  # Dagster has put the compute logs in the place of our own streams
        yield sys.stdout, sys.stderr
        return
    with Path(files[0]).open("a", encoding="utf-8") as out, Path(files[1]).open("a", encoding="utf-8") as err:
        yield out, err


def pump(source: IO[bytes], sink: IO[str], lines: "deque[str]") -> threading.Thread:
    """Copy `source` to `sink` in a thread of its own, and the last lines of it to `lines`."""

    def copy() -> None:
        with source:
            for raw in source:
                line = raw.decode(errors="replace")
                lines.append(line.rstrip())
                with contextlib.suppress(ValueError, OSError):  # a sink that is closed or a full disk: keep draining
                    sink.write(line)
                    sink.flush()

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread
