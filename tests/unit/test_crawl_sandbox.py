"""The child that reads pages: one page's death is one row, whatever it dies of, and nobody outlives the parent."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.crawl import sandbox
from pipelines.crawl.sandbox import Answer, Limits, Sandbox

MODULE = """
import os, signal, ctypes, time
LEFT = []
def open_reader(settings):
    def read(facts, body):
        do = facts.get("do")
        if do == "spin":
            while True: pass
        if do == "crash": os.kill(os.getpid(), signal.SIGSEGV)
        if do == "abort": os.abort()
        if do == "null": ctypes.string_at(0)
        if do == "exit": os._exit(3)
        if do == "eat": LEFT.append(bytearray(1 << 30))
        if do == "keep": LEFT.append(bytearray(80 << 20))
        if do == "raise": raise KeyError("x")
        if do == "print": print("no answer"); os.write(1, b"neither is this")
        if do == "sleep": time.sleep(0.3)
        if do == "pid": return {"pid": os.getpid()}, b""
        return {"do": do, "greeting": settings["greeting"]}, body.upper()
    return read
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    (tmp_path / "sandboxed_reader.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    box = Sandbox("sandboxed_reader:open_reader", {"greeting": "hi"}, Limits(0.5, 200 << 20))
    yield box
    box.close()


def ask(child: Sandbox, *what: str | None) -> list[str]:
    """`fine` or the reason for each request."""
    answers = child.run([({"do": do}, b"page") for do in what])
    assert all(a.broken or a.payload == b"PAGE" for a in answers)
    return [a.broken or "fine" for a in answers]


def test_answers_come_back_in_order(child: Sandbox) -> None:
    answers = child.run([({"n": n, "url": "x\ud800"}, b"%d" % n) for n in range(200)])
    assert [a.payload for a in answers] == [b"%d" % n for n in range(200)]
    assert answers[0] == Answer({"do": None, "greeting": "hi"}, b"0")


def test_pages_larger_than_any_pipe(child: Sandbox) -> None:
    pages = [bytes([65 + n % 26]) * (3 << 20) for n in range(12)]
    assert [a.payload for a in child.run([({}, page.lower()) for page in pages])] == pages
    assert child.run([]) == []


@pytest.mark.parametrize(
    ("what", "reason", "detail"),
    [
        ("spin", "broken_cpu_time", "more than 0.5 s of CPU time"),
        ("crash", "broken_crash", "ended by SIGSEGV"),
        ("null", "broken_crash", "ended by SIGSEGV"),
        ("abort", "broken_crash", "ended by SIGABRT"),
        ("exit", "broken_crash", "ended with exit code 3"),
        ("raise", "broken_row", "KeyError"),
        pytest.param(
            *("eat", "broken_memory", None),
            marks=pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts on Linux only"),
        ),
    ],
)
def test_a_page_dies_alone(child: Sandbox, what: str, reason: str, detail: str | None) -> None:
    answers = child.run([({"do": do}, b"page") for do in ("", what, "", what, what, "")])
    assert [a.broken for a in answers] == [None, reason, None, reason, reason, None]
    assert answers[1].detail == detail


def test_what_earlier_pages_left_behind_is_not_the_last_ones_fault(child: Sandbox) -> None:
    assert ask(child, *["keep"] * 7) == ["fine"] * 7


def test_prints_are_no_answers(child: Sandbox) -> None:
    assert ask(child, "print", None) == ["fine", "fine"]


def test_time_asleep_or_stopped_is_not_cpu_time(child: Sandbox) -> None:
    pid = child.run([({"do": "pid"}, b"")])[0].facts["pid"]
    os.kill(pid, signal.SIGSTOP)
    waker = subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {pid}"])
    assert ask(child, "sleep", "sleep", "sleep") == ["fine"] * 3
    assert waker.wait() == 0
    assert child.pid == pid


def test_an_interrupt_of_the_terminal_is_the_parents_matter(child: Sandbox) -> None:
    pid = child.run([({"do": "pid"}, b"")])[0].facts["pid"]
    os.kill(pid, signal.SIGINT)
    assert ask(child, None) == ["fine"]
    assert child.pid == pid


def test_cpu_time_of_all_children_is_counted(child: Sandbox) -> None:
    assert ask(child, "spin", "spin") == ["broken_cpu_time"] * 2
    assert child.cpu_seconds > 0.9


def test_a_child_that_cannot_start_is_the_machines_trouble() -> None:
    broken = Sandbox("no_such_module:reader", {}, Limits(1, 1 << 30))
    with pytest.raises(OSError, match="did not start"):
        broken.run([({}, b"")])
    assert broken.pid is None


def gone(pid: int) -> bool:
    """Whether a process has ended within ten seconds of waiting."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True  # whoever adopted it has not looked yet
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


PARENT = """
import os, signal, sys, threading
from pipelines.crawl import sandbox
limits = sandbox.Limits(5, 1 << 30)
def pid():
    answers = sandbox.run_in_child("sandboxed_reader:open_reader", {"greeting": ""}, limits, [({"do": "pid"}, b"")])
    return answers[0].facts["pid"]
print(pid(), flush=True)
"""
ENDINGS = {
    "end": "",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "exit": "os._exit(0)",
    "raise": "raise SystemExit(3)",
}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_child_outlives_its_parent(child: Sandbox, tmp_path: Path, ending: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PARENT + ENDINGS[ending]], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stderr == ""
    assert gone(int(done.stdout))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_fork_has_a_child_of_its_own(child: Sandbox, tmp_path: Path) -> None:
    code = (
        PARENT
        + "sys.stdout.flush()\nforked = os.fork()\nprint(pid(), flush=True)\nif forked: os.wait()\nelse: os._exit(0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    pids = [int(line) for line in done.stdout.split()]
    assert len(pids) == 3
    assert len(set(pids)) == 2
    assert all(gone(pid) for pid in pids)


def test_one_child_serves_until_it_is_asked_for_something_else(child: Sandbox) -> None:
    def pid(limits: Limits) -> int:
        request: tuple[dict[str, str], bytes] = ({"do": "pid"}, b"")
        return int(sandbox.run_in_child("sandboxed_reader:open_reader", {}, limits, [request])[0].facts["pid"])

    usual, other = Limits(5, 1 << 30), Limits(6, 1 << 30)
    first = pid(usual)
    assert pid(usual) == first
    assert pid(other) != first
    sandbox.close()
    assert sandbox.run_in_child("x:y", {}, usual, []) == []


def test_nothing_is_left_open(child: Sandbox) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        ask(child, "crash", "exit", None)
        child.close()
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > 0
