"""One rank of a pretraining run: `setup` brings everything up and checks it, `train` is the loop.

Started by training/pretrain.py, once per rank. The position of a run is its step, and the batches it has skipped:
batch, learning rate and sampling are functions of them, so a run resumed from step s goes on as if it had never
stopped.
"""

import argparse
import json
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from training.launch import EventReporter, die_with_launcher

if __name__ == "__main__":
    die_with_launcher()  # before the seconds that the imports below take

import torch

from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter
from gristmill.core.settings import build
from training.arguments import PretrainSettings
from training.bits_per_byte import bytes_of_tokens
from training.checkpoint import Checkpoints
from training.divergence import (
    SPIKE_WINDOW,
    Divergence,
    divergent_gradient,
    divergent_loss,
    stop_or_rewind,
    worst_sequences,
)
from training.engagement import Engagement, measure_engagement
from training.engine import gradient_norm_before_step, loss_scale, set_learning_rate, skipped_steps, start_engine
from training.evaluation import look
from training.learning_rate import learning_rate
from training.loader import Loader
from training.model import labelled_tokens, model_for
from training.objective import make_objective
from training.outcome import finish
from training.place import Place, join_ranks, sum_over_ranks
from training.run_state import Progress, RunState
from training.sampling import load_tokenizer
from training.shards import read_mixture
from training.telemetry import Telemetry, step_numbers
from training.utilisation import flops_per_token, peak_flops, peak_memory_bytes
from training.worker import STOPPED, leave


class StoppedError(Exception):
    """The run was asked to stop and has saved a checkpoint."""


@dataclass(frozen=True)
class Step:
    """What one optimizer step did, over all ranks."""

    loss: float  # mean per token
    tokens: int  # learnt from
    waited: float  # seconds in the loader, mean over the ranks
    gradient_norm: float  # before clipping
    divergence: Divergence | None


def setup(layout: Layout, folder: Path, place: Place, reporter: Reporter) -> RunState:
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
    shape = model.config
    engine = start_engine(make_objective(model, settings, place.device), settings, place)
    engagement = measure_engagement(engine, settings, place)
    checkpoints = Checkpoints(folder / "checkpoints", place, settings.keep_checkpoints)
    loaded = checkpoints.load(engine)
    progress = Progress() if loaded is None else Progress(**loaded[1])
    for problem in checkpoints.problems if place.is_first else []:
        reporter.warning(problem)
    if loaded is not None:
        reporter.info(f"resuming at step {progress.step:,} of {config['steps']:,}")
    per_token = flops_per_token(
        engagement.parameters, shape.num_hidden_layers, shape.hidden_size, mixture.sequence_length
    )
    tokens = settings.global_batch_size * mixture.sequence_length
    telemetry = None
    if place.is_first:
        resumed_step = progress.step if loaded else -1
        telemetry = Telemetry(
            folder, resumed_step, reporter, config["steps"], per_token * tokens, _peak(settings, place)
        )
    return RunState(
        layout=layout,
        folder=folder,
        settings=settings,
        steps=config["steps"],
        place=place,
        reporter=reporter,
        engine=engine,
        engagement=engagement,
        loader=loader,
        tokenizer=tokenizer,
        token_bytes=bytes_of_tokens(tokenizer),
        checkpoints=checkpoints,
        telemetry=telemetry,
        progress=progress,
        is_resumed=loaded is not None,
    )


def train(s: RunState, stop_flag: list[bool]) -> None:
    """Train to the last step.

    Args:
        s: from `setup`.
        stop_flag: its one value becomes True when the run is asked to stop.

    Raises:
        TrainingDivergedError: the loss or the gradient is not finite, or the loss jumped, and the settings say stop.
        StoppedError: it was asked to stop; a checkpoint was saved first.
    """
    settings = s.settings
    if not s.is_resumed:
        look(s)  # loss and samples before anything is learnt
        if settings.on_divergence == "rewind":
            s.checkpoints.save(s.engine, 0, s.progress.to_plain())  # there is always one to rewind to
    while s.progress.step < s.steps:
        started, step = time.monotonic(), s.progress.step + 1
        rate = learning_rate(
            step,
            steps=s.steps,
            warmup=settings.warmup_steps,
            peak=settings.learning_rate,
            min_ratio=settings.min_lr_ratio,
            decay_ratio=settings.decay_ratio if settings.schedule == "wsd" else None,
        )
        set_learning_rate(s.engine, rate)
        overflows = skipped_steps(s.engine)
        made = train_step(s, step)
        norm, scale = made.gradient_norm, loss_scale(s.engine)
        is_overflow = skipped_steps(s.engine) > overflows
        found = made.divergence
        if found is None and (problem := divergent_gradient(norm, scale, is_overflow=is_overflow)):
            found = Divergence(problem)
        # The ranks agree: a signal reaches each at another moment.
        asked, diverged = sum_over_ranks(s.place, float(stop_flag[0]), float(found is not None))
        if diverged:
            stop_or_rewind(s, step, found or Divergence("another rank's gradient is not finite"))
            continue

        seconds = time.monotonic() - started
        _count(s.progress, step, made, seconds)
        if s.telemetry is not None:
            s.telemetry.step(
                step,
                seconds,
                made.waited,
                made.tokens,
                loss=made.loss,
                learning_rate=rate,
                **step_numbers(norm, scale, skipped_steps(s.engine), is_overflow=is_overflow),
                tokens=s.progress.tokens,
                seconds=round(s.progress.seconds, 3),
                memory_bytes=peak_memory_bytes(),
            )
        is_last = step == s.steps
        look(
            s,
            is_evaluated=is_last or _is_due(step, settings.evaluate_every),
            is_sampled=is_last or _is_due(step, settings.sample_every),
        )
        if asked or is_last or _is_due(step, settings.checkpoint_every):
            s.checkpoints.save(s.engine, step, s.progress.to_plain())
        if asked and not is_last:
            raise StoppedError(f"stopped at step {step:,}; run the same command again to go on")


def train_step(s: RunState, step: int) -> Step:
    """One optimizer step over the global batch.

    The loss of each micro-batch is a sum divided by the labelled tokens of the whole global batch: padding and
    accumulation weigh nothing, and the gradient does not depend on how the batch is cut.
    """
    settings = s.settings
    begun = time.monotonic()
    batch = s.loader.batch(s.progress.cursor.batch_of(step), settings.global_batch_size)
    waited = time.monotonic() - begun
    counted, waited = sum_over_ranks(s.place, labelled_tokens(batch.labels), waited)
    tokens = int(counted)
    # DeepSpeed divides by the accumulation steps and averages over the ranks: undo both.
    scale = settings.accumulation * s.place.world_size / max(tokens, 1)
    mine, loss = torch.zeros((), device=s.place.device, dtype=torch.float64), math.nan
    norm, divergence = None, None
    for start in range(0, len(batch), settings.micro_batch):
        micro = batch[start : start + settings.micro_batch]
        summed = s.engine(**micro.to_torch(s.place.device))
        s.engine.backward(summed * scale)
        mine += summed.detach()  # not read before the last: the GPU would wait for it
        if s.engine.is_gradient_accumulation_boundary():
            loss = sum_over_ranks(s.place, float(mine))[0] / max(tokens, 1)
            if problem := divergent_loss(loss, s.progress.recent_losses, settings.spike_factor):
                divergence = Divergence(problem, worst_sequences(s, batch))
            norm = gradient_norm_before_step(s.engine)
        s.engine.step()  # of a divergent step too: it empties the gradients, and a rewind sets the weights anew
    norm = float(s.engine.get_global_grad_norm() or 0.0) if norm is None else norm
    return Step(loss, tokens, waited / s.place.world_size, norm, divergence)


def _count(p: Progress, step: int, made: Step, seconds: float) -> None:
    p.step, p.tokens, p.loss_last = step, p.tokens + made.tokens, made.loss
    p.seconds, p.waited = p.seconds + seconds, p.waited + made.waited
    p.loss_first = made.loss if p.loss_first is None else p.loss_first
    p.recent_losses = [*p.recent_losses, made.loss][-SPIKE_WINDOW:]


def _peak(settings: PretrainSettings, place: Place) -> float | None:
    """Dense peak FLOP/s of all ranks' devices together; None on CPUs."""
    if place.device.type != "cuda":
        return None
    one = peak_flops(torch.cuda.get_device_name(place.device), settings.precision)
    return None if one is None else one * place.world_size


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


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
            s = setup(Layout(given.root), given.run_folder, place, reporter)
            if place.is_first:
                reporter.info(engaged(s.engagement))
            try:
                train(s, stop_flag)
                finish(s)
            finally:
                if s.telemetry is not None:
                    s.telemetry.close()
    except StoppedError as stop:
        reporter.info(str(stop))
        return STOPPED
    except GristmillError as error:
        reporter.error(one_line(error))
        return error.exit_code
    return 0


def engaged(e: Engagement) -> str:
    """What is engaged, in one line."""
    moments = f" with moments in {', '.join(e.moment_dtypes)}" if e.moment_dtypes else ""
    return (
        f"engaged: {e.engine_class} over {e.backend}, {e.strategy} ({e.zero_optimizer}), "
        f"{e.world_size} ranks on {e.device}, {e.dtype} with {e.master_dtype} master weights, "
        f"{e.optimizer}{moments}, {e.attention} attention, {e.loss_kernel} loss, {e.parameters:,} parameters, "
        f"elements per rank {', '.join(f'{n:,}' for n in e.elements_per_rank)}"
    )


if __name__ == "__main__":
    leave(main())
