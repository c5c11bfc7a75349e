"""What if a threshold were another? The funnel as it would be, from stored signals alone.

No text is read and nothing is computed again but the decision. A document that would drop out is followed through
the later stages, whose quarantine says how far it came. One that would come in has never been seen there: how many
those are is said, and not what would become of them.
"""

import hashlib
import posixpath
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import build
from pipelines.crawl.corpora import load_corpus
from pipelines.damage import reading, remake
from pipelines.judging import BROKEN_REASON
from pipelines.report.changes import Change, apply, parse_change
from pipelines.report.sides import EXAMPLES, ChangedDocument, Count, Sides, StageChange, add, least
from pipelines.report.unmeasured import Unmeasured
from pipelines.stages import STAGES, Stage

_ROWS = 1 << 16  # of signals at a time
_FOLLOWED = ("map", "pack")
_COUNTED = ("rows_in", "rows_kept")  # of a report of any stage
_NEEDED = (*_COUNTED, "rows_rejected", "settings")  # of one that is decided again


@dataclass(frozen=True)
class WhatIf:
    """The answer."""

    corpus: str
    changes: tuple[dict[str, Any], ...]  # stage, setting, before, after
    stages: tuple[StageChange, ...]
    documents: tuple[ChangedDocument, ...]
    seconds: float

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        stages = [
            vars(stage) | {side: _plain(count) for side, count in (("before", stage.before), ("after", stage.after))}
            for stage in self.stages
        ]
        documents = [asdict(document) for document in self.documents]
        return vars(self) | {"stages": stages, "documents": documents}


def what_if(layout: Layout, corpus: str, given: Sequence[str]) -> WhatIf:
    """How the funnel of `corpus` would change; compared with what is materialized, whatever settings hold today.

    Args:
        layout: where the data lies.
        corpus: a registered corpus.
        given: changes such as "quality.min_words=30" (`pipelines.report.changes`).

    Raises:
        CorpusError: the corpus is not registered.
        SettingsError: a change is malformed, unknown, of the wrong type, or of what is measured.
        MissingDataError: a stage to be decided again is not there, out of date, or has no stored signals.
    """
    started = time.monotonic()
    segments = load_corpus(layout, corpus).segments
    changes = [parse_change(text) for text in given]
    walk = _Walk(layout, corpus, changes)
    for segment in segments:
        walk.segment(segment)
    return WhatIf(
        corpus,
        tuple(walk.described.values()),
        tuple(walk.stages.values()),
        tuple(least(walk.documents)),
        round(time.monotonic() - started, 3),
    )


class _Walk:
    """The stages in their order, segment by segment."""

    def __init__(self, layout: Layout, corpus: str, changes: Sequence[Change]) -> None:
        self._layout, self._corpus = layout, corpus
        self._changes = {row.name: [c for c in changes if c.stage == row.name] for row in STAGES}
        self.stages = {row.name: StageChange(row.name) for row in STAGES if row.kind in _FOLLOWED}
        self.documents: list[ChangedDocument] = []
        self.described: dict[str, dict[str, Any]] = {}
        self._unmeasured: dict[str, Unmeasured] = {}

    def segment(self, segment: str) -> None:
        partition = Partition(self._corpus, segment)
        gone: Any = pa.array([], pa.string())  # documents that reached a stage and would not any more
        not_seen = 0
        reports: dict[str, dict[str, Any]] = {}
        for row in STAGES:
            if row.kind not in _FOLLOWED:
                continue
            change = self.stages[row.name]
            report = self._report(row, partition, reports, is_needed=bool(self._changes[row.name]))
            if report is None:
                change.segments_out += (segment,)
                continue
            reports[row.name] = report
            change.not_seen += not_seen
            if self._changes[row.name]:
                gone, come_in = self._decided(row, change, partition, report, gone)
                not_seen += come_in
            else:
                gone = self._followed(row, change, partition, report, gone)

    def _report(
        self, row: Stage, partition: Partition, reports: dict[str, dict[str, Any]], *, is_needed: bool
    ) -> dict[str, Any] | None:
        """The report of a stage that was made from what the stage before it has now; None where there is none."""
        again = f"run `gristmill run {partition.corpus} --through {row.name}` first"
        report = self._layout.require_report(row.name, partition) if is_needed else None
        report = report or self._layout.report(row.name, partition)
        if report is None:
            return None
        for name in _NEEDED if is_needed else _COUNTED:
            if name not in report:
                raise MissingDataError(
                    f"report.json of {row.name} {partition.key} lacks {name!r}: {again} with --force"
                )
        source = reports.get(row.reads[0]) if row.reads else None
        made_from = (report.get("inputs") or {}).get(row.reads[0]) if row.reads else None
        if row.reads and (source is None or made_from not in (None, source.get("fingerprint"))):
            if is_needed:
                raise MissingDataError(f"{row.name} {partition.key} is out of date: {again}")
            return None
        if is_needed and not report.get("signal_files"):
            raise MissingDataError(
                f"{row.name} {partition.key} has no stored signals, as it was made by an older version: {again}"
            )
        return report

    def _decided(
        self, row: Stage, change: StageChange, partition: Partition, report: dict[str, Any], gone: Any
    ) -> tuple[Any, int]:
        """Decide again; returns the documents that reach the next stage no more, and how many come in."""
        module, key = row.load(), f"{row.name} {partition.key}"
        again = f"run `gristmill run {partition.corpus} --through {row.name}` first"
        try:
            before = build(module.Settings, report["settings"], f"report of {key}")
        except SettingsError as error:
            raise MissingDataError(f"{error}, as it was made by another version: {again}") from None
        after = apply(module, before, self._changes[row.name])
        for c in self._changes[row.name]:
            self.described.setdefault(
                f"{row.name}.{c.name}",
                {"stage": row.name, "setting": c.name, "before": c.old(before), "after": c.old(after)},
            )
        change.is_decided = True
        made = Unmeasured(module, before, after, self._changes[row.name])
        unmeasured = self._unmeasured.setdefault(row.name, made)  # one for all segments
        counted = Count()
        lost: list[Any] = []
        come_in = 0
        for signals in _signals(self._layout, row, partition, report):
            unmeasured.look(signals)
            sides = Sides(module, signals, before, after, gone)
            sides.count(change, counted)
            lost.append(signals.column("doc_id").filter(sides.is_lost))
            come_in += int(sides.come_in.sum())
            self.documents += sides.examples(module, before, after, row.name, partition.segment or "")
            self.documents = least(self.documents, EXAMPLES)
        change.unmeasured = tuple(unmeasured.lines(row.name))
        counted.reasons.pop(BROKEN_REASON, None)  # may be of `edit`, which is not asked here
        expected = {reason: n for reason, n in report["rows_rejected"].items() if reason != BROKEN_REASON}
        if counted.documents_in != report["rows_in"] or dict(counted.reasons) != expected:
            raise MissingDataError(f"the stored signals of {key} do not give what its report says: {again}")
        return pa.concat_arrays(lost) if lost else gone, come_in

    def _followed(
        self, row: Stage, change: StageChange, partition: Partition, report: dict[str, Any], gone: Any
    ) -> Any:
        """Take `gone` out of a stage that decides as before; returns those of them that it had kept."""
        reasons: Counter[str] = Counter(report.get("rows_rejected", {}))
        add(change.before, int(report["rows_in"]), int(report["rows_kept"]), reasons)
        left: Counter[str] = Counter()
        kept_before = gone
        if len(gone):
            folder = self._layout.quarantine_dir(row.name, partition)
            for batch in _columns(self._layout, folder, ["doc_id", "reason"]):
                is_gone = pc.is_in(batch.column("doc_id"), gone)
                left.update(batch.column("reason").filter(is_gone).to_pylist())
                is_here = pc.is_in(kept_before, batch.column("doc_id").filter(is_gone))
                kept_before = kept_before.filter(pc.invert(is_here))
            if row.name == "deduplicated_documents":
                folder = self._layout.partition_dir(row.name, partition)
                for batch in _columns(self._layout, folder, ["doc_id", "cluster_size"]):
                    is_gone = pc.is_in(batch.column("doc_id"), kept_before)
                    sizes: Any = batch.column("cluster_size").filter(is_gone)
                    change.lost_representatives += int(pc.sum(pc.greater(sizes, 1)).as_py() or 0)
        add(
            change.after,
            int(report["rows_in"]) - len(gone),
            int(report["rows_kept"]) - len(kept_before),
            reasons - left,
        )
        return kept_before


def _plain(count: Count) -> dict[str, Any]:
    return vars(count) | {"reasons": {reason: n for reason, n in sorted(count.reasons.items()) if n}}


def _signals(layout: Layout, row: Stage, partition: Partition, report: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    """The signals that the report speaks of, of files with the bytes that were written."""
    folder = layout.signals_dir(row.name, partition)
    for file in report["signal_files"]:
        path = posixpath.join(folder, str(file["name"]))
        try:
            data = cast(bytes, layout.fs.cat_file(path))
        except OSError:
            data = b""
        if hashlib.sha256(data).hexdigest() != file["sha256"]:
            raise MissingDataError(
                f"{path} is missing or damaged: run `{remake(row.name, partition.corpus)}` to measure again"
            )
        yield from pq.ParquetFile(pa.BufferReader(data)).iter_batches(batch_size=_ROWS)


def _columns(layout: Layout, folder: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    for path in layout.parts(folder):
        with reading(path), layout.fs.open(path, "rb") as file:
            yield from pq.ParquetFile(cast(Any, file)).iter_batches(batch_size=_ROWS, columns=names)
