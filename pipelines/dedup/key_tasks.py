"""Keys on Spark, as tasks from files to files: runs of new documents, the index of their segments, the lookup.

Rows never pass through the JVM, and what a task wrote outlives its executor: an edge file is read again, not made
again.
"""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from gristmill.core.layout import Layout
from pipelines.dedup.band_index import (
    IndexFile,
    bucket_edges,
    candidates,
    exact_edges,
    merge_runs,
    new_entries,
    old_entries,
    ranges_for,
    write_candidates,
    write_edges,
    write_index,
)
from pipelines.dedup.buckets import KeysTask, SignaturePart, write_released, write_runs
from pipelines.dedup.cluster_state import StateFolder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pipelines.spark.session import Spark

T = TypeVar("T")
R = TypeVar("R")
INDEX_FOLDER = "index"
_KEYS_OF_ONE_CORE = 1 << 17  # fewer are looked up before a second task has started
_RUN_SCHEMA = "run string, keys bigint, edges string, edge_rows bigint"


@dataclass(frozen=True)
class Run:
    """Sorted keys of some documents, and the edges found while they were sorted: paths and rows of two files."""

    run: str
    keys: int
    edges: str
    edge_rows: int


@dataclass(frozen=True)
class Found:
    """Files of edges and of entries whose documents may be alike: path and rows of each."""

    edges: list[tuple[str, int]]
    candidates: list[tuple[str, int]]


def run_each(spark: "Spark | SparkSession", function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Run one Spark task per item; the results in the order of `items`."""
    if not items:
        return []
    return spark.sparkContext.parallelize(items, len(items)).map(function).collect()


def runs_of(spark: "Spark | SparkSession", task: KeysTask, parts: Sequence[SignaturePart]) -> list[list[Run]]:
    """The runs of each part."""
    written = run_each(spark, partial(write_runs, task), parts)
    return [[Run(**run) for run in of_part] for of_part in written]


def runs_of_released(task: KeysTask, released: "DataFrame", parts: Mapping[int, SignaturePart]) -> list[Run]:
    """The runs of single documents.

    Args:
        task: how keys are made.
        released: a column node; all nodes of a part in one partition, ascending.
        parts: by ordinal.
    """

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for run in write_released(task, parts, batches):
            yield pa.RecordBatch.from_pylist([run])

    return [Run(**row.asDict()) for row in released.mapInArrow(write, _RUN_SCHEMA).collect()]


@dataclass(frozen=True)
class _IndexTask:
    root: str
    segment: str
    runs: tuple[str, ...]
    number: int
    ranges: int
    path: str
    edges: str


def write_indexes(
    spark: "Spark | SparkSession", layout: Layout, work: str, folder: StateFolder, runs: Mapping[str, Sequence[Run]]
) -> tuple[dict[str, tuple[IndexFile, ...]], list[tuple[str, int]]]:
    """The index files of each new segment (a key of `runs`), and files of the edges between its runs."""
    tasks: list[_IndexTask] = []
    for place, (key, of_segment) in enumerate(runs.items()):
        ranges = ranges_for(sum(run.keys for run in of_segment))
        for number in range(ranges if of_segment else 0):
            name = f"{place:06d}-{number:05d}.parquet"
            path, edges = posixpath.join(folder.folder, INDEX_FOLDER, name), posixpath.join(work, f"index-{name}")
            tasks.append(
                _IndexTask(layout.root, key, tuple(run.run for run in of_segment), number, ranges, path, edges)
            )
    files: dict[str, list[IndexFile]] = {key: [] for key in runs}
    found: list[tuple[str, int]] = []
    for task, (keys, edges) in zip(tasks, run_each(spark, _write_index_range, tasks), strict=True):
        files[task.segment].append(IndexFile(folder.relative(task.path), keys, task.number, task.ranges))
        found.append((task.edges, edges))
    return {key: tuple(of_segment) for key, of_segment in files.items()}, found


def _write_index_range(task: _IndexTask) -> tuple[int, int]:
    layout = Layout(task.root)
    entries, edges = merge_runs(layout, task.runs, task.number, task.ranges)
    write_index(layout, task.path, entries)
    write_edges(layout, task.edges, edges)
    return len(entries), len(edges)


@dataclass(frozen=True)
class _LookupTask:
    root: str
    new: tuple[str, ...]
    old: tuple[str, ...]
    number: int
    ranges: int
    stem: str
    is_verified: bool


def look_up(
    spark: "Spark | SparkSession",
    layout: Layout,
    work: str,
    new: Sequence[tuple[str, IndexFile]],
    old: Sequence[tuple[str, IndexFile]],
    *,
    is_verified: bool,
) -> Found:
    """Where new entries meet each other and the old index; one task for each range of keys.

    Args:
        spark: the session.
        layout: where the files lie.
        work: folder that the answer is written to.
        new: path and description of the files of new entries.
        old: of the index there was.
        is_verified: whether documents of different texts are candidates, or joined at once.
    """
    cores, keys = spark.sparkContext.defaultParallelism, sum(file.keys for _, file in new)
    ranges = ranges_for(keys, cores if keys > _KEYS_OF_ONE_CORE else 1)
    tasks = [
        _LookupTask(
            layout.root,
            tuple(path for path, file in new if file.may_hold(number, ranges)),
            tuple(path for path, file in old if file.may_hold(number, ranges)),
            number,
            ranges,
            posixpath.join(work, f"lookup-{number:06d}"),
            is_verified,
        )
        for number in range(ranges)
    ]
    found = Found([], [])
    for edges, unverified in run_each(spark, _look_up, tasks):
        found.edges.append(edges)
        found.candidates.extend(unverified)
    return found


def _look_up(task: _LookupTask) -> tuple[tuple[str, int], list[tuple[str, int]]]:
    layout = Layout(task.root)
    path = f"{task.stem}-edges.parquet"
    entries = new_entries(layout, task.new, task.number, task.ranges)
    edges = (exact_edges if task.is_verified else bucket_edges)(entries, old_entries(layout, task.old, entries))
    write_edges(layout, path, edges)
    if not task.is_verified:
        return (path, len(edges)), []
    unverified = f"{task.stem}-candidates.parquet"
    count = write_candidates(layout, unverified, candidates(entries, old_entries(layout, task.old, entries)))
    return (path, len(edges)), [(unverified, count)]
