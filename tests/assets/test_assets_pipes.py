"""A worker is heard while it runs, its failure is one line, and nothing of it is left whatever ends the step."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from assets.listener import SilentListener, listening
from assets.pipes import run_worker


class Ears(SilentListener):
    def __init__(self) -> None:
        self.bars: list[tuple[str, float, float, str, str]] = []
        self.lines: list[str] = []

    def progress(self, label: str, done: float, total: float, unit: str, note: str) -> None:
        self.bars.append((label, done, total, unit, note))

    def log(self, line: str) -> None:
        self.lines.append(line)


def worker(folder: Path, body: str) -> list[str]:
    script = folder / "toy_worker.py"
    head = "import os, sys, time\nfrom gristmill.core.progress import open_reporter\n"
    script.write_text(head + "with open_reporter() as reporter:\n" + textwrap.indent(textwrap.dedent(body), "    "))
    return [str(script)]


def materialize(command: list[str], instance: dg.DagsterInstance) -> tuple[dg.ExecuteInProcessResult, dict[str, Any]]:
    results: dict[str, Any] = {}

    @dg.asset
    def toy(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        results.update(run_worker(context, command))
        return dg.MaterializeResult()

    return dg.materialize([toy], instance=instance, raise_on_error=False), results


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = [e for e in result.all_events if e.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return data.description or ""


def test_news_reach_the_listener_and_the_result_comes_back(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    ears = Ears()
    command = worker(
        tmp_path,
        """
        reporter.info("hello")
        reporter.progress("toy", 1, 2, "parts", "note")
        reporter.result({"run": "abc"})
        print("swamp")
        """,
    )
    with listening(ears):
        result, results = materialize(command, instance)
    assert result.success
    assert results == {"run": "abc"}
    assert ears.bars == [("toy", 1, 2, "parts", "note")]
    assert "hello" in ears.lines


def test_a_worker_that_says_why_fails_with_that_line(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    result, _ = materialize(worker(tmp_path, 'reporter.error("no Java: install it")\nsys.exit(2)'), instance)
    assert not result.success
    assert failure(result) == "no Java: install it"


def test_a_worker_that_dies_without_a_word_fails_with_its_last_lines(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    body = 'print("last words", file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)'
    result, _ = materialize(worker(tmp_path, body), instance)
    assert "signal 9" in failure(result)
    assert "last words" in failure(result)


FAMILY = """
import subprocess
from pathlib import Path
stubborn = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; time.sleep(600)"
lost = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
own = [subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True, env={}) for _ in range(2)]
parent = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {stubborn!r}], **{lost!r}).pid)"
orphan = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True).stdout.strip()
Path(PIDS + ".tmp").write_text("\\n".join([str(os.getpid()), *(str(p.pid) for p in own), orphan]))
os.rename(PIDS + ".tmp", PIDS)
time.sleep(600)
"""
"""A worker with two children in sessions of their own, without its environment, and one that lost its parent."""


def family(folder: Path) -> tuple[list[str], Path]:
    pids = folder / "pids"
    return worker(folder, f"PIDS = {str(pids)!r}\n{FAMILY}"), pids


def wait_for(path: Path) -> list[int]:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [int(pid) for pid in path.read_text().split()]


def left_of(pids: list[int]) -> list[int]:
    deadline = time.monotonic() + 30
    while True:
        alive = [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.1)


def test_a_cancelled_step_leaves_no_process(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    command, path = family(tmp_path)
    pids: list[int] = []

    def interrupt() -> None:
        pids.extend(wait_for(path))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result, _ = materialize(command, instance)
    thread.join()
    assert not result.success
    assert len(pids) == 4
    assert left_of(pids) == []


def test_a_killed_supervisor_leaves_no_process(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    command, path = family(tmp_path)
    pids: list[int] = []

    def kill() -> None:
        pids.extend(wait_for(path))
        supervisor = psutil.Process(pids[0]).parent()
        assert supervisor is not None
        supervisor.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    result, _ = materialize(command, instance)
    thread.join()
    assert not result.success
    inherited = [pids[0], pids[3]]  # the two in the middle were started without our environment
    assert left_of(inherited) == []
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is told on Linux only")
def test_a_killed_step_process_takes_its_worker_along(tmp_path: Path) -> None:
    command, path = family(tmp_path)
    step = tmp_path / "step.py"
    step.write_text(
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-m', 'assets.supervisor', sys.executable, *{command!r}], "
        "start_new_session=True).wait()\n"
    )
    process = subprocess.Popen([sys.executable, str(step)])
    pids = wait_for(path)
    process.kill()
    process.wait()
    assert left_of(pids) == []
