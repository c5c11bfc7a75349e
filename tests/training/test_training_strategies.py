"""Every strategy learns the same, and a run goes on under another: real ranks over gloo."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import BASE, losses, run_folder, run_worker

pytestmark = pytest.mark.torch
SHORT = BASE | {"steps": 20, "evaluate_every": 10, "sample_every": 10, "checkpoint_every": 5}


def _train(toy_root: Path, root: Path, **settings: Any) -> tuple[Path, str]:
    if not root.exists():
        shutil.copytree(toy_root, root)
    done = run_worker("training.pretrain", root, SHORT | settings)
    assert done.returncode == 0, done.stderr
    return run_folder(root), done.stderr


@pytest.fixture(scope="module")
def alone(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of one rank without DeepSpeed's sharding."""
    return losses(_train(toy_root, tmp_path_factory.mktemp("alone") / "home", ranks=1, strategy="single")[0])


@pytest.mark.parametrize(
    ("strategy", "settings", "engine", "tolerance"),
    [
        ("ddp", {}, "DeepSpeedEngine", 1e-5),
        ("fsdp2", {"micro_batch_size": 1}, "ShardedEngine", 1e-5),
        ("zero3", {"micro_batch_size": 1}, "DeepSpeedEngine", 1e-5),
        ("fsdp2", {"precision": "bf16"}, "ShardedEngine", 1e-2),  # 8 bits of mantissa
        ("ddp", {"precision": "bf16"}, "DeepSpeedEngine", 1e-2),
        ("zero1", {"precision": "bf16"}, "DeepSpeedEngine", 1e-2),
    ],
)
def test_a_strategy_changes_only_the_order_of_sums(
    toy_root: Path,
    tmp_path: Path,
    alone: list[float],
    strategy: str,
    settings: dict[str, Any],
    engine: str,
    tolerance: float,
) -> None:
    folder, _ = _train(toy_root, tmp_path / "home", ranks=2, strategy=strategy, **settings)
    found = losses(folder)
    assert len(found) == 20
    assert max(abs(a - b) for a, b in zip(found, alone, strict=True)) < tolerance
    engagement = json.loads((folder / "report.json").read_text())["engagement"]
    assert engagement["strategy"] == strategy
    assert engagement["engine_class"] == engine
    assert engagement["master_dtype"] == "float32"
    assert engagement["dtype"] == {"bf16": "bfloat16"}.get(settings.get("precision", ""), "float32")
    assert (folder / "final" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"ranks": 2, "strategy": "zero2"}, {"ranks": 1, "strategy": "single"}),
        ({"ranks": 1, "strategy": "zero1"}, {"ranks": 2, "strategy": "zero3"}),
        ({"ranks": 2, "strategy": "zero3"}, {"ranks": 2, "strategy": "fsdp2"}),
    ],
    ids=lambda settings: f"{settings['ranks']}-{settings['strategy']}",
)
def test_a_run_goes_on_with_other_ranks(
    toy_root: Path, tmp_path: Path, alone: list[float], first: dict[str, Any], then: dict[str, Any]
) -> None:
    folder, _ = _train(toy_root, tmp_path / "home", **first)
    (folder / "report.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "step-00000020")
    again, said = _train(toy_root, tmp_path / "home", **then)
    assert again == folder
    assert "resuming at step 15" in said
    assert max(abs(a - b) for a, b in zip(losses(folder), alone, strict=True)) < 1e-3


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"precision": "fp16"}, "precision fp16 needs a GPU"),
        ({"attention": "flash4", "precision": "bf16"}, "attention flash4 needs a CUDA GPU and precision bf16 or fp16"),
    ],
)
def test_what_cannot_be_engaged_fails_at_the_start(
    toy_root: Path, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    done = run_worker("training.pretrain", root, SHORT | asked)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
