"""Optimizers of bitsandbytes, however sharded: proven, resumed to the last bit, and exchanged for another."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import BASE, losses, run_folder, run_worker

pytestmark = pytest.mark.torch
STEPS, KEPT = 12, 8  # steps of a run, and of the checkpoint that it goes on from
# Sizes at which parameters, and the ranks' partitions, end in the middle of a block of 256, and half a matrix has the
# 4,096 elements from which bitsandbytes holds moments in 8 bits.
SHORT = BASE | {
    "hidden": 68,
    "ffn": 132,
    "steps": STEPS,
    "evaluate_every": 0,
    "sample_every": 0,
    "checkpoint_every": 4,
}


def _train(toy_root: Path, root: Path, **settings: Any) -> tuple[Path, str]:
    if not root.exists():
        shutil.copytree(toy_root, root)
    done = run_worker("training.pretrain", root, SHORT | settings)
    assert done.returncode == 0, done.stderr
    return run_folder(root), done.stderr


def _interrupt(folder: Path) -> list[float]:
    """Leave a finished run as one that was killed after its checkpoint of step KEPT; the losses that it had."""
    found = losses(folder)
    assert len(found) == STEPS
    (folder / "report.json").unlink()
    shutil.rmtree(folder / "checkpoints" / f"step-{STEPS:08d}")
    return found


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3", "fsdp2"])
def test_a_resumed_run_in_8_bits_has_the_losses_of_one_never_stopped(
    toy_root: Path, tmp_path: Path, strategy: str
) -> None:
    settings = {"ranks": 2, "strategy": strategy, "optimizer": "adamw_8bit"}
    folder, _ = _train(toy_root, tmp_path / "home", **settings)
    engagement = json.loads((folder / "report.json").read_text())["engagement"]
    assert engagement["optimizer"] == "AdamW8bit"
    assert engagement["moment_dtypes"] == ["uint8"]
    if strategy != "fsdp2":  # some of whose shards are under those 4,096
        assert engagement["moment_bytes"] < 2.1 * engagement["elements_per_rank"][0]
    alone = _interrupt(folder)
    again, said = _train(toy_root, tmp_path / "home", **settings)
    assert again == folder
    assert f"resuming at step {KEPT}" in said
    assert losses(folder) == alone


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (
            {"ranks": 2, "strategy": "zero2", "optimizer": "adamw_8bit"},
            {"ranks": 1, "strategy": "single", "optimizer": "adamw"},
        ),
        (
            {"ranks": 1, "strategy": "zero1", "optimizer": "adamw"},
            {"ranks": 2, "strategy": "fsdp2", "optimizer": "adamw_8bit"},
        ),
    ],
    ids=["8 bits to 32", "32 bits to 8"],
)
def test_a_run_goes_on_with_the_other_optimizer(
    toy_root: Path, tmp_path: Path, first: dict[str, Any], then: dict[str, Any]
) -> None:
    folder, _ = _train(toy_root, tmp_path / "home", **first)
    alone = _interrupt(folder)
    again, said = _train(toy_root, tmp_path / "home", **then)
    assert again == folder
    assert f"resuming at step {KEPT}" in said
    found = losses(folder)
    assert found != alone  # another optimizer it is
    assert max(abs(a - b) for a, b in zip(found, alone, strict=True)) < 0.02


def test_paged_moments_need_a_gpu(toy_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    done = run_worker("training.pretrain", root, SHORT | {"optimizer": "paged_adamw_8bit"})
    assert done.returncode == 2
    assert "optimizer paged_adamw_8bit needs a CUDA GPU, and here is none: choose adamw_8bit" in done.stderr
    assert "Traceback" not in done.stderr
