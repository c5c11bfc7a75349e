"""Run one document stage over some partitions: `python -m pipelines.worker STAGE --partition 'c|s' …`.

An ordinary command-line program: Dagster launches it through Pipes, by itself or in `pipelines.serve`, and a
person may run it alone. It leaves committed partitions behind, and for what the user can mend one line and an exit
code that is not 0.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

from gristmill.core.errors import GristmillError, SettingsError, one_line
from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter, open_reporter
from gristmill.core.settings import read_overrides, resolve
from pipelines.crawl.corpora import recipe_of
from pipelines.plan import Plan, SettingsOf, plan_all
from pipelines.spark.errors import explain, in_words
from pipelines.spark.session import MASTER_VARIABLE, SparkSettings, start_spark
from pipelines.stages import Stage, stage

OpenSession = Callable[[SparkSettings, str], AbstractContextManager[Any]]
"""How a stage gets `pipelines.spark.session.Spark`: one of its own, or one that several share (pipelines.serve)."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The worker's command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.worker", description=__doc__)
    parser.add_argument("stage", help="name of the asset, as in pipelines/stages.py")
    parser.add_argument("--root", help="GRISTMILL_HOME; default: the environment's, else ./data")
    parser.add_argument("--partition", action="append", default=[], metavar="CORPUS|SEGMENT")
    parser.add_argument("--settings-file", help="YAML; default: settings.yaml under the root")
    parser.add_argument("--settings", default="{}", metavar="JSON", help="overrides for this stage")
    parser.add_argument("--master", help=f"Spark master; default: ${MASTER_VARIABLE}, else local[*]")
    parser.add_argument("--force", action="store_true", help="write again what is already there")
    return parser.parse_args(arguments)


def spark_settings_of(layout: Layout, settings_file: str | None, master: str | None) -> SparkSettings:
    """How Spark is to be started: section `spark` of the settings file, then the environment, then the flag."""
    given = {"master": master or os.environ.get(MASTER_VARIABLE)}
    return resolve(SparkSettings, "spark", layout.root, settings_file, given)


def run_stage(
    stage_row: Stage,
    layout: Layout,
    partitions: Sequence[Partition],
    settings_of: SettingsOf,
    reporter: Reporter,
    *,
    spark_settings: SparkSettings | None = None,
    is_forced: bool = False,
    open_session: OpenSession = start_spark,
) -> dict[str, dict[str, Any]]:
    """Run `stage_row`; returns the committed report of each partition (or of the single result) by key.

    Spark is started only for partitions that are out of date, and told of these alone.
    """
    if stage_row.kind == "single":
        return {stage_row.name: stage_row.load().run(layout, settings_of(None), reporter, is_forced=is_forced)}
    reports: dict[str, dict[str, Any]] = {}
    plans: list[Plan] = []
    problem: GristmillError | None = None
    if stage_row.kind == "cluster":
        current = {} if is_forced else {p: _clusters(stage_row, layout, p, settings_of(p.corpus)) for p in partitions}
        reports = {p.key: report | {"is_reused": True} for p, report in current.items() if report is not None}
    else:
        plans, problem = plan_all(layout, stage_row, partitions, settings_of, is_forced=is_forced)
        reports = {p.partition.key: p.committed | {"is_reused": True} for p in plans if p.committed and p.is_current}
    for key in reports:
        reporter.info(f"{stage_row.name} {key}: already there for the same inputs, settings and code")
    for p in partitions if stage_row.kind == "cluster" else ():
        for line in stage_row.load().notes(layout, p, settings_of(p.corpus)) if p.key in reports else ():
            reporter.info(line)
    for made in [plan for plan in plans if plan.is_to_carve and plan.partition.key not in reports]:
        from pipelines.takedowns.carving import carve

        report = reports[made.partition.key] = carve(layout, made)
        taken = report["rows_rejected"].get("takedown", 0)
        reporter.info(
            f"{stage_row.name} {made.partition.key}: {taken:,} documents are taken down, the crawl is not read"
        )
    left = [partition for partition in partitions if partition.key not in reports]
    pending = [plan for plan in plans if plan.partition.key not in reports]
    if pending or (left and stage_row.kind == "cluster"):
        with _session(open_session, spark_settings or SparkSettings(), stage_row, reporter) as spark:
            if stage_row.kind == "cluster":
                cluster = stage_row.load().run
                for p in left:
                    reports[p.key] = cluster(spark, layout, p, settings_of(p.corpus), reporter, is_forced=is_forced)
            else:
                from pipelines.spark.run import run_map_stage

                reports |= run_map_stage(spark, layout, pending, reporter)
    if problem is not None:
        raise problem
    return {partition.key: reports[partition.key] for partition in partitions}


def _clusters(stage_row: Stage, layout: Layout, partition: Partition, settings: Any) -> dict[str, Any] | None:
    return stage_row.load().reusable(layout, partition, settings)


@contextlib.contextmanager
def _session(
    open_session: OpenSession, settings: SparkSettings, stage_row: Stage, reporter: Reporter
) -> Generator[Any]:
    started = time.monotonic()
    with open_session(settings, f"gristmill {stage_row.name}") as spark:
        reporter.info(f"Spark {spark.version} on {settings.master} ready in {time.monotonic() - started:.1f} s")
        try:
            yield spark
        except Exception as error:
            raise in_words(error, stage_row.name) from None


def main(arguments: Sequence[str] | None = None, *, open_session: OpenSession = start_spark) -> int:
    """Entry point; returns the exit code."""
    signal.signal(signal.SIGTERM, _stop_once)
    given = parse_arguments(arguments)
    with open_reporter() as reporter:
        try:
            stage_row = stage(given.stage)
            layout = Layout(_absolute(given.root))
            partitions = [Partition.parse(key) for key in given.partition]
            if stage_row.kind != "single" and not partitions:
                raise SettingsError(f"{stage_row.name} works on partitions: give --partition CORPUS|SEGMENT")
            overrides = read_overrides(given.settings)

            @cache
            def settings_of(corpus: str | None) -> Any:
                recipe = recipe_of(layout, corpus) if corpus is not None else None
                own = recipe.of(stage_row.name) if recipe is not None else None
                return resolve(
                    stage_row.settings_class, stage_row.name, layout.root, given.settings_file, overrides, own
                )

            for corpus in sorted({p.corpus for p in partitions}) or [None]:
                settings_of(corpus)  # what is wrong in them is said before anything starts
            spark_settings = spark_settings_of(layout, given.settings_file, given.master)
            reports = run_stage(
                stage_row,
                layout,
                partitions,
                settings_of,
                reporter,
                spark_settings=spark_settings,
                is_forced=given.force,
                open_session=open_session,
            )
        except KeyboardInterrupt:
            reporter.error(f"{given.stage}: interrupted; nothing unfinished was kept, run the same command again")
            return 130
        except Exception as error:
            problem = explain(error, given.stage)
            if problem is None:
                raise
            reporter.error(one_line(problem))
            return problem.exit_code
        for key, report in reports.items():
            reporter.info(describe(stage_row, key, report))
        reporter.result({"reused": [key for key, report in reports.items() if report.get("is_reused")]})
    return 0


def _stop_once(*_: object) -> None:
    """Leave by the ordinary way, so that folders and Spark's processes are cleaned up; once is enough."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _absolute(root: str | None) -> str:
    """The root as Spark's workers must be told it: they may run in another folder."""
    root = root or Layout().root
    return root if "://" in root else str(Path(root).absolute())


def describe(stage_row: Stage, key: str, report: dict[str, Any]) -> str:
    """One line on what a partition became."""
    if "rows_in" not in report:
        return f"{stage_row.name}: done"
    if stage_row.kind == "cluster":
        return (
            f"{stage_row.name} {key}: {report['rows_in']:,} documents, {report['clusters']:,} clusters, "
            f"{report['exact']:,} exact and {report['near']:,} near duplicates{_compared(report)}"
        )
    rejected = sum(report.get("rows_rejected", {}).values())
    return f"{stage_row.name} {key}: {report['rows_in']:,} in = {report['rows_kept']:,} kept + {rejected:,} rejected"


def _compared(report: dict[str, Any]) -> str:
    tally = report.get("tally", {})
    if "documents_new" not in tally:
        return ""
    unverified = tally.get("documents_unverified", 0)
    joined = f"; {unverified:,} documents joined unverified, in buckets too large to compare" if unverified else ""
    return f"; {tally['documents_new']:,} documents were new, {tally['documents_known']:,} known{joined}"


if __name__ == "__main__":
    sys.exit(main())
