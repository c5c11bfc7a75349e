"""What was taken down, taken out: the touched partitions of every stage, made again in the order of the flow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from assets.host import hosting
from assets.jobs import PHASES, Phase
from assets.launch import bury_dead_runs, run_phase
from assets.listener import Listener, listening
from assets.partitions import register_partitions
from assets.removal import UNFINISHED
from assets.takedown_traces import forget
from assets.takedowns import record_takedowns
from gristmill.core.errors import MissingDataError
from gristmill.core.layout import REPORT_NAME, Layout, Partition
from pipelines.crawl.corpora import load_corpus
from pipelines.segments import live_segments
from pipelines.takedowns.committed import SOURCE
from pipelines.takedowns.consequences import CLUSTERS, Consequences, behind, clustered_with, consequences

_BY_JOB = {phase.job: phase for phase in PHASES}
_SHARDS, _MIXTURE = "token_shards", "training_mixture"


def apply_takedowns(
    instance: dg.DagsterInstance,
    layout: Layout,
    *,
    settings_file: str | None = None,
    master: str | None = None,
    listener: Listener | None = None,
) -> Consequences:
    """Make again what takedowns touch, as far as it was made, through the mixture; nothing is trained.

    The tokenizer in force stays. Killed anywhere, the same again goes on.

    Args:
        instance: where the runs are recorded.
        layout: where the data lies.
        settings_file: as for `run_corpus`.
        master: Spark master.
        listener: hears what goes on.

    Returns:
        What was to be done.

    Raises:
        MissingDataError: another run is in progress.
        GristmillError: a worker failed or a blocking check did; the line is the worker's own.
    """
    bury_dead_runs(instance)
    _refuse_beside_others(instance)
    found = consequences(layout)
    record_takedowns(instance, layout)
    resource = {"root": layout.root, "settings_file": settings_file, "master": master}
    config = {"resources": {"workers": {"config": {k: v for k, v in resource.items() if v is not None}}}}
    with listening(listener), hosting():
        rebuild = _Rebuild(instance, layout, config)
        for corpus in sorted({p.corpus for p in found.segments} | set(found.corpora)):
            register_partitions(instance, load_corpus(layout, corpus))
        rebuild.segments("filter_job", {p: _made(layout, p, "filter_job") or (SOURCE,) for p in found.segments})
        touched = clustered_with(layout, {p.corpus for p in found.segments})
        for corpus in touched:
            if layout.report(CLUSTERS, Partition(corpus)) is not None:
                rebuild.run(_BY_JOB["cluster_job"], [CLUSTERS], corpus)
        for job in ("clean_job", "tokenize_job"):
            rebuild.segments(job, _late(layout, job, touched))
        mixture = layout.read_json(layout.join(_MIXTURE, REPORT_NAME))
        if touched and mixture is not None:
            rebuild.run(_BY_JOB["tokenize_job"], [_MIXTURE], touched[0])
    forget(instance, {doc_id for ids in found.documents.values() for doc_id in ids})
    return found


class _Rebuild:
    """Runs of asset jobs over some segments of a corpus each."""

    def __init__(self, instance: dg.DagsterInstance, layout: Layout, config: dict[str, Any]) -> None:
        self._instance, self._layout, self._config = instance, layout, config

    def segments(self, job: str, wanted: Mapping[Partition, Sequence[str]]) -> None:
        """Run the assets named for each segment; neighbours with the same assets share a run."""
        for corpus in sorted({p.corpus for p in wanted}):
            order = load_corpus(self._layout, corpus).segments
            for assets, segments in _neighbours(corpus, order, wanted):
                self.run(_BY_JOB[job], assets, corpus, segments)

    def run(self, phase: Phase, assets: Sequence[str], corpus: str, segments: Iterable[str] | None = None) -> None:
        """One Dagster run; without `segments`, over all that the corpus has."""
        whole = load_corpus(self._layout, corpus)
        chosen = set(segments) if segments is not None else set(whole.segments)
        part = replace(whole, files=tuple(file for file in whole.files if file.segment in chosen))
        ordered = [name for name in phase.assets if name in assets]
        run_phase(self._instance, phase, ordered, part, self._config, {"gristmill/cause": "takedown"})


def _neighbours(
    corpus: str, order: Sequence[str], wanted: Mapping[Partition, Sequence[str]]
) -> list[tuple[tuple[str, ...], list[str]]]:
    """Assets and segments of each run: segments that follow one another, for which the same is to be made."""
    runs: list[tuple[tuple[str, ...], list[str]]] = []
    is_open = False
    for segment in order:
        assets = tuple(wanted.get(Partition(corpus, segment), ()))
        if assets and is_open and runs[-1][0] == assets:
            runs[-1][1].append(segment)
        elif assets:
            runs.append((assets, [segment]))
        is_open = bool(assets)
    return runs


def _made(layout: Layout, partition: Partition, job: str) -> tuple[str, ...]:
    """The assets of a job that a segment has; the source of all always, as a killed rebuild may have taken it."""
    return tuple(
        a for a in _BY_JOB[job].assets if a == SOURCE or layout.report(a, partition) is not None
    )  # fmt: skip


def _late(layout: Layout, job: str, corpora: Sequence[str]) -> dict[Partition, tuple[str, ...]]:
    """The segments of `corpora` for which assets of a job were made of what is there no more, and these assets."""
    found: dict[Partition, tuple[str, ...]] = {}
    for partition in live_segments(layout, SOURCE):
        if partition.corpus in corpora:
            late = behind(layout, partition)
            assets = tuple(a for a in _BY_JOB[job].assets if a in late and a not in ("tokenizer", _MIXTURE))
            if assets:
                found[partition] = assets
    return found


def _refuse_beside_others(instance: dg.DagsterInstance) -> None:
    for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))):
        raise MissingDataError(
            f"run {run.run_id[:8]} of {run.job_name} is {run.status.value.lower()} and may write the same partitions: "
            "wait until it has ended, or cancel it in the UI, then run `gristmill takedown apply` again"
        )
