"""Who is in which cluster, as frames of (node, root): old clusters are one node each while new documents come in.

Every member has a row, the root (some node of the cluster) too; documents in no cluster have none.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from pipelines.dedup.band_index import EDGE_SCHEMA
from pipelines.dedup.state_damage import reading_state

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MEMBERSHIP_SCHEMA = pa.schema([("node", pa.int64()), ("root", pa.int64())])
_READ_ROWS = 1 << 16
_FILES_OF_TASK_ROWS = 1 << 20


def frame_of(
    spark: "SparkSession", root: str, files: Sequence[tuple[str, int]], schema: pa.Schema = EDGE_SCHEMA
) -> "DataFrame":
    """The rows of Parquet files of int64 columns, read by tasks through our own file access on any storage.

    Args:
        spark: the session.
        root: of the layout.
        files: path and rows of each.
        schema: of all files.
    """
    groups: list[list[str]] = []
    rows = _FILES_OF_TASK_ROWS
    for path, number in files:
        if not number:
            continue
        if rows >= _FILES_OF_TASK_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(path)
        rows += number

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        layout = Layout(root)
        for batch in batches:
            for index in cast(list[int], batch.column("id").to_pylist()):
                for path in groups[index]:
                    with reading_state(path), layout.fs.open(path, "rb") as file:
                        yield from pq.ParquetFile(cast(Any, file)).iter_batches(_READ_ROWS)

    columns = ", ".join(f"{name} bigint" for name in schema.names)
    return spark.range(0, len(groups), 1, max(len(groups), 1)).mapInArrow(read, columns)


def contracted(edges: "DataFrame", members: "DataFrame") -> "DataFrame":
    """The same edges between old clusters' roots and documents that are in none; edges within a cluster vanish."""
    from pyspark.sql import functions as f

    for name in ("node", "other"):
        of_member = members.select(f.col("node").alias(name), f.col("root").alias("cluster"))
        edges = edges.join(of_member, name, "left").withColumn(name, f.coalesce("cluster", name)).drop("cluster")
    return edges.where("node != other")


def grown(components: "DataFrame", members: "DataFrame | None") -> "DataFrame":
    """Every member (node, root) of the clusters that `components` of the contracted graph speaks of."""
    from pyspark.sql import functions as f

    roots = components.select(f.col("root").alias("node"), "root").distinct()
    touched = components.select("node", "root").unionByName(roots)
    if members is None:
        return touched
    of_cluster = members.select(f.col("root").alias("node"), f.col("node").alias("member"))
    return touched.join(of_cluster, "node", "left").select(f.coalesce("member", "node").alias("node"), "root")


def dissolved(members: "DataFrame", dead: Sequence[int], is_dead: str = "is_dead") -> "DataFrame":
    """`members` with a column that says whether the cluster has lost a document; lost documents themselves left out.

    Args:
        members: of all clusters.
        dead: ordinals of the parts whose documents are gone.
        is_dead: name of the column.
    """
    from pyspark.sql import functions as f

    is_lost = f.shiftright("node", 32).isin([int(ordinal) for ordinal in dead])
    losing = members.where(is_lost).select("root").distinct().withColumn(is_dead, f.lit(True))
    left = members.where(~is_lost).join(losing, "root", "left")
    return left.select("node", "root", f.coalesce(is_dead, f.lit(False)).alias(is_dead))


def write_membership(layout: Layout, path: str, nodes: Any, roots: Any) -> None:
    """Write the members that lie in one segment, sorted by node."""
    order = np.argsort(nodes, kind="stable")
    table = pa.table([np.asarray(nodes)[order], np.asarray(roots)[order]], schema=MEMBERSHIP_SCHEMA)
    pq.write_table(table, path, row_group_size=_READ_ROWS, filesystem=layout.fs, compression="zstd")


def read_membership(layout: Layout, path: str) -> tuple[Any, Any]:
    """Nodes and roots of the members that lie in one segment."""
    with reading_state(path), layout.fs.open(path, "rb") as file:
        table = pq.read_table(cast(Any, file))
    return np.asarray(table.column("node").combine_chunks()), np.asarray(table.column("root").combine_chunks())
