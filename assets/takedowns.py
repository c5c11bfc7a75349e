"""`takedowns`: what is taken down of each segment of a crawl, as one observed partition each.

The file is one for all, and most changes of it concern few segments. So each segment has an observed partition whose
data version is that of the patterns that mean documents of it. Dagster tells a change by what was observed before a
step and after it, so that a segment is observed before it is extracted for the first time, too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DEFAULT_DATA_VERSION

from assets.versions import Input, latest_versions, version_tags
from gristmill.core.layout import Layout
from pipelines.takedowns.committed import mark_of, standings

TAKEDOWNS = dg.AssetKey("takedowns")
_NOTHING = DEFAULT_DATA_VERSION.value  # nothing is taken down: as Dagster has it of what was never observed


def takedown_changes(
    instance: dg.DagsterInstance, layout: Layout, extracted: Collection[str] = ()
) -> list[dg.AssetObservation]:
    """Observations of the segments for which the file now says something else than was observed last.

    Args:
        instance: where observations are recorded; nothing is recorded here.
        layout: the root.
        extracted: keys of segments that are about to be extracted.

    Raises:
        TakedownError: the file is damaged.
    """
    known = latest_versions(instance, TAKEDOWNS, None, is_observed=True)
    found: list[dg.AssetObservation] = []
    now = {partition.key: standing for partition, standing in standings(layout).items()}
    for key in sorted({*known, *now, *extracted}):
        standing = now.get(key)
        version = _version(standing.now if standing is not None else ())
        if known.get(key, None if key in extracted else _NOTHING) != version:
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


def as_committed(
    context: dg.AssetExecutionContext, inputs: Sequence[Input], reports: Mapping[str, Mapping[str, Any]]
) -> tuple[Input, ...]:
    """The inputs of a step that extracted segments, with what its reports say was taken down.

    Where that is what was observed last, a pattern that came while the step was running is no news to it.
    """
    versions = {key: _version(report.get("takedowns", ())) for key, report in reports.items()}
    observed = latest_versions(context.instance, TAKEDOWNS, list(versions), is_observed=True)
    latest = next(iter(context.instance.fetch_observations(TAKEDOWNS, limit=1).records), None)
    is_news = any(observed.get(key, _NOTHING) != version for key, version in versions.items())
    return tuple(
        replace(
            given,
            versions={**given.versions, **versions},
            pointer=given.pointer if is_news or latest is None else latest.storage_id,
        )
        if given.asset == TAKEDOWNS
        else given
        for given in inputs
    )


def _version(keys: Any) -> str:
    return mark_of(keys).get("takedowns", _NOTHING)
