"""One rank of a pretraining run: `setup` brings everything up and checks it, `train` is the loop.

Started by training/pretrain.py, once per rank. The position of a run is its step: batch, learning rate and
sampling are functions of it, so a run resumed from step s goes on as if it had never stopped.
"""

import argparse
import json
import math
import os
import shutil
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.launch import EventReporter, die_with_launcher

if __name__ == "__main__":
    die_with_launcher()  # before the seconds that the imports below take

import torch

from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter
from gristmill.core.settings import build
from training.arguments import PretrainSettings
from training.checkpoint import Checkpoints
from training.engagement import Engagement, measure_engagement
from training.engine import loss_scale, save_model, set_learning_rate, skipped_steps, start_engine
from training.learning_rate import learning_rate
from training.loader import Batch, Loader
from training.metrics import MetricsLog
from training.model import labelled_tokens, model_for
from training.objective import make_objective
from training.place import Place, join_ranks, sum_over_ranks
from training.sampling import continue_tokens, load_tokenizer
from training.shards import read_mixture
from training.worker import STOPPED

SPIKE_WINDOW = 50  # steps whose mean loss a spike is measured against
SAMPLE_TEMPERATURE = 0.7


class TrainingDivergedError(GristmillError):
    """The loss is not finite, or jumped."""

    exit_code = 3


class StoppedError(Exception):
    """The run was asked to stop and has saved a checkpoint."""


@dataclass
class Progress:
    """What a checkpoint keeps of the loop."""

    step: int = 0  # optimizer steps made
    tokens: int = 0  # labelled tokens learnt from
    seconds: float = 0.0  # of training, over all resumptions
    loss_first: float | None = None
    loss_last: float | None = None
    heldout_loss_first: float | None = None
    heldout_loss_last: float | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)
    recent_losses: list[float] = field(default_factory=list)


@dataclass
class Setup:
    """Everything the loop works with."""

    run_id: str
    settings: PretrainSettings
    steps: int
    place: Place
    reporter: Reporter
    engine: Any
    engagement: Engagement
    loader: Loader
    tokenizer: Any
    stop_id: int
    checkpoints: Checkpoints
    metrics: MetricsLog | None  # rank 0 alone writes
    progress: Progress


def setup(layout: Layout, folder: Path, place: Place, reporter: Reporter) -> Setup:
    """Read the run's config, start data, model and engine, prove what is engaged, resume where a run was left.

    Raises:
        GristmillError: data is missing, or something else than what was asked for is engaged.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings = build(PretrainSettings, config["settings"], f"{folder / 'config.json'}: settings")
    mixture = read_mixture(layout)
    loader = Loader(layout, seed=settings.seed, rank=place.rank, world_size=place.world_size, mixture=mixture)
    tokenizer = load_tokenizer(Path(layout.tokenizer_dir(mixture.tokenizer_version)))
    model = model_for(settings, tokenizer.get_vocab_size(), mixture.sequence_length, mixture.eot_id, mixture.pad_id)
    engine = start_engine(make_objective(model, settings, place.device), settings, place)
    engagement = measure_engagement(engine, settings, place)
    checkpoints = Checkpoints(folder / "checkpoints", place, settings.keep_checkpoints)
    loaded = checkpoints.load(engine)
    progress = Progress() if loaded is None else Progress(**loaded[1])
    for problem in checkpoints.problems if place.is_first else []:
        reporter.warning(problem)
    if loaded is not None:
        reporter.info(f"resuming at step {progress.step:,} of {config['steps']:,}")
    metrics = MetricsLog(folder / "metrics.jsonl", progress.step if loaded else -1) if place.is_first else None
    return Setup(
        run_id=folder.name,
        settings=settings,
        steps=config["steps"],
        place=place,
        reporter=reporter,
        engine=engine,
        engagement=engagement,
        loader=loader,
        tokenizer=tokenizer,
        stop_id=mixture.eot_id,
        checkpoints=checkpoints,
        metrics=metrics,
        progress=progress,
    )


def train(s: Setup, stop_flag: list[bool]) -> None:
    """Train to the last step.

    Args:
        s: from `setup`.
        stop_flag: its one value becomes True when the run is asked to stop.

    Raises:
        TrainingDivergedError: the loss or the gradient is not finite, or the loss jumped.
        StoppedError: it was asked to stop; a checkpoint was saved first.
    """
    settings, p = s.settings, s.progress
    recent = deque(p.recent_losses, maxlen=SPIKE_WINDOW)
    if p.step == 0:
        _look(s)  # loss and samples before anything is learnt
    while p.step < s.steps:
        started, step = time.monotonic(), p.step + 1
        rate = learning_rate(
            step,
            steps=s.steps,
            warmup=settings.warmup_steps,
            peak=settings.learning_rate,
            min_ratio=settings.min_lr_ratio,
            decay_ratio=settings.decay_ratio if settings.schedule == "wsd" else None,
        )
        set_learning_rate(s.engine, rate)
        loss, tokens = train_step(s, step, recent)
        norm = float(s.engine.get_global_grad_norm() or 0.0)
        scale = loss_scale(s.engine)
        if not math.isfinite(norm) and scale is None:  # with a loss scale an overflow is skipped, not an error
            raise TrainingDivergedError(f"the gradient at step {step} is not finite: {_way_out(s, step)}")

        seconds = time.monotonic() - started
        recent.append(loss)
        p.step, p.tokens, p.seconds, p.loss_last = step, p.tokens + tokens, p.seconds + seconds, loss
        p.loss_first = loss if p.loss_first is None else p.loss_first
        p.recent_losses = list(recent)
        _log(
            s,
            loss=loss,
            learning_rate=rate,
            grad_norm=norm if math.isfinite(norm) else None,
            **({} if scale is None else {"loss_scale": scale, "skipped_steps": skipped_steps(s.engine)}),
            tokens=p.tokens,
            tokens_per_second=round(tokens / seconds, 1),
            seconds=round(p.seconds, 3),
        )
        if s.place.is_first:
            note = f"loss {loss:.3f}, {tokens / seconds:,.0f} tok/s"
            s.reporter.progress("pretraining", step, s.steps, "steps", note)
        is_last = step == s.steps
        _look(
            s,
            is_evaluated=is_last or _is_due(step, settings.evaluate_every),
            is_sampled=is_last or _is_due(step, settings.sample_every),
        )
        # The ranks agree to stop: a signal reaches each at another moment.
        is_stopping = sum_over_ranks(s.place, float(stop_flag[0]))[0] > 0
        if is_stopping or is_last or _is_due(step, settings.checkpoint_every):
            s.checkpoints.save(s.engine, step, vars(p))
        if is_stopping and not is_last:
            raise StoppedError(f"stopped at step {step:,}; run the same command again to go on")


def train_step(s: Setup, step: int, recent: deque[float]) -> tuple[float, int]:
    """One optimizer step over the global batch; returns the mean loss per token and the tokens, over all ranks.

    The loss of each micro-batch is a sum divided by the labelled tokens of the whole global batch: padding and
    accumulation weigh nothing, and the gradient does not depend on how the batch is cut.
    """
    settings = s.settings
    batch = s.loader.batch(step - 1, settings.global_batch_size)
    tokens = int(sum_over_ranks(s.place, labelled_tokens(batch.labels))[0])
    # DeepSpeed divides by the accumulation steps and averages over the ranks: undo both.
    scale = settings.accumulation * s.place.world_size / max(tokens, 1)
    mine, loss = torch.zeros((), device=s.place.device, dtype=torch.float64), math.nan
    for micro in _micro_batches(batch, settings.micro_batch):
        summed = s.engine(**micro.to_torch(s.place.device))
        s.engine.backward(summed * scale)
        mine += summed.detach()  # not read before the last: the GPU would wait for it
        if s.engine.is_gradient_accumulation_boundary():
            loss = sum_over_ranks(s.place, float(mine))[0] / max(tokens, 1)
            _refuse_divergence(s, step, loss, recent)
        s.engine.step()
    return loss, tokens


def heldout_loss(s: Setup) -> float | None:
    """Mean loss per token over the held-out sequences, None where there is none."""
    settings = s.settings
    total, tokens = 0.0, 0
    s.engine.eval()
    with torch.no_grad():
        for batch in s.loader.held_out_batches(settings.global_batch_size, settings.evaluate_sequences):
            for micro in _micro_batches(batch, settings.micro_batch):
                total += float(s.engine(**micro.to_torch(s.place.device)))
            tokens += labelled_tokens(batch.labels)
    s.engine.train()
    summed, count = sum_over_ranks(s.place, total, tokens)
    return summed / count if count else None


def _look(s: Setup, *, is_evaluated: bool = True, is_sampled: bool = True) -> None:
    """Held-out loss and sample texts; every rank takes part (ZeRO-3 gathers weights in each forward pass)."""
    p = s.progress
    if is_evaluated and (loss := heldout_loss(s)) is not None:
        p.heldout_loss_first = loss if p.heldout_loss_first is None else p.heldout_loss_first
        p.heldout_loss_last = loss
        _log(s, heldout_loss=loss)
    if is_sampled and s.settings.sample_tokens:
        for prompt in s.settings.sample_prompts:
            ids = s.tokenizer.encode(prompt, add_special_tokens=False).ids or [s.stop_id]
            made = continue_tokens(
                s.engine.module,  # the objective generates as its model does, with what an engine hooks in
                ids,
                max_new_tokens=s.settings.sample_tokens,
                stop_ids=(s.stop_id,),
                temperature=SAMPLE_TEMPERATURE,
                seed=s.settings.seed,
            )
            text = s.tokenizer.decode(made)
            p.samples.append({"step": p.step, "prompt": prompt, "text": text})
            if s.place.is_first:
                s.reporter.info(f"step {p.step:,}: {prompt!r} -> {text!r}")


def _micro_batches(batch: Batch, size: int) -> list[Batch]:
    return [batch[start : start + size] for start in range(0, len(batch), size)]


def _refuse_divergence(s: Setup, step: int, loss: float, recent: deque[float]) -> None:
    if not math.isfinite(loss):
        raise TrainingDivergedError(f"the loss at step {step} is {loss}: {_way_out(s, step)}")
    factor = s.settings.spike_factor
    if factor and len(recent) == SPIKE_WINDOW and loss > factor * (mean := sum(recent) / len(recent)):
        raise TrainingDivergedError(
            f"the loss at step {step} is {loss:.3f}, more than {factor:g} times the {mean:.3f} of the {SPIKE_WINDOW} "
            f"steps before: {_way_out(s, step)}"
        )


def _way_out(s: Setup, step: int) -> str:
    p = s.progress
    last = f" (last good step: {p.step}, loss {p.loss_last:.3f})" if p.loss_last else ""
    return (
        f"see what it read with `gristmill trace {s.run_id} --step {step} --text`; lower learning_rate, lengthen "
        f"warmup_steps or lower gradient_clip, and run again{last}"
    )


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _log(s: Setup, **values: Any) -> None:
    if s.metrics is not None:
        s.metrics.write(step=s.progress.step, **values)


def finish(s: Setup, layout: Layout, folder: Path) -> None:
    """Write final/ and result.json, from which the launcher makes the report."""
    aside = folder / ".final.tmp"
    if s.place.is_first:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
    save_model(s.engine, s.place, aside)
    if not s.place.is_first:
        return
    version = s.loader.mixture.tokenizer_version
    for source in sorted(Path(layout.tokenizer_dir(version)).iterdir()):
        if source.name in {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}:
            shutil.copyfile(source, aside / source.name)
    shutil.rmtree(folder / "final", ignore_errors=True)
    aside.rename(folder / "final")
    assert s.metrics is not None
    s.metrics.close()
    p = s.progress
    result = {
        "engagement": s.engagement.to_plain(),
        "steps": p.step,
        "tokens_seen": p.tokens,
        "loss_first": p.loss_first,
        "loss_last": p.loss_last,
        "heldout_loss_first": p.heldout_loss_first,
        "heldout_loss_last": p.heldout_loss_last,
        "samples": p.samples,
        "seconds": round(p.seconds, 3),
        "tokens_per_second": round(p.tokens / max(p.seconds, 1e-9), 1),
        "cursor": {"step": p.step, "sequences": p.step * s.settings.global_batch_size},
    }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def main() -> int:
    """Entry point of one rank; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.loop", description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--run-folder", required=True, type=Path)
    given = parser.parse_args()
    stop_flag = [False]

    def ask_to_stop(*_: object) -> None:
        stop_flag[0] = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    reporter = EventReporter() if os.environ.get("RANK") == "0" else Reporter()
    try:
        with join_ranks() as place:
            layout = Layout(given.root)
            s = setup(layout, given.run_folder, place, reporter)
            if place.is_first:
                e = s.engagement
                reporter.info(
                    f"engaged: {e.engine_class} over {e.backend}, {e.strategy} ({e.zero_optimizer}), "
                    f"{e.world_size} ranks on {e.device}, {e.dtype} with {e.master_dtype} master weights, "
                    f"{e.optimizer}, {e.attention} attention, {e.loss_kernel} loss, {e.parameters:,} parameters, "
                    f"elements per rank {', '.join(f'{n:,}' for n in e.elements_per_rank)}"
                )
            train(s, stop_flag)
            finish(s, layout, given.run_folder)
    except StoppedError as stop:
        reporter.info(str(stop))
        return STOPPED
    except GristmillError as error:
        reporter.error(one_line(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
