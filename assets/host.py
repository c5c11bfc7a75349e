"""One worker process for the Spark stages of a run or of a chain of runs, so that they share one Spark session."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from typing import IO, cast

from assets.pipes import LAST_LINES, end_supervised, start_supervised


class WorkerHost:
    """`pipelines.serve` under a supervisor: started with the first stage, ended with everything it started."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._mark = ""
        self._answers: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._sink: IO[str] = sys.stderr
        self._threads: list[threading.Thread] = []

    def run(self, arguments: Sequence[str], variables: Mapping[str, str], sink: IO[str]) -> int:
        """Run one stage and wait; whatever interrupts the wait ends the process and all below it.

        Args:
            arguments: of `pipelines.worker`.
            variables: of the environment, for this stage alone.
            sink: takes what the stage prints.

        Returns:
            The stage's exit code, or that of the process if it died.
        """
        self.lines.clear()
        self._sink = sink
        process = self._started()
        line = json.dumps({"arguments": list(arguments), "environment": dict(variables)}) + "\n"
        try:
            with contextlib.suppress(BrokenPipeError):  # it died; its exit code is the answer
                stdin = cast(IO[bytes], process.stdin)
                stdin.write(line.encode())
                stdin.flush()
            answer = self._answers.get()
        except BaseException:
            self.close()
            raise
        if answer is None:
            answer = process.wait()
            self.close()
        return answer

    def close(self) -> None:
        """End the process and all that it started; the next stage starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            cast(IO[bytes], process.stdin).close()  # the end of the input: stop Spark, then leave
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0 if self._is_busy else _FAREWELL_SECONDS)
        end_supervised(process, self._mark)
        for thread in self._threads:
            thread.join(timeout=2)

    @property
    def _is_busy(self) -> bool:
        return sys.exc_info()[0] is not None

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._answers, self._mark = queue.SimpleQueue(), uuid.uuid4().hex
        process = start_supervised(["-m", "pipelines.serve"], self._mark, _one_thread(), stdin=subprocess.PIPE)
        self._process = process
        self._threads = [
            threading.Thread(target=read, args=(process, self._answers), daemon=True)
            for read in (self._hear, self._drain)
        ]
        for thread in self._threads:
            thread.start()
        return process

    @staticmethod
    def _hear(process: "subprocess.Popen[bytes]", answers: "queue.SimpleQueue[int | None]") -> None:
        with cast(IO[bytes], process.stdout) as stdout:
            for raw in stdout:
                answers.put(int(json.loads(raw)["code"]))
        answers.put(None)

    def _drain(self, process: "subprocess.Popen[bytes]", _answers: object) -> None:
        with cast(IO[bytes], process.stderr) as stderr:
            for raw in stderr:
                text = raw.decode(errors="replace")
                self.lines.append(text.rstrip())
                with contextlib.suppress(ValueError, OSError):  # a sink that is closed or a full disk: keep draining
                    self._sink.write(text)
                    self._sink.flush()


def _one_thread() -> dict[str, str]:
    """For numpy, whose library of linear algebra starts a thread per core that spins, in each process that imports it;
    no stage has anything for them to do."""
    return {name: os.environ.get(name, "1") for name in ("OPENBLAS_NUM_THREADS",)}


_FAREWELL_SECONDS = 8.0
_lock = threading.Lock()
_depth = 0
_host: WorkerHost | None = None


@contextlib.contextmanager
def hosting() -> Generator[None]:
    """Keep the host of this process until the outermost `hosting` ends."""
    global _depth, _host  # noqa: PLW0603 - a process executes one run at a time, and a nested run shares its host
    with _lock:
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            last, _host = (_host, None) if _depth == 0 else (None, _host)
        if last is not None:
            last.close()


def release_host() -> None:
    """End the host now; the next Spark stage starts another."""
    global _host
    with _lock:
        last, _host = _host, None
    if last is not None:
        last.close()


def current_host() -> WorkerHost:
    """The host of this process, made on first use."""
    global _host  # noqa: PLW0603
    with _lock:
        _host = _host or WorkerHost()
        return _host
