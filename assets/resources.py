"""The workers: how an asset has its stage run in a process of its own, and records what came of it."""

import contextlib
import json
import posixpath
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets.compared import COMPARED, changes
from assets.config import config_schema_of
from assets.host import hosting
from assets.listener import listener
from assets.metadata import empty_metadata, loss_picture, partition_metadata, report_metadata
from assets.partitions import existing
from assets.pipes import run_hosted, run_worker
from assets.takedowns import TAKEDOWNS, as_committed, takedown_changes
from assets.versions import EMPTY, RECORDED, inputs_of, materialization, single_version
from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import REPORT_NAME, Layout, Partition
from gristmill.core.settings import resolve
from pipelines.contents import content_version
from pipelines.crawl.corpora import recipe_of
from pipelines.dedup.scope import SOURCE as SIGNATURES
from pipelines.dedup.scope import Scope
from pipelines.stages import Stage, stage

SPARK_POOL = "spark"
GPU_POOL = "gpu"
SAVING_SECONDS = 130.0  # a cancelled training run has to save a checkpoint: 120 s in training/launch.py, and its end


class Workers(dg.ConfigurableResource[Any]):
    """Runs the document and training programs below GRISTMILL_HOME."""

    root: str | None = Field(default=None, description="GRISTMILL_HOME; empty: the environment's, else ./data")
    settings_file: str | None = Field(
        default=None, description="YAML with a section per asset; empty: settings.yaml under the root"
    )
    master: str | None = Field(default=None, description="Spark master; empty: GRISTMILL_SPARK_MASTER, else local[*]")
    is_forced: bool = Field(default=False, description="Write again what is already there for the same inputs")

    @contextlib.contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator["Workers"]:
        """Keep one Spark session for all stages of a run."""
        with hosting():
            yield self

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        layout = Layout(self.root)
        return Layout(str(Path(layout.root).absolute())) if layout.is_local and "://" not in layout.root else layout

    def run_stage(self, context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        """Run the document stage named as the asset, as one worker: over the run's partitions, if it has any."""
        row, layout = stage(context.asset_key.path[-1]), self.layout
        if context.assets_def.partitions_def is not None:
            return self._run_partitions(context, layout, row)
        listener().started(row.name, [])
        self._run(context, ["pipelines.worker", row.name], self._master_arguments)
        folder, report = newest(layout, row.name)
        listener().finished(row.name, {row.name: report})
        return dg.MaterializeResult(
            metadata=report_metadata(report, folder), data_version=single_version(layout, row.name, folder, report)
        )

    def run_training(
        self, context: dg.AssetExecutionContext, module: str, *arguments: str
    ) -> dg.MaterializeResult[Any]:
        """Run a program of the training side, which writes the asset that runs it."""
        asset, layout = context.asset_key.path[-1], self.layout
        listener().started(asset, [])
        self._run(context, [module], arguments)
        folder, report = newest(layout, asset)
        metadata = report_metadata(report, folder) | loss_picture(layout, folder, asset.replace("_", " "))
        listener().finished(asset, {asset: report})
        return dg.MaterializeResult(metadata=metadata, data_version=single_version(layout, asset, folder, report))

    def _run_partitions(
        self, context: dg.AssetExecutionContext, layout: Layout, row: Stage
    ) -> dg.MaterializeResult[Any]:
        keys = {str(key): key for key in context.partition_keys}
        real, empty = _existing(layout, list(keys))
        if row.kind == "cluster":  # observed before the step reads it: else the clusters would look stale at once
            self._observe(context, layout, {p.corpus: self._scope_of(context, layout, row, p.corpus) for p in real})
        if not row.reads:
            self._observe_takedowns(context, layout, [p.key for p in real])
        inputs = inputs_of(context, [COMPARED, TAKEDOWNS])
        for p in empty:
            context.log_event(materialization(context, keys[p.key], EMPTY, inputs, empty_metadata(p)))
        if not real:
            context.log.info(f"{row.name}: none of {', '.join(keys)} is a segment of its corpus; nothing to do")
            return dg.MaterializeResult(metadata=RECORDED)
        listener().started(row.name, [p.key for p in real])
        words = [argument for p in real for argument in ("--partition", p.key)]
        result = self._run(context, ["pipelines.worker", row.name], self._master_arguments, words)
        reused = frozenset(result.get("reused", ()))
        reports = {p.key: layout.require_report(row.name, p) | {"is_reused": p.key in reused} for p in real}
        if not row.reads:  # the file may have changed while the crawl was read, and the end is what counts
            self._observe_takedowns(context, layout)
            inputs = as_committed(context, inputs, reports)
        for p in real:
            report = reports[p.key]
            metadata = partition_metadata(layout, row, p, report)
            version = content_version(row.name, report)
            context.log_event(materialization(context, keys[p.key], version, inputs, metadata))
        if row.name == SIGNATURES:
            self._observe(context, layout)
        listener().finished(row.name, reports)
        return dg.MaterializeResult(metadata=RECORDED)

    @staticmethod
    def _observe_takedowns(context: dg.AssetExecutionContext, layout: Layout, extracted: Sequence[str] = ()) -> None:
        try:
            found = takedown_changes(context.instance, layout, extracted)
        except GristmillError as error:
            raise dg.Failure(one_line(error), allow_retries=False) from None
        for observation in found:
            context.log_event(observation)

    @staticmethod
    def _observe(context: dg.AssetExecutionContext, layout: Layout, scopes: Mapping[str, Scope] | None = None) -> None:
        for observation in changes(context.instance, layout, scopes):
            context.log_event(observation)

    def _scope_of(self, context: dg.AssetExecutionContext, layout: Layout, row: Stage, corpus: str) -> Scope:
        """The scope that the worker is about to use for the clusters of `corpus`."""
        recipe = recipe_of(layout, corpus)
        own, given = recipe.of(row.name) if recipe is not None else None, self._given(context)
        try:
            settings = resolve(row.settings_class, row.name, layout.root, self.settings_file, given, own)
        except GristmillError as error:
            raise dg.Failure(one_line(error), allow_retries=False) from None
        return settings.scope

    @property
    def _master_arguments(self) -> list[str]:
        return ["--master", self.master] if self.master else []

    @staticmethod
    def _given(context: dg.AssetExecutionContext) -> dict[str, Any]:
        """The settings of the launch form that were filled in."""
        config: dict[str, Any] = context.op_execution_context.op_config or {}
        return {name: value for name, value in config.items() if value is not None}

    def _run(
        self, context: dg.AssetExecutionContext, program: Sequence[str], *arguments: Sequence[str]
    ) -> dict[str, Any]:
        module, *positional = program
        file = ["--settings-file", self.settings_file] if self.settings_file else []
        force = ["--force"] if self.is_forced else []
        words = [word for group in arguments for word in group]
        settings = ["--settings", json.dumps(self._given(context))]
        command = [*positional, "--root", self.layout.root, *words, *file, *force, *settings]
        if positional and stage(positional[0]).kind != "single":
            return run_hosted(context, command)
        patience = SAVING_SECONDS if module.startswith("training.") else 0.0
        return run_worker(context, ["-m", module, *command], patience=patience)


def newest(layout: Layout, asset: str) -> tuple[str, dict[str, Any]]:
    """Folder and report of an asset without partitions: the one made, or chosen, last.

    Raises:
        dagster.Failure: it is not there.
    """
    single = layout.singleton_dir(asset)
    report = layout.read_json(posixpath.join(single, REPORT_NAME))
    if report is not None:
        return single, report
    for parent in (layout.join("models", asset), single):
        latest = layout.latest(parent)
        if latest is not None:
            return posixpath.join(parent, latest[0]), latest[1]
    raise dg.Failure(f"{asset} is not there under {layout.root}: materialize it first", allow_retries=False)


def _existing(layout: Layout, keys: Sequence[str]) -> tuple[list[Partition], list[Partition]]:
    try:
        return existing(layout, keys)
    except GristmillError as error:
        raise dg.Failure(one_line(error), allow_retries=False) from None


def stage_asset(
    *,
    kinds: set[str],
    deps: Sequence[str | dg.AssetDep] = (),
    partitions_def: "dg.PartitionsDefinition[str] | None" = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Like `@dg.asset`, for a function named as a document stage: the rest follows from the stage table.

    A range of partitions is one run, and so one Spark session.
    """

    def define(function: Callable[..., Any]) -> dg.AssetsDefinition:
        row = stage(function.__name__)
        return dg.asset(
            function,
            group_name=row.group,
            kinds=kinds,
            deps=deps,
            partitions_def=partitions_def,
            backfill_policy=dg.BackfillPolicy.single_run() if partitions_def is not None else None,
            config_schema=config_schema_of(row.settings_class),
            code_version=row.code_version,
            pool=SPARK_POOL,
        )  # pyright: ignore[reportReturnType]  (with a function given, it returns the asset)

    return define
