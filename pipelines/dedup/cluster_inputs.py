"""What a corpus is clustered with: the signed segments of its own, and with scope `all` those of other corpora."""

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import to_plain
from pipelines.damage import remake
from pipelines.dedup.buckets import SignaturePart
from pipelines.dedup.candidate_texts import TextPart
from pipelines.dedup.cluster_state import Segment
from pipelines.dedup.schemes import Parameters, parameters
from pipelines.dedup.scope import SOURCE, Reports, Scope, signed_corpora, unlike_segment
from pipelines.segments import live_segments

# What these say is written from the state each time; a state is right whatever they are.
_NOT_IN_STATE = frozenset({"repeated_paragraphs", "paragraph_min_characters"})


@dataclass(frozen=True)
class Inputs:
    """The segments that are compared, by corpus and segment, both sorted."""

    corpus: str
    scope: Scope
    reports: Reports
    signed_with: Mapping[str, Any]  # settings of the signatures, which all have in common
    not_compared: Mapping[str, str] = field(default_factory=dict[str, str])  # corpus to why

    @property
    def parameters(self) -> Parameters:
        """How the signatures were made."""
        return parameters(self.signed_with)

    @property
    def own(self) -> Mapping[str, Mapping[str, Any]]:
        """Segment of the corpus to the report of its signatures."""
        return self.reports[self.corpus]

    @property
    def partitions(self) -> list[Partition]:
        """Every segment that is compared, in the order of places."""
        return [
            Partition(corpus, segment) for corpus in sorted(self.reports) for segment in sorted(self.reports[corpus])
        ]

    def report(self, partition: Partition) -> Mapping[str, Any]:
        """The report of one segment's signatures."""
        return self.reports[partition.corpus][str(partition.segment)]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Every input of the corpus's clusters to its fingerprint; another corpus's segments as `corpus|segment`."""
        found = {f"{SOURCE} {segment}": str(report["fingerprint"]) for segment, report in self.own.items()}
        for other, segments in self.compared_with.items():
            found |= {f"{SOURCE} {other}|{segment}": mark for segment, mark in segments.items()}
        return found

    @property
    def compared_with(self) -> dict[str, dict[str, str]]:
        """Other corpora: segment to the fingerprint of its signatures."""
        return {
            other: {segment: str(segments[segment]["fingerprint"]) for segment in sorted(segments)}
            for other, segments in sorted(self.reports.items())
            if other != self.corpus
        }

    def state_path(self, layout: Layout, settings: Any, code: str) -> str:
        """The folder of the state: another for all that would make its bytes others."""
        facts = {
            "settings": {name: value for name, value in to_plain(settings).items() if name not in _NOT_IN_STATE},
            "signed_with": asdict(self.parameters) | {"quality": self.signed_with.get("quality")},
            "code": code,
        }
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        return f"{layout.cluster_states_dir(self.corpus if self.scope == 'corpus' else None)}/{name}"


def inputs_of(layout: Layout, corpus: str, scope: Scope) -> Inputs:
    """What `corpus` is clustered with now.

    Raises:
        MissingDataError: none of its segments is signed, or they were signed with different settings.
    """
    signed = signed_corpora(layout) if scope == "all" else {corpus: _signed(layout, corpus)}
    own = signed.get(corpus)
    if not own:
        raise MissingDataError(
            f"no segment of {SOURCE} is materialized for {corpus}: "
            f"run `gristmill run {corpus} --through {SOURCE}` first"
        )
    signed_with = _common_settings(own, corpus)
    others: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    not_compared: dict[str, str] = {}
    for other, segments in sorted(signed.items()):
        unlike = unlike_segment(segments, signed_with)
        if unlike is not None:
            not_compared[other] = f"signed with other settings than {corpus} (segment {unlike})"
        else:
            others[other] = segments
    return Inputs(corpus, scope, others, signed_with, not_compared)


def signature_parts(
    layout: Layout, inputs: Inputs, ordinals: Mapping[str, Mapping[str, int]], preferred: Sequence[str]
) -> list[SignaturePart]:
    """Every part of every segment, with its ordinal, place and rank.

    Args:
        layout: where they lie.
        inputs: the segments.
        ordinals: `corpus|segment` to name of part to ordinal.
        preferred: corpora whose documents go before others', the first before the second.
    """
    rank = {corpus: place for place, corpus in reversed(list(enumerate(preferred)))}
    parts: list[SignaturePart] = []
    for place, partition in enumerate(inputs.partitions):
        folder, rows = layout.partition_dir(SOURCE, partition), _rows_of(inputs.report(partition)) or {}
        of_corpus = rank.get(partition.corpus, len(preferred))
        for name, ordinal in sorted(ordinals[partition.key].items()):
            parts.append(SignaturePart(f"{folder}/{name}", ordinal, place, of_corpus, rows.get(name)))
    return parts


def numbered(layout: Layout, partition: Partition, report: Mapping[str, Any], ordinal: int) -> tuple[Segment, int]:
    """A segment as it comes in: a number for each of its parts, for good; and the next number.

    Args:
        layout: the root.
        partition: the segment.
        report: of its signatures.
        ordinal: the number of its first part.

    Raises:
        MissingDataError: the parts that lie there are not those of the report.
    """
    folder = layout.partition_dir(SOURCE, partition)
    names = [posixpath.basename(path) for path in layout.parts(folder)]
    written = _rows_of(report)
    known = names if written is None else written
    for odd, what in ((set(known) - set(names), "is not there"), (set(names) - set(known), "is not in its report")):
        if odd:
            raise MissingDataError(
                f"{posixpath.join(folder, min(odd))} {what}: run `{remake(SOURCE, partition.corpus)}` to make it again"
            )
    numbers = {name: ordinal + index for index, name in enumerate(names)}
    return Segment(str(report["fingerprint"]), int(report["rows_kept"]), numbers), ordinal + len(names)


def text_parts(layout: Layout, inputs: Inputs, parts: Sequence[SignaturePart]) -> list[TextPart]:
    """The texts that the parts of signatures were made of."""
    partitions = inputs.partitions
    return [TextPart.of(layout, partitions[part.place], part.path, part.ordinal) for part in parts]


def _rows_of(report: Mapping[str, Any]) -> dict[str, int] | None:
    """Name of each part of a segment's signatures to its rows; None where the report does not list them."""
    files = report.get("files")
    return None if files is None else {str(file["name"]): int(file["rows"]) for file in files}


def _signed(layout: Layout, corpus: str) -> dict[str, dict[str, Any]]:
    found = [partition for partition in live_segments(layout, SOURCE) if partition.corpus == corpus]
    return {str(partition.segment): layout.require_report(SOURCE, partition) for partition in found}


def _common_settings(reports: Mapping[str, Mapping[str, Any]], corpus: str) -> dict[str, Any]:
    """The settings all segments were signed with: values of other permutations can't be compared."""
    first = min(reports)
    settings = dict(reports[first]["settings"])
    unlike = unlike_segment(reports, settings)
    if unlike is not None:
        raise MissingDataError(
            f"segments {first} and {unlike} of {corpus} have signatures made with different settings: "
            f"run `gristmill run {corpus} --through {SOURCE}` over all segments first"
        )
    return settings
