"""What of the committed documents a list of patterns means, told from three columns of them."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading
from pipelines.redacted_urls import redacted
from pipelines.segments import live_segments
from pipelines.stages import STAGES
from pipelines.takedowns.file import load
from pipelines.takedowns.matching import COLUMNS, REASON, Takedowns
from pipelines.takedowns.patterns import Pattern

SOURCE = STAGES[0].name  # where documents are taken down: all others are made from it
DOCUMENT_STAGES = tuple(stage.name for stage in STAGES if stage.kind == "map" and stage.name != "minhash_signatures")
_BATCH_ROWS = 1 << 16


def matched(layout: Layout, path: str, takedowns: Takedowns) -> Counter[str]:
    """Documents of a Parquet part per pattern that means them, by the pattern's key."""
    found: Counter[str] = Counter()
    for _, keys in meant(layout, path, takedowns):
        found.update(keys)
    return found


def meant(layout: Layout, path: str, takedowns: Takedowns) -> Iterator[tuple[list[str], list[str]]]:
    """Batches of doc_ids of a part that are meant, each with the key of the pattern that means it."""
    with reading(path), layout.fs.open(path, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=_BATCH_ROWS, columns=list(COLUMNS)):
            numbers = takedowns.matches(batch)
            if (numbers >= 0).any():
                ids = batch.column("doc_id").filter(pa.array(numbers >= 0)).to_pylist()
                yield ids, [takedowns.patterns[n].key for n in numbers[numbers >= 0].tolist()]


def mark_of(keys: Collection[str]) -> dict[str, str]:
    """What a partition's fingerprint says of takedowns: nothing where none means any of its documents."""
    if not keys:
        return {}
    return {"takedowns": hashlib.sha256("\0".join(sorted(keys)).encode()).hexdigest()[:32]}


@dataclass(frozen=True)
class Standing:
    """How a committed partition stands to the patterns in force."""

    then: frozenset[str]  # keys of patterns whose documents were taken out of it
    now: frozenset[str]  # of those that should be
    documents: Mapping[str, int]  # still in it and to be taken out, by key

    @property
    def is_stale(self) -> bool:
        """Whether it has to be made again."""
        return self.then != self.now

    @property
    def returning(self) -> frozenset[str]:
        """Patterns that are in force no longer: what they took out comes back with the next extraction."""
        return self.then - self.now


def standing(layout: Layout, partition: Partition, report: Mapping[str, Any], takedowns: Takedowns) -> Standing:
    """How the committed segment `partition` of extracted_documents stands.

    Its documents are looked at once for each version of the file: the answer is kept in the cache.
    """
    then = frozenset(cast("list[str]", report.get("takedowns", [])))
    if not takedowns:
        return Standing(then, frozenset(), {})
    path = layout.cache_path(f"takedowns/{partition.path}.json")
    asked = {
        "fingerprint": report.get("fingerprint"),
        "files": [file.get("sha256") for file in report.get("files", ())],
        "version": takedowns.version,
    }
    known = layout.read_json(path)
    if known is None or known.get("asked") != asked:
        found: Counter[str] = Counter()
        for part in layout.parts(layout.partition_dir(SOURCE, partition)):
            found += matched(layout, part, takedowns)
        known = {"asked": asked, "documents": dict(sorted(found.items()))}
        layout.write_json(path, known)
    documents = cast("dict[str, int]", known["documents"])
    return Standing(then, frozenset(documents) | {key for key in then if key in takedowns.by_key}, documents)


def standings(layout: Layout, takedowns: Takedowns | None = None) -> dict[Partition, Standing]:
    """How every committed segment of extracted_documents stands, in order."""
    wanted = load(layout) if takedowns is None else takedowns
    found: dict[Partition, Standing] = {}
    for partition in live_segments(layout, SOURCE):
        report = layout.report(SOURCE, partition)
        if report is not None and (wanted or report.get("takedowns")):
            found[partition] = standing(layout, partition, report, wanted)
    return found


def holding(layout: Layout, pattern: Pattern) -> dict[Partition, int]:
    """How many committed documents a pattern means by itself, by segment; whatever other patterns mean."""
    alone = Takedowns([pattern])
    found = {
        partition: sum(
            sum(matched(layout, part, alone).values()) for part in layout.parts(layout.partition_dir(SOURCE, partition))
        )
        for partition in live_segments(layout, SOURCE)
    }
    return {partition: number for partition, number in found.items() if number}


def taken_from(layout: Layout, pattern: Pattern) -> list[Partition]:
    """The segments that a pattern took documents out of."""
    live = live_segments(layout, SOURCE)
    return [p for p in live if pattern.key in (layout.report(SOURCE, p) or {}).get("takedowns", ())]


def pending(layout: Layout, takedowns: Takedowns) -> dict[Partition, set[str]]:
    """The doc_ids of documents that are meant and still there, by segment.

    They are looked for in extracted_documents, and for a segment that has none (a rebuild was killed, or the folder
    was removed) where its documents lie.
    """
    found: dict[Partition, set[str]] = {}
    if not takedowns:
        return found
    for asset in DOCUMENT_STAGES:
        for partition in layout.committed(asset):
            if partition in found or partition.segment is None:
                continue
            found[partition] = set()
            report = layout.report(asset, partition) or {}
            if asset == SOURCE and not standing(layout, partition, report, takedowns).documents:
                continue
            for part in layout.parts(layout.partition_dir(asset, partition)):
                found[partition].update(doc_id for some, _ in meant(layout, part, takedowns) for doc_id in some)
    return {partition: ids for partition, ids in found.items() if ids}


def taken_down(layout: Layout, takedowns: Takedowns) -> dict[Partition, set[str]]:
    """The doc_ids of all documents that are taken down, or will be when the stale partitions are made again.

    What was taken out already is told by its quarantine rows.
    """
    found = pending(layout, takedowns)
    said = {redacted(pattern.pattern) for pattern in takedowns.patterns}
    for partition in layout.committed(SOURCE) if takedowns else ():
        report = layout.report(SOURCE, partition) or {}
        if set(report.get("takedowns", ())) & set(takedowns.by_key):
            for part in layout.parts(layout.quarantine_dir(SOURCE, partition)):
                found.setdefault(partition, set()).update(_taken_out(layout, part, said))
    return {partition: ids for partition, ids in found.items() if ids}


def _taken_out(layout: Layout, path: str, said: Collection[str]) -> list[str]:
    """Ids of the rows that a pattern took out which is still in force, told by how the row names it."""
    with reading(path), layout.fs.open(path, "rb") as file:
        table = pq.read_table(file, columns=["doc_id", "reason", "detail"])
    rows = zip(*(table.column(name).to_pylist() for name in ("doc_id", "reason", "detail")), strict=True)
    return [doc_id for doc_id, reason, detail in rows if reason == REASON and doc_id is not None and detail in said]
