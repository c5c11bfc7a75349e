"""Data versions: what tells Dagster whether something downstream is out of date.

A version is the hash of a partition's content, so that a rebuild with the same bytes leaves all that is made of it
fresh. Dagster by itself records one version for all partitions of a run
(github.com/dagster-io/dagster/issues/34013), and none for what was observed of a partition
(github.com/dagster-io/dagster/issues/33988). So a step over partitions records the materialization of each partition
itself, with that partition's version and those of what it was made of.
"""

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from gristmill.core.layout import Layout, Partition

EMPTY = "empty"  # the version of a cell of the grid that holds nothing
_VOLATILE = frozenset({"fingerprint", "created_at"})  # of mixture.json: when and from what, not what

# Dagster's own mark of an output whose events its step has recorded: it then adds none of its own.
RECORDED: Mapping[str, Any] = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}


def single_version(layout: Layout, asset: str, folder: str, report: Mapping[str, Any]) -> dg.DataVersion:
    """The version of an asset without partitions.

    What is named by its content keeps that name, a mixture is its shards and proportions. A model is not hashed:
    it is another one whenever it was trained again, and one that was there already keeps its `created_at`.
    """
    if report.get("version"):
        return dg.DataVersion(str(report["version"]))
    mixture = layout.read_json(posixpath.join(folder, "mixture.json")) if asset == "training_mixture" else None
    if mixture is not None:
        return dg.DataVersion(_hash({k: v for k, v in mixture.items() if k not in _VOLATILE}))
    return dg.DataVersion(_hash([report.get("fingerprint"), report.get("created_at")]))


def version_tags(version: str) -> dict[str, str]:
    """Tags of an event that give its partition a data version."""
    return {DATA_VERSION_TAG: version, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}


def latest_versions(
    instance: dg.DagsterInstance, asset: dg.AssetKey, keys: Sequence[str] | None, *, is_observed: bool = False
) -> dict[str, str]:
    """The data version recorded last for each of `keys` that has one; for all partitions where it is None."""
    kind = dg.DagsterEventType.ASSET_OBSERVATION if is_observed else dg.DagsterEventType.ASSET_MATERIALIZATION
    asked = list(keys) if keys is not None else None
    found = instance.event_log_storage.get_latest_tags_by_partition(
        asset, kind, [DATA_VERSION_TAG], asset_partitions=asked
    )
    return {key: tags[DATA_VERSION_TAG] for key, tags in found.items() if DATA_VERSION_TAG in tags}


@dataclass(frozen=True)
class Input:
    """What was recorded of one asset that a step reads, when the step began."""

    asset: dg.AssetKey
    pointer: int | None  # the event recorded last, of any partition: what comes after it is news to the step
    versions: Mapping[str, str]  # partition key, or "", to data version


def inputs_of(context: dg.AssetExecutionContext, observed: Sequence[dg.AssetKey] = ()) -> tuple[Input, ...]:
    """What is recorded of all that the step of `context` reads; ask when it begins.

    Args:
        context: of a step that materializes one asset.
        observed: which of its inputs are not materialized here, only observed.
    """
    instance, definition = context.instance, context.assets_def
    keys = [str(key) for key in context.partition_keys]
    has_segments = any(Partition.parse(key).segment for key in keys)
    wanted = sorted({*keys, *(Partition.parse(key).corpus for key in keys)}) if has_segments else None
    found: list[Input] = []
    for asset in sorted(definition.asset_deps[context.asset_key]):
        is_observed = asset in observed
        fetch = instance.fetch_observations if is_observed else instance.fetch_materializations
        latest = next(iter(fetch(asset, limit=1).records), None)
        versions = latest_versions(instance, asset, wanted, is_observed=is_observed)
        if latest is not None and latest.partition_key is None:
            tags = latest.event_log_entry.tags or {}
            versions |= {"": tags[DATA_VERSION_TAG]} if DATA_VERSION_TAG in tags else {}
        found.append(Input(asset, latest.storage_id if latest is not None else None, versions))
    return tuple(found)


def materialization(
    context: dg.AssetExecutionContext,
    key: str,
    version: str,
    inputs: Sequence[Input],
    metadata: Mapping[str, Any],
) -> dg.AssetMaterialization:
    """The event for one partition of the asset of `context`, as Dagster would record it for a run of that one.

    Args:
        context: of the step that made it.
        key: one of `context.partition_keys`.
        version: of its content.
        inputs: what `inputs_of` said when the step began.
        metadata: of this partition.
    """
    code = context.assets_def.code_versions_by_key.get(context.asset_key)
    tags = {CODE_VERSION_TAG: code or context.run_id, **version_tags(version)}
    for given in inputs:
        tags[get_input_event_pointer_tag(given.asset)] = str(given.pointer or NULL_EVENT_POINTER)
        tags[get_input_data_version_tag(given.asset)] = _version_read(given, key)
    if isinstance(key, dg.MultiPartitionKey):
        tags |= {f"dagster/partition/{name}": part for name, part in key.keys_by_dimension.items()}
    return dg.AssetMaterialization(context.asset_key, partition=key, metadata=dict(metadata), tags=tags)


def _version_read(given: Input, key: str) -> str:
    """The version of what `key` was made of: the same partition, its corpus, the whole, or all segments together."""
    for candidate in (key, Partition.parse(key).corpus, ""):
        if candidate in given.versions:
            return given.versions[candidate]
    segments = {name: version for name, version in given.versions.items() if name.startswith(f"{key}|")}
    return _hash(segments) if segments else DEFAULT_DATA_VERSION.value


def _hash(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]
