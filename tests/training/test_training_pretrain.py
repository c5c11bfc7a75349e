"""Pretraining on real ranks: what is engaged, equal losses, kill and resume."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import BASE, REPOSITORY, STEPS, losses, run_folder, run_worker, worker

from gristmill.core.layout import Layout
from training.history import trace
from training.metrics import read_metrics
from training.past_runs import find_run

pytestmark = pytest.mark.torch
Pretrained = Callable[[int, int], Path]


@pytest.mark.parametrize(("stage", "share"), [(1, 2), (2, 2), (3, 2)])
def test_what_is_asked_for_is_engaged(pretrained: Pretrained, stage: int, share: int) -> None:
    engagement = json.loads((pretrained(2, stage) / "report.json").read_text())["engagement"]
    assert engagement["engine_class"] == "DeepSpeedEngine"
    assert engagement["zero_stage"] == stage
    assert engagement["world_size"] == 2
    assert engagement["optimizer"] == "AdamW"
    assert engagement["gradients_sharded"] is (stage >= 2)
    assert engagement["weights_sharded"] is (stage == 3)
    assert all(abs(n - engagement["parameters"] / share) < 64 for n in engagement["elements_per_rank"])


def test_sharding_does_not_change_the_loss(pretrained: Pretrained) -> None:
    one, two = losses(pretrained(2, 1)), losses(pretrained(2, 2))
    assert len(one) == STEPS
    assert one == two  # the same sums in the same order
    alone = losses(pretrained(1, 0))
    assert max(abs(a - b) for a, b in zip(one, alone, strict=True)) < 1e-5  # sums in another order
    assert max(abs(a - b) for a, b in zip(one, losses(pretrained(2, 3)), strict=True)) < 1e-5


def test_the_model_learns(pretrained: Pretrained) -> None:
    report = json.loads((pretrained(2, 1) / "report.json").read_text())
    assert report["loss_last"] < report["loss_first"] - 1
    assert report["heldout_loss_last"] < report["heldout_loss_first"] - 1
    assert {sample["step"] for sample in report["samples"]} == {0, 25, 50}
    assert (pretrained(2, 1) / "final" / "tokenizer.json").is_file()


def _wait_for_step(folder_of: Path, step: int, process: subprocess.Popen[bytes]) -> Path:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be interrupted"
        for metrics in folder_of.glob("models/pretrained_model/*/metrics.jsonl"):
            rows = [row["step"] for row in read_metrics(metrics) if "loss" in row]
            if rows and rows[-1] >= step:
                return metrics.parent
        time.sleep(0.005)
    raise AssertionError(f"step {step} was not reached")


def _ranks_of(folder: Path) -> list[int]:
    """Living processes whose command line names the run."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command and "training.loop" in command:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_run_goes_on_to_the_same_loss(
    toy_root: Path, tmp_path: Path, pretrained: Pretrained, how: signal.Signals
) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    settings = BASE | {"ranks": 2, "strategy": "zero2", "checkpoint_every": 10}
    process = subprocess.Popen(
        worker("training.pretrain", root, settings),
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder = _wait_for_step(root, STEPS // 2, process)
    process.send_signal(how)
    code = process.wait(timeout=120)
    assert code == (143 if how == signal.SIGTERM else -signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _ranks_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _ranks_of(folder) == []  # no rank outlives its launcher
    assert not (folder / "report.json").exists()

    done = run_worker("training.pretrain", root, settings)
    assert done.returncode == 0, done.stderr
    assert "resuming at step" in done.stderr
    assert losses(folder) == losses(pretrained(2, 2))  # every step, bit for bit


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    toy_root: Path, tmp_path: Path, pretrained: Pretrained
) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    settings = BASE | {"checkpoint_every": 10, "ranks": 1, "strategy": "single"}
    assert run_worker("training.pretrain", root, settings).returncode == 0
    folder = run_folder(root)
    kept = sorted(p.name for p in (folder / "checkpoints").glob("step-*"))
    assert kept == ["step-00000040", "step-00000050"]
    (folder / "report.json").unlink()
    newest = next((folder / "checkpoints" / kept[-1]).glob("state-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-100])
    done = run_worker("training.pretrain", root, settings)
    assert done.returncode == 0, done.stderr
    assert "falling back" in done.stderr
    assert "resuming at step 40" in done.stderr
    assert losses(folder) == losses(pretrained(1, 0))


def test_a_finished_run_is_chosen_again_not_trained(pretrained: Pretrained) -> None:
    folder = pretrained(1, 0)
    before = json.loads((folder / "report.json").read_text())
    done = run_worker("training.pretrain", folder.parents[2], BASE | {"ranks": 1, "strategy": "single"})
    assert done.returncode == 0
    after = json.loads((folder / "report.json").read_text())
    assert "already trained" in done.stderr
    assert after["created_at"] == before["created_at"]
    assert after["selected_at"] > before["selected_at"]


def test_a_loss_that_is_not_finite_stops_with_one_line(toy_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    settings = BASE | {"learning_rate": 1e30, "gradient_clip": 0.0, "weight_decay": 0.0, "warmup_steps": 0}
    done = run_worker("training.pretrain", root, settings)
    assert done.returncode not in (0, None)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "at step" in errors[0]
    assert "lower learning_rate" in errors[0]
    found = re.search(r"gristmill trace (\w+) --step (\d+)", errors[0])
    assert found is not None
    run = find_run(Layout(root), found[1])
    assert not run.is_finished
    assert all(sequence.spans for sequence in trace(run, int(found[2])))


def test_a_rank_that_dies_ends_all(toy_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    settings = BASE | {"ranks": 2, "steps": 5000, "evaluate_every": 0}
    process = subprocess.Popen(
        worker("training.pretrain", root, settings), cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    folder = _wait_for_step(root, 2, process)
    os.kill(_ranks_of(folder)[-1], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"error: rank" in said
    assert _ranks_of(folder) == []


def test_no_mixture_is_one_clear_line(tmp_path: Path) -> None:
    done = run_worker("training.pretrain", tmp_path / "empty", {})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "training_mixture is not materialized" in done.stderr
