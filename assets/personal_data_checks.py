"""Checks of clean_documents: no personal data is left, and there is no more of it than usual."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from assets.partitions import document_partitions, existing
from assets.resources import Workers
from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import resolve
from pipelines.damage import remake
from pipelines.report.personal_data_rates import Settings, drifts, rates
from pipelines.segments import live_segments

ASSET = "clean_documents"
SECTION = "personal_data_checks"
_NAMED = 5  # segments, types or documents in a description; the rest is counted


@dg.asset_check(
    asset=ASSET,
    blocking=True,
    partitions_def=document_partitions,
    description=(
        "A sample of the committed documents is read again by the same recognizers: what they find now was left "
        "in. Fails with counts per type and ids of documents, and never shows what was found."
    ),
)
def no_pii_left(context: dg.AssetCheckExecutionContext, workers: Workers) -> dg.AssetCheckResult:
    """Nothing that the recognizers know is left."""
    layout = workers.layout
    try:
        return nothing_is_left(layout, existing(layout, context.partition_keys)[0], _settings(workers))
    except GristmillError as error:
        return dg.AssetCheckResult(passed=False, description=one_line(error))


@dg.asset_check(
    asset=ASSET,
    partitions_def=document_partitions,
    description=(
        "Personal data per 1,000 documents, of each type and segment, beside the median of the corpus's other "
        "segments, or of what the segment was before where there are too few. Warns when it is far off."
    ),
)
def pii_drift(context: dg.AssetCheckExecutionContext, workers: Workers) -> dg.AssetCheckResult:
    """No type of personal data is far more, or less, frequent than usual."""
    layout = workers.layout
    try:
        partitions = existing(layout, context.partition_keys)[0]
        return nothing_drifted(layout, partitions, _settings(workers), _Before(context.instance))
    except GristmillError as error:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=one_line(error))


def nothing_is_left(layout: Layout, partitions: Sequence[Partition], settings: Settings) -> dg.AssetCheckResult:
    """Look at a sample of `partitions` once more."""
    from pipelines.privacy.residue import rescan

    residue = rescan(layout, partitions, settings.rescan_documents)
    description = f"nothing found in {residue.documents:,} documents that were read again"
    if not residue.is_clean:
        corpora = sorted({partition.corpus for partition in partitions})
        found = ", ".join(f"{n:,} {entity}" for entity, n in residue.found.items())
        description = (
            f"{found} left among {residue.documents:,} documents that were read again, such as in "
            f"{', '.join(residue.doc_ids[:_NAMED])}: run `{remake(ASSET, corpora[0])}`; if it stays, the recognizers "
            f"find in a stand-in or beside it what they did not find before"
        )
    return dg.AssetCheckResult(
        passed=residue.is_clean,
        description=description,
        metadata={
            "documents_read": residue.documents,
            "findings": sum(residue.found.values()),
            **{f"left/{entity.lower()}": n for entity, n in residue.found.items()},
            **({"doc_ids": dg.MetadataValue.json(list(residue.doc_ids))} if residue.doc_ids else {}),
        },
    )


class _Before:
    """What Dagster recorded of a partition before its last materialization."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def report(self, partition: Partition) -> dict[str, Any] | None:
        """Its counts and documents then, as a report has them; None where there was none."""
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(ASSET), asset_partitions=[partition.key])
        records = self._instance.fetch_materializations(wanted, limit=2).records
        event = records[1].asset_materialization if len(records) > 1 else None
        tally, kept = (event.metadata.get(name) if event is not None else None for name in ("tally", "rows_kept"))
        if tally is None or kept is None:
            return None
        return {"tally": tally.value, "rows_kept": kept.value}


def nothing_drifted(
    layout: Layout, partitions: Sequence[Partition], settings: Settings, before: _Before | None = None
) -> dg.AssetCheckResult:
    """Compare each of `partitions` with the rest of its corpus, else with itself as it was."""
    corpora = {partition.corpus for partition in partitions}
    reports = {p: layout.require_report(ASSET, p) for p in live_segments(layout, ASSET) if p.corpus in corpora}
    lines: list[str] = []
    compared = 0
    for partition in partitions:
        others = [report for p, report in reports.items() if p.corpus == partition.corpus and p != partition]
        if len(others) < settings.drift_min_segments:
            earlier = before.report(partition) if before is not None else None
            others = [earlier] if earlier is not None else []
        compared += bool(others)
        found = drifts(reports[partition], others, settings)
        if found:
            lines.append(f"{partition.key}: {'; '.join(map(str, found[:_NAMED]))}")
    description = f"{compared:,} of {len(partitions):,} segments had others to compare with, none is far off"
    if lines:
        more = f" and {len(lines) - _NAMED:,} segments more" if len(lines) > _NAMED else ""
        description = (
            f"{' | '.join(lines[:_NAMED])}{more}: look at its documents (a list of people, another kind of site) "
            f"and at the recognizers' settings; a wanted change is the new usual from the next segments on"
        )
    highest = _highest([rates(reports[p]) for p in partitions])
    return dg.AssetCheckResult(
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata={
            "segments_compared": compared,
            "segments_far_off": len(lines),
            **{f"highest_per_1000/{entity}": rate for entity, rate in highest.items()},
        },
    )


def _highest(found: Sequence[dict[str, float]]) -> dict[str, float]:
    entities = sorted({entity for one in found for entity in one})
    highest = {entity: round(max(one.get(entity, 0.0) for one in found), 3) for entity in entities}
    return {entity: rate for entity, rate in highest.items() if rate}


def _settings(workers: Workers) -> Settings:
    return resolve(Settings, SECTION, workers.layout.root, workers.settings_file, {})
