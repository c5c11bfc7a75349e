"""Steps and batches of a run that skipped some are each other's inverse."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.cursor import Cursor, Skip
from training.metrics import skips_in


def test_without_skips_a_step_reads_the_batch_before_it() -> None:
    cursor = Cursor()
    assert [cursor.batch_of(step) for step in (1, 2, 100)] == [0, 1, 99]
    assert [cursor.step_of(batch) for batch in (0, 1, 99)] == [1, 2, 100]


def test_a_rewind_skips_the_batches_since_and_as_many_again() -> None:
    cursor = Cursor().rewound(100, 130, "the loss is nan", ["a"])
    assert cursor.skips == (Skip(100, 100, 60, 130, "the loss is nan", ("a",)),)
    assert [cursor.batch_of(step) for step in (100, 101, 102)] == [99, 160, 161]
    assert [cursor.step_of(batch) for batch in (99, 100, 159, 160)] == [100, None, None, 101]


def test_a_second_rewind_to_the_same_checkpoint_goes_on_from_the_first() -> None:
    cursor = Cursor().rewound(100, 130, "").rewound(100, 101, "")
    assert [(skip.first_batch, skip.batches) for skip in cursor.skips] == [(100, 60), (160, 2)]
    assert cursor.batch_of(101) == 162


def test_falling_back_to_an_older_checkpoint_takes_its_skips_in() -> None:
    cursor = Cursor().rewound(100, 110, "").rewound(50, 105, "")
    (skip,) = cursor.skips
    assert (skip.first_batch, skip.batches) == (50, 2 * (120 + 4 - 50 + 1))
    assert cursor.skipped == skip.batches


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), max_size=6))
def test_both_ways_are_inverse(rewinds: list[tuple[int, int]]) -> None:
    cursor, saved = Cursor(), 0
    for further, made in rewinds:
        saved += further
        cursor = cursor.rewound(saved, saved + made, "")
    read = [cursor.batch_of(step) for step in range(1, saved + 30)]
    assert read == sorted(set(read))
    assert [cursor.step_of(batch) for batch in read] == list(range(1, saved + 30))
    unread = set(range(read[-1])) - set(read)
    assert all(cursor.step_of(batch) is None for batch in unread)
    assert len(unread) == cursor.skipped


def test_skips_are_read_from_metrics() -> None:
    skip = Skip(4, 4, 2, 5, "the loss is nan", ("a", "b"))
    lines = [{"step": 1, "loss": 2.0}, {"step": 5, "skipped": skip.to_plain()}, {"step": 5, "loss": 1.0}]
    file = io.BytesIO("".join(json.dumps(line) + "\n" for line in lines).encode() + b'{"step": 6, "skipped": {"aft')
    assert [Skip.from_plain(found) for found in skips_in(file)] == [skip]


@pytest.mark.parametrize("values", [{}, {"after_step": "x", "first_batch": 0, "batches": 1, "diverged_at": 1}])
def test_what_is_no_skip_is_refused(values: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError)):
        Skip.from_plain(values)
