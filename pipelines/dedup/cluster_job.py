"""State and new segments in, state out: the steps of clustering, each a set of Spark tasks.

    keys        of the documents of new segments, and of those whose cluster lost a document      files, per part
    index       of each new segment                                                               files, per key range
    lookup      where new keys meet each other and the old index: edges                           files, per key range
    components  over old clusters, a node each, and the documents that met                        one task, or frames
    choice      of each touched cluster's representative                                          one task, or frames
    writing     of the segments that have documents in touched clusters                           files, per segment

With an empty state all segments are new: there is no other way to compute everything. The driver sees numbers and
names of files. Whether the last three are one task (`pipelines.dedup.one_task`) or frames (`pipelines.dedup.on_frames`)
depends on how many documents met.
"""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.dedup import one_task
from pipelines.dedup.band_index import IndexFile
from pipelines.dedup.buckets import KeysTask, SignaturePart
from pipelines.dedup.cluster_inputs import Inputs, numbered, signature_parts, text_parts
from pipelines.dedup.cluster_state import Segment, StateFolder
from pipelines.dedup.duplicate_files import SegmentFiles
from pipelines.dedup.key_tasks import INDEX_FOLDER, Found, Run, look_up, runs_of, runs_of_released, write_indexes
from pipelines.dedup.meeting import Files, Meeting
from pipelines.dedup.membership import MEMBERSHIP_SCHEMA, dissolved, frame_of
from pipelines.dedup.on_frames import OnFrames, by_part
from pipelines.dedup.verification import candidate_bands
from pipelines.spark.session import single_task_rows, sql_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pipelines.spark.session import Spark

CLUSTER_FOLDER = "clusters"
STEPS = ("reading signatures", "looking keys up", "components", "choosing representatives", "writing", "done")


class ClusterJob:
    """Brings a state up to date with its inputs; intermediate files go below `work`, which the caller removes."""

    def __init__(
        self,
        spark: "Spark | SparkSession",
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
        of_members = _members_of(folder, [*known, *gone.values()] if known else [])
        is_losing = bool(known) and any(segment.members for segment in gone.values())
        left, released = self._without_lost(of_members, gone, checkpoint) if is_losing else (None, None)
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
            again = runs_of_released(keys, by_part(released), {part.ordinal: part for part in parts})
            new_index += [(run.run, IndexFile(run.run, run.keys)) for run in again]
            every += again
        edges += [(run.edges, run.edge_rows) for run in every]
        self.numbers["bucket_rows"] = sum(file.keys for _, file in new_index)
        self.advance(1)
        old_index = [(folder.full(file.path), file) for segment in known for file in segment.index]
        is_verified = self._threshold is not None
        met = look_up(self._spark, self._layout, self._work, new_index, old_index, is_verified=is_verified)
        self.advance(2)
        meeting = self._meeting(folder, segments, Found(edges + met.edges, met.candidates), of_members, parts)
        self._note(folder, segments, self._joined(meeting, left, released, checkpoint))
        self.advance(5)

    # -- what is there -----------------------------------------------------------------------------
    def _keys_task(self) -> KeysTask:
        made, is_verified = self._inputs.parameters, self._threshold is not None
        cut = candidate_bands(made) if is_verified else made
        return KeysTask(self._layout.root, self._work, cut.bands, is_verified, cut.signature_bytes)

    def _without_lost(
        self, of_members: Files, gone: Mapping[str, Segment], checkpoint: "Callable[[DataFrame], DataFrame]"
    ) -> "tuple[DataFrame, DataFrame]":
        """Members of the clusters that are whole, and the documents (node) of those that are not."""
        members = frame_of(sql_session(self._spark), self._layout.root, of_members, MEMBERSHIP_SCHEMA)
        dead = [ordinal for segment in gone.values() for ordinal in segment.ordinals.values()]
        told = checkpoint(dissolved(members, dead))
        released = told.where("is_dead").select("node")
        self.numbers["documents_released"] = released.count()
        return told.where("not is_dead").select("node", "root"), released

    def _meeting(
        self,
        folder: StateFolder,
        segments: Mapping[str, Segment],
        found: Found,
        of_members: Files,
        parts: Sequence[SignaturePart],
    ) -> Meeting:
        keys = [p.key for p in self._inputs.partitions]
        return Meeting(
            self._layout.root,
            self._work,
            [file for file in found.edges if file[1]],
            [file for file in found.candidates if file[1]],
            of_members,
            parts,
            text_parts(self._layout, self._inputs, parts),
            self._inputs.parameters,
            self._threshold,
            posixpath.join(folder.folder, CLUSTER_FOLDER),
            [_files_of(folder, key, segments[key]) for key in keys],
        )

    # -- clusters ----------------------------------------------------------------------------------
    def _joined(
        self,
        meeting: Meeting,
        left: "DataFrame | None",
        released: "DataFrame | None",
        checkpoint: "Callable[[DataFrame], DataFrame]",
    ) -> list[dict[str, Any]]:
        """Bring the clusters up to date; the files that were written.

        Args:
            meeting: what met.
            left: members of clusters that lost no document, where any has; else those of `meeting`.
            released: the other documents of those that did, where any has.
            checkpoint: computes a frame.
        """
        components: tuple[str, int] | None = None
        if released is None and meeting.rows <= single_task_rows(self._spark):
            joined = one_task.join(self._spark, meeting)
            self.numbers |= joined.numbers
            if joined.files is not None:
                return joined.files
            components = joined.components
        frames = OnFrames(sql_session(self._spark), meeting, checkpoint, self._on_round)
        members = frames.members() if released is None else left
        found = frames.components(members) if components is None else frames.read_components(components)
        self.numbers |= frames.numbers
        self.advance(3)
        chosen = frames.choose(found, members, released)
        self.advance(4)
        return frames.write(chosen)

    def _note(self, folder: StateFolder, segments: dict[str, Segment], files: Sequence[Mapping[str, Any]]) -> None:
        """Note what was written in `segments`."""
        keys = [p.key for p in self._inputs.partitions]
        written: dict[int, list[Mapping[str, Any]]] = {}
        for file in files:
            written.setdefault(int(file["place"]), []).append(file)
        self.numbers["segments_touched"] = len(written)
        for place, of_segment in written.items():
            described = {
                str(file["kind"]): {**file, "path": folder.relative(file["path"])}
                for file in of_segment
                if file["rows"]
            }
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

    def _on_round(self, number: int, count: int) -> None:
        if number:
            self._say(2, f"components, round {number}, {count:,} edges")

    def _say(self, step: int, note: str) -> None:
        self._reporter.progress("duplicate_clusters", step, len(STEPS) - 1, "steps", note)


def _members_of(folder: StateFolder, segments: Sequence[Segment]) -> Files:
    return [(folder.full(segment.members), segment.rows) for segment in segments if segment.members]


def _files_of(folder: StateFolder, key: str, segment: Segment) -> SegmentFiles:
    partition = Partition.parse(key)
    paths = {str(file["kind"]): folder.full(str(file["path"])) for file in segment.files}
    members = folder.full(segment.members) if segment.members else None
    return SegmentFiles(
        partition.corpus, str(partition.segment), paths.get("kept"), paths.get("representatives"), members
    )
