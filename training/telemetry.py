"""Numbers of a run while it runs: metrics.jsonl, TensorBoard where it is installed, and the progress bar.

Rank 0 alone has a Telemetry. Every name is one of metrics.jsonl, described in docs/training.md.
"""

import contextlib
import importlib.util
import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gristmill.core.progress import Reporter
from training.metrics import MetricsLog, read_metrics

METRICS_NAME = "metrics.jsonl"
TENSORBOARD_NAME = "tensorboard"


class Telemetry:
    """Where the numbers of a run go.

    Args:
        folder: of the run.
        resumed_step: lines past it are dropped, their steps are made again; -1: all.
        reporter: gets the progress.
        steps: of the run.
        flops_per_step: of a forward and a backward pass over a global batch.
        peak_flops: dense peak of all devices together, FLOP/s; None where it is not known: then no `mfu`.
    """

    def __init__(
        self,
        folder: Path,
        resumed_step: int,
        reporter: Reporter,
        steps: int,
        flops_per_step: float,
        peak_flops: float | None,
    ) -> None:
        self._folder, self._reporter, self._steps = folder, reporter, steps
        self._flops_per_step, self._peak_flops = flops_per_step, peak_flops
        self._begun: tuple[float, int] | None = None
        self._open(resumed_step)

    def _open(self, resumed_step: int) -> None:
        self._log = MetricsLog(self._folder / METRICS_NAME, resumed_step)
        self._board = _board(self._folder / TENSORBOARD_NAME, resumed_step + 1)

    def write(self, step: int, **values: Any) -> None:
        """One line of metrics.jsonl, its numbers to TensorBoard too; a number that is none is written as null."""
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        self._log.write(step=step, **plain)
        if self._board is not None:
            for name, value in plain.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(name, value, step)

    def write_text(self, step: int, name: str, text: str) -> None:
        """A sample, for TensorBoard alone."""
        if self._board is not None:
            self._board.add_text(name, text, step)

    def step(self, step: int, took: float, waited: float, learnt: int, **values: Any) -> None:
        """A step's line, and the progress bar.

        Args:
            step: that was made.
            took: seconds.
            waited: seconds of them in the loader, mean over the ranks.
            learnt: tokens that it learnt from.
            values: what else the line says, `loss` among it.
        """
        took = max(took, 1e-9)
        rate = learnt / took
        mfu = None if self._peak_flops is None else self._flops_per_step / (took * self._peak_flops)
        shares = {"data_wait": round(waited / took, 5)} | ({} if mfu is None else {"mfu": round(mfu, 5)})
        self.write(step, **values, tokens_per_second=round(rate, 1), **shares)
        now = time.monotonic()
        # From the second step on: the first one warms up, and may compile.
        left = "" if self._begun is None else self._left(now, step)
        self._begun = self._begun or (now, step)
        used = "" if mfu is None else f", MFU {mfu:.1%}"
        note = f"loss {values['loss']:.3f}, {rate:,.0f} tok/s{used}{left}"
        self._reporter.progress("pretraining", step, self._steps, "steps", note)

    def _left(self, now: float, step: int) -> str:
        assert self._begun is not None
        since, first = self._begun
        made = step - first
        return f", {_duration((now - since) / made * (self._steps - step))} left" if made > 0 else ""

    def rewind(self, step: int) -> None:
        """Drop what was said of the steps past `step`: they are made again, on other batches."""
        self.close()
        self._begun = None
        self._open(step)

    def close(self) -> None:
        """Everything on disk."""
        self._log.close()
        if self._board is not None:
            self._board.close()

    def summary(self) -> dict[str, float]:
        """Medians over the run's steps, for its report; a median forgives the steps that compiled or waited."""
        rows = read_metrics(self._folder / METRICS_NAME)
        found: dict[str, float] = {}
        for name in ("tokens_per_second", "mfu", "data_wait", "grad_norm"):
            values = [row[name] for row in rows if isinstance(row.get(name), int | float)]
            if values:
                found[f"{name}_median"] = round(statistics.median(values), 5)
        return found


def step_numbers(norm: float, loss_scale: float | None, skipped: int, *, is_overflow: bool) -> Mapping[str, Any]:
    """The gradient's part of a line; with a loss scale also the scale, and the steps that an overflow skipped."""
    numbers: dict[str, Any] = {"grad_norm": None if is_overflow or not math.isfinite(norm) else norm}
    if loss_scale is not None:
        numbers |= {"loss_scale": loss_scale, "overflow": int(is_overflow), "skipped_steps": skipped}
    return numbers


def _board(folder: Path, purge_step: int) -> Any | None:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    with contextlib.suppress(ImportError):  # an installation that is not whole: the numbers are in metrics.jsonl
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=purge_step or None)
    return None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
