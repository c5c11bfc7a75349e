"""`compared_corpora`: all signatures that the clusters of each corpus depend on, as one observed partition.

With `scope: all`, a corpus is out of date when any other corpus changes. Which partitions that makes depends on
settings, which no partition mapping can read. So each corpus has one observed partition whose data version is that
of all signatures in scope, its own and others', and its clusters depend on that. It also sees the segments of a corpus
that has 100 or more, which Dagster's own staleness passes over.
"""

from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG, get_input_data_version_tag

from assets.versions import latest_versions, version_tags
from gristmill.core.layout import Layout, Partition
from pipelines.dedup.scope import Scope, compared_version, compared_with, signed_corpora

COMPARED = dg.AssetKey("compared_corpora")
_CLUSTERS = "duplicate_clusters"


def scopes_in_force(layout: Layout) -> dict[str, Scope]:
    """The scope that the committed clusters of each corpus were made with; corpora without clusters are left out."""
    found: dict[str, Scope] = {}
    for partition in layout.committed(_CLUSTERS):
        report = layout.report(_CLUSTERS, partition)
        if report is not None:
            found[partition.corpus] = "all" if report.get("settings", {}).get("scope") == "all" else "corpus"
    return found


def changes(
    instance: dg.DagsterInstance, layout: Layout, scopes: Mapping[str, Scope] | None = None
) -> list[dg.AssetObservation]:
    """Observations of the corpora whose compared corpora are not what was observed last.

    Args:
        instance: where observations are recorded; nothing is recorded here.
        layout: the root.
        scopes: corpora to look at, each with its scope; those in force where it is None.
    """
    looked_at = scopes_in_force(layout) if scopes is None else scopes
    if not looked_at:
        return []
    signed = signed_corpora(layout)
    known = latest_versions(instance, COMPARED, list(looked_at), is_observed=True)
    found: list[dg.AssetObservation] = []
    for corpus, scope in sorted(looked_at.items()):
        version = compared_version(layout, corpus, scope, signed)
        if known.get(Partition(corpus).key) != version:
            others = compared_with(layout, corpus, scope, signed)
            metadata = {
                "scope": scope,
                "corpora": ", ".join(others) or "none but itself",
                "segments": len(signed.get(corpus, {})) + sum(map(len, others.values())),
            }
            found.append(dg.AssetObservation(COMPARED, partition=corpus, metadata=metadata, tags=version_tags(version)))
    return found


def record_changes(instance: dg.DagsterInstance, layout: Layout) -> list[str]:
    """Record what `changes` finds, outside any run; returns the corpora whose clusters are stale for it."""
    found = changes(instance, layout)
    for observation in found:
        instance.report_runless_asset_event(observation)
    now = {str(observation.partition): observation.tags[DATA_VERSION_TAG] for observation in found}
    return [corpus for corpus, version in now.items() if _made_with(instance, corpus) not in (None, version)]


def _made_with(instance: dg.DagsterInstance, corpus: str) -> str | None:
    """The version of what the clusters of `corpus` were compared with when they were made last."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(_CLUSTERS), asset_partitions=[corpus])
    record = next(iter(instance.fetch_materializations(wanted, limit=1).records), None)
    return (record.event_log_entry.tags or {}).get(get_input_data_version_tag(COMPARED)) if record else None
