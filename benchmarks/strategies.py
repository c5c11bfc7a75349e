"""Every strategy learns the same: 2 and 4 CPU ranks over gloo, each strategy, accumulation 1, 2 and 4, in fp32.

    python -m benchmarks.strategies [--ranks 2,4] [--strategies ddp,…] [--accumulations 1,2,4]

Each run's losses of 50 steps are compared with those of one rank without sharding or accumulation. The table has each
run's engagement record; the last line is one JSON object: `ours` is the largest difference, `peer` what is allowed.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.toy_runs import finish, losses, make_toy

TOLERANCE = 1e-4
BATCH = 16  # sequences: 4 ranks with 4 forward passes of one sequence each
STRATEGIES = "single,ddp,zero1,zero2,zero3,fsdp2"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--strategies", default=STRATEGIES)
    parser.add_argument("--accumulations", default="1,2,4")
    given = parser.parse_args()
    worst, count = 0.0, 0
    print(f"{'ranks':>5} {'strategy':8} {'accum':>5} {'apart':>9} {'last loss':>9}  engaged")
    with tempfile.TemporaryDirectory(prefix="gristmill-strategies-") as folder:
        toy = Path(folder) / "toy"
        make_toy(toy)
        reference, _ = _run(toy, ranks=1, strategy="single", accumulation=1)
        for ranks in map(int, given.ranks.split(",")):
            for strategy in given.strategies.split(","):
                for accumulation in map(int, given.accumulations.split(",")):
                    on = 1 if strategy == "single" else ranks
                    if strategy == "single" and ranks != int(given.ranks.split(",")[0]):
                        continue  # it is one rank, whatever the others are
                    found, engaged = _run(toy, ranks=on, strategy=strategy, accumulation=accumulation)
                    apart = max(abs(a - b) for a, b in zip(found, reference, strict=True))
                    worst, count = max(worst, apart), count + 1
                    record = (
                        f"{engaged['engine_class']} {engaged['strategy']} {engaged['zero_optimizer']}, "
                        f"{engaged['world_size']} ranks over {engaged['backend']}, {engaged['dtype']}, "
                        f"elements {engaged['elements_per_rank']}"
                    )
                    print(
                        f"{on:>5} {strategy:8} {accumulation:>5} {apart:>9.1e} {found[-1]:>9.5f}  {record}", flush=True
                    )
    result = {"bench": "strategies", "ours": worst, "peer": TOLERANCE, "peer_name": "allowed", "runs": count}
    print(json.dumps(result | {"unit": "loss", "ratio": round(TOLERANCE / max(worst, 1e-12), 2)}))
    return 0 if worst <= TOLERANCE else 1


def _run(toy: Path, *, ranks: int, strategy: str, accumulation: int) -> tuple[list[float], dict[str, Any]]:
    """Losses of a run in a root of its own, and its engagement record."""
    root = toy.with_name(f"{strategy}-{ranks}-{accumulation}")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(toy, root)
    micro = BATCH // ranks // accumulation
    settings = {"global_batch_size": BATCH, "ranks": ranks, "strategy": strategy, "micro_batch_size": micro}
    folder = finish(root, settings | {"checkpoint_every": 0})
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return losses(folder), report["engagement"]


if __name__ == "__main__":
    sys.exit(main())
