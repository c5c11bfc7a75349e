"""`gristmill demo`: a small web made here, and the whole chain over it, up to a fine-tuned model."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
import yaml
from rich.console import Console

from gristmill.cli.corpus import offer_partitions
from gristmill.cli.funnel import print_funnel
from gristmill.cli.output import JsonOption, console, plain, print_json, table
from gristmill.core.layout import Layout
from gristmill.core.settings import SETTINGS_NAME

if TYPE_CHECKING:
    from gristmill.demo.fates import StageScore
    from gristmill.demo.web import DemoWeb

CORPUS = "demo"
SEGMENTS = 2
THROUGH = ("lora_adapter", "qlora_adapter", "corpus_report", "evaluation_report")
WEB = "web"
_SAMPLE_TOKENS = 60

# What a tiny model on a laptop needs other than the defaults; written once, then the user's to change.
SETTINGS: dict[str, dict[str, Any]] = {
    "tokenizer": {"vocabulary_size": 4096},
    "token_shards": {"sequence_length": 256, "heldout_fraction": 0.03},
    # Small batches: 380 steps of 4 end at a loss of 3.1, 220 steps of 8 in as long at 3.6.
    "pretrained_model": {"model": "tiny", "steps": 380, "global_batch_size": 4, "learning_rate": 2.0e-3},
    "lora_adapter": {"steps": 100, "batch_size": 8},
    "qlora_adapter": {"steps": 100, "batch_size": 8},
}
_SETTINGS_HEAD = """\
# Settings of the demo, one section per asset; whatever is not here has its default.
# Change one and run `make demo` again: only what depends on it is made again.
"""


def demo(
    home: Annotated[Path, typer.Option("--home", help="Where the demo's data goes.")] = Path("demo-data"),
    pages: Annotated[int, typer.Option(help="Pages of the small web.", min=60)] = 3000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same web.")] = 7,
    is_json: JsonOption = False,
) -> None:
    """Make a small web, curate it, train a tiny model on it, fine-tune that, and say how well each stage did."""
    begun = time.monotonic()
    layout = Layout(home)
    web = make_web(home / WEB, seed, pages)
    write_settings(home / SETTINGS_NAME, web.instructions)
    register(layout, web.warc_files)

    from gristmill.cli.run import materialize

    seconds = materialize(layout, CORPUS, THROUGH, settings_file=home / SETTINGS_NAME)
    found = findings(layout, web.manifest)
    seconds["total"] = round(time.monotonic() - begun, 1)
    if is_json:
        print_json(found | {"web": {"pages": web.pages, "counts": web.counts, "seed": seed}, "seconds": seconds})
        return
    show(console(), layout, found, seconds["total"])


def make_web(folder: Path, seed: int, pages: int) -> "DemoWeb":
    """The small web, made anew only where another one, or none, is there."""
    from gristmill.cli.progress import bar
    from gristmill.demo.web import make_demo

    with bar("a small web", "pages") as progress:
        return make_demo(folder, seed=seed, pages=pages, on_progress=progress)


def write_settings(path: Path, instructions: Path) -> None:
    """The demo's settings file, unless the user has one there already."""
    if path.is_file():
        return
    sections = SETTINGS | {"instruction_dataset": {"paths": [str(instructions.absolute())]}}
    text = _SETTINGS_HEAD + yaml.safe_dump(sections, sort_keys=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def register(layout: Layout, warc_files: Sequence[Path]) -> None:
    """Register the web's WARC files as the corpus `demo`."""
    from pipelines.crawl.corpora import add_corpus

    corpus = add_corpus(layout, CORPUS, [str(f.absolute()) for f in warc_files], segments=SEGMENTS, is_replacing=True)
    offer_partitions(layout, corpus)


def findings(layout: Layout, manifest: Path) -> dict[str, Any]:
    """All that the demo shows at its end, JSON-ready."""
    from gristmill.cli.generate import resolve_adapter, resolve_model, sample
    from gristmill.demo.fates import evaluate
    from pipelines.report.funnel import compute_funnel

    model, adapter = resolve_model(layout, "latest"), resolve_adapter(layout, "lora")
    prompt, expected = question(layout)
    return {
        "funnel": compute_funnel(layout, CORPUS).to_plain(),
        "scores": [_plain_score(score) for score in evaluate(layout, CORPUS, manifest)],
        "models": [_losses(layout, asset) for asset in ("pretrained_model", "lora_adapter", "qlora_adapter")],
        "sample": {
            "prompt": prompt,
            "expected": expected,
            "without_adapter": sample(model, None, prompt, _SAMPLE_TOKENS, is_chat=True),
            "with_adapter": sample(model, adapter, prompt, _SAMPLE_TOKENS, is_chat=True),
        },
    }


def question(layout: Layout) -> tuple[str, str]:
    """A question that fine-tuning has not seen, and its answer: the shortest held-out one, or the shortest at all."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for path in layout.parts(layout.singleton_dir("instruction_dataset")):
        with layout.fs.open(path, "rb") as file:
            rows += cast(list[dict[str, Any]], pq.read_table(file, columns=["messages", "split"]).to_pylist())
    row = min(rows, key=lambda row: (row["split"] != "heldout", len(row["messages"])))
    said = {message["role"]: message["content"] for message in cast(list[dict[str, str]], json.loads(row["messages"]))}
    return said["user"], said["assistant"]


def show(out: Console, layout: Layout, found: dict[str, Any], seconds: float) -> None:
    """The end of the demo, for people."""
    from pipelines.report.funnel import compute_funnel

    out.print()
    print_funnel(out, compute_funnel(layout, CORPUS))
    out.print()
    out.print(_score_table(found["scores"]))
    out.print()
    out.print(_loss_table(found["models"]))
    sample = found["sample"]
    out.print("\n[bold]A question that fine-tuning has not seen[/]")
    labels = {
        "prompt": "asked",
        "expected": "the right answer",
        "without_adapter": "the model alone",
        "with_adapter": "with the adapter",
    }
    for key, label in labels.items():
        out.print(f"  [dim]{label}:[/] {plain(' '.join(str(sample[key]).split()))}")
    home = layout.root
    out.print(f"\n[bold]Done in {seconds:.0f} s.[/] Where to look next:")
    for line in (
        f"{home}/corpus_report/index.html           what was thrown away, and why",
        f"{home}/evaluation_report/index.html       what the models learned",
        "make demo-ui                               the same in Dagster",
        f"gristmill funnel demo --home {home}",
        f"gristmill generate latest --home {home} --prompt 'Once upon a time'",
        f"gristmill generate latest --home {home} --adapter lora --chat --prompt 'Who …?'",
    ):
        out.print(f"  {plain(line)}")


def _plain_score(score: "StageScore") -> dict[str, Any]:
    return {
        "stage": score.stage,
        "expected": score.expected,
        "found": score.found,
        "true_positive": score.true_positive,
        "precision": score.precision,
        "recall": score.recall,
        "note": score.note,
    }


def _losses(layout: Layout, asset: str) -> dict[str, Any]:
    latest = layout.latest(layout.join("models", asset))
    run_id, report = latest if latest is not None else ("", cast(dict[str, Any], {}))
    names = ("steps", "loss_first", "loss_last", "heldout_loss_first", "heldout_loss_last", "seconds")
    return {"model": asset, "run_id": run_id} | {name: report.get(name) for name in names}


def _score_table(scores: Sequence[dict[str, Any]]) -> Any:
    shown = table("stage", "#should go", "#went", "#rightly", "#precision", "#recall", "")
    shown.title = "Every page's fate is known: how well did each stage find what it should reject?"
    for score in scores:
        shown.add_row(
            plain(score["stage"]),
            f"{score['expected']:,}",
            f"{score['found']:,}",
            f"{score['true_positive']:,}",
            _share(score["precision"]),
            _share(score["recall"]),
            plain(score["note"]),
        )
    return shown


def _loss_table(models: Sequence[dict[str, Any]]) -> Any:
    shown = table("model", "#steps", "#loss, first step", "#last step", "#held out, first", "#last")
    shown.title = "Loss in nats per token"
    for model in models:
        losses = [model[name] for name in ("loss_first", "loss_last", "heldout_loss_first", "heldout_loss_last")]
        shown.add_row(model["model"], str(model["steps"] or "–"), *[_loss(value) for value in losses])
    return shown


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
