"""Taking documents out of `extracted_documents`, without reading the crawl again.

Each part is read a row group at a time; the rows that a pattern means go to the quarantine, the rest is written as it
was, in the row group it was in. What is taken down stands last in its quarantine part, by its place in the crawl. So
the same patterns leave the same bytes, whether they were there when the crawl was extracted or came one by one later:
a new extraction goes through this very code before it is committed.
"""

import posixpath
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from pipelines.commit import Attempt, now
from pipelines.damage import reading
from pipelines.decisions import verdicts
from pipelines.fingerprint import fingerprint
from pipelines.parts import PartWriter, quarantine_rows
from pipelines.redacted_urls import redacted
from pipelines.stages import Stage
from pipelines.takedowns.committed import mark_of, matched
from pipelines.takedowns.file import load
from pipelines.takedowns.matching import REASON, Takedowns

if TYPE_CHECKING:
    from pipelines.plan import Plan

_PLACE = ("warc_file", "warc_offset", "warc_record", "doc_id")


@dataclass
class _Taken:
    """What went out of one part."""

    rows: int
    text_bytes: int
    tally: Counter[str]
    keys: set[str]
    files: list[dict[str, Any]]


def carve(layout: Layout, plan: "Plan") -> dict[str, Any]:
    """Make a committed partition again without what is taken down now; returns the new report.

    Nothing else has changed: the plan says so (`Plan.is_to_carve`).
    """
    started, process = time.monotonic(), time.process_time()
    assert plan.committed is not None
    with Attempt(layout, plan.stage.name, plan.partition) as attempt:
        folders = (
            (layout.partition_dir(plan.stage.name, plan.partition), attempt.output),
            (layout.quarantine_dir(plan.stage.name, plan.partition), attempt.quarantine),
        )
        for source, target in folders:
            for path in layout.parts(source):
                _copy(layout, path, posixpath.join(target, posixpath.basename(path)))
        report = honour(layout, attempt, plan, plan.committed) | {
            "seconds": round(time.monotonic() - started, 3),
            "cpu_seconds": round(time.process_time() - process, 3),
            "created_at": now(),
        }
        attempt.commit(report)
    return report


def honour(layout: Layout, attempt: Attempt, plan: "Plan", report: Mapping[str, Any]) -> dict[str, Any]:
    """Take out of an attempt what is taken down by the file as it is now; returns its report.

    Args:
        layout: the root.
        attempt: whose parts are written and not yet committed.
        plan: of the partition.
        report: of the parts as they are.
    """
    takedowns = load(layout)
    keys = {key for key in report.get("takedowns", ()) if key in takedowns.by_key}
    changed = dict(report)
    for path in layout.parts(attempt.output) if takedowns else ():
        if matched(layout, path, takedowns):
            taken = _carve_part(layout, plan.stage, path, attempt, takedowns)
            keys |= taken.keys
            changed = _less(changed, taken)
    files = plan.files | mark_of(keys)
    changed["fingerprint"] = fingerprint(plan.stage, plan.settings, plan.inputs, files)
    if keys:
        changed["takedowns"] = sorted(keys)
    return changed


def _carve_part(layout: Layout, row: Stage, path: str, attempt: Attempt, takedowns: Takedowns) -> _Taken:
    name = posixpath.basename(path)
    module: Any = row.load()
    taken = _Taken(0, 0, Counter(), set(), [])
    gone: list[pa.RecordBatch] = []
    kept = PartWriter(layout, path)
    with reading(path), layout.fs.open(path, "rb") as file:
        parquet = pq.ParquetFile(file)
        kept.write(_empty(parquet.schema_arrow))
        for number in range(parquet.num_row_groups):
            rows = _batch(parquet.read_row_group(number))
            numbers = takedowns.matches(rows)
            is_meant = numbers >= 0
            kept.write(rows.filter(pa.array(~is_meant)))
            kept.flush()
            if not is_meant.any():
                continue
            meant = rows.filter(pa.array(is_meant))
            patterns = [takedowns.patterns[n] for n in numbers[is_meant].tolist()]
            verdict = verdicts([REASON] * len(patterns), details=[redacted(p.pattern) for p in patterns])
            gone.append(quarantine_rows(row.name, meant, verdict))
            taken.rows += meant.num_rows
            taken.text_bytes += sum(len((t or "").encode()) for t in meant.column("text").to_pylist())
            taken.tally.update(module.tally(meant))
            taken.keys |= {pattern.key for pattern in patterns}
    taken.files.append(cast("dict[str, Any]", kept.close()) | {"kind": "kept"})
    taken.files.append(
        _into_quarantine(layout, posixpath.join(attempt.quarantine, name), gone) | {"kind": "quarantine"}
    )
    return taken


def _into_quarantine(layout: Layout, path: str, rows: Sequence[pa.RecordBatch]) -> dict[str, Any]:
    """Write a quarantine part again with `rows` added; those taken down are its last row group."""
    taken = list(rows)
    writer = PartWriter(layout, path)
    with reading(path), layout.fs.open(path, "rb") as file:
        parquet = pq.ParquetFile(file)
        writer.write(_empty(parquet.schema_arrow))
        for number in range(parquet.num_row_groups):
            group = _batch(parquet.read_row_group(number))
            is_taken = np.array([reason == REASON for reason in group.column("reason").to_pylist()], bool)
            taken.append(group.filter(pa.array(is_taken)))
            writer.write(group.filter(pa.array(~is_taken)))
            writer.flush()
    table = pa.Table.from_batches(taken)
    writer.write(_batch(table.sort_by([(name, "ascending") for name in _PLACE])))
    return cast("dict[str, Any]", writer.close())


def _less(report: dict[str, Any], taken: _Taken) -> dict[str, Any]:
    """The report of a partition after one of its parts lost what was taken down."""
    tally = Counter(report["tally"])
    tally.subtract(taken.tally)
    new = {file["kind"]: file for file in taken.files}
    files, rejected = (
        [new[kind] if file["name"] == new[kind]["name"] else file for file in report[field]]
        for field, kind in (("files", "kept"), ("quarantine_files", "quarantine"))
    )
    reasons = Counter(report["rows_rejected"]) + Counter({REASON: taken.rows})
    return report | {
        "rows_kept": report["rows_kept"] - taken.rows,
        "rows_rejected": dict(sorted(reasons.items())),
        # A charset that no document is left of was never counted, as if these had not been there.
        "tally": {n: count for n, count in sorted(tally.items()) if count or not n.startswith("charset_")},
        "files": files,
        "quarantine_files": rejected,
        "bytes": sum(int(file["bytes"]) for file in files),
        "text_bytes_out": report["text_bytes_out"] - taken.text_bytes,
    }


def _copy(layout: Layout, source: str, target: str) -> None:
    if layout.is_local:
        Path(target).hardlink_to(source)  # a part is replaced, never written into
    else:
        layout.fs.copy(source, target)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def _batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else _empty(table.schema)
