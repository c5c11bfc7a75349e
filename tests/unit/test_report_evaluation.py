"""The page on models, over a run folder written by hand."""

import json

from gristmill.core.layout import Layout
from gristmill.core.quantities import human_bytes
from pipelines.report.evaluation_report import read_metrics, trained_assets, write_evaluation_report

RUN = "0123456789ab"


def make_run(layout: Layout, asset: str, **more: object) -> str:
    folder = layout.model_dir(asset, RUN)
    lines = [{"step": 1, "loss": 6.0}, {"step": 1, "heldout_loss": 6.1}, {"step": 2, "loss": 5.0}]
    layout.write_bytes(f"{folder}/metrics.jsonl", "\n".join(map(json.dumps, lines)).encode() + b'\n{"step": 3, "lo')
    report = {"asset": asset, "run_id": RUN, "steps": 2, "loss_first": 6.0, "loss_last": 5.0} | more
    layout.write_json(f"{folder}/report.json", report)
    return folder


def test_no_model_yet(layout: Layout) -> None:
    assert write_evaluation_report(layout)["models"] == []
    assert b"No model is trained yet" in layout.fs.cat_file(layout.join("evaluation_report", "index.html"))


def test_a_line_cut_by_a_kill_is_left_out(layout: Layout) -> None:
    assert read_metrics(layout, make_run(layout, "pretrained_model")) == ([(1, 6.0), (2, 5.0)], [(1, 6.1)])


def test_models_in_the_order_of_the_flow(layout: Layout) -> None:
    for asset in ("reward_model", "qlora_adapter", "pretrained_model", "lora_adapter"):
        make_run(layout, asset)
    assert trained_assets(layout) == ["pretrained_model", "lora_adapter", "qlora_adapter", "reward_model"]


def test_the_page_shows_samples_escaped(layout: Layout) -> None:
    samples = [{"step": 2, "prompt": "Once", "text": "<img src=x onerror=alert(1)>"}]
    make_run(layout, "pretrained_model", samples=samples, engagement={"engine_class": "DeepSpeedEngine"})
    model = write_evaluation_report(layout)["models"][0]
    page = layout.fs.cat_file(layout.join("evaluation_report", "index.html")).decode()
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    assert "DeepSpeedEngine" in page
    assert model["losses"] == [6.0, 5.0, None, None]


def test_bytes_for_people() -> None:
    assert [human_bytes(n) for n in (0, 999, 1530, 999_700, 2.5e12)] == ["0 B", "999 B", "1.5 kB", "1.0 MB", "2.5 TB"]
