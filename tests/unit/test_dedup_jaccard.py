"""Exact similarity of shingle sets against Python's own sets."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dedup import jaccard as module
from pipelines.dedup.jaccard import jaccard, jaccard_pairs, links, shingle_set
from pipelines.dedup.schemes import SCHEMES, parameters
from pipelines.dedup.verification import candidate_bands

WORDS = st.lists(st.sampled_from(["a", "b", "ab", "ä", "\ud800", "1"]), max_size=12)


def plain(words: list[str], width: int) -> set[tuple[str, ...]]:
    width = min(width, len(words))
    return {tuple(words[i : i + width]) for i in range(len(words) - width + 1)} if words else set()


def plain_jaccard(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    return len(left & right) / len(left | right) if left and right else 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=2, max_size=6), st.integers(1, 6))
def test_equal_to_sets_of_tuples(texts: list[list[str]], width: int) -> None:
    sets, expected = [shingle_set(words, width) for words in texts], [plain(words, width) for words in texts]
    assert [len(s) for s in sets] == [len(s) for s in expected]
    pairs = list(itertools.product(range(len(texts)), repeat=2))
    wanted = [plain_jaccard(expected[i], expected[j]) for i, j in pairs]
    assert jaccard_pairs(sets, pairs).tolist() == wanted
    assert [jaccard(sets[i], sets[j]) for i, j in pairs] == wanted


def test_no_pairs_and_word_boundaries() -> None:
    assert jaccard_pairs([], []).tolist() == []
    assert jaccard(shingle_set(["ab", "c"], 2), shingle_set(["a", "bc"], 2)) == 0
    assert jaccard(shingle_set(["a", "b"], 2), shingle_set(["b", "a"], 2)) == 0


def test_words_are_forgotten_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [str(number) for number in range(100)]
    before = shingle_set(words, 3)
    monkeypatch.setattr(module, "_REMEMBERED_WORDS", 7)
    module._word_hashes.clear()
    assert np.array_equal(shingle_set(words, 3), before)
    assert len(module._word_hashes) <= 7


def groups(count: int, edges: list[tuple[int, int]]) -> list[int]:
    group = list(range(count))
    for i, j in edges:
        low, high = sorted((group[i], group[j]))
        group = [low if g == high else g for g in group]
    return group


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_links_connect_what_all_pairs_connect(seed: int, threshold: float) -> None:
    order = random.Random(seed)
    sets = [
        np.unique(np.array([order.randrange(12) for _ in range(order.randrange(0, 15))], np.uint64)) for _ in range(14)
    ]
    every = [(i, j) for i, j in itertools.combinations(range(14), 2) if jaccard(sets[i], sets[j]) >= threshold]
    found = links(sets, threshold)
    assert set(found) <= set(every)
    assert groups(14, found) == groups(14, every)
    assert len(found) == 14 - len(set(groups(14, every)))  # a forest


def test_links_in_blocks_and_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"w{number}" for number in range(400)]
    chain = [shingle_set(words[start : start + 100], 5) for start in range(0, 301, 5)]  # neighbours .9, ends nothing
    assert jaccard(chain[0], chain[-1]) == 0
    whole = links(chain, 0.8)
    assert groups(len(chain), whole) == [0] * len(chain)
    monkeypatch.setattr(module, "_GATHERED", 150)
    assert links(chain, 0.8) == whole
    assert links([], 0.8) == []
    assert links([np.empty(0, np.uint64)] * 3, 0.8) == []


def test_verified_candidates_come_from_bands_that_hardly_miss_any() -> None:
    shapes = {name: candidate_bands(made) for name, made in SCHEMES.items()}
    assert (shapes["gristmill"].bands, shapes["gristmill"].rows) == (18, 6)
    for name, made in SCHEMES.items():
        assert shapes[name].probability(0.8) >= 0.995
        assert shapes[name].permutations <= made.permutations
    few = parameters({"bands": 4, "rows": 6})
    assert candidate_bands(few) == few
    many = parameters({"bands": 50, "rows": 5})
    assert candidate_bands(many) == many
