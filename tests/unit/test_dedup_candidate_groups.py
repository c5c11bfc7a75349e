"""Groups of buckets against a plain loop over each bucket's pairs, in memory and spilled to a file."""

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dedup.candidate_groups import Group, edges_of
from pipelines.dedup.jaccard import jaccard

SETS = [np.arange(start, start + size, dtype=np.uint64) for start in range(0, 60, 3) for size in (0, 9, 10, 20)]
BUCKETS = st.lists(st.sets(st.integers(0, len(SETS) - 1), min_size=2, max_size=9), min_size=1, max_size=6)
TYPES = (pa.int64(), pa.int64(), pa.list_(pa.binary()), pa.binary())


def rows(buckets: list[set[int]]) -> pa.Table:
    """What a task gets: (least, node, buckets, shingles), one row for each group that a document is in."""
    places: dict[tuple[int, int], list[bytes]] = {}
    for number, members in enumerate(buckets):
        for node in members:
            places.setdefault((min(members), node), []).append(bytes([number]))
    columns = zip(*((least, node, names, SETS[node].tobytes()) for (least, node), names in places.items()), strict=True)
    arrays = [pa.array(list(column), kind) for column, kind in zip(columns, TYPES, strict=True)]
    return pa.table(arrays, ["least", "node", "buckets", "shingles"]).sort_by([("least", "ascending")])


def groups(edges: set[tuple[int, int]]) -> set[frozenset[int]]:
    group = {node: {node} for edge in edges for node in edge}
    for one, other in edges:
        merged = group[one] | group[other]
        group |= dict.fromkeys(merged, merged)
    return {frozenset(members) for members in group.values()}


@settings(max_examples=40, deadline=None)
@given(BUCKETS, st.sampled_from([0.3, 0.7, 1.0]), st.sampled_from([25, 60, 10_000]), st.integers(1, 5))
def test_groups_connect_what_each_bucket_would(
    buckets: list[set[int]], threshold: float, maximum: int, batch_rows: int
) -> None:
    batches = rows(buckets).to_batches(max_chunksize=batch_rows)
    found = [row for batch in edges_of(batches, threshold, maximum) for row in batch.to_pylist()]
    expected, joined = set[tuple[int, int]](), set[int]()
    for members in buckets:
        is_joined = sum(len(SETS[node]) for node in members) > maximum
        joined |= members if is_joined else set()
        pairs = itertools.combinations(sorted(members), 2)
        expected |= {(b, a) for a, b in pairs if is_joined or jaccard(SETS[a], SETS[b]) >= threshold}
    assert groups({(row["node"], row["other"]) for row in found}) == groups(expected)
    assert {row[name] for row in found if not row["is_verified"] for name in ("node", "other")} == joined
    assert all(row["node"] > row["other"] for row in found)
    verified = [row for row in found if row["is_verified"]]
    assert all(jaccard(SETS[row["node"]], SETS[row["other"]]) >= threshold for row in verified)


def test_nothing_gives_nothing_and_sets_nobody_asks_for_are_not_kept() -> None:
    assert list(edges_of([], 0.7, 10)) == []
    group = Group(25)
    for node in range(5):
        group.add(node, [b"large"], memoryview(SETS[3].tobytes()))
    assert group.kept_bytes == SETS[3].nbytes
    assert [edge for edge in group.edges(0.7) if edge[2]] == []
    group.close()
