"""Predicted against measured peak memory of training, over sizes, strategies, arithmetic and recomputation, on a GPU.

    make bench-training-memory
    python -m benchmarks.training_memory --out FILE [--only NAME ...] [--seconds 170]

Each configuration is a process of its own: our objective and engine over random packed documents, a step that compiles
and two that are measured, by torch's allocator (`max_memory_allocated`). What is predicted is training/peak.py of the
same settings. As many run side by side as fit the GPU, by their predictions; past `--seconds` none is started.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.core.settings import build
from training.arguments import PretrainSettings
from training.fit import shape_of
from training.peak import PARTS, predict_peak

VOCABULARY, LENGTH, DOCUMENT = 32_000, 2_048, 512
GIBIBYTE = 1 << 30
BOUND = 0.10  # predictions are to be right to that share
AT_ONCE = 5  # processes: more would wait for CPU cores while they compile
SHARE = 0.85  # of the GPU's memory that predictions of all of them may add up to

SMALL = {"model": "tinyllama-1.1b", "layers": 24, "hidden": 1024, "heads": 16, "kv_heads": 16, "ffn": 2816}  # 0.37 B
LARGE = {"model": "tinyllama-1.1b"}  # 1.10 B
FAST = {"precision": "bf16", "compile": True, "strategy": "zero1"}

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "1.1b zero1 bf16 compiled": LARGE | FAST | {"micro_batch_size": 8},
    "0.37b zero1 bf16 compiled": SMALL | FAST | {"micro_batch_size": 8},
    "0.37b zero1 bf16 eager": SMALL | FAST | {"micro_batch_size": 8, "compile": False},
    "0.37b single fp32 eager": SMALL | {"micro_batch_size": 4, "precision": "fp32", "strategy": "single"},
    "0.37b zero2 bf16 compiled, 2 micro-batches": SMALL
    | FAST
    | {"micro_batch_size": 8, "global_batch_size": 16}
    | {"strategy": "zero2"},
    "0.37b zero3 bf16 eager": SMALL | FAST | {"micro_batch_size": 8, "strategy": "zero3", "compile": False},
    "0.37b fsdp2 bf16 compiled": SMALL | FAST | {"micro_batch_size": 8, "strategy": "fsdp2"},
    "1.1b zero1 bf16 compiled, recomputed": LARGE | FAST | {"micro_batch_size": 16, "activation_checkpointing": True},
    "1.1b zero1 bf16 eager, one sequence": LARGE | FAST | {"micro_batch_size": 1, "compile": False},
    "0.37b zero1 fp16 eager": SMALL | FAST | {"micro_batch_size": 8, "precision": "fp16", "compile": False},
    "0.37b ddp bf16 compiled": SMALL | FAST | {"micro_batch_size": 8, "strategy": "ddp"},
    "0.37b zero1 bf16 compiled, 4 micro-batches": SMALL | FAST | {"micro_batch_size": 8, "global_batch_size": 32},
    "0.37b zero1 bf16 eager, recomputed": SMALL
    | FAST
    | {"micro_batch_size": 16, "activation_checkpointing": True, "compile": False},
    "1.1b fsdp2 bf16 eager, 2 micro-batches": LARGE
    | FAST
    | {"micro_batch_size": 4, "global_batch_size": 8, "strategy": "fsdp2", "compile": False},
    "0.37b zero2 bf16 eager, offloaded": SMALL
    | FAST
    | {"micro_batch_size": 4, "strategy": "zero2", "offload": True, "compile": False},
}


def settings_for(name: str) -> PretrainSettings:
    """The settings of one configuration."""
    values = {"steps": 3, "global_batch_size": CONFIGURATIONS[name]["micro_batch_size"]} | CONFIGURATIONS[name]
    return build(PretrainSettings, values, name)


def measure(settings: PretrainSettings) -> dict[str, Any]:
    """Train three steps in this process; bytes that torch's allocator held at most in the last two."""
    import torch
    from transformers import LlamaForCausalLM

    from training.engine import set_learning_rate, start_engine
    from training.model import llama_config, prepare_for_training
    from training.objective import make_objective
    from training.place import join_ranks

    with join_ranks() as place:
        torch.manual_seed(0)
        with place.device:
            model: Any = LlamaForCausalLM(llama_config(settings.sizes, VOCABULARY, LENGTH, 0, 1))
        prepare_for_training(model)
        engine = start_engine(make_objective(model, settings, place.device), settings, place)
        del model
        shape = (settings.micro_batch, LENGTH)
        first_peak = 0
        for step in range(settings.steps):
            set_learning_rate(engine, 1e-5)
            for _ in range(settings.accumulation):
                ids = torch.randint(2, VOCABULARY, shape, device=place.device)
                positions = torch.arange(LENGTH, device=place.device).remainder(DOCUMENT).expand(shape).contiguous()
                loss = engine(input_ids=ids, position_ids=positions, labels=ids)
                engine.backward(loss / ids.numel())
                del loss
                engine.step()
            torch.cuda.synchronize()
            if step == 0:
                first_peak = torch.cuda.max_memory_allocated()
                torch.cuda.reset_peak_memory_stats()
        return {
            "measured": torch.cuda.max_memory_allocated(),
            "first_step": first_peak,
            "reserved": torch.cuda.max_memory_reserved(),
        }


@dataclass
class Running:
    """A configuration under way."""

    name: str
    predicted: float
    process: "subprocess.Popen[bytes]"
    answer: Path
    log: Path
    started: float


def start(name: str, predicted: float, folder: Path) -> Running:
    """Start a configuration's process."""
    place = folder / str(list(CONFIGURATIONS).index(name))
    place.mkdir()
    environment = os.environ | {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "OMP_NUM_THREADS": "4",
        "MASTER_ADDR": "127.0.0.1",  # DeepSpeed looks for MPI where they are missing; ranks meet over the file
        "MASTER_PORT": "29500",
        "GRISTMILL_RENDEZVOUS": str(place / "rendezvous"),
    }
    answer, log = place / "answer.json", place / "log"
    command = [sys.executable, "-m", "benchmarks.training_memory", "--one", name, "--out", str(answer)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    return Running(name, predicted, process, answer, log, time.monotonic())


def row_of(done: Running) -> dict[str, Any]:
    """What a finished process found, beside what was predicted."""
    peak = predict_peak(shape_of(settings_for(done.name), VOCABULARY, LENGTH, is_on_gpu=True))
    row: dict[str, Any] = {
        "name": done.name,
        "predicted": peak.total,
        "moment": peak.moment,
        "parts": {part: getattr(peak.parts, part) for part in PARTS},
        "seconds": round(time.monotonic() - done.started, 1),
    }
    if done.process.returncode == 0 and done.answer.is_file():
        row |= json.loads(done.answer.read_text())
        row["error"] = peak.total / row["measured"] - 1
    else:
        tail = done.log.read_text(errors="replace").strip().splitlines()
        row["failed"] = tail[-1][:300] if tail else f"exit code {done.process.returncode}"
    return row


def run_all(names: list[str], total: float, seconds: float) -> list[dict[str, Any]]:
    """Run configurations side by side, as their predictions fit `total` bytes; prints each as it ends."""
    deadline = time.monotonic() + seconds
    waiting = list(names)
    running: list[Running] = []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            while waiting or running:
                is_late = time.monotonic() > deadline
                taken = sum(other.predicted + GIBIBYTE for other in running)
                for name in [] if is_late else list(waiting):
                    need = predict_peak(shape_of(settings_for(name), VOCABULARY, LENGTH, is_on_gpu=True)).total
                    if len(running) < AT_ONCE and (taken + need + GIBIBYTE <= SHARE * total or not running):
                        running.append(start(name, need, Path(folder)))
                        waiting.remove(name)
                        taken += need + GIBIBYTE
                if is_late:
                    for name in waiting:
                        print(f"{name}: not run, {seconds:.0f} seconds are over", flush=True)
                    waiting = []
                time.sleep(0.2)
                for one in [one for one in running if one.process.poll() is not None]:
                    running.remove(one)
                    rows.append(row_of(one))
                    print(said(rows[-1]), flush=True)
        finally:
            for one in running:
                one.process.kill()
                one.process.wait()
    return rows


def said(row: dict[str, Any]) -> str:
    """One row of the table."""
    predicted = row["predicted"] / GIBIBYTE
    if "failed" in row:
        return f"{row['name']:48s} predicted {predicted:6.2f} GiB, failed: {row['failed']}"
    return (
        f"{row['name']:48s} predicted {predicted:6.2f} GiB ({row['moment']}), measured "
        f"{row['measured'] / GIBIBYTE:6.2f}, first step {row['first_step'] / GIBIBYTE:6.2f}, "
        f"{row['error']:+7.1%}, {row['seconds']:.0f} s"
    )


def summary(rows: list[dict[str, Any]], device: str) -> dict[str, Any]:
    """The last line; the ratio is the bound over the largest error: above 1, every prediction is within it."""
    errors = [abs(row["error"]) for row in rows if "error" in row]
    worst = max(errors, default=1.0)
    return {
        "bench": "training_memory",
        "ours": round(worst, 4),
        "peer": BOUND,
        "peer_name": "bound",
        "unit": "largest relative error of the predicted peak",
        "ratio": round(BOUND / max(worst, 1e-9), 3),
        "configurations": len(errors),
        "within": sum(error <= BOUND for error in errors),
        "failed": [row["name"] for row in rows if "failed" in row],
        "device": device,
    }


def main() -> int:
    """Measure and print; the last line is one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_memory", description=__doc__)
    parser.add_argument("--out", type=Path, help="where all rows go, as JSON")
    parser.add_argument("--only", nargs="+", choices=list(CONFIGURATIONS), default=list(CONFIGURATIONS))
    parser.add_argument("--seconds", type=float, default=170.0, help="after that long no further one is started")
    parser.add_argument("--one", choices=list(CONFIGURATIONS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        given.out.write_text(json.dumps(measure(settings_for(given.one))))
        return 0
    import torch

    if not torch.cuda.is_available():
        print("no GPU on this machine: predictions can't be measured here")
        for name in given.only:
            peak = predict_peak(shape_of(settings_for(name), VOCABULARY, LENGTH, is_on_gpu=True))
            print(f"{name:48s} predicted {peak.total / GIBIBYTE:6.2f} GiB ({peak.moment})")
        print(json.dumps({"bench": "training_memory", "ours": None, "peer": BOUND, "ratio": None, "note": "no GPU"}))
        return 0
    device = torch.cuda.get_device_properties(0)
    print(f"{device.name}, torch {torch.__version__}", flush=True)
    rows = run_all(given.only, device.total_memory, given.seconds)
    found = summary(rows, device.name)
    if given.out:
        given.out.write_text(json.dumps({**found, "rows": rows}, indent=1))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
