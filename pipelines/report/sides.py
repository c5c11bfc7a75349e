"""A batch of stored signals, decided twice: what changes sides, counted and shown."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.judging import Scored, decide
from pipelines.redacted_urls import redacted
from pipelines.report.changes import all_rules, limit_of
from pipelines.signals import BROKEN, TEXT_BYTES

EXAMPLES = 10


@dataclass
class Count:
    """Documents of one stage, as they are or as they would be."""

    documents_in: int = 0
    documents_kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    # Of the texts as they come in: `funnel` counts what is left of them when lines have been edited. None where
    # nothing stored says it.
    unedited_bytes_kept: int | None = None


@dataclass
class StageChange:
    """One stage before and after the change."""

    stage: str
    is_decided: bool = False  # its own settings change
    before: Count = field(default_factory=Count)
    after: Count = field(default_factory=Count)
    drop_out: int = 0  # kept, and would be rejected here
    come_in: int = 0  # rejected, and would be kept here
    other_reason: int = 0  # rejected either way, for another reason
    not_seen: int = 0  # would come in from the stages before: this one has never seen them
    lost_representatives: int = 0  # of clusters: another document of each would be kept in their place
    segments_out: tuple[str, ...] = ()  # not run, or out of date: they are not counted
    unmeasured: tuple[str, ...] = ()  # changes of limits on a signal that no document has, and the way out


@dataclass(frozen=True)
class ChangedDocument:
    """One document that would change sides."""

    doc_id: str
    url: str | None
    stage: str
    segment: str
    is_kept_before: bool
    is_kept_after: bool
    rule: str  # the reason on the side where it is rejected
    signal: str  # the column that the rule looks at
    value: Any
    old_threshold: Any
    new_threshold: Any


class Sides:
    """A batch of signals, decided twice."""

    def __init__(self, module: ModuleType, signals: pa.RecordBatch, before: Any, after: Any, gone: Any) -> None:
        self._signals = signals
        scored = Scored(signals, signals.column(BROKEN))
        self._before, self._after = decide(module, scored, before), decide(module, scored, after)
        self._is_gone = _numpy(pc.is_in(signals.column("doc_id"), gone))
        kept_before = _numpy(self._before.column("reason").is_null())
        kept_after = _numpy(self._after.column("reason").is_null())
        self._kept_after = kept_after & ~self._is_gone
        self._kept_before = kept_before
        self.is_lost = pa.array(kept_before & ~self._kept_after)
        self.drop_out = kept_before & ~kept_after & ~self._is_gone
        self.come_in = ~kept_before & self._kept_after

    def count(self, change: StageChange, counted: Count) -> None:
        """Add the batch to the stage's numbers, and to `counted` as it was."""
        rows, sizes = self._signals.num_rows, self._signals.column(TEXT_BYTES)
        old, new = self._before.column("reason"), self._after.column("reason")
        stays = ~self._is_gone
        reasons: Counter[str] = Counter(old.drop_null().to_pylist())
        add(counted, rows, 0, reasons)
        add(change.before, rows, int(self._kept_before.sum()), reasons, _sum(sizes, self._kept_before))
        add(
            change.after,
            int(stays.sum()),
            int(self._kept_after.sum()),
            Counter(new.filter(pa.array(stays)).drop_null().to_pylist()),
            _sum(sizes, self._kept_after),
        )
        change.drop_out += int(self.drop_out.sum())
        change.come_in += int(self.come_in.sum())
        is_other = _numpy(pc.fill_null(pc.not_equal(old, new), False))
        change.other_reason += int((is_other & stays).sum())

    def examples(
        self, module: ModuleType, before: Any, after: Any, stage: str, segment: str
    ) -> Iterator[ChangedDocument]:
        """Documents that change sides, the least doc_ids of each direction: hashes, so any sample as good."""
        columns = {rule.reason: rule.column for rule in all_rules(module, after)}
        columns |= {rule.reason: rule.column for rule in all_rules(module, before)}
        ids = np.asarray(self._signals.column("doc_id").to_pylist(), dtype=object)
        for mask, verdict in ((self.drop_out, self._after), (self.come_in, self._before)):
            rows = np.flatnonzero(mask)
            for row in rows[np.argsort(ids[rows])][:EXAMPLES]:
                why = {name: verdict.column(name)[int(row)].as_py() for name in verdict.schema.names}
                reason, detail = str(why["reason"]), why["detail"]
                signal = columns.get(reason, reason)
                is_stored = signal in self._signals.schema.names
                value = self._signals.column(signal)[int(row)].as_py() if is_stored else why["score"]
                yield ChangedDocument(
                    str(ids[row]),
                    redacted(self._signals.column("url")[int(row)].as_py() or "") or None,
                    stage,
                    segment,
                    bool(self._kept_before[row]),
                    bool(self._kept_after[row]),
                    reason,
                    signal,
                    value,
                    limit_of(module, before, reason, detail),
                    limit_of(module, after, reason, detail),
                )


def least(documents: Sequence[ChangedDocument], each: int = EXAMPLES // 2) -> list[ChangedDocument]:
    """The least doc_ids of both directions, `each` of one, more where the other has fewer."""
    out = sorted((d for d in documents if d.is_kept_before), key=lambda d: d.doc_id)
    come = sorted((d for d in documents if not d.is_kept_before), key=lambda d: d.doc_id)
    if each == EXAMPLES:
        return out[:each] + come[:each]
    return out[: max(each, EXAMPLES - len(come))] + come[: max(each, EXAMPLES - len(out))]


def add(count: Count, rows: int, kept: int, reasons: Counter[str], text_bytes: int | None = None) -> None:
    """Add documents to a count."""
    count.documents_in += rows
    count.documents_kept += kept
    count.reasons.update(reasons)
    if text_bytes is not None:
        count.unedited_bytes_kept = (count.unedited_bytes_kept or 0) + text_bytes


def _sum(sizes: Any, mask: Any) -> int:
    return int(pc.sum(sizes.filter(pa.array(mask))).as_py() or 0)


def _numpy(array: Any) -> Any:
    return array.to_numpy(zero_copy_only=False).astype(bool)
