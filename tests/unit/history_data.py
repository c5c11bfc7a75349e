"""A small home with shards, and runs in it that were never trained: what they would read follows from their files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gristmill.core.layout import Layout
from training.cursor import Skip
from training.past_runs import order_mark
from training.reading import Reading
from training.shards import read_mixture
from training.spans import keep_spans


def make_run(
    layout: Layout,
    run_id: str,
    *,
    steps: int = 20,
    made: int | None = None,
    batch: int = 4,
    seed: int = 3,
    asset: str = "pretrained_model",
    is_old: bool = False,
    skips: Sequence[Skip] = (),
) -> Path:
    """A run's folder as training/pretrain.py leaves it after `made` steps (None: finished).

    Args:
        is_old: as a version before spans were kept left it.
        skips: batches that it passed over after it had diverged.
    """
    folder = Path(layout.model_dir(asset, run_id))
    folder.mkdir(parents=True)
    mixture: dict[str, Any] = layout.read_json(layout.join("training_mixture", "mixture.json")) or {}
    config: dict[str, Any] = {"settings": {"seed": seed}, "steps": steps, "global_batch_size": batch}
    if is_old:
        mixture["shards"] = [{k: v for k, v in shard.items() if k != "spans"} for shard in mixture["shards"]]
    else:
        mixture = keep_spans(layout, mixture)
        config["order"] = order_mark(Reading(read_mixture(layout), seed, batch), steps)
    layout.write_json(str(folder / "config.json"), config)
    layout.write_json(str(folder / "mixture.json"), mixture)
    done = steps if made is None else made
    lines = [{"step": 0, "heldout_loss": 9.0}, *({"step": n, "loss": 9 - n / 100} for n in range(1, done + 1))]
    lines = sorted(
        [*({"step": skip.after_step + 1, "skipped": skip.to_plain()} for skip in skips), *lines],
        key=lambda line: int(str(line["step"])),
    )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 99, "lo')
    if made is None:
        layout.write_json(str(folder / "report.json"), {"steps": steps, "selected_at": "2026-01-02T00:00:00+00:00"})
    return folder
