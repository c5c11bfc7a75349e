"""Removing a corpus: refused while something reads it, in an order that a kill can't spoil."""

import posixpath

import dagster as dg

from assets.compared import record_changes
from assets.jobs import PHASES
from assets.launch import RANGE_END_TAG, RANGE_START_TAG, bury_dead_runs
from assets.partitions import unregister_partitions
from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout, Partition
from pipelines.crawl.removal import Holdings, remove_data, remove_registration

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_PARTITION_TAGS = ("dagster/partition", RANGE_START_TAG, RANGE_END_TAG)
# What reads the segments of its own partitions and nothing else of any corpus.
_BY_SEGMENT = frozenset(a for p in PHASES if p.grid == "segments" for a in p.assets) - {"tokenizer", "training_mixture"}


def remove_corpus(instance: dg.DagsterInstance, layout: Layout, found: Holdings, *, is_keeping_data: bool) -> list[str]:
    """Remove what `found` names; the same again goes on where a kill ended it.

    The data goes first and the registration last, so that until all is gone the corpus has a name to be removed by.

    Args:
        instance: where its partitions are offered.
        layout: the root.
        found: of `pipelines.crawl.removal.holdings`.
        is_keeping_data: take away only the registration and the partitions.

    Returns:
        The other corpora whose clusters are stale for it.

    Raises:
        CorpusError: a run is in progress that may read or write it.
        EnvironmentProblemError: a file can't be removed.
    """
    bury_dead_runs(instance)
    refuse_while_read(instance, found.name)
    if not is_keeping_data:
        remove_data(layout, found)
    changed = [corpus for corpus in record_changes(instance, layout) if corpus != found.name]
    unregister_partitions(instance, layout, found.name)
    remove_registration(layout, found.name)
    return changed


def refuse_while_read(instance: dg.DagsterInstance, corpus: str) -> None:
    """Refuse to go on while a run is queued or in progress that may read or write `corpus`.

    Raises:
        CorpusError: it names the run.
    """
    for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED))):
        if _may_read(run, corpus):
            raise CorpusError(
                f"corpus {corpus}: run {run.run_id[:8]} of {run.job_name} is {run.status.value.lower()} and may read "
                f"it: wait until it has ended, or cancel it in the UI, then remove the corpus"
            )


def _may_read(run: dg.DagsterRun, corpus: str) -> bool:
    """Whether a run may touch `corpus`: only one of single segments of other corpora is known not to."""
    named = [Partition.parse(run.tags[tag]).corpus for tag in _PARTITION_TAGS if tag in run.tags]
    assets = {key.to_user_string() for key in run.asset_selection or ()}
    is_elsewhere = bool(named) and corpus not in named and len(set(named)) == 1
    return not (is_elsewhere and assets and assets <= _BY_SEGMENT)


def mixture_names(layout: Layout, corpus: str) -> bool:
    """Whether the training mixture in force has shards of `corpus`, which the next training run would look for."""
    mixture = layout.read_json(posixpath.join(layout.singleton_dir("training_mixture"), "mixture.json")) or {}
    return any(shard.get("corpus") == corpus for shard in mixture.get("shards", ()))
