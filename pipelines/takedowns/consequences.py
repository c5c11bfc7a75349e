"""What follows from takedowns: which partitions have to be made again, and which documents come back."""

from collections import Counter
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import GristmillError
from gristmill.core.layout import REPORT_NAME, Layout, Partition
from pipelines.damage import reading
from pipelines.fingerprint import input_fingerprints
from pipelines.segments import live_segments
from pipelines.stages import STAGES, stage
from pipelines.takedowns.committed import SOURCE, Standing, pending, standings, taken_down
from pipelines.takedowns.file import load
from pipelines.takedowns.matching import Takedowns

CLUSTERS, MIXTURE = "duplicate_clusters", "training_mixture"
WHOLE = "whole"  # of what has no partitions
SEGMENT_STAGES = tuple(row.name for row in STAGES if row.is_partitioned)


@dataclass(frozen=True)
class Consequences:
    """What the patterns in force ask for, told from what is committed."""

    takedowns: Takedowns
    stale: dict[Partition, Standing]  # segments of extracted_documents that hold or lack what they should not
    unfinished: dict[Partition, tuple[str, ...]]  # segments of which only the first stages were made again
    documents: dict[Partition, set[str]]  # doc_ids of all that is taken down or will be
    pending: dict[Partition, set[str]]  # of these, what is still there
    corpora: tuple[str, ...]  # whose clusters are found again
    returning: Counter[Partition] = field(default_factory=Counter[Partition])  # duplicates of what goes, by segment
    has_mixture: bool = False
    sharing: frozenset[Partition] = frozenset()  # other segments whose documents shared a cluster with what goes

    @property
    def segments(self) -> list[Partition]:
        """Segments that are surely touched, in order."""
        return sorted({*self.stale, *self.unfinished, *self.pending})

    @property
    def is_nothing(self) -> bool:
        """Whether all that is committed is as the patterns ask."""
        return not self.segments

    def partitions(self, layout: Layout) -> dict[str, list[str]]:
        """Asset to the keys of the partitions that are made again, in the order of the flow; as committed now."""
        found: dict[str, list[str]] = {}
        after_clusters = {*self.segments, *self.sharing, *self.returning}
        is_after = False
        for row in STAGES:
            if row.name == MIXTURE and found.get("token_shards") and self.has_mixture:
                keys = [WHOLE]
            elif row.name == CLUSTERS:
                is_after = True
                keys = [c for c in self.corpora if layout.report(row.name, Partition(c)) is not None]
            elif row.is_partitioned:
                wanted = sorted(after_clusters) if is_after else self.segments
                keys = [p.key for p in wanted if row.name == SOURCE or layout.report(row.name, p) is not None]
            else:
                continue
            if keys:
                found[row.name] = keys
        return found


def consequences(layout: Layout) -> Consequences:
    """What follows from the file as it is.

    Raises:
        TakedownError: the file is damaged.
    """
    takedowns = load(layout)
    standing = standings(layout, takedowns)
    waiting = pending(layout, takedowns)
    stale = {p: s for p, s in standing.items() if s.is_stale}
    unfinished = _unfinished(layout, standing)
    segments = {*stale, *unfinished, *waiting}
    documents = taken_down(layout, takedowns)
    going = [waiting, {p: documents.get(p, set()) for p in unfinished}]  # these may still be in the clusters
    returning, sharing = _clusters(layout, {i for some in going for ids in some.values() for i in ids})
    return Consequences(
        takedowns,
        stale,
        unfinished,
        documents,
        waiting,
        clustered_with(layout, {p.corpus for p in segments}),
        returning,
        layout.read_json(layout.join(MIXTURE, REPORT_NAME)) is not None,
        frozenset(sharing - segments),
    )


def _unfinished(layout: Layout, standing: dict[Partition, Standing]) -> dict[Partition, tuple[str, ...]]:
    """Segments of which a rebuild for takedowns made only the first stages again, with what is left to make.

    What is behind for other reasons is not ours, but for the segments that share their clusters with one of ours.
    """
    own = {p for p, s in standing.items() if s.then and not s.is_stale}
    corpora = set(clustered_with(layout, {p.corpus for p in own})) if own else set[str]()
    found: dict[Partition, tuple[str, ...]] = {}
    for partition, stands in standing.items():
        late = behind(layout, partition) if partition.corpus in corpora and not stands.is_stale else ()
        if late and (partition in own or SEGMENT_STAGES.index(late[0]) > SEGMENT_STAGES.index("minhash_signatures")):
            found[partition] = late
    return found


def behind(layout: Layout, partition: Partition) -> tuple[str, ...]:
    """The committed stages of a segment that were made of something that is not there any more, and what follows."""
    late: list[str] = []
    for name in SEGMENT_STAGES[1:]:
        report = layout.report(name, partition)
        if report is not None and (late or _is_behind(layout, name, partition, report)):
            late.append(name)
    return tuple(late)


def _is_behind(layout: Layout, name: str, partition: Partition, report: dict[str, Any]) -> bool:
    try:
        return report.get("inputs") != input_fingerprints(layout, stage(name), partition)
    except GristmillError:  # what it was made of is not there
        return True


def clustered_with(layout: Layout, corpora: Collection[str]) -> tuple[str, ...]:
    """`corpora`, and those whose committed clusters were found with them."""
    found = set(corpora)
    for partition in layout.committed(CLUSTERS):
        report = layout.report(CLUSTERS, partition) or {}
        if set(report.get("compared_with") or ()) & set(corpora):
            found.add(partition.corpus)
    return tuple(sorted(found))


def _clusters(layout: Layout, gone: Set[str]) -> tuple[Counter[Partition], set[Partition]]:
    """Duplicates that lose their representative, and all segments that share a cluster with what goes."""
    returning: Counter[Partition] = Counter()
    sharing: set[Partition] = set()
    if not gone:
        return returning, sharing
    live = set(live_segments(layout, "quality_filtered_documents"))
    ids = pa.array(sorted(gone), pa.string())
    tables = [(p.corpus, table) for p in layout.committed(CLUSTERS) for table in _duplicates(layout, p)]
    affected: set[str] = set()
    for _, table in tables:
        is_touched: Any = pc.or_(
            pc.is_in(table.column("doc_id"), ids), pc.is_in(table.column("representative_id"), ids)
        )
        affected.update(table.filter(is_touched).column("cluster_id").to_pylist())
    clusters = pa.array(sorted(affected), pa.string())
    for corpus, table in tables:
        rows = table.filter(pc.is_in(table.column("cluster_id"), clusters))
        for row in rows.to_pylist():
            homes = [(corpus, row["segment"]), (row["representative_corpus"], row["representative_segment"])]
            sharing |= {Partition(*home) for home in homes if None not in home} & live
            if row["representative_id"] in gone and row["doc_id"] not in gone:
                returning[Partition(corpus, row["segment"])] += 1
    return returning, sharing


_COLUMNS = ("doc_id", "segment", "representative_id", "cluster_id", "representative_corpus", "representative_segment")


def _duplicates(layout: Layout, partition: Partition) -> Iterator[pa.Table]:
    for path in layout.parts(layout.partition_dir(CLUSTERS, partition)):
        with reading(path), layout.fs.open(path, "rb") as file:
            yield pq.read_table(file, columns=list(_COLUMNS))


@dataclass(frozen=True)
class Learnt:
    """A tokenizer whose merges may come of documents that are taken down."""

    version: str
    documents: int  # at most


def tokenizer_learnt(layout: Layout, found: Consequences) -> Learnt | None:
    """The tokenizer in force, where it was trained while what is taken down was there; None where it was not.

    A tokenizer holds no text, only frequent pieces of words. It is kept: another one makes the shards of every corpus
    out of date.
    """
    latest = layout.latest(layout.join("tokenizer"))
    if latest is None:
        return None
    version, report = latest
    count = 0
    for partition, ids in found.documents.items():
        made = str((layout.report(SOURCE, partition) or {}).get("created_at", ""))
        is_later = partition in found.pending or made > str(report.get("created_at", ""))
        if partition.corpus in report.get("corpora", ()) and is_later:
            count += len(ids)
    return Learnt(version, count) if count else None
