"""Pretraining speed on a GPU: ours beside Hugging Face Trainer + DeepSpeed + Liger, same model, data and batch.

    make bench-pretrain
    make bench-pretrain ARGS="--sizes 0.36b --steps 12"

Ours is a whole run of `training.pretrain` as a user starts it (ZeRO-1, bf16 with fp32 master weights, clipping,
attention within documents, layers compiled), read off its metrics. MFU counts 6 N + 12 · layers · width · length FLOPs
a token (Chowdhery et al. 2022, appendix B) over the device's dense bf16 peak.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.training_root import make_training_root
from training.metrics import read_metrics
from training.sizes import ModelSizes, parameter_count

REPOSITORY = Path(__file__).resolve().parents[1]
VOCABULARY, LENGTH = 32_000, 2_048
PEAK = 989e12  # dense bf16 of H100 and H200, by the maker's data sheet
SIZES = {
    "0.36b": (ModelSizes(layers=24, hidden=1024, heads=16, kv_heads=16, ffn=2816, is_tied=False), 32, 4),
    "1.1b": (ModelSizes(layers=22, hidden=2048, heads=32, kv_heads=4, ffn=5632, is_tied=False), 16, 4),
}  # sizes, micro-batch, accumulation
WARM = 4  # steps that compile
PEER_SECONDS = 150  # after which a peer is given up
PEERS: dict[str, dict[str, Any]] = {
    "across documents": {"is_compiled": False},
    "across documents, compiled": {"is_compiled": True},
    "within documents, flash_attention_4": {"is_compiled": False, "apart": "flash_attention_4"},
    "within documents, flex_attention": {"is_compiled": False, "apart": "flex_attention"},
    "within documents, sdpa": {"is_compiled": False, "apart": "sdpa"},
}  # of Trainer + DeepSpeed + Liger


def mfu(sizes: ModelSizes, tokens_per_second: float) -> float:
    """Share of the peak, in per cent."""
    per_token = 6 * parameter_count(sizes, VOCABULARY) + 12 * sizes.layers * sizes.hidden * LENGTH
    return 100 * tokens_per_second * per_token / PEAK


def ours(root: Path, sizes: ModelSizes, micro: int, accumulation: int, steps: int, **changed: Any) -> dict[str, Any]:
    """A run of `training.pretrain`; its settings but for `changed` are those of a user who wants speed."""
    settings: dict[str, Any] = {
        "model": "tinyllama-1.1b",  # untied; every size is given
        "layers": sizes.layers,
        "hidden": sizes.hidden,
        "heads": sizes.heads,
        "kv_heads": sizes.kv_heads,
        "ffn": sizes.ffn,
        "steps": steps,
        "global_batch_size": micro * accumulation,
        "micro_batch_size": micro,
        "learning_rate": 3e-4,
        "warmup_steps": 2,
        "precision": "bf16",
        "strategy": "zero1",
        "compile": True,
        "checkpoint_every": 0,
        "evaluate_every": 0,
        "evaluate_sequences": 8,
        "sample_every": 0,
        "sample_tokens": 0,
    } | changed
    home = Path(tempfile.mkdtemp(prefix="gristmill-bench-"))
    try:
        for name in ("tokenizer", "token_shards", "training_mixture"):
            (home / name).symlink_to(root / name)
        command = [sys.executable, "-m", "training.pretrain", "--root", str(home), "--settings", json.dumps(settings)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        (run,) = (home / "models" / "pretrained_model").glob("*")
        rows = [row for row in read_metrics(run / "metrics.jsonl") if "loss" in row]
        if done.returncode:
            return {"error": done.stderr.strip().splitlines()[-1][:400]}
        report = json.loads((run / "report.json").read_text())
        return {
            "losses": [row["loss"] for row in rows],
            "tokens_per_second": statistics.median(row["tokens_per_second"] for row in rows[WARM:]),
            "engagement": report["engagement"],
            "gib": max((row.get("memory_gib", 0.0) for row in rows), default=0.0),
            "scale": [row.get("loss_scale") for row in rows if "loss_scale" in row][-1:],
            "skipped": [row.get("skipped_steps") for row in rows if "skipped_steps" in row][-1:],
        }
    finally:
        shutil.rmtree(home, ignore_errors=True)


def peer(
    root: Path, sizes: ModelSizes, micro: int, accumulation: int, steps: int, *, is_compiled: bool, apart: str = ""
) -> dict[str, Any]:
    """The peer on the same rows, across documents or, by the attention `apart`, within them."""
    config = {
        "vocab_size": VOCABULARY,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.ffn,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "max_position_embeddings": LENGTH,
        "tie_word_embeddings": False,
        "use_cache": False,
    }
    shard = next((root / "token_shards").rglob("shard-train-*.arrow"))
    command = [
        sys.executable,
        "-m",
        "benchmarks.peer_hf_trainer",
        "--shard",
        str(shard),
        "--config",
        json.dumps(config),
    ]
    command += ["--micro-batch", str(micro), "--accumulation", str(accumulation), "--steps", str(steps)]
    command += ["--warm", str(WARM), "--out", str(root / "peer"), *(["--compile"] if is_compiled else [])]
    command += ["--apart", apart] if apart else []
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PEER_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {PEER_SECONDS} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{") and '"seconds"' in line]
    if done.returncode or not lines:
        said = [line for line in done.stderr.splitlines() if "Error" in line] or ["nothing said"]
        return {"error": said[-1][:400]}
    found = json.loads(lines[-1])
    return found | {"tokens_per_second": micro * accumulation * LENGTH / found["seconds"]}


def main() -> int:
    """Measure and print a table; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("no GPU on this machine: bench-pretrain measures nothing here")
        return 0
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_training_root(root, vocabulary=VOCABULARY, sequence_length=LENGTH, sequences=4096)
        for size in given.sizes:
            sizes, micro, accumulation = SIZES[size]
            mine = ours(root, sizes, micro, accumulation, given.steps)
            _tell(size, "ours", sizes, mine)
            others = {}
            if not given.no_peer:
                for name in given.peers:
                    others[name] = peer(root, sizes, micro, accumulation, given.steps, **PEERS[name])
                    _tell(size, name, sizes, others[name])
            best = max(others, key=lambda n: others[n].get("tokens_per_second", 0.0), default="")
            speed, theirs = mine.get("tokens_per_second"), others.get(best, {}).get("tokens_per_second")
            same_work = [o.get("tokens_per_second", 0.0) for n, o in others.items() if n.startswith("within")]
            within = max(same_work, default=0.0)
            lines.append(
                {
                    "bench": f"pretrain-{size}",
                    "ours": speed and round(mfu(sizes, speed), 2),
                    "peer": theirs and round(mfu(sizes, theirs), 2),
                    "peer_name": best,
                    "unit": "% of 989 TFLOP/s",
                    "ratio": round(speed / theirs, 3) if speed and theirs else None,
                    "ratio_within_documents": round(speed / within, 3) if speed and within else None,
                }
            )
    for line in lines:
        print(json.dumps(line))
    return 0


def _tell(size: str, name: str, sizes: ModelSizes, found: dict[str, Any]) -> None:
    if "error" in found:
        print(f"{size} {name}: {found['error']}", flush=True)
        return
    speed = found["tokens_per_second"]
    print(f"{size} {name}: {speed:,.0f} tokens/s, MFU {mfu(sizes, speed):.1f} %, {found['gib']:.1f} GiB", flush=True)
    for key in ("engagement", "engine", "kernel"):
        if key in found:
            print(f"  {key}: {found[key]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
