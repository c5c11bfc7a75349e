"""Connected components on Spark DataFrames by alternating stars.

Kiveris, Lattanzi, Mirrokni, Rastogi, Vassilvitskii: "Connected Components in MapReduce and Beyond", SoCC
2014. Large-star hangs every greater neighbour of a node on the least node next to it, small-star every
smaller one; both keep the components, never add an edge, and end in one star per component after
O(log² n) rounds. Each step is one shuffle and one sort that spills to disk: no task holds a component.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gristmill.core.errors import EnvironmentProblemError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MAXIMUM_ROUNDS = 200  # log² of more documents than there are; a bound, so that a fault can't loop for ever


def connected_components(
    edges: "DataFrame",
    checkpoint: Callable[["DataFrame"], "DataFrame"],
    on_round: Callable[[int, int], None] = lambda *_: None,
) -> "DataFrame":
    """One row (node, root) per node that is not its component's least node, which is the root.

    Args:
        edges: columns node and other (bigint), node ≠ other; direction and repetition don't matter.
        checkpoint: computes a frame and cuts its lineage, or each round would plan all before it again.
        on_round: told the number of the round and of the edges after it; of round 0, the edges there are.
    """
    from pyspark.sql import functions as f

    current = checkpoint(
        edges.select(f.greatest("node", "other").alias("node"), f.least("node", "other").alias("other")).distinct()
    )
    before = _state(current)
    on_round(0, before[0])
    if not before[0]:
        return current.withColumnRenamed("other", "root")
    for number in range(1, MAXIMUM_ROUNDS + 1):
        current = checkpoint(small_star(large_star(current)))
        after = _state(current)
        on_round(number, after[0])
        if after == before:
            return current.withColumnRenamed("other", "root")
        before = after
    raise EnvironmentProblemError(f"connected components did not settle in {MAXIMUM_ROUNDS} rounds: report this run")


def large_star(edges: "DataFrame") -> "DataFrame":
    """Hang each greater neighbour of a node on the least of the node and its neighbours; node > other in and out."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    both_ways = edges.unionByName(edges.select(f.col("other").alias("node"), f.col("node").alias("other")))
    least = f.least("node", f.min("other").over(Window.partitionBy("node")))
    starred = both_ways.withColumn("least", least).where("other > node")
    return starred.select(f.col("other").alias("node"), f.col("least").alias("other"))


def small_star(edges: "DataFrame") -> "DataFrame":
    """Hang a node and its smaller neighbours on the least of them; node > other in and out, without repetition."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    starred = edges.withColumn("least", f.min("other").over(Window.partitionBy("node")))
    # The row whose neighbour is the least one has nothing to hang on itself: it carries the node instead.
    hung = f.when(f.col("other") == f.col("least"), f.col("node")).otherwise(f.col("other"))
    return starred.select(hung.alias("node"), f.col("least").alias("other")).distinct()


def _state(edges: "DataFrame") -> tuple[int, int]:
    """Number of edges and a checksum of the set of them."""
    from pyspark.sql import functions as f

    row = edges.agg(f.count("*"), f.bit_xor(f.xxhash64("node", "other"))).first()
    return (row[0], row[1] or 0) if row is not None else (0, 0)
