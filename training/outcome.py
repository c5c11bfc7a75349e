"""What a run leaves at its end: the model in final/, and the numbers that its report is made of."""

import json
import shutil
from pathlib import Path
from typing import Any

from torch import distributed

from training.engine import save_model
from training.run_state import RunState
from training.utilisation import peak_memory_bytes


def finish(s: RunState) -> None:
    """Write final/ and result.json, from which the launcher makes the report."""
    aside = s.folder / ".final.tmp"
    if s.place.is_first:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
    save_model(s.engine, s.place, aside)
    memory: list[int] = [0] * s.place.world_size
    distributed.all_gather_object(memory, peak_memory_bytes())
    if s.telemetry is None:
        return
    version = s.loader.mixture.tokenizer_version
    for source in sorted(Path(s.layout.tokenizer_dir(version)).iterdir()):
        if source.name in {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}:
            shutil.copyfile(source, aside / source.name)
    shutil.rmtree(s.folder / "final", ignore_errors=True)
    aside.rename(s.folder / "final")
    s.telemetry.close()
    (s.folder / "result.json").write_text(json.dumps(_result(s, memory)), encoding="utf-8")


def _result(s: RunState, memory: list[int]) -> dict[str, Any]:
    assert s.telemetry is not None
    p = s.progress
    skipped = p.cursor.skipped
    heldout = {f"{name}_first": value for name, value in p.heldout_first.items()}
    heldout |= {f"{name}_last": value for name, value in p.heldout_last.items()}
    return {
        "engagement": s.engagement.to_plain(),
        "steps": p.step,
        "tokens_seen": p.tokens,
        "loss_first": p.loss_first,
        "loss_last": p.loss_last,
        "heldout_loss_first": None,
        "heldout_loss_last": None,
        **heldout,
        "samples": p.samples,
        "seconds": round(p.seconds, 3),
        "tokens_per_second": round(p.tokens / max(p.seconds, 1e-9), 1),
        "data_wait": round(p.waited / max(p.seconds, 1e-9), 5),
        **s.telemetry.summary(),
        "memory_bytes": max(memory),
        "memory_bytes_per_rank": memory,
        "rewinds": len(p.skips),
        "skipped_batches": skipped,
        "skips": p.skips,
        "cursor": {
            "step": p.step,
            "batches": p.step + skipped,
            "sequences": (p.step + skipped) * s.settings.global_batch_size,
        },
    }
