"""A page's way through every stage of documents, read from what the stages have stored of it.

Of each stage one part is looked at, as map stages keep the names of their parts, and of that the doc_ids; the other
columns are read where the document lies. A stage that has no row of it, kept or rejected, has not met it: it comes
after the one that rejected it, was not made, or was made before the document was there.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading
from pipelines.dedup.duplicate_files import duplicate_path, representative_path
from pipelines.redacted_urls import redacted
from pipelines.report.captures import Capture
from pipelines.stages import STAGES, Stage
from pipelines.tokens.unpack import document_spans, read_manifest

Outcome = Literal["kept", "rejected", "not reached", "not made", "not there"]
CLUSTERS, SHARDS = "duplicate_clusters", "token_shards"
_IDENTITY = ("doc_id", "url", "canonical_url", "warc_file", "warc_offset", "warc_record", "fetched_at")
_NOT_SIGNALS = frozenset(("text", "corpus", "segment", "host", "signature"))


@dataclass(frozen=True)
class Decision:
    """What one stage did with the document."""

    stage: str
    outcome: Outcome  # not reached: a stage before it rejected it; not there: the stage has no row of it
    reason: str | None = None  # of a rejection, as all that follows down to failed_rules
    score: float | None = None
    threshold: float | None = None
    detail: str | None = None
    failed_rules: tuple[str, ...] = ()  # every rule that it fails; `reason` is one
    signals: dict[str, Any] = field(default_factory=dict[str, Any])  # of a kept document: what the stage added
    is_stale: bool = False  # the stage was made from other inputs than there are now
    made_at: str | None = None


@dataclass(frozen=True)
class Membership:
    """The cluster of duplicates that a document is in."""

    representative_id: str
    representative_corpus: str
    representative_segment: str
    size: int
    kind: str | None = None  # how it repeats the representative: exact or near; null for the representative
    similarity: float | None = None  # share of equal MinHash values with it


@dataclass(frozen=True)
class Span:
    """A run of tokens of the document in one row of a shard."""

    shard: str  # path below the root
    split: str  # train or heldout
    sequence: int  # row of the shard
    start: int  # position in the row
    length: int  # tokens, the end-of-text token included
    doc_offset: int  # token of the document that lies at `start`


@dataclass(frozen=True)
class Explanation:
    """All that the document stages know of a capture."""

    capture: Capture
    decisions: tuple[Decision, ...]  # of every stage of documents, in the order of the flow
    cluster: Membership | None  # None: never compared, or alone
    spans: tuple[Span, ...]  # in the shards as they are now
    tokenizer_version: str | None = None  # of these shards

    @property
    def rejection(self) -> Decision | None:
        """The first stage that rejected it."""
        return next((d for d in self.decisions if d.outcome == "rejected"), None)

    @property
    def split(self) -> str | None:
        """train or heldout; None where it is in no shard."""
        return self.spans[0].split if self.spans else None

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "document": self.capture.to_plain(),
            "stages": [asdict(decision) for decision in self.decisions],
            "cluster": None if self.cluster is None else asdict(self.cluster),
            "split": self.split,
            "tokens": sum(span.length for span in self.spans),
            "tokenizer_version": self.tokenizer_version,
            "spans": [asdict(span) for span in self.spans],
        }


def explain(layout: Layout, capture: Capture) -> Explanation:
    """Follow a capture through the stages.

    Raises:
        MissingDataError: a part can't be read.
    """
    decisions: list[Decision] = []
    seen: dict[str, Any] = dict.fromkeys(_IDENTITY, "")
    reports: dict[str, Mapping[str, Any]] = {}
    is_begun = is_rejected = False
    for stage in STAGES:
        if stage.kind != "map":
            continue
        is_begun = is_begun or stage.name == capture.stage
        report = layout.report(stage.name, capture.partition) if is_begun else None
        if report is None:
            decisions.append(Decision(stage.name, "not reached" if is_rejected else "not made"))
            continue
        reports[stage.name] = report
        decision = _decision(layout, stage, capture, report, reports, seen, is_rejected=is_rejected)
        is_rejected = is_rejected or decision.outcome == "rejected"
        decisions.append(decision)
    shards, spans, version = _shards(layout, capture, reports, is_rejected=is_rejected)
    return Explanation(capture, (*decisions, shards), _membership(layout, capture), spans, version)


def _decision(
    layout: Layout,
    stage: Stage,
    capture: Capture,
    report: Mapping[str, Any],
    reports: Mapping[str, Mapping[str, Any]],
    seen: dict[str, Any],
    *,
    is_rejected: bool,
) -> Decision:
    made_at, is_stale = report.get("created_at"), _is_stale(stage, report, reports)
    kept = _row(layout, layout.partition_dir(stage.name, capture.partition), capture, seen)
    if kept is not None:
        signals = {name: _plain(value) for name, value in kept.items() if seen.get(name) is None}
        seen.update(kept)
        return Decision(stage.name, "kept", signals=signals, is_stale=is_stale, made_at=made_at)
    row = _row(layout, layout.quarantine_dir(stage.name, capture.partition), capture, {})
    if row is None:
        return Decision(stage.name, "not reached" if is_rejected else "not there", is_stale=is_stale, made_at=made_at)
    return Decision(
        stage.name,
        "rejected",
        reason=row["reason"],
        score=row["score"],
        threshold=row["threshold"],
        detail=row["detail"],
        failed_rules=tuple(row.get("failed_rules") or ()),
        is_stale=is_stale,
        made_at=made_at,
    )


def _row(layout: Layout, folder: str, capture: Capture, seen: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document's row in a folder of parts without its text and what was seen of it; the part of its name first."""
    first = posixpath.join(folder, capture.part)
    known = {name for name, value in seen.items() if value is not None}  # later stages fill columns that were null
    for path in sorted(layout.parts(folder), key=lambda path: (path != first, path)):
        for row in _rows(layout, path, "doc_id", capture.doc_id, known | _NOT_SIGNALS):
            return row
    return None


def _rows(
    layout: Layout, path: str, column: str, value: str, without: set[str] | frozenset[str] = frozenset()
) -> Iterator[dict[str, Any]]:
    """Rows of one part whose `column` is `value`; a row group is passed over where its statistics rule it out."""
    wanted = pa.scalar(value, pa.string())
    with reading(path), layout.fs.open(path, "rb") as file:
        parquet = pq.ParquetFile(cast(Any, file))
        names = parquet.schema_arrow.names
        at = names.index(column)
        columns = [name for name in names if name not in without]
        for group in range(parquet.num_row_groups):
            statistics: Any = _statistics(parquet, group, at)
            if statistics is not None and not statistics.min <= value <= statistics.max:
                continue
            keys: Any = parquet.read_row_group(group, [column], use_threads=False).column(0)
            mask: Any = pc.fill_null(pc.equal(keys, wanted), False)
            if pc.any(mask).as_py():
                yield from parquet.read_row_group(group, columns, use_threads=False).filter(mask).to_pylist()


def _statistics(parquet: pq.ParquetFile, group: int, column: int) -> Any:
    if parquet.schema_arrow.field(column).type not in (pa.string(), pa.large_string()):
        return None
    flat = parquet.metadata.row_group(group)
    name = parquet.schema_arrow.names[column]
    leaf = next((i for i in range(flat.num_columns) if flat.column(i).path_in_schema == name), None)
    statistics = None if leaf is None else flat.column(leaf).statistics
    return statistics if statistics is not None and statistics.has_min_max else None


def _is_stale(stage: Stage, report: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the stage was made from another version of the one it reads than there is now."""
    source = reports.get(stage.reads[0]) if stage.reads else None
    used = (report.get("inputs") or {}).get(stage.reads[0]) if stage.reads else None
    return source is not None and used not in (None, source.get("fingerprint"))


def _membership(layout: Layout, capture: Capture) -> Membership | None:
    report = layout.report(CLUSTERS, Partition(capture.corpus))
    segments: Sequence[str] = report.get("segments", ()) if report else ()
    if capture.segment not in segments:
        return None
    folder = layout.partition_dir(CLUSTERS, Partition(capture.corpus))
    index = list(segments).index(capture.segment)
    path = duplicate_path(folder, index)
    if layout.fs.exists(path):
        for row in _rows(layout, path, "doc_id", capture.doc_id):
            return Membership(
                str(row["representative_id"]),
                str(row.get("representative_corpus") or capture.corpus),
                str(row["representative_segment"]),
                int(row["cluster_size"]),
                row["kind"],
                row["similarity"],
            )
    path = representative_path(folder, index)
    if layout.fs.exists(path):
        for row in _rows(layout, path, "doc_id", capture.doc_id):
            return Membership(capture.doc_id, capture.corpus, capture.segment, int(row["cluster_size"]))
    return None


def _shards(
    layout: Layout, capture: Capture, reports: Mapping[str, Mapping[str, Any]], *, is_rejected: bool
) -> tuple[Decision, tuple[Span, ...], str | None]:
    """What the shards of the document's segment hold of it."""
    stage = next(stage for stage in STAGES if stage.name == SHARDS)
    report = layout.report(SHARDS, capture.partition)
    if report is None:
        return Decision(SHARDS, "not reached" if is_rejected else "not made"), (), None
    folder = layout.partition_dir(SHARDS, capture.partition).removeprefix(layout.join(""))
    spans = tuple(
        Span(posixpath.join(folder, s.shard), s.split, s.sequence, s.start, s.length, s.doc_offset)
        for s in document_spans(layout, capture.partition, capture.doc_id)
    )
    outcome: Outcome = "kept" if spans else "not reached" if is_rejected else "not there"
    signals: dict[str, Any] = {}
    if spans:
        signals = {"split": spans[0].split, "tokens": sum(s.length for s in spans), "spans": len(spans)}
    made = report.get("created_at")
    decision = Decision(SHARDS, outcome, signals=signals, is_stale=_is_stale(stage, report, reports), made_at=made)
    return decision, spans, str(read_manifest(layout, capture.partition)["tokenizer_version"])


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):  # a title may be anything
        return redacted(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
