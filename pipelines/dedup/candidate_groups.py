"""Buckets that share their least document, compared in one place: each shingle set travels there once.

The bands of two documents that are nearly the same put them into many buckets, most of them with the same least
document. So a group is all buckets with one least document: at most as many as a document has bands. What one bucket
of a group has connected, the others need not compare again.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipelines.dedup.jaccard import ShingleSet, links

_EDGE_ROWS = 1 << 14
_HASH_BYTES = 8
Edge = tuple[int, int, bool]  # node, the lesser one, whether they were compared


class Group:
    """The documents of one group's buckets; their sets go to a file where they are more than one bucket may have."""

    def __init__(self, maximum_shingles: int) -> None:
        self._most = maximum_shingles
        self._sets = tempfile.SpooledTemporaryFile(max_size=maximum_shingles * _HASH_BYTES)  # noqa: SIM115
        self._nodes, self._starts, self._lengths = list[int](), list[int](), list[int]()
        self._members, self._sizes = dict[bytes, list[int]](), dict[bytes, int]()
        self.kept_bytes = 0  # of sets

    def close(self) -> None:
        """Let the sets go."""
        self._sets.close()

    def add(self, node: int, buckets: Iterable[bytes], shingles: memoryview) -> None:
        """A document that lies in some buckets of the group, with its set as bytes."""
        place, length = len(self._nodes), len(shingles) // _HASH_BYTES
        for bucket in buckets:
            self._members.setdefault(bucket, []).append(place)
            self._sizes[bucket] = self._sizes.get(bucket, 0) + length
        self._nodes.append(node)
        self._starts.append(self.kept_bytes)
        self._lengths.append(length)
        if any(self._sizes[bucket] <= self._most for bucket in buckets):  # else nobody will ask for it
            self._sets.write(shingles)
            self.kept_bytes += len(shingles)

    def edges(self, threshold: float) -> Iterator[Edge]:
        """Edges that connect what is alike in any of the buckets, and all of a bucket of too many shingles."""
        label = np.arange(len(self._nodes))
        for bucket in sorted(self._members, key=lambda bucket: (-len(self._members[bucket]), bucket)):
            places = np.array(self._members[bucket])
            is_compared = self._sizes[bucket] <= self._most
            if not is_compared:
                found = [(0, other) for other in range(1, len(places))]
            elif (label[places] == label[places[0]]).all():
                continue
            else:
                found = links([self._set(place) for place in places.tolist()], threshold, label[places])
            for one, other in found:
                i, j = int(places[one]), int(places[other])
                label[label == label[j]] = label[i]
                yield max(self._nodes[i], self._nodes[j]), min(self._nodes[i], self._nodes[j]), is_compared

    def _set(self, place: int) -> ShingleSet:
        self._sets.seek(self._starts[place])
        return np.frombuffer(self._sets.read(self._lengths[place] * _HASH_BYTES), np.uint64)


def edges_of(batches: Iterable[pa.RecordBatch], threshold: float, maximum_shingles: int) -> Iterator[pa.RecordBatch]:
    """Edges (node, other, is_verified) of the groups of `batches`.

    Args:
        batches: rows (least, node, buckets, shingles), all of one `least` (the group) side by side, in an order that is
            the same in all of its buckets.
        threshold: similarity from which on documents are connected.
        maximum_shingles: a bucket of more is joined as it is.
    """
    edges = list[Edge]()
    for group in _groups(batches, maximum_shingles):
        edges += group.edges(threshold)
        if len(edges) >= _EDGE_ROWS:
            yield _batch(edges)
            edges = []
    if edges:
        yield _batch(edges)


def _groups(batches: Iterable[pa.RecordBatch], maximum_shingles: int) -> Iterator[Group]:
    """One group after the other; each is closed when the next one is asked for."""
    current, group = None, Group(maximum_shingles)
    try:
        for batch in batches:
            least, node, buckets = (batch.column(name).to_pylist() for name in ("least", "node", "buckets"))
            for row, shingles in enumerate(batch.column("shingles")):
                if least[row] != current:
                    if current is not None:
                        yield group
                        group.close()
                        group = Group(maximum_shingles)
                    current = least[row]
                group.add(node[row], buckets[row], memoryview(shingles.as_buffer()))
        if current is not None:
            yield group
    finally:
        group.close()


def _batch(edges: Sequence[Edge]) -> pa.RecordBatch:
    node, other, is_verified = (list(column) for column in zip(*edges, strict=True))
    columns = [pa.array(node, pa.int64()), pa.array(other, pa.int64()), pa.array(is_verified, pa.bool_())]
    return pa.record_batch(columns, names=["node", "other", "is_verified"])
