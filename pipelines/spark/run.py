"""Stages on Spark: tasks out, results back, one commit per partition.

Spark schedules, retries and shuffles; the documents themselves never pass through the JVM. A map stage is one task
per part file: a Python worker is handed the description of its part, streams Parquet to Parquet
(`pipelines.parts.run_part`) and hands back the numbers. A task that is retried writes the same bytes under the same
name.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from gristmill.core.errors import EnvironmentProblemError, GristmillError, one_line
from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.commit import Attempt, now
from pipelines.parts import PartResult, PartTask, run_part
from pipelines.plan import Plan
from pipelines.spark.errors import explain
from pipelines.spark.progress import Progress
from pipelines.stages import Stage
from pipelines.takedowns.carving import honour

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipelines.spark.session import Spark

_CONCURRENT_PARTITIONS = 8  # jobs in flight; the cores are shared among them by Spark


def run_map_stage(
    spark: "Spark | SparkSession", layout: Layout, plans: Sequence[Plan], reporter: Reporter
) -> dict[str, dict[str, Any]]:
    """Carry out the plans of one map or pack stage; returns the report of each by partition key."""
    if not plans:
        return {}
    progress = Progress(reporter, plans[0].stage.name)

    def one(plan: Plan) -> dict[str, Any]:
        try:
            return _run_partition(spark, layout, plan, progress)
        except Exception as error:
            raise (explain(error, f"{plan.stage.name} {plan.partition.key}") or error) from error

    with progress, _Jobs(spark) as jobs:
        futures = [jobs.submit(one, plan) for plan in plans]
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = [error for future in futures if future.done() and (error := future.exception())]
        # What one partition lacks, the others may have; what the machine lacks, or a fault of ours, none has.
        if failed and all(isinstance(e, GristmillError) and not isinstance(e, EnvironmentProblemError) for e in failed):
            wait(futures)
        reports = [future.result() for future in futures]
    return {plan.partition.key: report for plan, report in zip(plans, reports, strict=True)}


class _Jobs:
    """Threads that each run one partition; left early, they are told to stop and waited for."""

    def __init__(self, spark: "Spark | SparkSession") -> None:
        self._spark = spark
        self._pool = ThreadPoolExecutor(_CONCURRENT_PARTITIONS)

    def __enter__(self) -> ThreadPoolExecutor:
        return self._pool

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            with contextlib.suppress(Exception):  # whatever the JVM says, or if it is gone: the first error counts
                self._spark.sparkContext.cancelAllJobs()
        self._pool.shutdown(wait=True)


def _run_partition(spark: "Spark | SparkSession", layout: Layout, plan: Plan, progress: "Progress") -> dict[str, Any]:
    started = time.monotonic()
    row, key = plan.stage, f"{plan.stage.name} {plan.partition.key}"
    with Attempt(layout, row.name, plan.partition) as attempt:
        placed = [replace(task, folder=attempt.folder) for task in plan.tasks]
        progress.add(layout, attempt.folder, len(placed))
        worker = run_part if row.kind == "map" else row.load().pack_segment
        results = run_tasks(spark, placed, worker, key)
        progress.finished(attempt.folder)
        report = report_of(plan, results) | {
            "engine": engine(spark),
            "seconds": round(time.monotonic() - started, 3),
            "created_at": now(),
        }
        if plan.has_memory:
            scored, rows = report["rows_scored"], report["rows_in"]
            progress.say(f"{key}: decided again from stored signals, {scored:,} of {rows:,} documents measured")
        if not row.reads:
            report = honour(layout, attempt, plan, report)
        attempt.commit(report)
    if not row.reads:
        _release_downloads(layout, plan.partition)
    return report


def _release_downloads(layout: Layout, partition: Partition) -> None:
    from pipelines.crawl.corpora import load_corpus
    from pipelines.crawl.opening import release_downloads

    if partition.segment is not None:
        release_downloads(layout, load_corpus(layout, partition.corpus).files_of(partition.segment))


def run_tasks(
    spark: "Spark | SparkSession",
    tasks: Sequence[PartTask],
    worker: Callable[[PartTask], PartResult],
    description: str,
) -> list[PartResult]:
    """Run `worker` over `tasks`, one Spark task each, and return the results in the order of `tasks`.

    An error that is the user's or the machine's (a full disk, a missing model file) comes back as a value,
    so that it is neither retried nor buried in a stack trace of three languages.
    """
    if not tasks:
        return []
    context = spark.sparkContext
    context.setJobDescription(description)
    # An RDD of descriptions: the SQL engine would only load, plan and compile for what is a list (ADR 0009).
    described = context.parallelize([task.to_json() for task in tasks], len(tasks))
    rows: list[dict[str, Any]] = [json.loads(line) for line in described.map(partial(_guarded, worker)).collect()]
    for row in rows:
        if "error" in row:
            raise _ERRORS.get(row["error"], GristmillError)(row["line"])
    by_part = {row["part"]: row for row in rows}
    return [_result(by_part[task.part]) for task in tasks]


_ERRORS: dict[str, type[GristmillError]] = {cls.__name__: cls for cls in GristmillError.__subclasses__()}


def _guarded(worker: Callable[[PartTask], PartResult], line: str) -> str:
    task = PartTask.from_json(line)
    try:
        result = worker(task)
    except GristmillError as error:
        return json.dumps({"error": type(error).__name__, "line": one_line(error)})
    except OSError as error:
        problem = explain(error, task.folder)
        if problem is None:
            raise
        return json.dumps({"error": type(problem).__name__, "line": one_line(problem)})
    return json.dumps(
        {
            "part": result.part,
            "rows_in": result.rows_in,
            "rows_kept": result.rows_kept,
            "rows_scored": result.rows_scored,
            "rejected": result.rejected,
            "tally": result.tally,
            "files": result.files,
            "text_bytes_in": result.text_bytes_in,
            "text_bytes_out": result.text_bytes_out,
            "cpu_seconds": result.cpu_seconds,
        }
    )


def _result(row: dict[str, Any]) -> PartResult:
    counters: dict[str, Any] = {name: Counter(row[name]) for name in ("rejected", "tally")}
    return PartResult(**(row | counters))


def report_of(plan: Plan, results: Sequence[PartResult]) -> dict[str, Any]:
    """The report of a partition, but for what only this run knows: its engine, its seconds, the time."""
    report = summarise(plan.stage, plan.partition, results) | {
        "settings": plan.settings,
        "code_version": plan.stage.code_version,
        "libraries": plan.stage.libraries,
        "inputs": plan.inputs,
        "files_named": plan.files,
        "fingerprint": plan.fingerprint,
    }
    if plan.score_fingerprint is not None:
        scored = sum(result.rows_scored for result in results)
        report |= {
            "score_fingerprint": plan.score_fingerprint,
            "rows_scored": scored,
            "is_redecided": plan.has_memory and scored == 0,
        }
    return report


def summarise(stage_row: Stage, partition: Partition, results: Sequence[PartResult]) -> dict[str, Any]:
    """Add the parts up to the numbers of a report."""
    rejected: Counter[str] = Counter()
    tally: Counter[str] = Counter()
    for result in results:
        rejected.update(result.rejected)
        tally.update(result.tally)
    files: dict[str, list[dict[str, Any]]] = {"quarantine": [], "signals": []}
    kept = [file for result in results for file in result.files if file["kind"] not in files]
    for result in results:
        for file in result.files:
            if file["kind"] in files:
                files[file["kind"]].append(file)
    return {
        "stage": stage_row.name,
        "corpus": partition.corpus,
        "segment": partition.segment,
        "rows_in": sum(r.rows_in for r in results),
        "rows_kept": sum(r.rows_kept for r in results),
        "rows_rejected": dict(sorted(rejected.items())),
        "tally": dict(sorted(tally.items())),
        "files": kept,
        "quarantine_files": files["quarantine"],
        "signal_files": files["signals"],
        "bytes": sum(int(file["bytes"]) for file in kept),
        "text_bytes_in": sum(r.text_bytes_in for r in results),
        "text_bytes_out": sum(r.text_bytes_out for r in results),
        "cpu_seconds": round(sum(r.cpu_seconds for r in results), 3),
    }


def engine(spark: "Spark | SparkSession") -> dict[str, Any]:
    """What really ran, for the report: Spark and Java versions, master, executors' cores."""
    context = spark.sparkContext
    jvm = cast(Any, context)._jvm
    return {
        "spark": spark.version,
        "java": str(jvm.System.getProperty("java.version")) if jvm is not None else "unknown",
        "master": context.master,
        "cores": context.defaultParallelism,
        "application": context.applicationId,
    }
