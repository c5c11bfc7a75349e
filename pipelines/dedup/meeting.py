"""What new documents met: all that the steps after the lookup are told, in one task or on frames."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.dedup.buckets import SignaturePart
from pipelines.dedup.candidate_texts import TextPart
from pipelines.dedup.duplicate_files import SegmentFiles
from pipelines.dedup.schemes import Parameters

Files = Sequence[tuple[str, int]]  # path and rows of each


@dataclass(frozen=True)
class Meeting:
    """Files that hold what is to be joined, and where the answer goes; paths are full ones.

    Attributes:
        root: of the layout.
        work: folder of intermediate files.
        edges: node and other, of documents that repeat each other.
        candidates: entries (key, node, text) that have to be verified.
        members: of the clusters there were (node, root).
        parts: every part of signatures.
        sources: every part of texts, for the candidates.
        parameters: of the signatures.
        threshold: similarity of the verified; None where there are no candidates.
        target: folder of the files of segments.
        known: what is known of each segment, by place.
    """

    root: str
    work: str
    edges: Files
    candidates: Files
    members: Files
    parts: Sequence[SignaturePart]
    sources: Sequence[TextPart]
    parameters: Parameters
    threshold: float | None
    target: str
    known: Sequence[SegmentFiles]

    @property
    def rows(self) -> int:
        """Edges and candidates: what `spark.single_task_rows` is held against."""
        return sum(rows for files in (self.edges, self.candidates) for _, rows in files)

    def file(self, name: str) -> str:
        """An intermediate file."""
        return posixpath.join(self.work, name)
