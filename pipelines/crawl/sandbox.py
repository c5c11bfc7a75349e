"""A child process that reads pages for its parent, so that a page which costs hours, eats the memory or crashes a
native parser costs that page and nothing else.

Pages go through a pipe in order and their answers come back in order. The kernel counts the CPU time of the child
(ITIMER_PROF: user and system time, so that a loaded or a stopped machine drops nothing) and ends it where one page
takes more than allowed; whichever page had no answer then is the culprit. What ended for another reason is tried
once more in a fresh child by itself, unless it was the first that its child read: a verdict never depends on the
neighbours.

The child is a new program, not a fork: a Spark worker and pyarrow have threads, whose locks a fork would copy.
It holds nothing but pipes, and ends when its parent does, however that ends.
"""

import atexit
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

_FRAME = struct.Struct("<II")  # bytes of JSON, bytes of payload
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_BUFFERS = 64  # that one call writes
_GARBAGE = 50_000  # containers that a page's tables of tags may need at once without a search for cycles
_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_END_SECONDS = 10  # for a child that was told to end to be gone, before it is killed
_FULL = 0.75  # of the memory allowed: a crash with so much in use is put down to the memory


@dataclass(frozen=True)
class Limits:
    """What one page may use."""

    cpu_seconds: float
    memory_bytes: int  # of private memory, beyond what the child holds when it starts


@dataclass(frozen=True)
class Answer:
    """What became of one request: facts and payload, or the reason why there are none."""

    facts: dict[str, Any]
    payload: bytes = b""
    broken: str | None = None  # broken_cpu_time, broken_memory, broken_crash or broken_row
    detail: str | None = None


class Sandbox:
    """One child that runs `function`, started when first needed; one caller at a time."""

    def __init__(self, function: str, settings: dict[str, Any], limits: Limits) -> None:
        """Name what runs.

        Args:
            function: `module:name` of a function of the settings that returns the page reader: facts and payload of
                a request to facts and payload of its answer.
            settings: JSON-ready, for `function`.
            limits: of each page.
        """
        self._function, self._settings, self._limits = function, settings, limits
        self._child: subprocess.Popen[bytes] | None = None
        self._received = bytearray()
        self._is_gone = False
        self._is_fresh = True  # no page was read yet by the child
        self._ended_cpu = self._child_cpu = 0.0
        self._first_peak = 0  # of the child when it was ready; Linux hands the parent's on to it

    @property
    def cpu_seconds(self) -> float:
        """User and system time that the children took so far."""
        return self._ended_cpu + self._child_cpu

    @property
    def pid(self) -> int | None:
        """Of the child, where there is one."""
        return self._child.pid if self._child else None

    def run(self, requests: Sequence[tuple[dict[str, Any], bytes | memoryview]]) -> list[Answer]:
        """The answers to `requests` (JSON-ready facts and a payload each), in their order.

        Raises:
            OSError: no child can be started.
        """
        answers: list[Answer] = []
        while len(answers) < len(requests):
            answers += self._converse(requests[len(answers) :])
            if len(answers) < len(requests):
                answers.append(self._judge(requests[len(answers)]))
        return answers

    def close(self) -> None:
        """End the child and wait for it."""
        child, self._child = self._child, None
        self._received.clear()
        self._ended_cpu, self._child_cpu = self.cpu_seconds, 0.0
        if child is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        child.stdout.close()
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def forget(self) -> None:
        """Let go of a child that belongs to the process this one was forked from."""
        child, self._child = self._child, None
        if child is not None:
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()
            child.returncode = 0  # not ours to wait for

    def _judge(self, request: tuple[dict[str, Any], bytes | memoryview]) -> Answer:
        """What became of the first request without an answer, alone in a fresh child unless its time was up."""
        is_final = self._is_fresh and self._is_gone
        ended, peak = self._end()
        if ended != -signal.SIGPROF and not is_final:
            alone = self._converse([request], is_final=True)
            if alone and alone[0].broken == "broken_memory":
                self._end()
            if alone:
                return alone[0]
            ended, peak = self._end()
        if ended == -signal.SIGPROF:
            return Answer({}, b"", "broken_cpu_time", f"more than {self._limits.cpu_seconds:g} s of CPU time")
        how = f"ended by {_signal_name(-ended)}" if ended < 0 else f"ended with exit code {ended}"
        # Few native libraries survive an allocation that fails.
        is_full = peak > self._first_peak and peak > _FULL * self._limits.memory_bytes
        return Answer({}, b"", "broken_memory" if is_full else "broken_crash", how)

    def _end(self) -> tuple[int, int]:
        """Wait for a child that is gone, or end it; returns its exit code, minus a signal's number, and peak bytes."""
        child = self._child
        assert child is not None
        if not self._is_gone:
            child.kill()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self._child_cpu = usage.ru_utime + usage.ru_stime
        self.close()
        return child.returncode, _peak(usage)

    def _start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([entry or "." for entry in sys.path])
        child = subprocess.Popen(
            [sys.executable, "-c", "from pipelines.crawl.sandbox import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._child = child
        assert child.stdin is not None
        for pipe in (child.stdin, child.stdout):
            _widen(cast(Any, pipe).fileno())
        facts = {
            "function": self._function,
            "settings": self._settings,
            "cpu_seconds": self._limits.cpu_seconds,
            "memory_bytes": self._limits.memory_bytes,
        }
        self._is_gone, self._is_fresh = False, True
        _send(child.stdin.fileno(), deque([memoryview(_frame(facts, b"")[0])]))
        ready = self._receive_one()
        if not ready:
            self._is_gone = True
            raise OSError(f"the page reader did not start: {sys.executable} ended with {self._end()[0]}")
        self._first_peak = int(ready[0].facts["peak"])
        os.set_blocking(child.stdin.fileno(), False)
        return child

    def _receive_one(self) -> list[Answer]:
        child = self._child
        assert child is not None
        assert child.stdout is not None
        while not (answers := self._take()):
            data = os.read(child.stdout.fileno(), _READ_BYTES)
            if not data:
                return []
            self._received += data
        return answers

    def _converse(
        self, requests: Sequence[tuple[dict[str, Any], bytes | memoryview]], *, is_final: bool = False
    ) -> list[Answer]:
        """Send and receive at once; fewer answers than requests where the child ended or ran out of memory.

        Earlier pages may have left too little room, so that only a child of its own (`is_final`) has the last word.
        """
        child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        into, out = child.stdin.fileno(), child.stdout.fileno()
        unsent = deque(memoryview(part) for facts, payload in requests for part in _frame(facts, payload) if part)
        answers: list[Answer] = []
        poll = select.poll()
        poll.register(out, select.POLLIN)
        poll.register(into, select.POLLOUT)
        while len(answers) < len(requests):
            for handle, _ in poll.poll():
                if handle == into:
                    if not _send(into, unsent):
                        poll.unregister(into)
                    continue
                data = os.read(out, _READ_BYTES)
                self._is_gone = not data
                if not data:
                    return answers
                self._received += data
                for answer in self._take():
                    if answer.broken == "broken_memory" and not is_final:
                        return answers
                    answers.append(answer)
                    self._is_fresh = False
        return answers

    def _take(self) -> list[Answer]:
        """The answers that have come in whole."""
        answers: list[Answer] = []
        received, at = self._received, 0
        while len(received) - at >= _FRAME.size:
            facts_size, payload_size = _FRAME.unpack_from(received, at)
            middle = at + _FRAME.size + facts_size
            end = middle + payload_size
            if len(received) < end:
                break
            facts: dict[str, Any] = json.loads(received[at + _FRAME.size : middle])
            self._child_cpu = facts.pop("_cpu")
            with memoryview(received) as view:
                payload = bytes(view[middle:end])
            answers.append(Answer(facts, payload, facts.pop("_broken", None), facts.pop("_why", None)))
            at = end
        del received[:at]
        return answers


def _peak(usage: Any) -> int:
    """Bytes of the largest resident set."""
    return int(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _frame(facts: dict[str, Any], payload: bytes | memoryview) -> tuple[bytes, bytes | memoryview]:
    text = _to_json(facts).encode("utf-8", "surrogatepass")
    return _FRAME.pack(len(text), len(payload)) + text, payload


def _send(pipe: int, unsent: deque[memoryview]) -> bool:
    """Write what the pipe takes; False when nothing is left to write or nobody reads."""
    try:
        while unsent:
            written = os.writev(pipe, list(islice(unsent, _BUFFERS)))
            while unsent and written >= len(unsent[0]):
                written -= len(unsent.popleft())
            if written:
                unsent[0] = unsent[0][written:]
                return True
    except BlockingIOError:
        return True
    except BrokenPipeError:
        pass  # the end of its answers will say it
    return False


def _widen(pipe: int) -> None:
    """Make room for several pages in a pipe, where the system lets us: fewer changes between the processes."""
    import fcntl

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            return  # the user's share of pipe buffers is used up; a smaller pipe is only slower


# -- the child -------------------------------------------------------------------------------------------


def serve() -> None:
    """The child's program: answer requests until there are no more."""
    import gc
    import importlib
    import resource

    from pipelines.kept_memory import keep_freed_memory

    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to answer
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    requests, answers = os.fdopen(os.dup(0), "rb", _READ_BYTES), os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    first = _receive(requests)
    if first is None:
        return
    start = first[0]
    module, _, name = str(start["function"]).partition(":")
    read = getattr(importlib.import_module(module), name)(start["settings"])
    _reply(answers, {"peak": _peak(resource.getrusage(resource.RUSAGE_SELF))}, b"")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)  # the last words of a crash: the parent says what happened
    _limit_memory(int(start["memory_bytes"]))
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    while request := _receive(requests):
        signal.setitimer(signal.ITIMER_PROF, float(start["cpu_seconds"]))
        try:
            facts, payload = read(*request)
        except MemoryError:
            facts, payload = {"_broken": "broken_memory", "_why": None}, b""
        except Exception as error:
            facts, payload = {"_broken": "broken_row", "_why": type(error).__name__}, b""
        request = None
        _reply(answers, facts, payload)
    os._exit(0)


def _receive(requests: Any) -> tuple[dict[str, Any], bytes] | None:
    head = requests.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    facts_size, payload_size = _FRAME.unpack(head)
    facts, payload = requests.read(facts_size), requests.read(payload_size)
    return (json.loads(facts), payload) if len(payload) == payload_size else None


def _reply(answers: int, facts: dict[str, Any], payload: bytes) -> None:
    head, _ = _frame({**facts, "_cpu": time.process_time()}, payload)
    data = memoryview(head + payload)
    try:
        while data:
            data = data[os.write(answers, data) :]
    except BrokenPipeError:
        os._exit(0)  # the parent is gone


def _limit_memory(room: int) -> None:
    """Bound the private memory of this process to what it holds now and `room` bytes more, where the system can."""
    import resource

    held = 0
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - of Linux
            held = int(file.read().split()[5]) * resource.getpagesize()
    except OSError:
        held = 0  # elsewhere the little that is held counts as the page's
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = held + room if hard == resource.RLIM_INFINITY else min(held + room, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


# -- one child for all parts that a process works through --------------------------------------------------


class _Shared:
    """The child in use, and what it was started for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.key: tuple[str, str, Limits] | None = None
        self.sandbox: Sandbox | None = None
        self.cpu_seconds = 0.0  # of children that were started for something else


_shared = _Shared()


def run_in_child(
    function: str,
    settings: dict[str, Any],
    limits: Limits,
    requests: Sequence[tuple[dict[str, Any], bytes | memoryview]],
) -> list[Answer]:
    """As `Sandbox.run`, in a child that is kept for the next call with the same arguments."""
    if not requests:
        return []
    key = (function, json.dumps(settings, sort_keys=True), limits)
    with _shared.lock:
        if _shared.sandbox is None or _shared.key != key:
            close()
            _shared.sandbox, _shared.key = Sandbox(function, settings, limits), key
        return _shared.sandbox.run(requests)


def cpu_seconds() -> float:
    """CPU time of this process and of the children that `run_in_child` worked with."""
    return time.process_time() + _shared.cpu_seconds + (_shared.sandbox.cpu_seconds if _shared.sandbox else 0.0)


def close() -> None:
    """End the child of `run_in_child`; the next call starts another."""
    if _shared.sandbox is not None:
        _shared.sandbox.close()
        _shared.cpu_seconds += _shared.sandbox.cpu_seconds
        _shared.sandbox = None


def _after_fork() -> None:
    _shared.lock = threading.Lock()
    if _shared.sandbox is not None:
        _shared.sandbox.forget()
        _shared.sandbox = None


atexit.register(close)
os.register_at_fork(after_in_child=_after_fork)
