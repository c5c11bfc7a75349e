"""State and new segments in, state out: the steps of clustering, each a set of Spark tasks.

    keys        of the documents of new segments, and of those whose cluster lost a document      files, per part
    index       of each new segment                                                               files, per key range
    lookup      where new keys meet each other and the old index: edges                           files, per key range
    components  over old clusters, a node each, and the documents that met                        frames
    choice      of each touched cluster's representative                                          frames
    writing     of the segments that have documents in touched clusters                           files, per segment

With an empty state all segments are new: there is no other way to compute everything. The driver sees numbers and
names of files.
"""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.dedup.band_index import CANDIDATE_SCHEMA, EDGE_SCHEMA, IndexFile
from pipelines.dedup.buckets import MEMBER_SCHEMA, KeysTask, SignaturePart, member_rows
from pipelines.dedup.cluster_inputs import Inputs, numbered, signature_parts, text_parts
from pipelines.dedup.cluster_state import Segment, StateFolder
from pipelines.dedup.duplicate_files import SegmentFiles, write_decisions
from pipelines.dedup.key_tasks import INDEX_FOLDER, Found, Run, look_up, runs_of, runs_of_released, write_indexes
from pipelines.dedup.membership import MEMBERSHIP_SCHEMA, contracted, dissolved, frame_of, grown
from pipelines.dedup.representative_choice import decisions
from pipelines.dedup.verification import candidate_bands, verified_edges

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CLUSTER_FOLDER = "clusters"
STEPS = ("reading signatures", "looking keys up", "components", "choosing representatives", "writing", "done")
_FILE_SCHEMA = (
    "kind string, place bigint, path string, name string, rows bigint, bytes bigint, sha256 string, number bigint"
)


class ClusterJob:
    """Brings a state up to date with its inputs; intermediate files go below `work`, which the caller removes."""

    def __init__(
        self,
        spark: "SparkSession",
        layout: Layout,
        work: str,
        inputs: Inputs,
        reporter: Reporter,
        *,
        preferred: Sequence[str] = (),
        verified_jaccard: float | None = None,
    ) -> None:
        self._spark, self._layout, self._work, self._inputs = spark, layout, work, inputs
        self._reporter, self._preferred, self._threshold = reporter, preferred, verified_jaccard
        self.numbers: dict[str, int] = {}

    def update(self, folder: StateFolder, before_commit: Callable[[], None] = lambda: None) -> None:
        """Commit a new version of the state, unless nothing came and nothing went; `before_commit` may still refuse."""
        before = folder.state.segments
        wanted = {p.key: self._inputs.report(p) for p in self._inputs.partitions}
        same = {k: s for k, s in before.items() if k in wanted and s.fingerprint == str(wanted[k]["fingerprint"])}
        new = [key for key in wanted if key not in same]
        gone = {key: segment for key, segment in before.items() if key not in same}
        self.numbers = {
            "documents_new": sum(int(wanted[key]["rows_kept"]) for key in new),
            "documents_known": sum(segment.rows for segment in same.values()),
        }
        if self._threshold is not None:
            self.numbers |= {"edges_unverified": 0, "documents_unverified": 0}
        if not new and not gone:
            return
        segments, next_ordinal = dict(same), folder.state.next_ordinal
        for key in new:
            segments[key], next_ordinal = numbered(self._layout, Partition.parse(key), wanted[key], next_ordinal)
        ordinals = {key: segment.ordinals for key, segment in segments.items()}
        parts = signature_parts(self._layout, self._inputs, ordinals, self._preferred)
        for path in (self._work, *(posixpath.join(folder.folder, name) for name in (INDEX_FOLDER, CLUSTER_FOLDER))):
            self._layout.fs.makedirs(path, exist_ok=True)
        from pipelines.spark.checkpoint import checkpointer

        with checkpointer(self._spark, self._layout, self._work) as checkpoint:
            self._update(folder, segments, new, gone, parts, checkpoint)
        before_commit()
        folder.commit(segments, next_ordinal)

    def _update(
        self,
        folder: StateFolder,
        segments: dict[str, Segment],
        new: Sequence[str],
        gone: Mapping[str, Segment],
        parts: Sequence[SignaturePart],
        checkpoint: "Callable[[DataFrame], DataFrame]",
    ) -> None:
        came_now = set(new)
        known = [segment for key, segment in segments.items() if key not in came_now]
        members, released = self._without_lost(folder, [*known, *gone.values()], gone, checkpoint)
        self.advance(0)
        keys = self._keys_task()
        names, runs = [p.key for p in self._inputs.partitions], {key: list[Run]() for key in new}
        came = [part for part in parts if names[part.place] in runs]
        for part, written in zip(came, runs_of(self._spark, keys, came), strict=True):
            runs[names[part.place]] += written
        index, edges = write_indexes(self._spark, self._layout, self._work, folder, runs)
        every = [run for of_segment in runs.values() for run in of_segment]
        for key, files in index.items():
            segments[key] = replace(segments[key], index=files)
        new_index = [(folder.full(file.path), file) for files in index.values() for file in files]
        if released is not None:
            again = runs_of_released(keys, _by_part(released), {part.ordinal: part for part in parts})
            new_index += [(run.run, IndexFile(run.run, run.keys)) for run in again]
            every += again
        edges += [(run.edges, run.edge_rows) for run in every]
        self.numbers["bucket_rows"] = sum(file.keys for _, file in new_index)
        self.advance(1)
        old_index = [(folder.full(file.path), file) for segment in known for file in segment.index]
        is_verified = self._threshold is not None
        met = look_up(self._spark, self._layout, self._work, new_index, old_index, is_verified=is_verified)
        self.advance(2)
        components = self._components(Found(edges + met.edges, met.candidates), members, parts, checkpoint)
        self.advance(3)
        chosen = self._choose(components, members, released, parts, checkpoint)
        self.advance(4)
        self._write(folder, segments, chosen)
        self.advance(5)

    # -- what is there -----------------------------------------------------------------------------
    def _keys_task(self) -> KeysTask:
        made, is_verified = self._inputs.parameters, self._threshold is not None
        cut = candidate_bands(made) if is_verified else made
        return KeysTask(self._layout.root, self._work, cut.bands, is_verified, cut.signature_bytes)

    def _without_lost(
        self,
        folder: StateFolder,
        segments: Iterable[Segment],
        gone: Mapping[str, Segment],
        checkpoint: "Callable[[DataFrame], DataFrame]",
    ) -> "tuple[DataFrame | None, DataFrame | None]":
        """Members of the clusters that are whole, and the documents (node) of those that are not."""
        files = [(folder.full(segment.members), segment.rows) for segment in segments if segment.members]
        if not files:
            return None, None
        members = frame_of(self._spark, self._layout.root, files, MEMBERSHIP_SCHEMA)
        dead = [ordinal for segment in gone.values() for ordinal in segment.ordinals.values()]
        if not any(segment.members for segment in gone.values()):
            return members, None
        told = checkpoint(dissolved(members, dead))
        released = told.where("is_dead").select("node")
        self.numbers["documents_released"] = released.count()
        return told.where("not is_dead").select("node", "root"), released

    # -- clusters ----------------------------------------------------------------------------------
    def _components(
        self,
        found: Found,
        members: "DataFrame | None",
        parts: Sequence[SignaturePart],
        checkpoint: "Callable[[DataFrame], DataFrame]",
    ) -> "DataFrame":
        """The components (node, root) of what met, over the clusters there were."""
        from pipelines.dedup.components import connected_components

        edges = frame_of(self._spark, self._layout.root, found.edges, EDGE_SCHEMA)
        if found.candidates:
            edges = edges.unionByName(self._verified(found.candidates, parts, checkpoint))
        if members is not None:
            edges = contracted(edges, members)
        self.numbers |= {"edges": 0, "rounds": 0}

        def on_round(number: int, count: int) -> None:
            self.numbers |= {"rounds": number} | ({"edges": count} if number == 0 else {})
            if number:
                self._say(2, f"components, round {number}, {count:,} edges")

        return connected_components(edges, checkpoint, on_round)

    def _verified(
        self,
        files: Sequence[tuple[str, int]],
        parts: Sequence[SignaturePart],
        checkpoint: "Callable[[DataFrame], DataFrame]",
    ) -> "DataFrame":
        """The edges (node, other) between candidates that are alike; those that nobody could verify are counted."""
        from pyspark.sql import functions as f

        rows = frame_of(self._spark, self._layout.root, files, CANDIDATE_SCHEMA)
        one_per_text = rows.groupBy("key", "text").agg(f.min("node").alias("node"))
        key, text = (f.unhex(f.lpad(f.hex(name), 16, "0")).alias(name) for name in ("key", "text"))
        buckets = one_per_text.select(key, "node", text).withColumnRenamed("text", "content_hash")
        assert self._threshold is not None
        sources = text_parts(self._layout, self._inputs, parts)
        edges = checkpoint(
            verified_edges(self._spark, self._layout, buckets, sources, self._inputs.parameters, self._threshold)
        )
        unverified = edges.where("not is_verified").select("node", "other").distinct()
        ends = f.explode(f.array("node", "other"))
        self.numbers["edges_unverified"] = unverified.count()
        if self.numbers["edges_unverified"]:
            self.numbers["documents_unverified"] = unverified.select(ends).distinct().count()
        return edges.select("node", "other")

    def _choose(
        self,
        components: "DataFrame",
        members: "DataFrame | None",
        released: "DataFrame | None",
        parts: Sequence[SignaturePart],
        checkpoint: "Callable[[DataFrame], DataFrame]",
    ) -> "DataFrame":
        """Decisions on all documents of touched clusters, and of those that are in none any more."""
        from pyspark.sql import functions as f

        touched = checkpoint(grown(components, members))
        sizes = touched.groupBy("root").agg(f.count("*").alias("cluster_size"))
        wanted = touched.join(sizes, "root").select("node", "root", "cluster_size")
        if released is not None:
            alone = released.join(touched, "node", "left_anti")
            wanted = wanted.unionByName(
                alone.select("node", f.col("node").alias("root"), f.lit(1).alias("cluster_size"))
            )
        root, by_ordinal = self._layout.root, {part.ordinal: part for part in parts}

        def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from member_rows(root, by_ordinal, batches)

        rows = _by_part(wanted).mapInArrow(read, MEMBER_SCHEMA)
        return decisions(rows, self._inputs.parameters.value_bytes)

    def _write(self, folder: StateFolder, segments: dict[str, Segment], chosen: "DataFrame") -> None:
        """Write the files of touched segments, and note them in `segments`."""
        keys = [p.key for p in self._inputs.partitions]
        known = [_files_of(folder, key, segments[key]) for key in keys]
        root, target = self._layout.root, posixpath.join(folder.folder, CLUSTER_FOLDER)
        names = [field.split()[0] for field in _FILE_SCHEMA.split(", ")]

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for file in write_decisions(root, target, known, batches):
                yield pa.RecordBatch.from_pylist([{name: file[name] for name in names}])

        ordered = chosen.repartition("place").sortWithinPartitions("place", "doc_id")
        written: dict[int, list[dict[str, Any]]] = {}
        for row in ordered.mapInArrow(write, _FILE_SCHEMA).collect():
            written.setdefault(row.place, []).append(row.asDict())
        self.numbers["segments_touched"] = len(written)
        for place, files in written.items():
            described = {file["kind"]: file | {"path": folder.relative(file["path"])} for file in files if file["rows"]}
            members = described.pop("members", None)
            segments[keys[place]] = replace(
                segments[keys[place]],
                members=members and members["path"],
                files=tuple(described[kind] for kind in sorted(described)),
            )

    # -- Spark -------------------------------------------------------------------------------------
    def advance(self, step: int) -> None:
        """Tell where the job is."""
        self._spark.sparkContext.setJobDescription(f"duplicate_clusters: {STEPS[step]}")
        self._say(step, STEPS[step])

    def _say(self, step: int, note: str) -> None:
        self._reporter.progress("duplicate_clusters", step, len(STEPS) - 1, "steps", note)


def _by_part(nodes: "DataFrame") -> "DataFrame":
    """Rows with all nodes of a part in one task, in order."""
    from pyspark.sql import functions as f

    # With a number, or Spark would hand all parts to one task: it counts the bytes of nodes, not what is read for them.
    tasks = int(nodes.sparkSession.conf.get("spark.sql.shuffle.partitions") or 1)
    return nodes.repartition(tasks, f.shiftright("node", 32)).sortWithinPartitions("node")


def _files_of(folder: StateFolder, key: str, segment: Segment) -> SegmentFiles:
    partition = Partition.parse(key)
    paths = {str(file["kind"]): folder.full(str(file["path"])) for file in segment.files}
    members = folder.full(segment.members) if segment.members else None
    return SegmentFiles(
        partition.corpus, str(partition.segment), paths.get("kept"), paths.get("representatives"), members
    )
