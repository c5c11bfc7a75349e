"""Components and candidate buckets in one task's memory, against what is plain and slow."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dedup.band_keys import Int64s, Keys
from pipelines.dedup.candidate_buckets import ShingleSets, candidates_of, compared, edges_and_unverified
from pipelines.dedup.components_in_memory import TooManyError, components_of, contracted, grown

PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60)


def edges(pairs: list[tuple[int, int]]) -> Int64s:
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def union_find(pairs: list[tuple[int, int]]) -> dict[int, int]:
    parent: dict[int, int] = {}

    def find(node: int) -> int:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for one, other in pairs:
        low, high = sorted((find(one), find(other)))
        parent[high] = low
    return {node: find(node) for node in parent if find(node) != node}


@settings(max_examples=200, deadline=None)
@given(PAIRS)
def test_components_are_those_of_union_find(pairs: list[tuple[int, int]]) -> None:
    found = components_of(edges(pairs))
    assert dict(found.tolist()) == union_find(edges(pairs).tolist())
    assert found[:, 0].tolist() == sorted(set(found[:, 0].tolist()))


def test_components_of_a_long_chain_however_numbered() -> None:
    for seed in range(3):
        names = np.random.default_rng(seed).permutation(10_001).astype(np.int64) << 20
        found = components_of(np.stack([names[1:], names[:-1]], axis=1))
        assert len(found) == 10_000
        assert (found[:, 1] == 0).all()


@settings(max_examples=100, deadline=None)
@given(PAIRS, PAIRS)
def test_contracted_and_grown_are_the_components_of_both(
    old: list[tuple[int, int]], new: list[tuple[int, int]]
) -> None:
    known = components_of(edges(old))
    roots = np.unique(known[:, 1])
    every = np.concatenate([known, np.stack([roots, roots], axis=1)])

    def members() -> Iterator[tuple[Int64s, Int64s]]:
        for half in (every[::2], every[1::2]):
            yield half[:, 0], half[:, 1]

    found = grown(components_of(contracted(edges(new), members)), members, 1000)
    both = union_find([*edges(old).tolist(), *edges(new).tolist()])
    touched = dict(found.tolist())
    assert len(touched) == len(found)
    assert {node: both.get(node, node) for node in touched} == touched
    before, changed = dict(known.tolist()), {node for pair in edges(new).tolist() for node in pair}
    apart = {node for node in changed if both.get(node, node) != before.get(node, node)}
    assert apart <= set(touched)
    for node in apart:
        cluster = {other for other in {*both, *both.values()} if both.get(other, other) == both.get(node, node)}
        assert cluster <= set(touched), "touched clusters are whole"


def test_more_members_than_one_task_may_hold() -> None:
    nodes = np.arange(100, dtype=np.int64)

    def members() -> Iterator[tuple[Int64s, Int64s]]:
        yield nodes, np.zeros(100, np.int64)

    found = components_of(np.array([[200, 0]]))
    assert len(grown(found, members, 200)) == 101
    with pytest.raises(TooManyError):
        grown(found, members, 100)


ENTRIES = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 12)), max_size=60)


@settings(max_examples=100, deadline=None)
@given(ENTRIES, st.integers(2, 6), st.integers(4, 40))
def test_candidates_are_joined_as_their_buckets_say(entries: list[tuple[int, int]], texts: int, shingles: int) -> None:
    """Documents 2k and 2k+1 have one text; texts are alike if their numbers are equal modulo 3."""
    columns = zip(*((key, node, 7 * (node // 2) - 20) for key, node in entries), strict=True) if entries else [()] * 3
    keys = Keys(*(np.array(list(column), np.int64) for column in columns))
    found = candidates_of(keys, texts)
    sets = {node: np.arange(10, dtype=np.uint64) + np.uint64(100 * (node // 2 % 3)) for node in found.nodes.tolist()}
    with ShingleSets((node, memoryview(values.tobytes())) for node, values in sets.items()) as held:
        every, unverified = edges_and_unverified(compared(found, held, 0.9, shingles), found.beyond)
    buckets: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for key, node in entries:
        buckets[key][node // 2] = min(node, buckets[key].get(node // 2, node))
    expected: list[tuple[int, int]] = []
    beyond = set[int]()
    for of_text in buckets.values():
        nodes = sorted(of_text.values())
        is_joined = len(nodes) > texts or 10 * len(nodes) > shingles
        pairs = [(a, b) for a in nodes for b in nodes if a < b and (is_joined or a // 2 % 3 == b // 2 % 3)]
        expected += pairs
        beyond |= {node for pair in pairs for node in pair} if is_joined else set()
    assert union_find(every.tolist()) == union_find(expected)
    assert set(np.unique(unverified).tolist()) <= beyond
    assert (every[:, 0] > every[:, 1]).all()
