"""pretrained_model: `python -m training.pretrain --root R`.

`setup` validates settings and data and names the run; `main` launches the ranks, watches them and commits. The
training loop itself is training/loop.py. Asked twice for the same thing, it resumes an unfinished run and reuses
a finished one.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from training.arguments import PretrainSettings
from training.chinchilla import optimal_tokens
from training.fit import require_fit
from training.launch import end_with_parent
from training.launchers import GivenPlaceLauncher, Job, Launcher, TorchrunLauncher, join_line, launcher_for
from training.member import outside_place, start_member, stop_on_signals
from training.past_runs import order_mark
from training.reading import Reading
from training.repetition import repetition_warning
from training.runs import Run, code_version, fingerprint, open_run
from training.sampling import load_tokenizer
from training.shards import Mixture, read_mixture
from training.sizes import parameter_count
from training.spans import keep_spans
from training.worker import resolve_settings, run_worker, worker_parser

ASSET = "pretrained_model"
# What decides the result. Launching, reporting and generating do not.
CODE = (
    "arguments",
    "attention",
    "batch",
    "bits_per_byte",
    "checkpoint",
    "cursor",
    "divergence",
    "engine",
    "evaluation",
    "flash4",
    "fsdp",
    "fused_loss",
    "learning_rate",
    "loader",
    "loop",
    "model",
    "objective",
    "optimizers",
    "permutation",
    "quantised_states",
    "reading",
    "run_state",
    "schedule",
    "shard_rows",
    "shards",
    "sizes",
    "states",
)
# Settings that change when something is written, or on what it is computed, in which order sums are made and how
# moments are rounded, never what is learnt from what: an unfinished run may go on with others.
NOT_IN_FINGERPRINT = (
    "checkpoint_every",
    "keep_checkpoints",
    "ranks",
    "nodes",
    "launcher",
    "hostfile",
    "master_address",
    "master_port",
    "network_interface",
    "environment",
    "join_seconds",
    "strategy",
    "offload",
    "optimizer",
    "micro_batch_size",
    "activation_checkpointing",
    "memory_check",
    "attention",
    "compile",
)


@dataclass(frozen=True)
class Setup:
    """A validated run, before anything is started."""

    settings: PretrainSettings
    mixture: Mixture
    parameters: int
    steps: int
    inputs: dict[str, str]
    fingerprint: str

    def config(self) -> dict[str, Any]:
        """What goes into config.json, for the ranks and for readers."""
        return {
            "settings": to_plain(self.settings),
            "inputs": self.inputs,
            "fingerprint": self.fingerprint,
            "steps": self.steps,
            "parameters": self.parameters,
            "sequence_length": self.mixture.sequence_length,
            "global_batch_size": self.settings.global_batch_size,
            "order": order_mark(Reading(self.mixture, self.settings.seed, self.settings.global_batch_size), self.steps),
        }


def setup(layout: Layout, settings: PretrainSettings) -> Setup:
    """Check that there is something to train on and fix the number of steps.

    Raises:
        MissingDataError: no mixture, or it holds no training sequence.
    """
    mixture = read_mixture(layout)
    if mixture.sequences == 0:
        raise MissingDataError(
            f"the training mixture under {layout.root} holds no training sequence: "
            "give it more documents, or look at `gristmill funnel CORPUS` for where they went"
        )
    vocabulary = load_tokenizer(Path(layout.tokenizer_dir(mixture.tokenizer_version))).get_vocab_size()
    parameters = parameter_count(settings.sizes, vocabulary)
    inputs = {"training_mixture": mixture.fingerprint, "tokenizer": mixture.tokenizer_version}
    deciding = {k: v for k, v in to_plain(settings).items() if k not in NOT_IN_FINGERPRINT}
    return Setup(
        settings=settings,
        mixture=mixture,
        parameters=parameters,
        steps=step_count(settings, parameters, mixture.sequence_length),
        inputs=inputs,
        fingerprint=fingerprint(ASSET, deciding, inputs, code_version(CODE)),
    )


def step_count(settings: PretrainSettings, parameters: int, sequence_length: int) -> int:
    """Steps that the settings ask for: as given, or for the tokens given, or for 20 tokens a parameter."""
    if settings.steps:
        return settings.steps
    tokens = settings.tokens or optimal_tokens(parameters)
    return max(1, -(-int(tokens) // (settings.global_batch_size * sequence_length)))


def pretrain(
    layout: Layout,
    settings: PretrainSettings,
    reporter: Reporter,
    *,
    is_forced: bool = False,
    launcher: Launcher | None = None,
) -> int:
    """Train, resume or reuse; returns the exit code, STOPPED where it was told to stop.

    Args:
        layout: the root.
        settings: of the run.
        reporter: hears what rank 0 says.
        is_forced: train again what is there.
        launcher: starts the ranks; None: the one that the settings name.
    """
    launcher = launcher or launcher_for(settings)
    prepared = setup(layout, settings)
    with open_run(layout, ASSET, prepared.config(), prepared.fingerprint) as run:
        if (is_forced or run.report() is None) and (line := require_fit(layout, settings)):
            reporter.warning(line)
        if is_forced:
            run.discard()
        if run.report() is not None:
            reporter.info(f"{ASSET} run {run.run_id}: already trained on the same input and settings; chosen again")
            _tell(reporter, run, run.select())
            return 0
        epochs = prepared.steps * settings.global_batch_size / prepared.mixture.sequences
        reporter.info(
            f"{ASSET} run {run.run_id}: {prepared.parameters:,} parameters, {prepared.steps:,} steps of "
            f"{settings.global_batch_size} x {prepared.mixture.sequence_length} "
            f"tokens ({epochs:.2f} epochs of the mixture)"
        )
        if line := repetition_warning(layout, prepared.mixture, epochs):
            reporter.warning(line)
        # The mixture as this run saw it, and the spans of its shards, for whoever asks later what was read at a step.
        source = layout.join("training_mixture", "mixture.json")
        layout.write_json(str(run.folder / "mixture.json"), keep_spans(layout, layout.read_json(source) or {}))
        if settings.nodes > 1 and isinstance(launcher, TorchrunLauncher):
            reporter.info(join_line(layout.root, settings))
        with launcher.start(job(layout, settings, run.folder)) as ranks:
            stop_on_signals(ranks)
            code = ranks.watch(reporter)
        if code == 0:
            result = layout.read_json(str(run.folder / "result.json")) or {}
            report = run.commit({"settings": to_plain(settings), "inputs": prepared.inputs} | result)
            _tell(reporter, run, report)
        return code


def job(layout: Layout, settings: PretrainSettings, folder: Path) -> Job:
    """What every rank of the run in `folder` runs."""
    return Job(
        module="training.loop",
        arguments=("--root", layout.root, "--run-folder", str(folder)),
        ranks=settings.ranks,
        folder=folder,
        environment=settings.environment,
        interface=settings.network_interface,
        join_seconds=settings.join_seconds,
    )


def take_part(
    layout: Layout, settings: PretrainSettings, reporter: Reporter, place: tuple[int, int], *, is_forced: bool = False
) -> int:
    """Another rank than the first, started by another launcher: be one of the ranks of the run that rank 0 opens."""
    run = Run(layout, ASSET, setup(layout, settings).fingerprint)
    if run.report() is not None and not is_forced:
        return 0  # trained already; rank 0 says so
    folder, work = run.folder, job(layout, settings, run.folder)
    with start_member(
        folder, place, work.module, work.arguments, work.environment, work.interface, work.join_seconds
    ) as handle:
        stop_on_signals(handle)
        return handle.watch(reporter)


def _tell(reporter: Reporter, run: Run, report: dict[str, Any]) -> None:
    names = ("loss_first", "loss_last", "heldout_loss_first", "heldout_loss_last", "tokens_per_second", "seconds")
    reporter.result({"asset": ASSET, "run_id": run.run_id, "folder": str(run.folder)} | {n: report[n] for n in names})


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = worker_parser("training.pretrain", __doc__)
    parser.add_argument("--local_rank", help=argparse.SUPPRESS)  # DeepSpeed's launcher gives it, the environment too
    given = parser.parse_args(arguments)

    def work(reporter: Reporter) -> int:
        layout = Layout(given.root)
        settings = resolve_settings(PretrainSettings, ASSET, layout, given.settings_file, given.settings)
        place = outside_place()
        if place is None:
            return pretrain(layout, settings, reporter, is_forced=given.force)
        end_with_parent()
        settings = replace(settings, ranks=place[1])  # as many as its launcher started
        if place[0] == 0:
            return pretrain(layout, settings, reporter, is_forced=given.force, launcher=GivenPlaceLauncher(place))
        return take_part(layout, settings, reporter, place, is_forced=given.force)

    return run_worker(work)


if __name__ == "__main__":
    sys.exit(main())
