"""torchrun and DeepSpeed's launcher under ours: told to stop, the ranks save; killed, nothing outlives it."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import BASE, REPOSITORY, run_folder, worker
from test_launch_nodes import living, wait_until_none_lives

pytestmark = pytest.mark.torch
LONG = BASE | {"steps": 5000, "checkpoint_every": 0, "evaluate_every": 0, "sample_every": 0, "ranks": 2}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
@pytest.mark.parametrize(
    ("launcher", "port"), [("torchrun", 29641), ("deepspeed", 29642)], ids=["torchrun", "deepspeed"]
)
def test_ranks_end_with_their_launcher(
    toy_root: Path, tmp_path: Path, launcher: str, port: int, how: signal.Signals
) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    settings = LONG | {"launcher": launcher, "master_port": port + 10 * (how == signal.SIGKILL)}
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            worker("training.pretrain", root, settings), cwd=REPOSITORY, stdout=said, stderr=said
        )
    try:
        deadline = time.monotonic() + 200
        while not any(b'"loss"' in path.read_bytes() for path in root.glob("models/*/*/metrics.jsonl")):
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(how)
        code = process.wait(timeout=150)
        assert code == (143 if how == signal.SIGTERM else -signal.SIGKILL)
        wait_until_none_lives(root, 20)
        saved = list(run_folder(root).glob("checkpoints/step-*"))
        assert len(saved) == (how == signal.SIGTERM)
        assert "pretraining: " in (tmp_path / "said").read_text()  # rank 0's lines came through the launcher
    finally:
        process.kill()
        process.wait()
    assert living(root) == []
