"""The order of training data: a permutation that is never stored, proportions that always hold."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.loader import position_ids
from training.permutation import Permutation
from training.schedule import Schedule


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 3000), st.text(max_size=5))
def test_a_permutation_holds_every_number_once(size: int, key: str) -> None:
    numbers = Permutation(size, key)(np.arange(size))
    assert np.array_equal(np.sort(numbers), np.arange(size))


def test_a_permutation_is_computed_anywhere_alike() -> None:
    permutation = Permutation(10**12 + 7, "seed")
    positions = np.array([0, 10**12 + 6, 123_456_789_012])
    together = permutation(positions)
    assert together.tolist() == [int(permutation(np.array([p]))[0]) for p in positions]
    assert together.max() < 10**12 + 7


def test_a_permutation_looks_shuffled() -> None:
    numbers = Permutation(10_000, "0/c/0")(np.arange(10_000))
    assert abs(np.corrcoef(numbers, np.arange(10_000))[0, 1]) < 0.05
    assert np.mean(np.abs(np.diff(numbers)) == 1) < 0.01
    other = Permutation(10_000, "0/c/1")(np.arange(10_000))
    assert np.mean(numbers == other) < 0.01


def test_the_order_never_changes_between_versions() -> None:
    """A run that resumes after an upgrade must go on in the same order."""
    assert Permutation(1000, "golden")(np.arange(6)).tolist() == GOLDEN_PERMUTATION
    corpus, ordinal = Schedule([5, 3, 2]).draws(7, 13)
    assert list(zip(corpus.tolist(), ordinal.tolist(), strict=True)) == GOLDEN_DRAWS


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 10**12), min_size=1, max_size=8),
    st.integers(0, 10**9),
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
)
def test_draws_are_the_same_however_they_are_cut(proportions: list[int], start: int, cuts: list[int]) -> None:
    schedule = Schedule(proportions)
    stop = start + sum(cuts)
    whole = np.stack(schedule.draws(start, stop))
    ends = start + np.cumsum(cuts)
    parts = [np.stack(schedule.draws(int(e) - n, int(e))) for e, n in zip(ends, cuts, strict=True)]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))
    for corpus in set(whole[0].tolist()):
        ordinals = whole[1][whole[0] == corpus]
        assert np.array_equal(ordinals, np.arange(ordinals[0], ordinals[0] + len(ordinals)))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=8), st.integers(1, 5000))
def test_proportions_hold_after_any_number_of_draws(proportions: list[int], draws: int) -> None:
    corpus, _ = Schedule(proportions).draws(0, draws)
    counts = np.bincount(corpus, minlength=len(proportions))
    expected = draws * np.array(proportions) / sum(proportions)
    assert np.abs(counts - expected).max() < len(proportions)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=6))
def test_one_pass_over_a_natural_mixture_draws_every_sequence_once(sequences: list[int]) -> None:
    total = sum(sequences)
    corpus, _ = Schedule(sequences).draws(0, total)
    assert np.bincount(corpus, minlength=len(sequences)).tolist() == sequences


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.data())
def test_positions_start_again_after_each_document(rows: int, length: int, data: st.DataObject) -> None:
    ids = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows * length, max_size=rows * length)), np.uint16)
    ids = ids.reshape(rows, length)
    expected = np.zeros((rows, length), int)
    for r in range(rows):
        for c in range(1, length):
            expected[r, c] = 0 if ids[r, c - 1] == 0 else expected[r, c - 1] + 1
    assert np.array_equal(position_ids(ids, eot_id=0), expected)


GOLDEN_PERMUTATION = [847, 92, 883, 593, 969, 695]
GOLDEN_DRAWS = [(2, 1), (1, 2), (0, 4), (0, 5), (1, 3), (2, 2)]
