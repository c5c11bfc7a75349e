"""One document and the cluster of duplicates it is in, answered from what is stored, without Spark.

The way leads from the signatures (who is asked for) over the duplicate files (who repeats whom) back to the signatures
and the texts of the members (how alike they are). Of parts only the columns and row groups that are needed are read:
the cost is one pass over the doc_ids or URLs of the corpora asked, about a second for a million documents on a local
disk. Texts lie in the store as they were crawled: what leaves this module is redacted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import pyarrow as pa

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout, Partition
from pipelines.dedup.schemes import parameters
from pipelines.redacted_urls import redacted
from pipelines.report.cluster_members import (
    CLUSTERS,
    SIGNATURES,
    Member,
    detailed,
    duplicate_row,
    member_of,
    members_of,
    representative_of,
)
from pipelines.report.side_by_side import Pair, bounded, is_bounded, side_by_side
from pipelines.report.stored_rows import Match, among, beginning, matching
from pipelines.segments import live_segments

MEMBERS = 20
_PREFIX = 6  # least characters of a doc_id's beginning that is taken for one
_NAMED = 5


@dataclass(frozen=True)
class Cluster:
    """The answer: the document, its cluster, and why the representative is the representative."""

    asked: Member
    representative: Member
    size: int
    members: tuple[Member, ...]  # the representative, the one asked for, then the most alike; not all of a large one
    rule: str | None = None  # what decided between the representative and the other
    compared: str | None = None  # the doc_id of the other: the one asked for, or the nearest where it represents
    lines: tuple[Pair, ...] = ()  # the two texts beside each other, redacted
    is_cut: bool = False  # only the beginnings of the texts are compared
    scope: str = "corpus"
    warnings: tuple[str, ...] = ()
    signature_settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def find_documents(layout: Layout, asked: str, corpus: str | None = None) -> list[Member]:
    """The signed documents that `asked` may mean: a doc_id, its beginning (six characters or more), or a URL.

    A URL may have been fetched many times, and one record may be in many corpora: one for each. http and https, and
    an end with or without a slash, are one URL here.

    Raises:
        MissingDataError: nothing is signed, or there is no such document; the line says where it went if that is known.
    """
    partitions = [p for p in live_segments(layout, SIGNATURES) if corpus in (None, p.corpus)]
    if not partitions:
        there = sorted({p.corpus for p in live_segments(layout, SIGNATURES)})
        known = f"compared are {', '.join(there)}; for another" if there else "to compare them"
        raise MissingDataError(
            f"no documents{f' of {corpus}' if corpus else ''} have been compared under {layout.root}: "
            f"{known}, run `gristmill run {corpus or 'CORPUS'} --through {CLUSTERS}`"
        )
    is_url = "/" in asked or "." in asked
    by, match = ("url", among(_spellings(asked))) if is_url else ("doc_id", among([asked]))
    found = [member_of(p, row) for p, row in _signed(layout, partitions, by, match)]
    if not found and not is_url and len(asked) >= _PREFIX:
        found = [member_of(p, row) for p, row in _signed(layout, partitions, by, beginning(asked))]
    if not found:
        raise _unknown(layout, asked, by, corpus)
    once = {member.key: member for member in found}.values()  # a record may lie in one segment twice
    return sorted(once, key=lambda m: (m.corpus, m.fetched_at or "", m.segment, m.doc_id))


def cluster_of(
    layout: Layout,
    document: Member,
    *,
    against: str | None = None,
    members: int = MEMBERS,
    context: int | None = 2,
    is_with_text: bool = True,
) -> Cluster:
    """The cluster of a document from `find_documents`.

    Args:
        layout: where the data lies.
        document: the one asked for.
        against: the doc_id of the member whose text is shown beside; by default the representative, or where the
            document represents its cluster, the member that is most like it.
        members: how many are looked at; a cluster may have a million.
        context: equal lines shown around a difference; None for all.
        is_with_text: False leaves out the texts, not the Jaccard similarity.

    Raises:
        MissingDataError: the clusters are not there, or don't cover the document's segment.
        SettingsError: `against` is no member of the cluster that is looked at.
    """
    report = layout.require_report(CLUSTERS, Partition(document.corpus))
    if document.segment not in report["segments"]:
        raise MissingDataError(
            f"{CLUSTERS} of {document.corpus} was computed before segment {document.segment} was there: "
            f"run `gristmill run {document.corpus} --through {CLUSTERS}` first"
        )
    how = report["signature_settings"]
    own = duplicate_row(layout, document, report)
    representative = representative_of(document, own)
    found = members_of(layout, document, representative, report)
    size = int(own["cluster_size"]) if own else len(found)
    warnings = _warnings(layout, document, report, size, len(found))
    chosen = _chosen(found, document, representative, against, max(members, 2))
    looked_at = detailed(layout, chosen, document, parameters(how))
    by_key = {member.key: member for member, _ in looked_at}
    asked, head = by_key[document.key], by_key[representative.key]
    others = [member for member, _ in looked_at if not member.is_asked and not member.is_representative]
    others.sort(key=lambda m: (-(m.jaccard or 0.0), -(m.similarity or 0.0), m.corpus, m.doc_id))
    shown = (head, *(() if asked.is_representative else (asked,)), *others)
    other = _other(shown, against)
    rule, is_cut = None, False
    lines: tuple[Pair, ...] = ()
    if other is not None:
        loser = other if asked.is_representative else asked
        rule = deciding_rule(head, loser, report.get("settings") or {}, how)
        if is_with_text:
            texts = {member.key: text for member, text in looked_at}
            pair = [texts[asked.key], texts[other.key]]
            left, right = redacted_texts(pair)
            lines = tuple(side_by_side(left, right, context))
            is_cut = any(is_bounded(text) for text in pair)
    return Cluster(
        asked=asked,
        representative=head,
        size=size,
        members=shown,
        rule=rule,
        compared=other.doc_id if other else None,
        lines=lines,
        is_cut=is_cut,
        scope=str((report.get("settings") or {}).get("scope", "corpus")),
        warnings=warnings,
        signature_settings=dict(how),
    )


def redacted_texts(texts: Sequence[str]) -> list[str]:
    """The beginnings of texts with placeholders for personal data, by the default settings of clean_documents."""
    from pipelines.privacy import redaction

    batch = pa.record_batch({"text": pa.array([bounded(text) for text in texts], pa.large_string())})
    return redaction.score(batch, redaction.Settings()).column("text").to_pylist()


def deciding_rule(winner: Member, loser: Member, settings: dict[str, Any], signed_with: dict[str, Any]) -> str:
    """The first rule of the representative's order that tells the two apart, for a person."""
    preferred: list[str] = list(settings.get("preferred_corpora") or ())
    ranks = [preferred.index(m.corpus) if m.corpus in preferred else len(preferred) for m in (winner, loser)]
    if ranks[0] != ranks[1]:
        return f"corpus {winner.corpus} is preferred to {loser.corpus} (preferred_corpora)"
    if winner.quality != loser.quality:
        column = signed_with.get("quality")
        what = f"{column}: higher," if column else "more different shingles:"
        return f"{what} {number_text(winner.quality)} against {number_text(loser.quality)}"
    if winner.fetched_at != loser.fetched_at:
        return f"fetched earlier: {winner.fetched_at or 'never'} against {loser.fetched_at or 'an unknown time'}"
    if winner.content_hash != loser.content_hash:
        return "as good and as old: the lesser content hash"
    if winner.doc_id != loser.doc_id:
        return "the same text, as good and as old: the lesser doc_id"
    return "the same record: the lesser corpus and segment"


def number_text(value: float | None) -> str:
    """A quality for a person: counts to the last digit, so that two that differ look different."""
    number = value or 0.0
    return f"{number:,.0f}" if number.is_integer() else f"{number:,.9g}"


def _spellings(url: str) -> set[str]:
    bare = url.removeprefix("https://").removeprefix("http://").rstrip("/")
    return {url} | {f"{scheme}{bare}{end}" for scheme in ("http://", "https://") for end in ("", "/")}


def _signed(
    layout: Layout, partitions: Sequence[Partition], column: str, match: Match
) -> Iterator[tuple[Partition, dict[str, Any]]]:
    for partition in partitions:
        paths = layout.parts(layout.partition_dir(SIGNATURES, partition))
        for _, row in matching(layout, paths, column, match):
            yield partition, row


def _unknown(layout: Layout, asked: str, column: str, corpus: str | None) -> MissingDataError:
    """Says where a document went that is not among the signed: the stages before keep their rejects' identities."""
    wanted = among(_spellings(asked) | {redacted(url) for url in _spellings(asked)} if column == "url" else [asked])
    pattern = layout.join("quarantine", "*", f"corpus={corpus or '*'}", "*", "*.parquet")
    for path in sorted(cast(list[str], layout.fs.glob(pattern))):
        for _, row in matching(layout, [path], column, wanted, ["doc_id", "stage", "reason"]):
            return MissingDataError(
                f"document {row['doc_id']} was never compared: {row['stage']} rejected it as {row['reason']} "
                "(docs/reasons.md)"
            )
    where = f"corpus {corpus}" if corpus else f"any corpus under {layout.root}"
    return MissingDataError(
        f"no document {asked!r} in {where}: give a doc_id (or its first {_PREFIX} characters) or a URL as the parts "
        f"of {SIGNATURES} have it, and leave out --corpus to look in every corpus"
    )


def _chosen(found: list[Member], document: Member, head: Member, against: str | None, count: int) -> list[Member]:
    """Those that are looked at: the three that are meant, then those most like the representative."""
    meant = {document.key, head.key}
    first = [m for m in found if m.key in meant or m.doc_id == against]
    if against is not None and not any(m.doc_id == against and m.key != document.key for m in first):
        near = ", ".join(sorted(m.doc_id for m in found if m.key != document.key)[:_NAMED]) or "no other"
        raise SettingsError(
            f"--against {against}: the cluster of {document.doc_id} has no such other member, but {near}"
        )
    rest = sorted((m for m in found if m not in first), key=lambda m: (-(m.similarity or 0), m.corpus, m.doc_id))
    marked = [replace(m, is_asked=m.key == document.key, is_representative=m.key == head.key) for m in first]
    return marked + rest[: max(count - len(marked), 0)]


def _other(shown: Sequence[Member], against: str | None) -> Member | None:
    """Who is shown beside the one asked for."""
    if against is not None:
        return next(m for m in shown if m.doc_id == against and not m.is_asked)
    return next((m for m in shown if not m.is_asked), None)


def _warnings(layout: Layout, document: Member, report: dict[str, Any], size: int, found: int) -> tuple[str, ...]:
    made: list[str] = []
    signed = layout.report(SIGNATURES, Partition(document.corpus, document.segment)) or {}
    known = (report.get("inputs") or {}).get(f"{SIGNATURES} {document.segment}")
    if known is not None and known != signed.get("fingerprint"):
        made.append(
            f"the clusters are of other signatures than there are now: "
            f"run `gristmill run {document.corpus} --through {CLUSTERS}`"
        )
    if found != size and report.get("compared_with"):
        made.append(
            f"{size} documents were in the cluster and {found} are found now: clusters of other corpora were made at "
            f"another time; run each corpus again `--through {CLUSTERS}`"
        )
    return tuple(made)
