"""Training runs on the toy data of the tests, as a user launches them, for the benchmarks of pretraining."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from training.metrics import read_metrics

REPOSITORY = Path(__file__).resolve().parents[1]
TOY: dict[str, Any] = {
    "layers": 2,
    "hidden": 32,
    "heads": 2,
    "ffn": 64,
    "learning_rate": 5e-3,
    "steps": 50,
    "warmup_steps": 5,
    "evaluate_every": 0,
    "sample_every": 0,
    "sample_tokens": 0,
    "evaluate_sequences": 8,
}


def make_toy(root: Path) -> None:
    """Tokenizer, shards and mixture below `root`."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "training"))
    from toy import make_root  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    make_root(root)


def start(root: Path, settings: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Start `python -m training.pretrain`; what it says goes to ROOT/said.log."""
    command = [sys.executable, "-m", "training.pretrain", "--root", str(root), "--settings", json.dumps(TOY | settings)]
    with (root / "said.log").open("ab") as log:
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)


def finish(root: Path, settings: dict[str, Any]) -> Path:
    """Run to the end; returns the run's folder.

    Raises:
        RuntimeError: it failed; the message is the end of what it said.
    """
    if start(root, settings).wait() != 0:
        raise RuntimeError((root / "said.log").read_text(errors="replace")[-2000:])
    return folder_of(root)


def folder_of(root: Path) -> Path:
    """The folder of the one run below `root`."""
    (folder,) = (root / "models" / "pretrained_model").iterdir()
    return folder


def losses(folder: Path) -> list[float]:
    """The loss of every step."""
    return [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]
