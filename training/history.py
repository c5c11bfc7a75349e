"""What a training run read at each step, and at which steps it read a document: from the data itself.

Nothing is logged for it. Batches are a function of the mixture, the seed and the step (training.reading), and spans
say which document each token came from (training.spans). A run's folder keeps the mixture as the run saw it.

Steps are counted as metrics.jsonl and the log lines count them: step 1 is the first optimizer step, and reads what the
loader calls step 0.
"""

import datetime
import hashlib
import io
import json
import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import REPORT_NAME, Layout
from training.metrics import last_step, metrics_at
from training.reading import Reading, SequenceRef
from training.shards import MIXTURE_NAME, Mixture, Shard, read_mixture
from training.spans import Span, segment_of, spans_file, spans_of_documents, spans_of_rows

LATEST = "latest"
_LISTED = 10


@dataclass(frozen=True)
class TracedSequence:
    """One row of a step's batch, and the documents it is made of."""

    ref: SequenceRef
    shard: Shard
    spans: tuple[Span, ...] | None  # None: the shard is gone, and its spans were not kept

    @property
    def segment(self) -> str | None:
        """The segment that the documents are of."""
        return segment_of(self.ref.path)


@dataclass(frozen=True)
class ReadAt:
    """One span of a document, read at one step."""

    step: int  # 1 is the first
    place: int  # in the global batch, in the order of the ranks
    epoch: int  # how often the source had been read through before
    shard: str
    span: Span

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        place = {"step": self.step, "loader_step": self.step - 1, "place": self.place, "epoch": self.epoch}
        return place | {"shard": self.shard, **vars(self.span)}


@dataclass(frozen=True)
class DocumentReads:
    """What a run had of some documents."""

    reads: tuple[ReadAt, ...] = ()  # by step and place
    trained: int = 0  # spans in shards that the run trains on, whether a step has read them or not
    held_out: int = 0  # spans in its held-out shards
    unknown: tuple[str, ...] = ()  # shards that are gone and whose spans were not kept


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


def trace(run: TrainingRun, step: int) -> list[TracedSequence]:
    """The batch of a step, in the order of the ranks, each row with its documents.

    Args:
        run: from `find_run`.
        step: 1 is the first. One that an unfinished run has not reached yet is what it will read.

    Raises:
        SettingsError: the run has no such step.
        MissingDataError: spans that are there can't be read, or the order of batches is not known here.
    """
    if not 1 <= step <= run.steps:
        raise SettingsError(
            f"{run.name} has steps 1 to {run.steps:,}, counted as in metrics.jsonl and the log, and no step {step:,}"
        )
    refs = run.reading.sequences(step - 1)
    shards = {shard.path: shard for shard in run.mixture.shards}
    rows: dict[str, set[int]] = {}
    for ref in refs:
        rows.setdefault(ref.path, set()).add(ref.row)
    manifests: dict[str, dict[str, Any]] = {}
    spans: dict[tuple[str, int], list[Span]] = {}
    gone: set[str] = set()
    for path, wanted in rows.items():
        file = spans_file(run.layout, shards[path], manifests)
        if file is None:
            gone.add(path)
            continue
        for span in spans_of_rows(run.layout, file, wanted):
            spans.setdefault((path, span.sequence), []).append(span)
    return [
        TracedSequence(ref, shards[ref.path], None if ref.path in gone else tuple(spans.get((ref.path, ref.row), ())))
        for ref in refs
    ]


def reads_of(
    run: TrainingRun, doc_ids: Collection[str], corpus: str | None = None, segment: str | None = None
) -> DocumentReads:
    """When a run read documents, up to the last step it has made.

    Args:
        run: from `training_runs`.
        doc_ids: of the documents.
        corpus: look at the shards of this corpus alone.
        segment: and of this segment; where it has none of the documents, at those of the others.

    Raises:
        MissingDataError: spans that are there can't be read, or the order of batches is not known here.
    """
    shards = [shard for shard in run.mixture.shards if corpus in (None, shard.corpus)]
    first = [shard for shard in shards if segment is None or segment_of(shard.path) == segment]
    found = _reads_in(run, doc_ids, first)
    if found.trained or found.held_out or len(first) == len(shards):
        return found
    return _reads_in(run, doc_ids, [shard for shard in shards if shard not in first])


def _reads_in(run: TrainingRun, doc_ids: Collection[str], shards: Collection[Shard]) -> DocumentReads:
    manifests: dict[str, dict[str, Any]] = {}
    reads: list[ReadAt] = []
    unknown: list[str] = []
    trained = held_out = 0
    for shard in shards:
        file = spans_file(run.layout, shard, manifests)
        if file is None:
            unknown.append(shard.path)
            continue
        spans = spans_of_documents(run.layout, file, doc_ids)
        if shard.split != "train":
            held_out += len(spans)
            continue
        trained += len(spans)
        by_row: dict[int, list[Span]] = {}
        for span in spans:
            by_row.setdefault(span.sequence, []).append(span)
        for row, step, place, epoch in run.reading.steps_of(shard.path, by_row, run.steps_made) if by_row else ():
            reads += [ReadAt(step + 1, place, epoch, shard.path, span) for span in by_row[row]]
    reads.sort(key=lambda read: (read.step, read.place, read.span))
    return DocumentReads(tuple(reads), trained, held_out, tuple(unknown))


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
