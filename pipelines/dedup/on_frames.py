"""What new documents met, on frames: verification, components, choice and writing for any number of them.

Frames travel by shuffles, so that no task holds more than its share; where there are few rows,
`pipelines.dedup.one_task` comes to the same bytes at less cost.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gristmill.core.layout import Layout
from pipelines.dedup.band_index import CANDIDATE_SCHEMA, EDGE_SCHEMA
from pipelines.dedup.buckets import MEMBER_SCHEMA, member_rows
from pipelines.dedup.duplicate_files import write_decisions
from pipelines.dedup.meeting import Files, Meeting
from pipelines.dedup.membership import MEMBERSHIP_SCHEMA, contracted, frame_of, grown
from pipelines.dedup.representative_choice import decisions
from pipelines.dedup.verification import verified_edges

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_FILE_SCHEMA = (
    "kind string, place bigint, path string, name string, rows bigint, bytes bigint, sha256 string, number bigint"
)


class OnFrames:
    """The steps after the lookup as frames; `numbers` are those of the report."""

    def __init__(
        self,
        spark: "SparkSession",
        meeting: Meeting,
        checkpoint: "Callable[[DataFrame], DataFrame]",
        on_round: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self._spark, self._meeting, self._checkpoint, self._on_round = spark, meeting, checkpoint, on_round
        self.numbers: dict[str, int] = {}

    def members(self) -> "DataFrame | None":
        """Members of the clusters there were."""
        return self._frame(self._meeting.members, MEMBERSHIP_SCHEMA) if self._meeting.members else None

    def read_components(self, file: tuple[str, int]) -> "DataFrame":
        """Components that were written to a file."""
        return self._frame([file], MEMBERSHIP_SCHEMA)

    def components(self, members: "DataFrame | None") -> "DataFrame":
        """The components (node, root) of what met, over the clusters there were."""
        from pipelines.dedup.components import connected_components

        edges = self._frame(self._meeting.edges, EDGE_SCHEMA)
        if self._meeting.candidates:
            edges = edges.unionByName(self._verified())
        if members is not None:
            edges = contracted(edges, members)
        self.numbers |= {"edges": 0, "rounds": 0}

        def on_round(number: int, count: int) -> None:
            self.numbers |= {"rounds": number} | ({"edges": count} if number == 0 else {})
            self._on_round(number, count)

        return connected_components(edges, self._checkpoint, on_round)

    def choose(
        self, components: "DataFrame", members: "DataFrame | None", released: "DataFrame | None" = None
    ) -> "DataFrame":
        """Decisions on all documents of touched clusters, and of those that are in none any more."""
        from pyspark.sql import functions as f

        touched = self._checkpoint(grown(components, members))
        sizes = touched.groupBy("root").agg(f.count("*").alias("cluster_size"))
        wanted = touched.join(sizes, "root").select("node", "root", "cluster_size")
        if released is not None:
            alone = released.join(touched, "node", "left_anti")
            wanted = wanted.unionByName(
                alone.select("node", f.col("node").alias("root"), f.lit(1).alias("cluster_size"))
            )
        root, by_ordinal = self._meeting.root, {part.ordinal: part for part in self._meeting.parts}

        def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from member_rows(root, by_ordinal, batches)

        rows = by_part(wanted).mapInArrow(read, MEMBER_SCHEMA)
        return decisions(rows, self._meeting.parameters.value_bytes)

    def write(self, chosen: "DataFrame") -> list[dict[str, Any]]:
        """Write the files of touched segments; what `write_decisions` says of each."""
        root, target, known = self._meeting.root, self._meeting.target, self._meeting.known
        names = [field.split()[0] for field in _FILE_SCHEMA.split(", ")]

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for file in write_decisions(root, target, known, batches):
                yield pa.RecordBatch.from_pylist([{name: file[name] for name in names}])

        ordered = chosen.repartition("place").sortWithinPartitions("place", "doc_id")
        return [row.asDict() for row in ordered.mapInArrow(write, _FILE_SCHEMA).collect()]

    def _verified(self) -> "DataFrame":
        """The edges (node, other) between candidates that are alike; those that nobody could verify are counted."""
        from pyspark.sql import functions as f

        meeting = self._meeting
        rows = self._frame(meeting.candidates, CANDIDATE_SCHEMA)
        one_per_text = rows.groupBy("key", "text").agg(f.min("node").alias("node"))
        key, text = (f.unhex(f.lpad(f.hex(name), 16, "0")).alias(name) for name in ("key", "text"))
        buckets = one_per_text.select(key, "node", text).withColumnRenamed("text", "content_hash")
        assert meeting.threshold is not None
        layout = Layout(meeting.root)
        found = verified_edges(self._spark, layout, buckets, meeting.sources, meeting.parameters, meeting.threshold)
        edges = self._checkpoint(found)
        unverified = edges.where("not is_verified").select("node", "other").distinct()
        ends = f.explode(f.array("node", "other"))
        self.numbers |= {"edges_unverified": unverified.count(), "documents_unverified": 0}
        if self.numbers["edges_unverified"]:
            self.numbers["documents_unverified"] = unverified.select(ends).distinct().count()
        return edges.select("node", "other")

    def _frame(self, files: Files, schema: pa.Schema) -> "DataFrame":
        return frame_of(self._spark, self._meeting.root, files, schema)


def by_part(nodes: "DataFrame") -> "DataFrame":
    """Rows with all nodes of a part in one task, in order."""
    from pyspark.sql import functions as f

    # With a number, or Spark would hand all parts to one task: it counts the bytes of nodes, not what is read for them.
    tasks = int(nodes.sparkSession.conf.get("spark.sql.shuffle.partitions") or 1)
    return nodes.repartition(tasks, f.shiftright("node", 32)).sortWithinPartitions("node")
