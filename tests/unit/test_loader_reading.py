"""From a step to its sequences and back, without a shard file: each is the other's inverse."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout
from training.permutation import Permutation
from training.reading import Order, Reading
from training.schedule import Schedule
from training.shards import CorpusShare, Mixture, Shard, read_mixture

HUGE = 10**12


def mixture_of(*sources: tuple[str, str, list[int], int]) -> Mixture:
    """A mixture of sources given as (corpus, bucket, sequences of each shard, draws in one pass)."""
    total = sum(draws for *_, draws in sources)
    return Mixture(
        tokenizer_version="t",
        sequence_length=8,
        dtype="uint16",
        eot_id=0,
        pad_id=1,
        seed=0,
        corpora=tuple(
            CorpusShare(f"{c}/{b}" if b else c, c, b, draws / total, draws / sum(rows), sum(rows), 8 * sum(rows))
            for c, b, rows, draws in sources
        ),
        shards=tuple(
            Shard(f"{c}-{b}-{split}-{number}", c, split, sequences, "", b)
            for c, b, rows, _ in sources
            for split, counts in (("train", rows), ("heldout", [5]))
            for number, sequences in enumerate(counts)
        ),
        fingerprint="m",
        draws=tuple(draws for *_, draws in sources),
    )


MIXTURES = st.lists(
    st.tuples(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 300)), min_size=1, max_size=5
).map(lambda found: mixture_of(*(("c", f"b{i}", rows, draws) for i, (rows, draws) in enumerate(found))))


@settings(max_examples=60, deadline=None)
@given(MIXTURES, st.integers(0, 5), st.integers(1, 17), st.integers(0, 12))
def test_each_way_is_the_others_inverse(mixture: Mixture, seed: int, batch: int, steps: int) -> None:
    reading = Reading(mixture, seed, batch)
    read = {(ref.path, ref.row, step, ref.place, ref.epoch) for step in range(steps) for ref in reading.sequences(step)}
    assert len(read) == steps * batch
    back = {
        (shard.path, *when)
        for shard in mixture.shards
        for when in reading.steps_of(shard.path, range(shard.sequences), steps)
    }
    assert back == read


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, HUGE), min_size=1, max_size=8), st.integers(0, 3 * HUGE), st.integers(1, 60))
def test_a_draws_number_leads_back_to_it(counts: list[int], start: int, draws: int) -> None:
    schedule = Schedule(counts)
    drawn = zip(*(a.tolist() for a in schedule.draws(start, start + draws)), strict=True)
    assert [schedule.draw_number(*draw) for draw in drawn] == list(range(start, start + draws))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 1 << 60), st.text(max_size=5), st.data())
def test_a_number_leads_back_to_its_position(size: int, key: str, data: st.DataObject) -> None:
    positions = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20)))
    permutation = Permutation(size, key)
    numbers = permutation(positions)
    assert np.array_equal(permutation.positions(numbers), positions)
    assert np.array_equal(permutation(permutation.positions(positions)), positions)
    assert 0 <= numbers.min() <= numbers.max() < size


def test_a_trillion_sequences_are_found_both_ways() -> None:
    mixture = mixture_of(("a", "", [HUGE // 4] * 4, 2 * HUGE), ("b", "rare", [3], 1), ("b", "", [HUGE // 7], HUGE // 7))
    reading = Reading(mixture, 3, 512)
    last = (2 * HUGE + HUGE // 7) // 512 - 1
    for step in (0, 1, last // 2, last, 5 * last):
        refs = reading.sequences(step)
        assert [ref.place for ref in refs] == list(range(512))
        for ref in refs[::100]:
            assert (ref.row, step, ref.place, ref.epoch) in reading.steps_of(ref.path, [ref.row], step + 1)
            assert all(when[1] < step for when in reading.steps_of(ref.path, [ref.row], step))
    rare = reading.steps_of("b-rare-train-0", range(3), 3 * last)
    assert len(rare) == 3  # one draw in each pass, another sequence each time
    assert {row for row, *_ in rare} == {0, 1, 2}


@settings(max_examples=40, deadline=None)
@given(MIXTURES, st.integers(0, 5))
def test_each_source_is_read_once_in_each_of_its_epochs(mixture: Mixture, seed: int) -> None:
    drawn = zip(*(a.tolist() for a in Order(mixture, seed).sequences(0, 3 * sum(mixture.draws))), strict=True)
    counts = Counter(drawn)
    assert set(counts.values()) == {1}
    for number, (share, draws) in enumerate(zip(mixture.corpora, mixture.draws, strict=True)):
        full, rest = divmod(3 * draws, share.sequences)
        by_epoch = Counter(epoch for source, _, epoch in counts if source == number)
        assert by_epoch == Counter(dict.fromkeys(range(full), share.sequences) | ({full: rest} if rest else {}))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, HUGE), min_size=1, max_size=8), st.integers(0, HUGE))
def test_proportions_are_within_a_thousandth_over_ten_thousand(counts: list[int], start: int) -> None:
    source, _ = Schedule(counts).draws(start, start + 10_000)
    read = np.bincount(source, minlength=len(counts)) / 10_000
    assert np.abs(read - np.array(counts) / sum(counts)).max() < 0.001


def test_a_passes_draws_are_exact_and_the_next_pass_is_the_same() -> None:
    counts = [70, 1, 29, 13, 13]
    schedule = Schedule(counts)
    first, ordinal = schedule.draws(0, 126)
    assert np.bincount(first).tolist() == counts
    source, later = schedule.draws(126 * 10**9, 126 * 10**9 + 126)
    assert np.array_equal(source, first)
    assert np.array_equal(later - ordinal, 10**9 * np.array(counts)[first])
    assert np.array_equal(Schedule([7 * c for c in counts]).draws(0, 500), schedule.draws(0, 500))


def test_what_was_never_read_has_no_step() -> None:
    mixture = mixture_of(("a", "", [7], 7))
    reading = Reading(mixture, 0, 2)
    assert reading.steps_of("a--heldout-0", range(5), 100) == []
    assert reading.steps_of("elsewhere", [0], 100) == []
    assert reading.steps_of("a--train-0", [-1, 7, 99], 100) == []
    assert reading.steps_of("a--train-0", range(7), 0) == []
    assert len(reading.steps_of("a--train-0", [3, 3], 7)) == 2


def test_errors_are_one_clear_line(tmp_path) -> None:
    with pytest.raises(SettingsError, match="step -1"):
        Reading(mixture_of(("a", "", [7], 7)), 0, 2).sequences(-1)
    with pytest.raises(SettingsError, match="global_batch_size is 0"):
        Reading(mixture_of(("a", "", [7], 7)), 0, 0)
    with pytest.raises(MissingDataError, match="no sequence to train on"):
        Reading(mixture_of(), 0, 2)
    with pytest.raises(MissingDataError, match="is not there"):
        read_mixture(Layout(tmp_path), str(tmp_path / "mixture.json"))
