"""Kill a pretraining run at random steps, by SIGKILL and SIGTERM in turn, and compare with one left alone.

    python -m benchmarks.interruptions [--kills 10] [--seed 0]

On the same two ranks every loss of all steps has to be equal to the last bit. Then a run goes on from two ranks to one
and from one to two, within 1e-3. The last line is one JSON object: `ours` is the number of interruptions that changed
nothing, of as many as `peer` says there were.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.toy_runs import TOY, finish, folder_of, losses, make_toy, start

TOLERANCE = 1e-3  # between numbers of ranks, whose sums are made in another order
RUN: dict[str, Any] = {"global_batch_size": 4, "checkpoint_every": 7, "strategy": "zero2", "ranks": 2}


def interrupt(process: "subprocess.Popen[bytes]", root: Path, step: int, how: signal.Signals) -> bool:
    """Send `how` once the run has logged `step`; False where it ended before."""
    while process.poll() is None:
        runs = list(root.glob("models/pretrained_model/*/metrics.jsonl"))
        if runs and len(losses(runs[0].parent)) >= step:
            process.send_signal(how)
            process.wait()
            return True
        time.sleep(0.01)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw, same = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory(prefix="gristmill-interruptions-") as folder:
        toy, alone_root, root = Path(folder) / "toy", Path(folder) / "alone", Path(folder) / "killed"
        make_toy(toy)
        shutil.copytree(toy, alone_root)
        alone = losses(finish(alone_root, RUN))
        # Kills of one run follow each other at rising steps; the run then goes on to its end.
        shutil.copytree(toy, root)
        steps = sorted(draw.sample(range(2, TOY["steps"] - 1), given.kills))
        print(f"{'kill':>4} {'signal':8} {'at step':>8} {'checkpoints left':32} exit")
        done: list[bool] = []
        for number, step in enumerate(steps):
            how = (signal.SIGKILL, signal.SIGTERM)[number % 2]
            process = start(root, RUN)
            was_killed = interrupt(process, root, step, how)
            kept = sorted(path.name for path in folder_of(root).glob("checkpoints/step-*"))
            found = losses(folder_of(root))
            done.append(was_killed and found == alone[: len(found)])
            print(f"{number + 1:>4} {how.name:8} {len(found):>8} {' '.join(kept):32} {process.returncode}", flush=True)
        end = losses(finish(root, RUN))
        same = sum(done) if end == alone else 0
        print(f"end after {given.kills} interruptions: {end[-1]!r}, left alone: {alone[-1]!r}")
        apart = _other_ranks(toy, Path(folder), alone)
    for name, value in apart.items():
        print(f"{name} ranks: largest difference of a loss {value:.2e} (allowed {TOLERANCE:g})")
    is_right = same == given.kills and max(apart.values()) <= TOLERANCE
    result = {"bench": "interruptions", "ours": same, "peer": given.kills, "peer_name": "interruptions made"}
    result |= {"unit": "runs with equal losses", "ratio": same / given.kills, "largest_difference": apart}
    print(json.dumps(result))
    return 0 if is_right else 1


def _other_ranks(toy: Path, folder: Path, alone: list[float]) -> dict[str, float]:
    """Largest difference of a loss where a run is stopped half-way and goes on with another number of ranks."""
    apart: dict[str, float] = {}
    for before, after in ((2, 1), (1, 2)):
        root = folder / f"ranks-{before}-{after}"
        shutil.copytree(toy, root)
        interrupt(start(root, RUN | {"ranks": before}), root, TOY["steps"] // 2, signal.SIGTERM)
        found = losses(finish(root, RUN | {"ranks": after}))
        apart[f"{before} -> {after}"] = max(abs(a - b) for a, b in zip(found, alone, strict=True))
    return apart


if __name__ == "__main__":
    sys.exit(main())
