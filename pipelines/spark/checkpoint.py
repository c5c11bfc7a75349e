"""Cut a frame's lineage so that an iteration can go on from it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gristmill.core.layout import Layout

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pipelines.spark.session import Spark


@contextlib.contextmanager
def checkpointer(
    spark: "Spark | SparkSession", layout: Layout, folder: str
) -> Iterator[Callable[["DataFrame"], "DataFrame"]]:
    """A function that computes a frame and forgets how.

    In one process the executor holds the rows (memory, then disk): nothing is lost that the run outlives.
    On a cluster an executor may be lost, so rows go to files below `folder`, which every worker can reach
    where it is a path; an object store Spark has no driver for, so there the executors hold them.
    """
    if str(spark.sparkContext.master).startswith("local") or not layout.is_local:
        yield lambda frame: frame.localCheckpoint(eager=True)
        return
    path = f"{folder}/.checkpoints"
    spark.sparkContext.setCheckpointDir(f"file://{path}")
    try:
        yield lambda frame: frame.checkpoint(eager=True)
    finally:
        if layout.fs.exists(path):
            layout.fs.rm(path, recursive=True)
