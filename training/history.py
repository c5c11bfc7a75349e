"""What a training run read at each step, and at which steps it read a document: from the data itself.

Nothing is logged for it. Batches are a function of the mixture, the seed and the step (training.reading), and spans
say which document each token came from (training.spans). training.past_runs has the runs.

Steps are counted as metrics.jsonl and the log lines count them: step 1 is the first optimizer step. It reads the
loader's batch 0, step 2 its batch 1, and so on; in a run that diverged and was rewound, the steps after that read as
many batches further on as were skipped (training.cursor). Steps that were undone were not made; their batches are told
as skipped.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout
from training.past_runs import TrainingRun
from training.reading import SequenceRef
from training.shards import Mixture, Shard
from training.spans import Span, segment_of, spans_file, spans_of_documents, spans_of_rows


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
    batch: int  # of the loader, 0 is the first; step - 1 but for what the run skipped
    place: int  # in the global batch, in the order of the ranks
    epoch: int  # how often the source had been read through before
    shard: str
    span: Span

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        place = {"step": self.step, "loader_step": self.batch, "place": self.place, "epoch": self.epoch}
        return place | {"shard": self.shard, **vars(self.span)}


@dataclass(frozen=True)
class DocumentReads:
    """What a run had of some documents."""

    reads: tuple[ReadAt, ...] = ()  # by step and place
    trained: int = 0  # spans in shards that the run trains on, whether a step has read them or not
    held_out: int = 0  # spans in its held-out shards
    unknown: tuple[str, ...] = ()  # shards that are gone and whose spans were not kept
    skipped: tuple[int, ...] = ()  # batches with them that the run passed over after it diverged, 0 being the first


def trace(run: TrainingRun, step: int) -> list[TracedSequence]:
    """The batch of a step, in the order of the ranks, each row with its documents.

    Args:
        run: from `past_runs.find_run`.
        step: 1 is the first. One that an unfinished run has not reached yet is what it will read.

    Raises:
        SettingsError: the run has no such step.
        MissingDataError: spans that are there can't be read, or the order of batches is not known here.
    """
    if not 1 <= step <= run.steps:
        raise SettingsError(
            f"{run.name} has steps 1 to {run.steps:,}, counted as in metrics.jsonl and the log, and no step {step:,}"
        )
    return documents_of(run.layout, run.mixture, run.reading.sequences(run.cursor.batch_of(step)))


def trace_batch(run: TrainingRun, batch: int) -> list[TracedSequence]:
    """As `trace`, for a batch of the loader (0 is the first), which may be one that the run skipped.

    Raises:
        SettingsError: the run has no such batch.
        MissingDataError: as `trace`.
    """
    last = run.cursor.batch_of(run.steps)
    if not 0 <= batch <= last:
        raise SettingsError(f"{run.name} has batches 0 to {last:,}, skipped ones among them, and no batch {batch:,}")
    return documents_of(run.layout, run.mixture, run.reading.sequences(batch))


def documents_of(layout: Layout, mixture: Mixture, refs: Sequence[SequenceRef]) -> list[TracedSequence]:
    """The documents of sequences, in their order.

    Args:
        layout: the root.
        mixture: that of the run which reads them.
        refs: from `training.reading`.

    Raises:
        MissingDataError: spans that are there can't be read.
    """
    shards = {shard.path: shard for shard in mixture.shards}
    rows: dict[str, set[int]] = {}
    for ref in refs:
        rows.setdefault(ref.path, set()).add(ref.row)
    manifests: dict[str, dict[str, Any]] = {}
    spans: dict[tuple[str, int], list[Span]] = {}
    gone: set[str] = set()
    for path, wanted in rows.items():
        file = spans_file(layout, shards[path], manifests)
        if file is None:
            gone.add(path)
            continue
        for span in spans_of_rows(layout, file, wanted):
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
        run: from `past_runs.training_runs`.
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
    skipped: set[int] = set()
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
        stop = run.cursor.batch_of(run.steps_made) + 1 if run.steps_made else 0
        for row, batch, place, epoch in run.reading.steps_of(shard.path, by_row, stop) if by_row else ():
            step = run.cursor.step_of(batch)
            if step is None:
                skipped |= {batch}
                continue
            reads += [ReadAt(step, batch, place, epoch, shard.path, span) for span in by_row[row]]
    reads.sort(key=lambda read: (read.step, read.place, read.span))
    return DocumentReads(tuple(reads), trained, held_out, tuple(unknown), tuple(sorted(skipped)))
