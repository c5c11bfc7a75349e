"""The training runs that read token shards: what each keeps of itself, and how one is named.

A run's folder keeps its settings, a mark of the order of its batches, and the mixture as the run saw it.
"""

import datetime
import hashlib
import io
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import REPORT_NAME, Layout
from training.cursor import Cursor, Skip
from training.metrics import last_step, metrics_at, skips_in
from training.reading import Reading
from training.shards import MIXTURE_NAME, Mixture, read_mixture

LATEST = "latest"
_LISTED = 10  # runs named in a message


@dataclass(frozen=True)
class TrainingRun:
    """A run that read token shards."""

    layout: Layout
    asset: str
    run_id: str
    seed: int
    global_batch_size: int
    steps: int  # that it is to make
    steps_made: int
    is_finished: bool
    last_at: str  # ISO 8601: finished or chosen again; of an unfinished run, its last sign of life
    order: Mapping[str, Any]  # see order_mark; empty for a run of an older version

    @property
    def folder(self) -> str:
        """The run's folder."""
        return self.layout.model_dir(self.asset, self.run_id)

    @property
    def name(self) -> str:
        """What names it among all runs."""
        return f"{self.asset}/{self.run_id}"

    @property
    def is_order_proven(self) -> bool:
        """Whether the run kept a mark of its order, which `reading` compares; one of an older version has none."""
        return bool(self.order)

    @cached_property
    def cursor(self) -> Cursor:
        """Which batch each step read: those that were skipped after a divergence are in no step.

        Raises:
            MissingDataError: what metrics.jsonl says of them can't be read.
        """
        with _metrics(self.layout, self.folder) as file:
            found = skips_in(file)
        try:
            return Cursor(Skip.from_plain(skip) for skip in found)
        except (KeyError, TypeError, ValueError) as error:
            raise MissingDataError(
                f"{self.folder}/metrics.jsonl says of skipped batches what can't be read "
                f"({type(error).__name__}: {error}): the steps of this run can't be told"
            ) from None

    @cached_property
    def mixture(self) -> Mixture:
        """The mixture as the run saw it."""
        return read_mixture(self.layout, posixpath.join(self.folder, MIXTURE_NAME))

    @cached_property
    def reading(self) -> Reading:
        """What it reads at which step.

        Raises:
            MissingDataError: this version of the program draws batches in another order than the run's.
        """
        reading = Reading(self.mixture, self.seed, self.global_batch_size)
        if self.order and order_mark(reading, self.steps) != self.order:
            raise MissingDataError(
                f"{self.name} was trained by a version of Gristmill that draws batches in another order than this "
                "one: ask the version that trained it"
            )
        return reading

    def metrics(self, step: int) -> dict[str, Any]:
        """What metrics.jsonl says of a step; empty where it says nothing."""
        with _metrics(self.layout, self.folder) as file:
            return metrics_at(file, step)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        names = ("asset", "run_id", "seed", "global_batch_size", "steps", "steps_made", "is_finished")
        return {name: getattr(self, name) for name in names} | {"is_order_proven": self.is_order_proven}


def order_mark(reading: Reading, steps: int) -> dict[str, Any]:
    """A mark of the order of a run's batches, kept in its config.json: the same where any version draws the same.

    Args:
        reading: of the run.
        steps: that it is to make.
    """
    last = max(steps - 1, 0)
    chosen = sorted({0, last // 2, last})
    drawn = [[step, *((r.path, r.row, r.epoch) for r in reading.sequences(step))] for step in chosen]
    return {"loader_steps": chosen, "sha256": hashlib.sha256(json.dumps(drawn).encode()).hexdigest()}


def training_runs(layout: Layout, asset: str | None = None) -> list[TrainingRun]:
    """Every run that read token shards, finished or not, by asset and id.

    Raises:
        MissingDataError: a file of a run can't be read.
    """
    found: list[TrainingRun] = []
    for path in sorted(cast(list[str], layout.fs.glob(layout.join("models", asset or "*", "*", MIXTURE_NAME)))):
        folder = posixpath.dirname(path)
        config = layout.read_json(posixpath.join(folder, "config.json"))
        if config is not None and "global_batch_size" in config:
            found.append(_run(layout, folder, config))
    return found


def find_run(layout: Layout, asked: str, asset: str | None = None) -> TrainingRun:
    """The run that is meant: its id, the beginning of it, `latest`, each also as ASSET/ID.

    Raises:
        MissingDataError: there is none.
        SettingsError: more than one run is meant.
    """
    head, _, tail = asked.rpartition("/")
    asset, asked = head or asset, tail
    runs = training_runs(layout, asset)
    if not runs:
        raise MissingDataError(
            f"no training run{f' of {asset}' if asset else ''} under {layout.root} has read token shards: "
            "train a model first (`gristmill run CORPUS --through pretrained_model`)"
        )
    if asked == LATEST:
        return max(runs, key=lambda run: (run.last_at, run.name))
    meant = [run for run in runs if run.run_id == asked] or [r for r in runs if asked and r.run_id.startswith(asked)]
    if len(meant) == 1:
        return meant[0]
    names = ", ".join(run.name for run in (meant or runs)[:_LISTED])
    if meant:
        raise SettingsError(f"{len(meant)} runs begin with {asked!r}: give more of one, or ASSET/ID: {names}")
    raise MissingDataError(f"no training run {asked!r} under {layout.root}: known are {names}, and `{LATEST}`")


def _run(layout: Layout, folder: str, config: Mapping[str, Any]) -> TrainingRun:
    asset, run_id = folder.rsplit("/", 2)[-2:]
    report = layout.read_json(posixpath.join(folder, REPORT_NAME))
    with _metrics(layout, folder) as metrics:
        reached = last_step(metrics)
    try:
        settings = cast(Mapping[str, Any], config.get("settings") or {})
        steps = int(config["steps"])
        made = reached if report is None else int(report.get("steps", steps))
        return TrainingRun(
            layout=layout,
            asset=asset,
            run_id=run_id,
            seed=int(settings.get("seed", 0)),
            global_batch_size=int(config["global_batch_size"]),
            steps=steps,
            steps_made=made,
            is_finished=report is not None,
            last_at=_moment(layout, folder) if report is None else str(report.get("selected_at") or ""),
            order=cast(Mapping[str, Any], config.get("order") or {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MissingDataError(
            f"{folder}/config.json is not a run's ({type(error).__name__}: {error}): remove the folder"
        ) from None


def _metrics(layout: Layout, folder: str) -> IO[bytes]:
    try:
        return cast(IO[bytes], layout.fs.open(posixpath.join(folder, "metrics.jsonl"), "rb"))
    except FileNotFoundError:  # it has not begun
        return io.BytesIO()


def _moment(layout: Layout, folder: str) -> str:
    """When an unfinished run last wrote something, ISO 8601."""
    times: list[float] = []
    for name in ("config.json", "metrics.jsonl"):
        path = Path(folder) / name
        if layout.is_local and path.is_file():
            times.append(path.stat().st_mtime)
    moment = datetime.datetime.fromtimestamp(max(times, default=0.0), datetime.UTC)
    return moment.isoformat(timespec="milliseconds")
