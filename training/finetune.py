"""lora_adapter and qlora_adapter: `python -m training.finetune --method lora|qlora --root R`.

One process, one loop: held-out loss and answers before, training, the same after; then the adapter is saved,
read back onto a fresh base, and the held-out loss compared. A finished run is reused; an unfinished one, being
minutes long, starts again.
"""

import hashlib
import json
import math
import posixpath
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.core.errors import GristmillError, MissingDataError
from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from training.arguments import LoraSettings, QloraSettings
from training.digests import file_sha256
from training.learning_rate import learning_rate
from training.loader import IGNORED_LABEL
from training.metrics import MetricsLog
from training.runs import Run, code_version, fingerprint, latest_final, open_run
from training.worker import resolve_settings, run_worker, worker_parser

METHODS: dict[str, tuple[str, type[LoraSettings]]] = {
    "lora": ("lora_adapter", LoraSettings),
    "qlora": ("qlora_adapter", QloraSettings),
}
CODE = ("adapters", "arguments", "chat", "finetune", "learning_rate", "model")
RELOAD_TOLERANCE = 1e-3  # relative; the same weights on the same base, so only arithmetic order may differ
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


class FinetuneError(GristmillError):
    """Fine-tuning went wrong in a way the user should know of."""

    exit_code = 3


@dataclass(frozen=True)
class Example:
    """One tokenized conversation."""

    messages: list[dict[str, str]]
    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Setup:
    """A validated run, before torch is imported."""

    asset: str
    settings: LoraSettings
    base: Path
    train: list[Example]
    heldout: list[Example]
    steps: int
    inputs: dict[str, str]
    fingerprint: str


def setup(layout: Layout, method: str, settings: LoraSettings) -> Setup:
    """Find the base and the examples and check that they belong together.

    Raises:
        MissingDataError: one is not there, or the dataset was made with another tokenizer than the base has.
    """
    folder = layout.singleton_dir("instruction_dataset")
    report = layout.read_json(posixpath.join(folder, "report.json"))
    if report is None:
        raise MissingDataError(
            f"instruction_dataset is not materialized under {layout.root}: run `python -m training.instructions` first"
        )
    if settings.base_model:
        base = Path(settings.base_model)
        if not (base / "config.json").is_file():
            raise MissingDataError(f"base_model {base} is not a model folder (no config.json in it)")
        weights = sorted(base.glob("*.safetensors"))
        base_mark = hashlib.sha256(b"".join(bytes.fromhex(file_sha256(path)) for path in weights)).hexdigest()[:32]
    else:
        base, base_report = latest_final(layout)
        base_mark = str(base_report["fingerprint"])
    tokenizer = base / "tokenizer.json"
    used = Path(layout.tokenizer_dir(report["tokenizer_version"])) / tokenizer.name
    if not tokenizer.is_file() or not used.is_file() or file_sha256(tokenizer) != file_sha256(used):
        raise MissingDataError(
            f"instruction_dataset was made with tokenizer {report['tokenizer_version']}, which is not the one beside "
            f"{base}: run `python -m training.instructions --force` after choosing that tokenizer"
        )
    examples = _read_examples(Path(folder) / "part-00000.parquet")
    if not examples["train"] or not examples["heldout"]:
        raise MissingDataError("instruction_dataset has no training or no held-out examples: give it more rows")
    steps = settings.steps or max(1, math.ceil(settings.epochs * len(examples["train"]) / settings.batch_size))
    asset = METHODS[method][0]
    inputs = {"base_model": base_mark, "instruction_dataset": str(report["fingerprint"])}
    mark = fingerprint(asset, to_plain(settings), inputs, code_version(CODE))
    return Setup(
        asset, settings, base, examples["train"], examples["heldout"][: settings.evaluate_examples], steps, inputs, mark
    )


def _read_examples(path: Path) -> dict[str, list[Example]]:
    import pyarrow.parquet as pq

    splits: dict[str, list[Example]] = {"train": [], "heldout": []}
    for row in pq.read_table(path).to_pylist():
        splits[row["split"]].append(Example(json.loads(row["messages"]), row["input_ids"], row["labels"]))
    return splits


def batches(examples: Sequence[Example], settings: LoraSettings, steps: int) -> Iterator[list[Example]]:
    """`steps` batches; every epoch has its own order, and one goes on into the next without a short batch."""
    import numpy as np

    order: list[int] = []
    epoch = 0
    for _ in range(steps):
        while len(order) < settings.batch_size:
            order += np.random.default_rng([settings.seed, epoch]).permutation(len(examples)).tolist()
            epoch += 1
        yield [examples[i] for i in order[: settings.batch_size]]
        del order[: settings.batch_size]


def collate(examples: Sequence[Example], device: Any) -> dict[str, Any]:
    """Rows padded on the right to the longest; labels there are ignored, and causal attention never looks there."""
    import torch

    width = max(len(e.input_ids) for e in examples)
    ids = torch.zeros((len(examples), width), dtype=torch.long)
    labels = torch.full((len(examples), width), IGNORED_LABEL, dtype=torch.long)
    for row, example in enumerate(examples):
        ids[row, : len(example.input_ids)] = torch.tensor(example.input_ids)
        labels[row, : len(example.labels)] = torch.tensor(example.labels)
    positions = torch.arange(width).expand(len(examples), width)
    return {"input_ids": ids.to(device), "labels": labels.to(device), "position_ids": positions.to(device)}


def heldout_loss(model: Any, examples: Sequence[Example], size: int) -> float:
    """Mean loss per learnt token over `examples`, `size` at a time."""
    import torch

    from training.model import labelled_tokens, loss_sum

    device = next(model.parameters()).device
    total, tokens = 0.0, 0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(examples), size):
            batch = collate(examples[start : start + size], device)
            total += float(loss_sum(model, batch))
            tokens += labelled_tokens(batch["labels"])
    model.train(was_training)
    return total / max(tokens, 1)


def answers(
    model: Any, chat: Any, examples: Sequence[Example], settings: LoraSettings, step: int
) -> list[dict[str, Any]]:
    """What the model answers to the first held-out questions."""
    from training.sampling import continue_tokens

    found: list[dict[str, Any]] = []
    for example in examples[: settings.samples if settings.sample_tokens else 0]:
        last = max(n for n, m in enumerate(example.messages) if m["role"] == "assistant")
        asked = example.messages[:last]
        made = continue_tokens(
            model, chat.encode_prompt(asked), max_new_tokens=settings.sample_tokens, stop_ids=chat.stop_ids
        )
        question = asked[-1]["content"] if asked else ""
        expected = example.messages[last]["content"]
        found.append({"step": step, "prompt": question, "text": chat.tokenizer.decode(made), "expected": expected})
    return found


def train(model: Any, s: Setup, metrics: MetricsLog, reporter: Reporter) -> dict[str, Any]:
    """The loop; returns first and last loss, tokens and seconds.

    Raises:
        FinetuneError: the loss is not finite; the line names the step.
    """
    import torch

    from training.model import labelled_tokens, loss_sum, weight_decay_groups

    settings, device = s.settings, next(model.parameters()).device
    optimizer = torch.optim.AdamW(weight_decay_groups(model, settings.weight_decay), lr=settings.learning_rate)
    trainable = [p for p in model.parameters() if p.requires_grad]
    warmup, size = round(settings.warmup_ratio * s.steps), settings.micro_batch_size or settings.batch_size
    seen, started, losses = 0, time.monotonic(), [math.nan, math.nan]
    for step, examples in enumerate(batches(s.train, settings, s.steps), start=1):
        rate = learning_rate(
            step, steps=s.steps, warmup=warmup, peak=settings.learning_rate, min_ratio=settings.min_lr_ratio
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        micro = [collate(examples[i : i + size], device) for i in range(0, len(examples), size)]
        tokens = sum(labelled_tokens(batch["labels"]) for batch in micro)
        loss = 0.0
        for batch in micro:
            part = loss_sum(model, batch) / max(tokens, 1)
            part.backward()
            loss += float(part.detach())
        if not math.isfinite(loss):
            raise FinetuneError(f"the loss at step {step} is {loss}: lower learning_rate and run again")
        norm = torch.nn.utils.clip_grad_norm_(trainable, settings.gradient_clip or math.inf)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        seen += tokens
        losses = [loss if step == 1 else losses[0], loss]
        seconds = time.monotonic() - started
        metrics.write(
            step=step,
            loss=loss,
            learning_rate=rate,
            grad_norm=float(norm),
            tokens=seen,
            tokens_per_second=round(seen / seconds, 1),
            seconds=round(seconds, 3),
        )
        reporter.progress(s.asset, step, s.steps, "steps", f"loss {loss:.3f}")
        if settings.evaluate_every and step % settings.evaluate_every == 0 and step < s.steps:
            metrics.write(step=step, heldout_loss=heldout_loss(model, s.heldout, size))
    seconds = time.monotonic() - started
    return {
        "steps": s.steps,
        "tokens_seen": seen,
        "loss_first": losses[0],
        "loss_last": losses[1],
        "seconds": round(seconds, 3),
        "tokens_per_second": round(seen / seconds, 1),
    }


def finetune(layout: Layout, method: str, settings: LoraSettings, reporter: Reporter, *, is_forced: bool) -> None:
    """Train an adapter, or choose again the one that is there for the same base, examples and settings."""
    s = setup(layout, method, settings)
    config = {"settings": to_plain(settings), "inputs": s.inputs, "fingerprint": s.fingerprint, "base": str(s.base)}
    with open_run(layout, s.asset, config, s.fingerprint) as run:
        if is_forced:
            run.discard()
        if run.report() is not None:
            reporter.info(f"{s.asset} run {run.run_id}: already trained on the same base and examples; chosen again")
            _tell(reporter, run, run.select())
            return
        reporter.info(f"{s.asset} run {run.run_id}: {len(s.train):,} examples, {s.steps:,} steps; loading {s.base}")
        report = _run(s, run, reporter)
        _tell(reporter, run, run.commit({"settings": to_plain(settings), "inputs": s.inputs} | report))


def _run(s: Setup, run: Run, reporter: Reporter) -> dict[str, Any]:
    from training.adapters import add_adapter, load_base, measure_adapter, reload
    from training.chat import Chat

    settings, size = s.settings, s.settings.micro_batch_size or s.settings.batch_size
    chat = Chat(s.base)
    model = add_adapter(load_base(s.base, settings), settings)
    engagement = measure_adapter(model, settings)
    four_bit = (
        f", {engagement.linear_4bit_modules} layers in {engagement.quantization} at "
        f"{engagement.bits_per_parameter} bits a parameter, double quantisation {engagement.double_quantization}"
        if engagement.linear_4bit_modules
        else ""
    )
    reporter.info(
        f"engaged: {engagement.trainable_parameters:,} trainable of {engagement.parameters:,} parameters, "
        f"{engagement.lora_modules} LoRA layers on {engagement.device}{four_bit}"
    )
    metrics = MetricsLog(run.metrics)
    first = heldout_loss(model, s.heldout, size)  # B is zero, so this is the base's own loss
    metrics.write(step=0, heldout_loss=first)
    samples = answers(model, chat, s.heldout, settings, 0)
    result = train(model, s, metrics, reporter)
    last = heldout_loss(model, s.heldout, size)
    metrics.write(step=s.steps, heldout_loss=last)
    metrics.close()
    samples += answers(model, chat, s.heldout, settings, s.steps)
    _save(model, s.base, run)
    again = heldout_loss(reload(s.base, run.final, settings), s.heldout, size)
    if abs(again - last) > RELOAD_TOLERANCE * abs(last):
        raise FinetuneError(
            f"the adapter in {run.final} gives a held-out loss of {again:.5f} when read back, {last:.5f} before it was "
            "saved: do not use it, and report this with the versions of peft and transformers"
        )
    reporter.info(f"held-out loss {first:.4f} -> {last:.4f}; read back from disk {again:.4f}")
    return result | {
        "engagement": engagement.to_plain(),
        "base_model": str(s.base),
        "heldout_loss_first": first,
        "heldout_loss_last": last,
        "heldout_loss_reloaded": again,
        "heldout_examples": len(s.heldout),
        "samples": samples,
    }


def _save(model: Any, base: Path, run: Run) -> None:
    aside = run.folder / ".final.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(str(aside), safe_serialization=True, save_embedding_layers=False)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, aside / name)
    shutil.rmtree(run.final, ignore_errors=True)
    aside.rename(run.final)


def _tell(reporter: Reporter, run: Run, report: dict[str, Any]) -> None:
    names = ("loss_first", "loss_last", "heldout_loss_first", "heldout_loss_last", "heldout_loss_reloaded", "seconds")
    reporter.result(
        {"asset": run.asset, "run_id": run.run_id, "folder": str(run.folder)} | {n: report[n] for n in names}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = worker_parser("training.finetune", __doc__)
    parser.add_argument("--method", required=True, choices=sorted(METHODS))
    given = parser.parse_args(arguments)
    asset, settings_class = METHODS[given.method]

    def work(reporter: Reporter) -> None:
        layout = Layout(given.root)
        settings = resolve_settings(settings_class, asset, layout, given.settings_file, given.settings)
        finetune(layout, given.method, settings, reporter, is_forced=given.force)

    return run_worker(work)


if __name__ == "__main__":
    sys.exit(main())
