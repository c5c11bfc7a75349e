"""When is a committed partition still true? When its inputs, its settings and its code are the same."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.stages import Stage


def fingerprint(
    stage: Stage, settings: Mapping[str, Any], inputs: Mapping[str, str], files: Mapping[str, str] | None = None
) -> str:
    """Hash of all that decides a stage's output.

    Args:
        stage: whose code and libraries count.
        settings: the stage's settings as plain values.
        inputs: name of each input to that input's own fingerprint.
        files: path of each file that the settings name, to the hash of its content (`pipelines.named_files`).
    """
    facts = {
        "stage": stage.name,
        "code": stage.code_version,
        "libraries": stage.libraries,
        "settings": settings,
        "inputs": dict(inputs),
        "files": dict(files or {}),
    }
    return _hash(facts)


def score_fingerprint(stage: Stage, scoring: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Hash of all that decides what is measured of one document, but for the document itself.

    Args:
        stage: whose code and libraries count.
        scoring: the settings that are declared with `gristmill.core.settings.scoring`.
        files: path to content hash, as above.
    """
    facts = {
        "stage": stage.name,
        "code": stage.code_version,
        "libraries": stage.libraries,
        "scoring": scoring,
        "files": dict(files),
    }
    return _hash(facts)


def _hash(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def input_fingerprints(layout: Layout, stage: Stage, partition: Partition) -> dict[str, str]:
    """The fingerprints of the committed partitions that a segment of `stage` reads.

    Raises:
        MissingDataError: one of them is not materialized; the message says how to get it.
    """
    found: dict[str, str] = {}
    for asset in stage.reads:
        if asset == "duplicate_clusters":
            report = layout.require_report(asset, Partition(partition.corpus))
            if partition.segment not in report["segments"]:
                raise MissingDataError(
                    f"duplicate_clusters of {partition.corpus} was computed before segment {partition.segment} "
                    f"was there: run `gristmill run {partition.corpus} --through duplicate_clusters` first"
                )
            found[asset] = _of_segment(report, partition)
            continue
        if asset == "tokenizer":
            latest = layout.latest(layout.join("tokenizer"))
            if latest is None:
                raise MissingDataError(
                    f"no tokenizer under {layout.root}: "
                    f"run `gristmill run {partition.corpus} --through tokenizer` first"
                )
            found[asset] = latest[0]  # named by its content: trained again to the same, it leaves all as it is
            continue
        found[asset] = layout.require_report(asset, partition)["fingerprint"]
    return found


def _of_segment(clusters: Mapping[str, Any], partition: Partition) -> str:
    """Hash of what the clusters say of one segment: a new segment leaves the others true unless it touches them."""
    files = sorted((f["kind"], f["sha256"]) for f in clusters["files"] if f["segment"] == partition.segment)
    return _hash({"files": files, "signature_settings": clusters["signature_settings"]})
