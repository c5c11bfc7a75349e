"""`takedowns`: what is taken down of each segment of a crawl, as one observed partition each.

The file is one for all, and most changes of it concern few segments. So each segment has an observed partition whose
data version is that of the patterns that mean documents of it; where there is none, it is as if never observed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DEFAULT_DATA_VERSION

from assets.versions import Input, latest_versions, version_tags
from gristmill.core.layout import Layout
from pipelines.takedowns.committed import mark_of, standings

TAKEDOWNS = dg.AssetKey("takedowns")


def takedown_changes(instance: dg.DagsterInstance, layout: Layout) -> list[dg.AssetObservation]:
    """Observations of the segments for which the file now says something else than was observed last.

    Args:
        instance: where observations are recorded; nothing is recorded here.
        layout: the root.

    Raises:
        TakedownError: the file is damaged.
    """
    known = latest_versions(instance, TAKEDOWNS, None, is_observed=True)
    found: list[dg.AssetObservation] = []
    now = {partition.key: standing for partition, standing in standings(layout).items()}
    for key in sorted({*known, *now}):
        standing = now.get(key)
        version = _version(standing.now if standing is not None else ())
        if known.get(key, DEFAULT_DATA_VERSION.value) != version:
            numbers = {
                "patterns": len(standing.now) if standing is not None else 0,
                "documents_to_take_down": sum(standing.documents.values()) if standing is not None else 0,
            }
            found.append(dg.AssetObservation(TAKEDOWNS, partition=key, metadata=numbers, tags=version_tags(version)))
    return found


def record_takedowns(instance: dg.DagsterInstance, layout: Layout) -> list[str]:
    """Record what `takedown_changes` finds, outside any run; returns the keys of the segments."""
    found = takedown_changes(instance, layout)
    for observation in found:
        instance.report_runless_asset_event(observation)
    return [str(observation.partition) for observation in found]


def as_committed(inputs: Sequence[Input], reports: Mapping[str, Mapping[str, Any]]) -> tuple[Input, ...]:
    """The inputs of a step that extracted segments, with what its reports say was taken down."""
    versions = {key: _version(report.get("takedowns", ())) for key, report in reports.items()}
    return tuple(
        replace(given, versions={**given.versions, **versions}) if given.asset == TAKEDOWNS else given
        for given in inputs
    )


def _version(keys: Any) -> str:
    return mark_of(keys).get("takedowns", DEFAULT_DATA_VERSION.value)
