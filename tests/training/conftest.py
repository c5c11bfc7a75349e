"""Toy roots, and finished runs that several tests look at."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from toy import TINY, make_root

from training.metrics import read_metrics

STEPS = 50
STRATEGIES = ("single", "zero1", "zero2", "zero3")  # by ZeRO stage
REPOSITORY = Path(__file__).resolve().parents[2]
BASE = TINY | {"steps": STEPS, "warmup_steps": 5, "evaluate_every": 25, "sample_every": 25, "sample_tokens": 4}


def worker(module: str, root: Path, settings: dict[str, Any], *extra: str) -> list[str]:
    return [sys.executable, "-m", module, "--root", str(root), "--settings", json.dumps(settings), *extra]


def run_worker(module: str, root: Path, settings: dict[str, Any], *extra: str) -> subprocess.CompletedProcess[str]:
    command = worker(module, root, settings, *extra)
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False)


def run_folder(root: Path, asset: str = "pretrained_model") -> Path:
    (folder,) = (root / "models" / asset).iterdir()
    return folder


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_root(tmp_path_factory.mktemp("toy") / "home").root)


@pytest.fixture(scope="session")
def pretrained(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Path]:
    """(ranks, ZeRO stage) -> folder of a finished run of 50 steps, each made once."""
    made: dict[tuple[int, int], Path] = {}

    def make(ranks: int, stage: int) -> Path:
        if (ranks, stage) not in made:
            root = tmp_path_factory.mktemp(f"ranks{ranks}-zero{stage}") / "home"
            shutil.copytree(toy_root, root)
            done = run_worker("training.pretrain", root, BASE | {"ranks": ranks, "strategy": STRATEGIES[stage]})
            assert done.returncode == 0, done.stderr
            made[ranks, stage] = run_folder(root)
        return made[ranks, stage]

    return make
