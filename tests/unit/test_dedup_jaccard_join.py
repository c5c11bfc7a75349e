"""The exact join that makes the benchmark's truth, against all pairs."""

import itertools
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.near_pairs import near_pairs, pairs_of
from pipelines.dedup.jaccard import jaccard


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_no_pair_is_missed_or_invented(seed: int, threshold: float) -> None:
    order = random.Random(seed)
    bases = [[order.randrange(200) for _ in range(order.randrange(1, 30))] for _ in range(6)]
    sets = [np.empty(0, np.uint64)]
    for _ in range(25):
        shingles = list(order.choice(bases))
        for _ in range(order.randrange(5)):
            shingles[order.randrange(len(shingles))] = order.randrange(200)
        sets.append(np.unique(np.array(shingles, np.uint64)))
    found = near_pairs(sets, threshold)
    expected = {
        (i, j): s for i, j in itertools.combinations(range(26), 2) if (s := jaccard(sets[i], sets[j])) >= threshold
    }
    codes = map(tuple, pairs_of(found.codes, 26).tolist())
    assert dict(zip(codes, found.similarity.tolist(), strict=True)) == expected
