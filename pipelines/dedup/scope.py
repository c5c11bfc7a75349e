"""With what the documents of a corpus are compared: its own alone, or those of every corpus that is signed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from gristmill.core.layout import Layout
from pipelines.contents import content_version
from pipelines.dedup.schemes import parameters
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


def is_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether signatures made with these settings (of reports) can be compared: the values that hold are the same,
    whether given or the scheme's own, and `quality` says the same of a document."""
    return parameters(one) == parameters(other) and one.get("quality") == other.get("quality")


def unlike_segment(segments: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]) -> str | None:
    """The first segment whose signatures can't be compared with those of `settings`; None if all can."""
    unlike = (segment for segment, report in sorted(segments.items()) if not is_alike(report["settings"], settings))
    return next(unlike, None)


def comparable(signed: Reports, corpus: str) -> Reports:
    """The other corpora whose signatures can be compared with those of `corpus`; all, where it has none yet."""
    own = next((report["settings"] for _, report in sorted(signed.get(corpus, {}).items())), None)
    return {
        other: segments
        for other, segments in sorted(signed.items())
        if other != corpus and (own is None or unlike_segment(segments, own) is None)
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
