"""Buckets of candidates, few enough for one task's memory: what `pipelines.dedup.verification` does on frames.

The groups are the same, down to the order in which documents are compared, so that both find the same edges.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from pipelines.dedup.band_index import Edges, distinct_edges, no_edges
from pipelines.dedup.band_keys import Int64s, Keys
from pipelines.dedup.candidate_groups import Edge, Group
from pipelines.dedup.jaccard import ShingleSet, jaccard

_IN_MEMORY = 32 << 20  # bytes of shingle sets; more lie in a temporary file
_HASH_BYTES = 8


@dataclass(frozen=True)
class Bucket:
    """Documents of different texts under one key; of buckets with the same documents the one of the least key."""

    name: bytes
    nodes: Int64s  # ascending


@dataclass(frozen=True)
class Candidates:
    """What has to be compared."""

    groups: dict[int, list[Bucket]]  # by least node
    order: dict[int, tuple[bytes, int]]  # of each node in these, where it stands when they are compared
    beyond: Edges  # of buckets with more texts than are compared

    @property
    def nodes(self) -> Int64s:
        """Every document whose text is wanted, ascending."""
        return np.array(sorted(self.order), np.int64)


def candidates_of(entries: Keys, most_texts: int) -> Candidates:
    """The buckets that `entries` lie in, in any order.

    Args:
        entries: key, node and text; the least node stands for all of a text in a bucket.
        most_texts: a bucket of more is joined as it is.
    """
    kept = entries.sorted()
    is_first = np.ones(len(kept), bool)
    is_first[1:] = (np.diff(kept.key) != 0) | (np.diff(kept.text) != 0)
    kept = kept.take(is_first)
    kept = kept.take(np.lexsort((kept.node, kept.key.view(np.uint64))))
    _, start, size = np.unique(kept.key.view(np.uint64), return_index=True, return_counts=True)
    found: dict[bytes, Bucket] = {}
    beyond: list[Edges] = []
    is_compared = np.zeros(len(kept), bool)
    names = _as_bytes(kept.key)
    for first, count in zip(start[size > 1].tolist(), size[size > 1].tolist(), strict=True):
        nodes = kept.node[first : first + count]
        if count > most_texts:
            beyond.append(np.stack([nodes[1:], np.broadcast_to(nodes[0], count - 1)], axis=1))
        elif (members := nodes.tobytes()) not in found:  # keys ascend: the first has the least
            found[members] = Bucket(names[first], nodes)
            is_compared[first : first + count] = True
    groups: dict[int, list[Bucket]] = {}
    for bucket in found.values():
        groups.setdefault(int(bucket.nodes[0]), []).append(bucket)
    wanted, texts = kept.node[is_compared].tolist(), _as_bytes(kept.text[is_compared])
    order = {node: (text, node) for node, text in zip(wanted, texts, strict=True)}
    return Candidates(groups, order, np.concatenate(beyond) if beyond else no_edges())


def _as_bytes(values: Int64s) -> list[bytes]:
    """Eight bytes of each, the most significant first, as frames have them."""
    data = values.astype(">i8").tobytes()
    return [data[start : start + 8] for start in range(0, len(data), 8)]


class ShingleSets:
    """Shingle sets by node; beyond _IN_MEMORY bytes in a temporary file of this machine. Use as a context manager."""

    def __init__(self, sets: Iterable[tuple[int, memoryview]]) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._place: dict[int, tuple[int, int]] = {}
        end = 0
        for node, data in sets:
            self._file.write(data)
            self._place[node] = end, len(data)
            end += len(data)

    def __enter__(self) -> "ShingleSets":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()

    def length(self, node: int) -> int:
        """Shingles of one document."""
        return self._place[node][1] // _HASH_BYTES

    def of(self, node: int) -> ShingleSet:
        """The set of one document."""
        start, length = self._place[node]
        self._file.seek(start)
        return np.frombuffer(self._file.read(length), np.uint64)


def compared(candidates: Candidates, sets: ShingleSets, threshold: float, most_shingles: int) -> Iterator[Edge]:
    """Edges that connect what is alike in any bucket, and all of a bucket of too many shingles."""
    for least in sorted(candidates.groups):
        buckets = candidates.groups[least]
        if len(buckets) == 1 and len(buckets[0].nodes) == 2:
            one, other = buckets[0].nodes.tolist()
            yield from _of_pair(one, other, sets, threshold, most_shingles)
            continue
        names: dict[int, list[bytes]] = {}
        for bucket in buckets:
            for node in bucket.nodes.tolist():
                names.setdefault(node, []).append(bucket.name)
        group = Group(most_shingles)
        try:
            for node in sorted(names, key=candidates.order.__getitem__):
                group.add(node, sorted(names[node]), memoryview(sets.of(node).tobytes()))
            yield from group.edges(threshold)
        finally:
            group.close()


def _of_pair(one: int, other: int, sets: ShingleSets, threshold: float, most_shingles: int) -> Iterator[Edge]:
    """Most groups are two documents."""
    is_compared = sets.length(one) + sets.length(other) <= most_shingles
    if not is_compared or jaccard(sets.of(one), sets.of(other)) >= threshold:
        yield max(one, other), min(one, other), is_compared


def edges_and_unverified(found: Iterable[Edge], beyond: Edges) -> tuple[Edges, Edges]:
    """All edges, and those of them that nobody compared, each once."""
    rows: list[Any] = list(found)
    verified = np.array([row[:2] for row in rows if row[2]], np.int64).reshape(-1, 2)
    joined = np.array([row[:2] for row in rows if not row[2]], np.int64).reshape(-1, 2)
    unverified = np.concatenate([beyond, joined])
    every = np.concatenate([verified, unverified])
    return distinct_edges(every[:, 0], every[:, 1]), distinct_edges(unverified[:, 0], unverified[:, 1])
