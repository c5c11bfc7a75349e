"""Connected components of a graph that one task can hold, by NumPy: those that `pipelines.dedup.components` finds.

Each root hangs itself on the least root next to it, then every node on its root's root until nothing changes (Shiloach
and Vishkin, "An O(log n) parallel connectivity algorithm", 1982, without their rule for stagnant trees): every step is
of whole arrays, and a chain of n nodes takes O(log n) of them.
"""

from collections.abc import Callable, Iterable

import numpy as np

from pipelines.dedup.band_index import Edges, distinct_edges
from pipelines.dedup.band_keys import Int64s

Blocks = Callable[[], Iterable[tuple[Int64s, Int64s]]]
"""Members (node, root) of old clusters, block by block; asked for more than once."""


class TooManyError(Exception):
    """The clusters have more members than were asked for at most."""


def components_of(edges: Edges) -> Edges:
    """One row (node, root) per node that is not its component's least node, which is the root; ascending."""
    if not len(edges):
        return edges
    nodes, dense = np.unique(edges, return_inverse=True)
    one, other = dense.reshape(-1, 2).T
    parent = np.arange(len(nodes))
    while True:
        left, right = parent[one], parent[other]
        is_apart = left != right
        if not is_apart.any():
            break
        one, other, left, right = one[is_apart], other[is_apart], left[is_apart], right[is_apart]
        np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(above := parent[parent], parent):
            parent = above
    is_below = parent != np.arange(len(nodes))
    return np.stack([nodes[is_below], nodes[parent[is_below]]], axis=1)


def contracted(edges: Edges, members: Blocks) -> Edges:
    """The same edges between old clusters' roots and documents that are in none, each once; none within a cluster."""
    nodes = np.unique(edges)
    root = nodes.copy()
    for member, its_root in members():
        place, is_there = _places(nodes, member)
        root[place[is_there]] = its_root[is_there]
    return distinct_edges(root[np.searchsorted(nodes, edges[:, 0])], root[np.searchsorted(nodes, edges[:, 1])])


def grown(components: Edges, members: Blocks, most: int) -> Edges:
    """Every member (node, root), ascending, of the clusters that `components` of the contracted graph speaks of.

    Raises:
        TooManyError: there are more than `most`.
    """
    roots = np.unique(components[:, 1])
    old = np.concatenate([components[:, 0], roots])
    new = np.concatenate([components[:, 1], roots])
    order = np.argsort(old)
    old, new = old[order], new[order]
    is_cluster = np.zeros(len(old), bool)
    found: list[Edges] = []
    count = len(old)
    for member, its_root in members():
        place, is_there = _places(old, its_root)
        where = place[is_there]
        is_cluster[where] = True
        found.append(np.stack([member[is_there], new[where]], axis=1))
        count += len(where)  # the clusters themselves are counted twice: no matter
        if count > most:
            raise TooManyError
    found.append(np.stack([old[~is_cluster], new[~is_cluster]], axis=1))
    if count > most:
        raise TooManyError
    every = np.concatenate(found)
    return every[np.argsort(every[:, 0])]


def _places(sorted_values: Int64s, wanted: Int64s) -> tuple[Int64s, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Where each of `wanted` lies in `sorted_values`, and whether it does."""
    if not len(sorted_values):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    place = np.minimum(np.searchsorted(sorted_values, wanted), len(sorted_values) - 1)
    return place, sorted_values[place] == wanted
