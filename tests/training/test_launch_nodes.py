"""Two nodes as two network namespaces joined by a veth pair, launched as a user would; skips where there is no root."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import BASE, REPOSITORY, losses, run_folder, run_worker, worker

pytestmark = pytest.mark.torch
SHORT = BASE | {"steps": 12, "evaluate_every": 6, "sample_every": 0, "checkpoint_every": 4, "strategy": "zero2"}
PORT = 29631
PYTHON = sys.executable


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[list[str]]]:
    """For each node the command prefix that runs in it."""
    names = [f"gristmill-{os.getpid()}-{n}" for n in range(2)]
    made: list[str] = []
    try:
        try:
            for name in names:
                _ip("netns", "add", name)
                made.append(name)
            # Both ends have the same name, each in its own node.
            _ip("link", "add", "node0", "netns", names[0], "type", "veth", "peer", "name", "node0", "netns", names[1])
            for number, name in enumerate(names):
                for words in (
                    ("addr", "add", f"10.213.7.{number + 1}/24", "dev", "node0"),
                    ("link", "set", "node0", "up"),
                    ("link", "set", "lo", "up"),
                ):
                    _ip("-n", name, *words)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces can't be made here: {error}")
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        for name in made:
            _ip("netns", "delete", name)


@pytest.fixture(scope="module")
def on_one_node(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    root = tmp_path_factory.mktemp("one-node") / "home"
    shutil.copytree(toy_root, root)
    done = run_worker("training.pretrain", root, SHORT | {"ranks": 2})
    assert done.returncode == 0, done.stderr
    return losses(run_folder(root))


def _arguments(root: Path, settings: dict[str, Any]) -> list[str]:
    return worker("training.pretrain", root, SHORT | {"network_interface": "node0"} | settings)[2:]


def _torchrun(root: Path, node: int, settings: dict[str, Any]) -> list[str]:
    place = ["--nnodes=2", f"--node-rank={node}", "--nproc-per-node=1", "--master-addr=10.213.7.1"]
    command = [PYTHON, "-m", "torch.distributed.run", *place, f"--master-port={PORT}", "-m"]
    return [*command, *_arguments(root, settings)]


def _deepspeed(root: Path, node: int, settings: dict[str, Any]) -> list[str]:
    hostfile = root / "hostfile"
    hostfile.write_text("10.213.7.1 slots=1\n10.213.7.2 slots=1\n")
    place = [f"--hostfile={hostfile}", "--no_ssh", f"--node_rank={node}", "--master_addr=10.213.7.1"]
    command = [PYTHON, "-m", "deepspeed.launcher.runner", *place, f"--master_port={PORT + 1}", "--module"]
    return [*command, *_arguments(root, settings)]


def _start(prefix: Sequence[str], command: Sequence[str]) -> "subprocess.Popen[str]":
    environment = os.environ | {"DS_ACCELERATOR": "cpu"}
    return subprocess.Popen(
        [*prefix, *command],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def living(root: Path) -> list[str]:
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(root) in command:
            found.append(command)
    return found


def wait_until_none_lives(root: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while living(root) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert living(root) == []


@pytest.mark.parametrize("launch", [_torchrun, _deepspeed])
def test_two_nodes_learn_as_one_does(
    nodes: list[list[str]], toy_root: Path, tmp_path: Path, on_one_node: list[float], launch: Any
) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    started = [_start(prefix, launch(root, node, {})) for node, prefix in enumerate(nodes)]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    found = losses(run_folder(root))
    assert len(found) == SHORT["steps"]
    assert max(abs(a - b) for a, b in zip(found, on_one_node, strict=True)) <= 1e-5
    assert "engaged: DeepSpeedEngine over gloo, zero2" in said[0]
    assert (run_folder(root) / "report.json").is_file()
    wait_until_none_lives(root, 10)


def test_a_node_told_to_stop_saves_on_both_and_goes_on(nodes: list[list[str]], toy_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    settings = {"steps": 5000, "checkpoint_every": 0, "evaluate_every": 0}
    started = [_start(prefix, _torchrun(root, node, settings)) for node, prefix in enumerate(nodes)]
    try:
        deadline = time.monotonic() + 120
        while not any(root.glob("models/*/*/metrics.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)
        started[1].send_signal(signal.SIGTERM)  # the second node alone is told
        for process in started:
            process.communicate(timeout=120)
        saved = [path.name for path in run_folder(root).glob("checkpoints/step-*")]
        assert len(saved) == 1
        assert not (run_folder(root) / "report.json").exists()
        wait_until_none_lives(root, 10)
    finally:
        for process in started:
            process.kill()


def test_nodes_without_a_shared_root_are_one_clear_line(nodes: list[list[str]], toy_root: Path, tmp_path: Path) -> None:
    started: list[subprocess.Popen[str]] = []
    for node, prefix in enumerate(nodes):
        root = tmp_path / f"home{node}"
        shutil.copytree(toy_root, root)
        started.append(_start(prefix, _torchrun(root, node, {"join_seconds": 8.0})))
    said = [process.communicate(timeout=120)[0] for process in started]
    assert all(process.returncode for process in started)
    assert "error: rank 1 of 2 not seen in" in said[0]
    assert "error: rank 1 on" in said[1]
    assert all("a file system that they share" in text for text in said)
