"""What must be true before anything downstream may run."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from assets.counts import balance
from assets.partitions import document_partitions, existing
from assets.resources import Workers, newest
from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout, Partition
from pipelines.damage import remake
from pipelines.stages import STAGES, stage

BALANCED_STAGES = tuple(row.name for row in STAGES if row.kind == "map")
MOST_PROBLEMS = 5  # named in a description; the rest is counted
FELL_BY = 0.02  # nats per token: less than this between first and last step is no learning


def _partitions(context: dg.AssetCheckExecutionContext, layout: Layout) -> list[Partition]:
    return existing(layout, context.partition_keys)[0]


def rows_add_up(layout: Layout, name: str, partitions: Sequence[Partition]) -> dg.AssetCheckResult:
    """Rows in = kept + rejected, counted from the files of input, output and quarantine."""
    counted = [balance(layout, stage(name), p) for p in partitions]
    wrong = [b for b in counted if not b.is_even]
    description = f"{sum(b.rows_in for b in counted):,} rows, every one accounted for"
    if wrong:
        more = f" and {len(wrong) - MOST_PROBLEMS:,} more" if len(wrong) > MOST_PROBLEMS else ""
        description = (
            f"{'; '.join(map(str, wrong[:MOST_PROBLEMS]))}{more}: if files were removed or changed since they were "
            f"written, run `{remake(name, wrong[0].partition.corpus)}`"
        )
    return dg.AssetCheckResult(
        passed=not wrong,
        description=description,
        metadata={
            "rows_in": sum(b.rows_in for b in counted),
            "rows_kept": sum(b.rows_kept for b in counted),
            "rows_rejected": sum(b.rows_rejected for b in counted),
        },
    )


def documents_are_there(layout: Layout, name: str, partitions: Sequence[Partition]) -> dg.AssetCheckResult:
    """Each corpus of the run has documents; a corpus that was read and wholly rejected is only worth a warning."""
    corpora = {p.corpus for p in partitions}
    without = sorted(c for c in corpora if not _rows(layout, name, c, "rows_kept"))
    unread = [c for c in without if not _rows(layout, STAGES[0].name, c, "rows_in")]
    description = "documents in every corpus of the run"
    if without:
        what = "holds no record that could be read" if unread else "has no document left, all were rejected"
        description = f"{', '.join(unread or without)} {what}: `gristmill funnel {without[0]}` says why"
    return dg.AssetCheckResult(
        passed=not without,
        severity=dg.AssetCheckSeverity.ERROR if unread else dg.AssetCheckSeverity.WARN,
        description=description,
    )


def _rows(layout: Layout, asset: str, corpus: str, field: str) -> int:
    found = (layout.require_report(asset, p) for p in layout.committed(asset) if p.corpus == corpus)
    return sum(int(report[field]) for report in found)


def _document_check(
    asset: str, name: str, description: str, judge: Callable[[Layout, str, Sequence[Partition]], dg.AssetCheckResult]
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name, description=description, blocking=True, partitions_def=document_partitions)
    def check(context: dg.AssetCheckExecutionContext, workers: Workers) -> dg.AssetCheckResult:
        try:
            return judge(workers.layout, asset, _partitions(context, workers.layout))
        except GristmillError as error:
            return dg.AssetCheckResult(passed=False, description=one_line(error))

    return check


rows_add_up_checks = [
    _document_check(
        name,
        "rows_add_up",
        "Rows in = kept + rejected, counted from the files themselves and not from the report.",
        rows_add_up,
    )
    for name in BALANCED_STAGES
]

documents_exist_checks = [
    _document_check(
        name, "documents_exist", "At least one record of the corpus was read and one was kept.", documents_are_there
    )
    for name in ("extracted_documents", "clean_documents")
]


def manifests_match(layout: Layout, _name: str, partitions: Sequence[Partition]) -> dg.AssetCheckResult:
    """Counts and sha256 of every shard are what its manifest says."""
    from pipelines.tokens.files import verify_manifest

    problems = [f"{p.key}: {line}" for p in partitions for line in verify_manifest(layout, p, is_deep=True)]
    return dg.AssetCheckResult(
        passed=not problems,
        description="; ".join(problems[:MOST_PROBLEMS]) or f"{len(partitions)} manifests match their shards",
        metadata={"problems": len(problems)},
    )


manifest_matches_check = _document_check(
    "token_shards",
    "manifest_matches",
    "Counts, sizes and sha256 of every shard are what the manifest says.",
    manifests_match,
)


@dg.asset_check(asset="pretrained_model", blocking=True)
def loss_is_finite(workers: Workers) -> dg.AssetCheckResult:
    """The training loss and the held-out loss are numbers from the first step to the last."""
    losses = losses_of(newest(workers.layout, "pretrained_model")[1])
    wrong = [name for name, value in losses.items() if not math.isfinite(value)]
    described = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    return dg.AssetCheckResult(passed=bool(losses) and not wrong, description=described or "no loss was recorded")


@dg.asset_check(asset="pretrained_model")
def loss_fell(workers: Workers) -> dg.AssetCheckResult:
    """The model learned something: its loss at the end is below the one at the start."""
    losses = losses_of(newest(workers.layout, "pretrained_model")[1])
    first, last = losses.get("loss_first", math.nan), losses.get("loss_last", math.nan)
    return dg.AssetCheckResult(
        passed=first - last > FELL_BY,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"from {first:.3f} to {last:.3f} nats per token",
    )


def losses_of(report: dict[str, Any]) -> dict[str, float]:
    """The losses of a model's report; one that JSON could only hold as null counts as not a number."""
    names = ("loss_first", "loss_last", "heldout_loss_first", "heldout_loss_last")
    return {n: math.nan if report[n] is None else float(report[n]) for n in names if n in report}


def _reload_check(asset: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name="reloaded_loss_equals",
        blocking=True,
        description="The adapter, saved and loaded again, has the loss it had in memory.",
    )
    def check(workers: Workers) -> dg.AssetCheckResult:
        report = newest(workers.layout, asset)[1]
        return reloads(report)

    return check


reload_checks = [_reload_check(asset) for asset in ("lora_adapter", "qlora_adapter")]


def reloads(report: dict[str, Any]) -> dg.AssetCheckResult:
    """Compare the loss before saving with the one after loading."""
    saved, reloaded = report.get("heldout_loss_last"), report.get("heldout_loss_reloaded")
    if saved is None or reloaded is None:
        return dg.AssetCheckResult(passed=False, description="the run recorded no loss of the reloaded adapter")
    return dg.AssetCheckResult(
        passed=abs(saved - reloaded) <= RELOAD_TOLERANCE * abs(saved),
        description=f"{saved:.6f} in memory, {reloaded:.6f} loaded again",
        metadata={"difference": abs(saved - reloaded)},
    )


RELOAD_TOLERANCE = 1e-3  # relative: an adapter may be saved in another precision than it was trained in
