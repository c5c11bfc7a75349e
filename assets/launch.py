"""A corpus through the chain in the foreground: one Dagster run per asset job, in the instance the UI shows."""

import os
import re
import socket
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._core.errors import DagsterExecutionInterruptedError

from assets.host import hosting, release_host
from assets.jobs import PHASES, Phase
from assets.listener import Listener, listener, listening
from assets.partitions import register_partitions
from assets.resources import Workers
from gristmill.core.errors import GristmillError, SettingsError
from gristmill.core.layout import Layout
from gristmill.core.settings import (
    SETTINGS_NAME,
    SETTINGS_VARIABLE,
    build,
    default_settings_path,
    read_settings_file,
    resolve,
    to_plain,
)
from pipelines.crawl.corpora import Corpus, load_corpus
from pipelines.stages import BY_NAME, stage

ASSETS = tuple(asset for phase in PHASES for asset in phase.assets)
PROCESS_TAG = "gristmill/process"  # who executes a run, to tell a run that goes on from one that was killed
# A run that was created may be killed before it starts.
_BEGUN = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def run_corpus(
    instance: dg.DagsterInstance,
    layout: Layout,
    corpus: str,
    through: str | Sequence[str],
    *,
    settings_file: str | None = None,
    is_forced: bool = False,
    is_fresh_tokenizer: bool = False,
    master: str | None = None,
    listener: Listener | None = None,
) -> None:
    """Materialize `corpus` up to an asset, from this process, stopping at the first failure.

    Call it from the main thread: Ctrl-C cancels the run and ends its worker.

    Args:
        instance: where the runs are recorded; of `open_instance`, so that their logs leave the terminal alone.
        layout: where the data lies.
        corpus: a registered corpus.
        through: the last asset wanted, or several; all that they need is run before.
        settings_file: YAML with a section per asset; default: GRISTMILL_SETTINGS, else the root's settings.yaml.
        is_forced: write again what is already there.
        is_fresh_tokenizer: train a tokenizer even where one is there; the shards of all corpora then are out of date.
        master: Spark master.
        listener: hears what goes on.

    Raises:
        SettingsError: an unknown asset, or a malformed settings file.
        CorpusError: the corpus is not registered.
        GristmillError: a worker failed or a blocking check did; the line is the worker's own.
        KeyboardInterrupt: the user stopped it.
    """
    wanted = [through] if isinstance(through, str) else list(through)
    for name in wanted:
        if name not in ASSETS:
            raise SettingsError(f"unknown asset {name!r}; known are {', '.join(ASSETS)}")
    path = settings_file or default_settings_path(layout.root)
    if path is not None:
        check_settings(str(path), layout.root, needed(tuple(wanted)))
    registered = load_corpus(layout, corpus)
    register_partitions(instance, registered)
    bury_dead_runs(instance)
    resource = {"root": layout.root, "settings_file": settings_file, "master": master, "is_forced": is_forced}
    config = {"resources": {"workers": {"config": {k: v for k, v in resource.items() if v is not None}}}}
    with listening(listener), hosting():
        _run_phases(instance, layout, registered, wanted, config, settings_file, is_fresh_tokenizer=is_fresh_tokenizer)


def check_settings(path: str, root: str, assets: Collection[str] = ()) -> None:
    """Refuse a settings file now, rather than after the hours that the stages before the wrong section take.

    Args:
        path: the settings file.
        root: GRISTMILL_HOME, where tasks look for the section that they read by themselves.
        assets: to be made; what their settings need beside the file, such as a secret, has to be there, too.

    Raises:
        SettingsError: the first thing wrong in it.
        EnvironmentProblemError: a library that the settings of one of `assets` need is not installed.
    """
    from assets.sections import settings_class_of
    from pipelines.crawl.download import SECTION

    sections = read_settings_file(path)
    if SECTION in sections and Path(path).absolute() != Path(default_settings_path(root) or "").absolute():
        raise SettingsError(
            f"settings file {path}: section {SECTION} is read by tasks on any machine, and only from "
            f"{SETTINGS_NAME} under {root} or the file that {SETTINGS_VARIABLE} names: move it there"
        )
    for name, section in sections.items():
        settings = build(settings_class_of(name), section, f"settings file {path}, section {name}")
        if name in assets and name in BY_NAME and stage(name).kind == "map":
            facts = getattr(stage(name).load(), "facts", None)
            if facts is not None:
                facts(settings)


def run_in_step(
    context: dg.OpExecutionContext, workers: Workers, through: Sequence[str], *, is_fresh_tokenizer: bool = False
) -> None:
    """The same inside a step of a chain job, for the corpus that is the run's partition."""
    layout = workers.layout
    fields = workers.model_dump(include={"settings_file", "master", "is_forced"}, exclude_none=True)
    config = {"resources": {"workers": {"config": {"root": layout.root, **fields}}}}
    try:
        corpus = load_corpus(layout, context.partition_key)
        register_partitions(context.instance, corpus)
        bury_dead_runs(context.instance)
        with listening(_StepLog(context)), hosting():
            _run_phases(
                context.instance, layout, corpus, through, config, workers.settings_file,
                is_fresh_tokenizer=is_fresh_tokenizer, tags={"gristmill/launched_by": context.run_id},
            )  # fmt: skip
    except GristmillError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except KeyboardInterrupt:
        raise DagsterExecutionInterruptedError from None


class _StepLog:
    """Puts the milestones of the runs that a chain launches into its own log."""

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self._context = context

    def started(self, asset: str, partitions: Sequence[str]) -> None:
        self._context.log.info(f"{asset}: started{' on ' + ', '.join(partitions) if partitions else ''}")

    def progress(self, label: str, done: float, total: float, unit: str, note: str) -> None:
        pass  # the run of the asset itself logs it

    def log(self, line: str) -> None:
        pass

    def finished(self, asset: str, reports: Mapping[str, dict[str, Any]]) -> None:
        self._context.log.info(f"{asset}: done")


def _run_phases(
    instance: dg.DagsterInstance,
    layout: Layout,
    corpus: Corpus,
    through: Sequence[str],
    config: dict[str, Any],
    settings_file: str | None,
    *,
    is_fresh_tokenizer: bool,
    tags: Mapping[str, str] | None = None,
) -> None:
    names = needed(tuple(through))
    if "tokenizer" in names and "tokenizer" not in through and not is_fresh_tokenizer:
        version = _usable_tokenizer(layout, settings_file)
        if version is not None:
            names = names - {"tokenizer"}
            listener().log(f"note: the tokenizer in force, {version}, is used; --fresh-tokenizer trains another")
    for phase in PHASES:
        chosen = [name for name in phase.assets if name in names]
        if phase.grid == "none":
            release_host()  # training needs the memory that Spark holds
        if chosen:
            run_phase(instance, phase, chosen, corpus, config, tags or {})


def _usable_tokenizer(layout: Layout, settings_file: str | None) -> str | None:
    """The tokenizer in force, if it was trained with the settings that hold now; new text alone needs no new one."""
    latest = layout.latest(layout.join("tokenizer"))
    if latest is None:
        return None
    settings = resolve(stage("tokenizer").settings_class, "tokenizer", layout.root, settings_file, {})
    return latest[0] if latest[1].get("settings") == to_plain(settings) else None


def run_phase(
    instance: dg.DagsterInstance,
    phase: Phase,
    chosen: Sequence[str],
    corpus: Corpus,
    config: dict[str, Any],
    tags: Mapping[str, str],
) -> None:
    """Run the assets `chosen` of one phase over the segments that `corpus` has, as one Dagster run.

    Raises:
        GristmillError: a worker failed or a blocking check did.
        KeyboardInterrupt: the user stopped it.
    """
    loggers = {"console": {"config": {"log_level": "CRITICAL"}}}  # the listener speaks to the terminal
    me = psutil.Process()
    result = _definitions().resolve_job_def(phase.job).execute_in_process(
        instance=instance,
        run_config={**config, "loggers": loggers},
        asset_selection=[dg.AssetKey(name) for name in chosen],
        partition_key=one_partition(phase, corpus),
        tags={
            **tags,
            **partition_tags(phase, corpus),
            "gristmill/corpus": corpus.name,
            PROCESS_TAG: f"{socket.gethostname()}:{me.pid}:{me.create_time():.0f}",
        },
        raise_on_error=False,
    )  # fmt: skip
    if not result.success:
        if _is_interrupted(result):
            # Dagster calls it a failure where nobody pressed the button in the UI; the user did press Ctrl-C.
            instance.report_run_canceled(result.dagster_run, message="Stopped from the terminal, or with its chain.")
            raise KeyboardInterrupt
        raise GristmillError(failure_line(result))


def _is_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    failed = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(error is not None and error.cls_name == DagsterExecutionInterruptedError.__name__ for error in failed)


def one_partition(phase: Phase, corpus: Corpus) -> str | None:
    """The key of the partition that is all of `corpus`, where one is.

    A range of one is the same work, but Dagster asks its database 104 times whether the ends of the range are there.
    """
    if phase.grid == "corpus":
        return corpus.name
    is_one = phase.grid == "segments" and len(corpus.segments) == 1
    return f"{corpus.name}|{corpus.segments[0]}" if is_one else None


def partition_tags(phase: Phase, corpus: Corpus) -> dict[str, str]:
    """The tags that make a run cover all of `corpus` at once, where that is more than one partition."""
    if phase.grid != "segments" or one_partition(phase, corpus) is not None:
        return {}
    # Dagster keeps segments in the order they were added, which is by number.
    ends = (f"{corpus.name}|{corpus.segments[0]}", f"{corpus.name}|{corpus.segments[-1]}")
    return dict(zip((RANGE_START_TAG, RANGE_END_TAG), ends, strict=True))


def failure_line(result: dg.ExecuteInProcessResult) -> str:
    """Why a run failed: the failed check's description, or the worker's own line."""
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.blocking and check.severity == dg.AssetCheckSeverity.ERROR:
            return f"{check.asset_key.to_user_string()}: check {check.check_name} failed: {check.description}"
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            if data.error:
                cause = data.error.cause or data.error
                line = " ".join(cause.message.split())
                known = re.match(r"gristmill\.core\.errors\.\w+: ", line)  # which says itself what it is about
                return line[known.end() :] if known else f"{event.step_key}: {line}"
        if event.is_run_failure and event.job_failure_data.error:
            return " ".join(event.job_failure_data.error.message.split())
    return "the run failed without saying why; see its page in the Dagster UI"


@lru_cache
def needed(through: tuple[str, ...]) -> frozenset[str]:
    """The assets named and all that they need."""
    selection = dg.AssetSelection.assets(*through).upstream()
    keys = selection.resolve(_definitions().resolve_asset_graph())
    return frozenset(key.to_user_string() for key in keys)


def bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """End, in the records, runs of ours whose process was killed, so that they hold no slot of a pool for ever."""
    for run in instance.get_runs(dg.RunsFilter(statuses=list(_BEGUN))):
        host, _, process = run.tags.get(PROCESS_TAG, "").partition(":")
        if host == socket.gethostname() and not _is_running(process):
            instance.report_run_failed(run, "The process that executed this run was killed.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_running(process: str) -> bool:
    pid, _, created = process.partition(":")
    try:
        return f"{psutil.Process(int(pid)).create_time():.0f}" == created
    except (psutil.Error, ValueError):
        return int(pid or 0) == os.getpid()


def _definitions() -> dg.Definitions:
    from assets.definitions import defs

    return defs
