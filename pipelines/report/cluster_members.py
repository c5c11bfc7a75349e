"""The documents of a cluster of duplicates, put together from what the stages have stored of each."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.core.layout import Layout, Partition
from pipelines.dedup.candidate_texts import exact
from pipelines.dedup.code_points import blocks
from pipelines.dedup.duplicate_files import duplicate_path, similarity
from pipelines.dedup.jaccard import ShingleSet, jaccard
from pipelines.dedup.normalise import normalised_words
from pipelines.dedup.paragraph_files import repeated_path
from pipelines.dedup.paragraphs import is_anything_left, without
from pipelines.dedup.schemes import Parameters
from pipelines.dedup.shingles import shingles_of
from pipelines.redacted_urls import redacted
from pipelines.report.stored_rows import among, matching

SIGNATURES, TEXTS, CLUSTERS = "minhash_signatures", "quality_filtered_documents", "duplicate_clusters"


@dataclass(frozen=True)
class Member:
    """A document of the cluster; what it is compared with is the document that was asked for."""

    doc_id: str
    corpus: str
    segment: str
    url: str | None = None  # redacted
    fetched_at: str | None = None  # ISO 8601
    quality: float | None = None
    content_hash: str | None = None
    is_asked: bool = False
    is_representative: bool = False
    kind: str | None = None  # how it repeats the representative: exact or near
    similarity: float | None = None  # share of equal MinHash values: an estimate of the next
    jaccard: float | None = None  # of the shingle sets of the two texts
    repeated_paragraphs: int = 0  # that it loses to documents before it
    is_emptied: bool = False  # and nothing is left of it
    text_characters: int | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others: one record may be in many corpora."""
        return self.corpus, self.segment, self.doc_id

    @property
    def partition(self) -> Partition:
        """Where it lies."""
        return Partition(self.corpus, self.segment)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def member_of(partition: Partition, row: dict[str, Any]) -> Member:
    """What a row of signatures says of its document."""
    fetched, digest = row.get("fetched_at"), row.get("content_hash")
    return Member(
        str(row["doc_id"]),
        partition.corpus,
        str(partition.segment),
        redacted(row["url"]) if row.get("url") else None,
        fetched.isoformat().replace("+00:00", "Z") if fetched else None,
        row.get("quality"),
        digest.hex() if digest else None,
    )


def duplicate_row(layout: Layout, document: Member, report: dict[str, Any]) -> dict[str, Any] | None:
    """The row that says of the document that it is a duplicate."""
    for row in _duplicates(layout, document.corpus, report, "doc_id", document.doc_id, document.segment):
        return row
    return None


def _duplicates(
    layout: Layout, corpus: str, report: dict[str, Any], column: str, value: str, segment: str | None = None
) -> Iterator[dict[str, Any]]:
    folder = layout.partition_dir(CLUSTERS, Partition(corpus))
    for index, name in enumerate(report["segments"]):
        path = duplicate_path(folder, index)
        if segment in (None, name) and layout.fs.exists(path):
            for _, row in matching(layout, [path], column, among([value])):
                yield row | {"corpus": corpus}


def representative_of(document: Member, own: dict[str, Any] | None) -> Member:
    """Whom the document repeats by `duplicate_row`: itself, where that is None."""
    if own is None:
        return document
    corpus = str(own.get("representative_corpus") or document.corpus)
    return Member(str(own["representative_id"]), corpus, str(own["representative_segment"]))


def members_of(layout: Layout, document: Member, head: Member, report: dict[str, Any]) -> list[Member]:
    """Everyone that repeats the representative, and itself, without details."""
    corpora = dict.fromkeys([document.corpus, head.corpus, *(report.get("compared_with") or ())])
    found = {head.key: Member(head.doc_id, head.corpus, head.segment)}
    for corpus in corpora:
        its_report = report if corpus == document.corpus else layout.report(CLUSTERS, Partition(corpus))
        for row in _duplicates(layout, corpus, its_report, "representative_id", head.doc_id) if its_report else ():
            if str(row.get("representative_corpus") or corpus) == head.corpus:
                member = Member(str(row["doc_id"]), corpus, str(row["segment"]), kind=row["kind"])
                found[member.key] = replace(member, similarity=row["similarity"])
    found.setdefault(document.key, document)
    return list(found.values())


def detailed(layout: Layout, members: Sequence[Member], asked: Member, how: Parameters) -> list[tuple[Member, str]]:
    """The members with all that is stored of them and how like `asked` they are, and their texts."""
    groups: dict[Partition, list[Member]] = {}
    for member in members:
        groups.setdefault(member.partition, []).append(member)
    rows: dict[tuple[str, str, str], tuple[dict[str, Any], str]] = {}
    for partition, some in groups.items():
        ids = [member.doc_id for member in some]
        signed = _by_id(layout, SIGNATURES, partition, ids, None)
        texts = _by_id(layout, TEXTS, partition, ids, ["doc_id", "text"])
        for member in some:
            row = signed.get(member.doc_id, {"doc_id": member.doc_id})
            rows[member.key] = row, str(texts.get(member.doc_id, {}).get("text") or "")
    own_row, own_text = rows[asked.key]
    own_shingles = _shingles(own_text, how)
    lost = {p: _paragraphs_lost(layout, p, [m.doc_id for m in some]) for p, some in groups.items()}
    found: list[tuple[Member, str]] = []
    for member in members:
        row, text = rows[member.key]
        stored = member_of(member.partition, row)
        full = replace(
            stored,
            is_asked=member.is_asked,
            is_representative=member.is_representative,
            kind=member.kind,
            repeated_paragraphs=len(lost[member.partition].get(member.doc_id, ())),
            is_emptied=_is_emptied(text, lost[member.partition].get(member.doc_id, ())),
            text_characters=len(text),
        )
        if not member.is_asked:
            estimate = _estimate(own_row.get("signature"), row.get("signature"), how)
            full = replace(full, similarity=estimate, jaccard=jaccard(own_shingles, _shingles(text, how)))
        found.append((full, text))
    return found


def _by_id(
    layout: Layout, asset: str, partition: Partition, ids: Sequence[str], columns: list[str] | None
) -> dict[str, dict[str, Any]]:
    """Rows of a segment by doc_id; looks no further when it has all."""
    found: dict[str, dict[str, Any]] = {}
    for _, row in matching(layout, layout.parts(layout.partition_dir(asset, partition)), "doc_id", among(ids), columns):
        found.setdefault(str(row["doc_id"]), row)
        if len(found) == len(set(ids)):
            break
    return found


def _is_emptied(text: str, lines: Collection[int]) -> bool:
    return bool(lines) and not is_anything_left(without(text, lines))


def _paragraphs_lost(layout: Layout, partition: Partition, ids: Sequence[str]) -> dict[str, list[int]]:
    """The numbers of the lines that documents lose, of those that lose any."""
    report = layout.report(CLUSTERS, Partition(partition.corpus)) or {}
    segments: list[str] = report.get("segments", [])
    if partition.segment is None or partition.segment not in segments:
        return {}
    folder = layout.partition_dir(CLUSTERS, Partition(partition.corpus))
    path = repeated_path(folder, segments.index(partition.segment))
    if not layout.fs.exists(path):
        return {}
    rows = matching(layout, [path], "doc_id", among(ids), ["doc_id", "lines"])
    return {str(row["doc_id"]): row["lines"] for _, row in rows}


def _shingles(text: str, how: Parameters) -> ShingleSet:
    (block,) = blocks(pa.array([text], pa.large_string()))
    return np.unique(shingles_of(block, normalised_words(block), exact(how)).hashes.astype(np.uint64))


def _estimate(left: bytes | None, right: bytes | None, how: Parameters) -> float | None:
    if not left or not right or len(left) != len(right):
        return None
    one, other = (pa.array([value], pa.binary()) for value in (left, right))
    return float(similarity(one, other, how.value_bytes)[0])
