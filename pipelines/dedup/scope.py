"""With what the documents of a corpus are compared: its own alone, or those of every corpus that is signed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from gristmill.core.layout import Layout
from pipelines.contents import content_version
from pipelines.segments import live_segments

Scope = Literal["corpus", "all"]
SOURCE = "minhash_signatures"

Reports = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Corpus to segment to the committed report of its signatures."""


def signed_corpora(layout: Layout) -> dict[str, dict[str, dict[str, Any]]]:
    """The report of every committed segment of signatures that its corpus still has, by corpus and segment."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for partition in live_segments(layout, SOURCE):
        report = layout.report(SOURCE, partition)
        if report is not None and partition.segment is not None:
            found.setdefault(partition.corpus, {})[partition.segment] = report
    return found


def comparable(signed: Reports, corpus: str) -> Reports:
    """The other corpora whose signatures were made with the settings of those of `corpus`: values of other
    permutations can't be compared. All others, where `corpus` has none yet."""
    own = next((report["settings"] for report in signed.get(corpus, {}).values()), None)
    return {
        other: segments
        for other, segments in sorted(signed.items())
        if other != corpus and all(own in (None, report["settings"]) for report in segments.values())
    }


def compared_with(layout: Layout, corpus: str, scope: Scope, signed: Reports | None = None) -> Reports:
    """The reports of the segments of other corpora that the clusters of `corpus` depend on.

    Args:
        layout: the root.
        corpus: whose clusters are meant; its own segments are not among the answer.
        scope: the setting of duplicate_clusters.
        signed: what `signed_corpora` says, where it is known.
    """
    if scope == "corpus":
        return {}
    return comparable(signed_corpora(layout) if signed is None else signed, corpus)


def compared_version(layout: Layout, corpus: str, scope: Scope, signed: Reports | None = None) -> str:
    """Changes when any signatures do that the clusters of `corpus` depend on, and not when they are made again alike.

    Arguments as `compared_with`; here the segments of `corpus` count too.
    """
    reports = signed_corpora(layout) if signed is None else signed
    compared = {corpus: reports.get(corpus, {}), **compared_with(layout, corpus, scope, reports)}
    contents = {
        name: {segment: content_version(SOURCE, report) for segment, report in segments.items()}
        for name, segments in compared.items()
    }
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:32]
