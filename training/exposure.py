"""Which training runs had documents in front of them: in the shards they read, and at which steps."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout
from training.history import DocumentReads, reads_of
from training.lineage import grown_from, roots_of
from training.past_runs import TrainingRun, training_runs
from training.shards import Shard
from training.spans import spans_file, spans_of_documents


@dataclass(frozen=True)
class Exposure:
    """What one run had of some documents."""

    run: TrainingRun
    reads: DocumentReads
    descendants: tuple[tuple[str, str], ...]  # (asset, run id) of models grown from it
    problem: str = ""  # why it can't be said

    @property
    def steps(self) -> list[int]:
        """The steps that read one of them, 1 being the first."""
        return sorted({read.step for read in self.reads.reads})

    @property
    def documents(self) -> int:
        """How many of them were read."""
        return len({read.span.doc_id for read in self.reads.reads})

    @property
    def is_any(self) -> bool:
        """Whether its shards hold any of them, or that can't be told."""
        return bool(self.reads.trained or self.reads.held_out or self.reads.unknown or self.problem)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values, every step among them."""
        return {
            "run": self.run.name,
            "is_finished": self.run.is_finished,
            "steps": self.steps,
            "documents_read": self.documents,
            "batches_skipped": list(self.reads.skipped),
            "spans_in_shards": self.reads.trained,
            "spans_held_out": self.reads.held_out,
            "shards_unknown": list(self.reads.unknown),
            "problem": self.problem or None,
            "grown_from_it": ["/".join(name) for name in self.descendants],
        }


def exposures(layout: Layout, doc_ids: Collection[str]) -> list[Exposure]:
    """What every run that read token shards had of `doc_ids`; runs whose shards hold none are left out."""
    grown = grown_from(layout)
    found: list[Exposure] = []
    for run in training_runs(layout) if doc_ids else ():
        try:
            reads, problem = reads_of(run, doc_ids), ""
        except GristmillError as error:
            reads, problem = DocumentReads(), one_line(error)
        exposure = Exposure(run, reads, tuple(grown.get((run.asset, run.run_id), ())), problem)
        if exposure.is_any:
            found.append(exposure)
    return found


def in_force(layout: Layout, found: Collection[Exposure]) -> list[str]:
    """The assets whose model in force, the one made or chosen last, comes of one of the runs in `found`."""
    runs = {(exposure.run.asset, exposure.run.run_id) for exposure in found}
    assets = {asset for e in found for asset in (e.run.asset, *(name for name, _ in e.descendants))}
    chosen = {asset: layout.latest(layout.join("models", asset)) for asset in sorted(assets)}
    return [
        a for a, latest in chosen.items() if latest is not None and runs.intersection(roots_of(layout, a, latest[0]))
    ]


@dataclass(frozen=True)
class Held:
    """What shards hold of some documents."""

    documents: frozenset[str]
    shards: tuple[str, ...]  # paths of those that hold one
    unknown: tuple[str, ...]  # paths of those whose spans are gone


def held_in(layout: Layout, shards: Collection[Shard], doc_ids: Collection[str]) -> Held:
    """Which of `doc_ids` lie in shards, trained on or held out.

    Raises:
        MissingDataError: spans that are there can't be read.
    """
    manifests: dict[str, dict[str, Any]] = {}
    documents: set[str] = set()
    holding: list[str] = []
    unknown: list[str] = []
    for shard in shards if doc_ids else ():
        file = spans_file(layout, shard, manifests)
        if file is None:
            unknown.append(shard.path)
            continue
        spans = spans_of_documents(layout, file, doc_ids)
        documents.update(span.doc_id for span in spans)
        holding += [shard.path] if spans else []
    return Held(frozenset(documents), tuple(holding), tuple(unknown))
