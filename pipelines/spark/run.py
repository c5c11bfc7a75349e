"""Stages on Spark: tasks out, results back, one commit per partition.

Spark schedules, retries and shuffles; the documents themselves never pass through the JVM. A map stage is
one task per part file: `mapInArrow` hands each Python worker the description of its parts, the worker
streams Parquet to Parquet (`pipelines.parts.run_part`) and hands back the numbers. A task that is retried
writes the same bytes under the same name.
"""

import errno
import json
import posixpath
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from gristmill.core.errors import EnvironmentProblemError, GristmillError, one_line
from gristmill.core.layout import Layout, Partition, storage_error
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.commit import Attempt, now
from pipelines.fingerprint import fingerprint, input_fingerprints
from pipelines.parts import PartResult, PartTask, run_part
from pipelines.stages import Stage, stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_POLL_SECONDS = 0.5
_CONCURRENT_PARTITIONS = 8  # jobs in flight; the cores are shared among them by Spark
RESULT_SCHEMA = "result string"


def run_map_stage(
    spark: "SparkSession",
    layout: Layout,
    stage_row: Stage,
    partitions: Sequence[Partition],
    settings: Any,
    reporter: Reporter,
    *,
    is_forced: bool = False,
) -> dict[str, dict[str, Any]]:
    """Run one map or pack stage over `partitions`; returns the report of each by partition key."""
    progress = _Progress(reporter, stage_row.name)

    def one(partition: Partition) -> dict[str, Any]:
        return _run_partition(spark, layout, stage_row, partition, settings, progress, is_forced=is_forced)

    with progress, ThreadPoolExecutor(min(_CONCURRENT_PARTITIONS, max(len(partitions), 1))) as pool:
        reports = list(pool.map(one, partitions))
    return {partition.key: report for partition, report in zip(partitions, reports, strict=True)}


def _run_partition(
    spark: "SparkSession",
    layout: Layout,
    stage_row: Stage,
    partition: Partition,
    settings: Any,
    progress: "_Progress",
    *,
    is_forced: bool,
) -> dict[str, Any]:
    plain = to_plain(settings)
    tasks, inputs = _plan(layout, stage_row, partition, plain)
    mark = fingerprint(stage_row, plain, inputs)
    committed = layout.report(stage_row.name, partition)
    if committed is not None and committed.get("fingerprint") == mark and not is_forced:
        progress.say(f"{stage_row.name} {partition.key}: already there for the same inputs, settings and code")
        return committed | {"is_reused": True}
    started = time.monotonic()
    with Attempt(layout, stage_row.name, partition) as attempt:
        placed = [PartTask(**(task | {"folder": attempt.folder})) for task in tasks]
        progress.add(layout, attempt.folder, len(placed))
        worker = run_part if stage_row.kind == "map" else stage_row.load().pack_segment
        results = run_tasks(spark, placed, worker, f"{stage_row.name} {partition.key}", progress.task_done)
        report = summarise(stage_row, partition, results) | {
            "settings": plain,
            "code_version": stage_row.code_version,
            "libraries": stage_row.libraries,
            "inputs": inputs,
            "fingerprint": mark,
            "engine": engine(spark),
            "seconds": round(time.monotonic() - started, 3),
            "created_at": now(),
        }
        attempt.commit(report)
    return report


def _plan(
    layout: Layout, stage_row: Stage, partition: Partition, settings: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The tasks of a partition (without their folder) and the fingerprints of what they read."""
    base: dict[str, Any] = {
        "stage": stage_row.name,
        "root": layout.root,
        "corpus": partition.corpus,
        "segment": partition.segment,
        "settings": settings,
    }
    if not stage_row.reads:
        from pipelines.crawl.corpora import load_corpus

        corpus = load_corpus(layout, partition.corpus)
        files = corpus.files_of(partition.segment or "")
        tasks = [base | {"source": file.path, "part": f"part-{index:05d}.parquet"} for index, file in enumerate(files)]
        return tasks, {f"file {file.name}": file.fingerprint for file in files}
    inputs = input_fingerprints(layout, stage_row, partition)
    source = layout.partition_dir(stage_row.reads[0], partition)
    if stage_row.kind == "pack":
        return [base | {"source": source, "part": "segment"}], inputs
    return [base | {"source": path, "part": posixpath.basename(path)} for path in layout.parts(source)], inputs


def run_tasks(
    spark: "SparkSession",
    tasks: Sequence[PartTask],
    worker: Callable[[PartTask], PartResult],
    description: str,
    on_done: Callable[[], None] = lambda: None,
) -> list[PartResult]:
    """Run `worker` over `tasks`, one Spark task each, and return the results in the order of `tasks`.

    An error that is the user's or the machine's (a full disk, a missing model file) comes back as a value,
    so that it is neither retried nor buried in a stack trace of three languages.
    """
    if not tasks:
        return []
    lines = [task.to_json() for task in tasks]

    def in_worker(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for index in batch.column("id").to_pylist():
                yield pa.record_batch([pa.array([_guarded(worker, lines[cast(int, index)])])], names=["result"])

    spark.sparkContext.setJobDescription(description)
    frame = spark.range(0, len(lines), 1, len(lines)).mapInArrow(in_worker, RESULT_SCHEMA)
    rows = [json.loads(row.result) for row in frame.collect()]
    for _ in rows:
        on_done()
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
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        problem = storage_error(error, str(error.filename or task.folder))
        return json.dumps({"error": EnvironmentProblemError.__name__, "line": one_line(problem)})
    return json.dumps(
        {
            "part": result.part,
            "rows_in": result.rows_in,
            "rows_kept": result.rows_kept,
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


def summarise(stage_row: Stage, partition: Partition, results: Sequence[PartResult]) -> dict[str, Any]:
    """Add the parts up to the numbers of a report."""
    rejected: Counter[str] = Counter()
    tally: Counter[str] = Counter()
    for result in results:
        rejected.update(result.rejected)
        tally.update(result.tally)
    files = [file for result in results for file in result.files]
    return {
        "stage": stage_row.name,
        "corpus": partition.corpus,
        "segment": partition.segment,
        "rows_in": sum(r.rows_in for r in results),
        "rows_kept": sum(r.rows_kept for r in results),
        "rows_rejected": dict(sorted(rejected.items())),
        "tally": dict(sorted(tally.items())),
        "files": [f for f in files if f["kind"] != "quarantine"],
        "quarantine_files": [f for f in files if f["kind"] == "quarantine"],
        "bytes": sum(int(f["bytes"]) for f in files if f["kind"] != "quarantine"),
        "text_bytes_in": sum(r.text_bytes_in for r in results),
        "text_bytes_out": sum(r.text_bytes_out for r in results),
        "cpu_seconds": round(sum(r.cpu_seconds for r in results), 3),
    }


def engine(spark: "SparkSession") -> dict[str, Any]:
    """What really ran, for the report: Spark and Java versions, master, executors' cores."""
    context = spark.sparkContext
    jvm = cast(Any, context)._jvm
    return {
        "spark": spark.version,
        "java": str(jvm.System.getProperty("java.version")) if jvm is not None else "unknown",
        "master": context.master,
        "application": context.applicationId,
    }


class _Progress:
    """Polls the tasks' heartbeats and moves one bar for all partitions of the run."""

    def __init__(self, reporter: Reporter, label: str) -> None:
        self._reporter, self._label = reporter, label
        self._lock = threading.Lock()
        self._folders: list[tuple[Layout, str]] = []
        self._tasks = self._done = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> "_Progress":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def say(self, line: str) -> None:
        self._reporter.info(line)

    def add(self, layout: Layout, folder: str, tasks: int) -> None:
        with self._lock:
            self._folders.append((layout, posixpath.join(folder, "progress")))
            self._tasks += tasks

    def task_done(self) -> None:
        with self._lock:
            self._done += 1
            done, tasks = self._done, self._tasks
        self._reporter.progress(self._label, done, tasks, "parts")

    def _poll(self) -> None:
        seen = -1
        while not self._stop.wait(_POLL_SECONDS):
            with self._lock:
                folders, done, tasks = list(self._folders), self._done, self._tasks
            rows = sum(_rows_so_far(layout, folder) for layout, folder in folders)
            if tasks and rows != seen and done < tasks:
                seen = rows
                self._reporter.progress(self._label, done, tasks, "parts", f"{rows:,} documents read")


def _rows_so_far(layout: Layout, folder: str) -> int:
    rows = 0
    try:
        for path in layout.parts(folder, suffix=""):
            rows += int(cast(bytes, layout.fs.cat_file(path)) or b"0")
    except (OSError, ValueError):  # the attempt may have ended meanwhile
        return rows
    return rows


def require_segments(layout: Layout, stage_name: str, corpus: str) -> list[Partition]:
    """The committed segments of `stage_name` in `corpus`, or an error that says what to run."""
    found = [p for p in layout.committed(stage_name) if p.corpus == corpus]
    if not found:
        from gristmill.core.errors import MissingDataError

        raise MissingDataError(
            f"no segment of {stage(stage_name).name} is materialized for {corpus}: "
            f"run `gristmill run {corpus} --through {stage_name}` first"
        )
    return found
