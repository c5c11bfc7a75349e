"""LoRA and QLoRA on a toy base: engaged, learnt, saved, read back, used."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, run_folder, run_worker

pytestmark = pytest.mark.torch
SETTINGS = {"steps": 20, "batch_size": 8, "rank": 4, "sample_tokens": 4, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def root(pretrained: Callable[[int, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("finetune") / "home"
    shutil.copytree(pretrained(1, 0).parents[2], made)
    rows = [{"question": f"{name} found bread {i}?", "answer": name} for i in range(15) for name in ("Mara", "Tom")]
    source = made / "instructions" / "toy.jsonl"
    source.parent.mkdir()
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run_worker("training.instructions", made, {"maximum_length": 64})
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_adapter_is_engaged_learns_and_comes_back_from_disk(root: Path, method: str) -> None:
    done = run_worker("training.finetune", root, SETTINGS, "--method", method)
    assert done.returncode == 0, done.stderr
    folder = run_folder(root, f"{method}_adapter")
    report = json.loads((folder / "report.json").read_text())
    engagement = report["engagement"]
    assert engagement["lora_modules"] == 14  # seven in each of two layers
    assert engagement["trainable_parameters"] == 4 * 2 * (4 * (32 + 32) + 3 * (32 + 64))
    if method == "qlora":
        assert engagement["linear_4bit_modules"] == 14
        assert engagement["quantization"] == "nf4"
        assert engagement["double_quantization"] is True
        assert 4.12 < engagement["bits_per_parameter"] < 4.2
    assert report["heldout_loss_last"] < report["heldout_loss_first"]
    assert report["heldout_loss_reloaded"] == pytest.approx(report["heldout_loss_last"], rel=1e-4)
    assert (folder / "final" / "adapter_model.safetensors").is_file()
    again = run_worker("training.finetune", root, SETTINGS, "--method", method)
    assert "already trained" in again.stderr


def _generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training.generate", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)


def test_text_comes_from_a_model(root: Path) -> None:
    model = str(run_folder(root) / "final")
    done = _generate(model, "--prompt", "Mara found", "--max-new-tokens", "5", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["new_tokens"] <= 5
    assert isinstance(made["text"], str)


def test_a_folder_that_is_no_model_is_one_clear_line(tmp_path: Path) -> None:
    done = _generate(str(tmp_path), "--prompt", "x")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert done.stdout == ""


def test_targets_that_are_not_there_are_one_clear_line(root: Path) -> None:
    done = run_worker("training.finetune", root, SETTINGS | {"targets": ["wq"]}, "--method", "lora")
    assert done.returncode == 2
    assert "no layer named 'wq'" in done.stderr
