"""`evaluation_report`: one HTML page on every model, from its first loss to its samples, and its numbers as JSON.

It reads what training left (report.json, metrics.jsonl) and imports nothing of it.
"""

import json
import math
import posixpath
from typing import Any, cast

from gristmill.core.layout import REPORT_NAME, Layout
from pipelines.commit import now
from pipelines.report.page import commit_page, data_uri, render
from pipelines.report.plots import Point, loss_plot

ASSET = "evaluation_report"
METRICS_NAME = "metrics.jsonl"
FIRST_SHOWN = ("pretrained_model", "finetuned_model", "lora_adapter", "qlora_adapter")
LOSSES = ("loss_first", "loss_last", "heldout_loss_first", "heldout_loss_last")
_FACTS = (
    "tokens_seen",
    "tokens_per_second",
    "seconds",
    "examples",
    "base_model",
    "base_run_id",
    "method",
    "adapter_bytes",
)


def write_evaluation_report(layout: Layout) -> dict[str, Any]:
    """Write `<root>/evaluation_report/{index.html, report.json}` on each model's run in force; returns the report."""
    models = [_model(layout, asset) for asset in trained_assets(layout)]
    created_at = now()
    html = render("evaluation_report.html", models=models, root=layout.root, created_at=created_at)
    report = {
        "asset": ASSET,
        "created_at": created_at,
        "models": [{k: v for k, v in model.items() if k != "loss_plot"} for model in models],
    }
    commit_page(layout, ASSET, html, report)
    return report


def trained_assets(layout: Layout) -> list[str]:
    """Model assets that have a committed run, in the order of the flow."""
    pattern = layout.join("models", "*", "*", REPORT_NAME)
    found = {path.split("/")[-3] for path in cast(list[str], layout.fs.glob(pattern))}
    return sorted(found, key=lambda a: (FIRST_SHOWN.index(a) if a in FIRST_SHOWN else len(FIRST_SHOWN), a))


def read_metrics(layout: Layout, folder: str) -> tuple[list[Point], list[Point]]:
    """Training and held-out loss of a run as (step, loss), sorted by step; a resumed step counts once, as run last."""
    training: dict[int, float] = {}
    heldout: dict[int, float] = {}
    try:
        lines = cast(bytes, layout.fs.cat_file(posixpath.join(folder, METRICS_NAME))).decode().splitlines()
    except FileNotFoundError:
        return [], []
    for line in lines:
        try:
            row = cast(dict[str, Any], json.loads(line))
        except json.JSONDecodeError:
            continue  # the line that a killed run was writing
        for name, points in (("loss", training), ("heldout_loss", heldout)):
            if isinstance(row.get(name), int | float) and math.isfinite(row[name]):
                points[int(row["step"])] = float(row[name])
    return sorted(training.items()), sorted(heldout.items())


def _model(layout: Layout, asset: str) -> dict[str, Any]:
    latest = layout.latest(layout.join("models", asset))
    assert latest is not None, "trained_assets names only assets with a committed run"
    run_id, report = latest
    training, heldout = read_metrics(layout, layout.model_dir(asset, run_id))
    return {
        "asset": asset,
        "run_id": run_id,
        "runs": len(cast(list[str], layout.fs.glob(layout.join("models", asset, "*", REPORT_NAME)))),
        "created_at": report.get("created_at", ""),
        "steps": report.get("steps"),
        "losses": [_number(report.get(name)) for name in LOSSES],
        "engagement": {k: _shown(v) for k, v in cast(dict[str, Any], report.get("engagement", {})).items()},
        "facts": {k: _shown(report[k]) for k in _FACTS if k in report},
        "samples": [_sample(s) for s in cast(list[dict[str, Any]], report.get("samples", []))],
        "loss_plot": data_uri(loss_plot(training, heldout, f"{asset} {run_id}")) if training or heldout else None,
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _shown(value: Any) -> str:
    """A value as a person reads it; whole numbers with separators, long lists shortened."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in cast(list[Any], value)[:16])
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _sample(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample as a title (step, prompt) and its texts: one of a base model, or without and with an adapter."""
    title = " · ".join(
        f"{name} {_shown(sample[name])}" for name in ("step", "prompt") if sample.get(name) not in (None, "")
    )
    texts = [
        ("" if name == "text" else name.replace("_", " "), str(value))
        for name, value in sample.items()
        if name not in ("step", "prompt") and value is not None
    ]
    return {"title": title, "texts": texts}
