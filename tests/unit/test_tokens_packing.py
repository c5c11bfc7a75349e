"""Packing, both ways: every token of every document is in exactly one span, and the spans give the text back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.tokens.best_fit import BestFit
from pipelines.tokens.packing import SPAN_SCHEMA, Concatenation, PackedShard, Packer

EOT, PAD = 0, 1
documents_strategy = st.lists(st.lists(st.integers(2, 300), max_size=40), max_size=25)
Make = Callable[[int, int], Packer]


def concatenation(length: int, rows: int) -> Packer:
    return Concatenation(length, rows, np.uint16, EOT, PAD)


def best_fit(length: int, rows: int) -> Packer:
    return BestFit(length, rows, np.uint16, EOT, PAD, window_bytes=3000)  # some seven short documents


both = pytest.mark.parametrize("make", [concatenation, best_fit])


def pack_all(make: Make, documents: list[list[int]], batch: int, length: int, rows: int) -> list[PackedShard]:
    packer = make(length, rows)
    found: list[PackedShard] = []

    def keep(shard: PackedShard) -> None:
        found.append(PackedShard(shard.input_ids.copy(), shard.tokens, shard.spans))

    for first in range(0, len(documents), batch):
        some = documents[first : first + batch]
        ids = [f"d{first + i}" for i in range(len(some))]
        for shard in packer.add(ids, [np.array(d, np.uint16) for d in some]):
            keep(shard)
    for shard in packer.finish():
        keep(shard)
    rows_of: dict[str, int] = {}
    for spans in spans_of(found):
        for span in spans:
            rows_of[str(span["doc_id"])] = rows_of.get(str(span["doc_id"]), 0) + 1
    assert packer.documents_cut == sum(count > 1 for count in rows_of.values())
    return found


def spans_of(shards: list[PackedShard]) -> list[list[dict[str, Any]]]:
    return [pa.Table.from_batches(s.spans, SPAN_SCHEMA).to_pylist() for s in shards]


@both
@settings(max_examples=200, deadline=None)
@given(documents_strategy, st.integers(1, 7), st.integers(2, 9), st.integers(1, 4))
def test_accounting_is_exact(make: Make, documents: list[list[int]], batch: int, length: int, rows: int) -> None:
    shards = pack_all(make, documents, batch, length, rows)
    rebuilt: dict[str, list[int]] = {f"d{i}": [] for i in range(len(documents))}
    for number, shard in enumerate(shards):
        assert shard.input_ids.shape[1] == length
        assert len(shard.input_ids) == rows or number == len(shards) - 1
        covered = np.zeros(shard.input_ids.size, int)
        last = -1
        for span in spans_of([shard])[0]:
            begin = span["sequence"] * length + span["start"]
            assert begin > last
            last = begin
            assert 0 < span["length"] <= length - span["start"]
            assert span["doc_offset"] == len(rebuilt[span["doc_id"]])
            rebuilt[span["doc_id"]] += shard.input_ids.reshape(-1)[begin : begin + span["length"]].tolist()
            covered[begin : begin + span["length"]] += 1
        assert covered.max(initial=0) <= 1
        assert covered.sum() == shard.tokens
        assert (shard.input_ids.reshape(-1)[covered == 0] == PAD).all()
    assert list(rebuilt.values()) == [[*d, EOT] for d in documents]


@both
@settings(max_examples=50, deadline=None)
@given(documents_strategy, st.integers(1, 7), st.integers(1, 7))
def test_batches_do_not_show(make: Make, documents: list[list[int]], one: int, other: int) -> None:
    first, second = (pack_all(make, documents, batch, 8, 3) for batch in (one, other))
    assert [s.input_ids.tolist() for s in first] == [s.input_ids.tolist() for s in second]
    assert spans_of(first) == spans_of(second)


@settings(max_examples=100, deadline=None)
@given(documents_strategy, st.integers(2, 9))
def test_concatenation_pads_the_last_row_only(documents: list[list[int]], length: int) -> None:
    shards = pack_all(concatenation, documents, 3, length, 4)
    total = sum(len(d) + 1 for d in documents)
    assert sum(s.input_ids.size for s in shards) == -(-total // length) * length


@settings(max_examples=200, deadline=None)
@given(documents_strategy, st.integers(2, 9))
def test_best_fit_cuts_only_what_fits_no_row(documents: list[list[int]], length: int) -> None:
    pieces: dict[str, list[int]] = {}
    for shard in pack_all(best_fit, documents, 3, length, 4):
        for span in spans_of([shard])[0]:
            pieces.setdefault(span["doc_id"], []).append(span["length"])
    for number, document in enumerate(documents):
        rest = (len(document) + 1) % length
        whole = [length] * ((len(document) + 1) // length)
        assert pieces[f"d{number}"] == whole + ([rest] if rest else [])


def test_best_fit_fills_rows_that_a_window_left_open() -> None:
    """Long documents come first, short ones windows later: the room beside the first is still filled."""
    documents = [[2] * 5] * 8 + [[3]] * 8  # six and two tokens with their ends; a row has eight
    shards = pack_all(lambda length, rows: BestFit(length, rows, np.uint16, EOT, PAD, 1700), documents, 4, 8, 100)
    assert np.concatenate([s.input_ids for s in shards]).tolist() == [[2] * 5 + [EOT, 3, EOT]] * 8


def test_best_fit_takes_the_tightest_row() -> None:
    documents = [[2] * n for n in (5, 4, 2, 3)]  # with their ends 6, 5, 3 and 4 tokens, of rows of 9
    rows = pack_all(best_fit, documents, 4, 9, 10)[0].input_ids.tolist()
    assert rows == [[2] * 5 + [EOT] + [2] * 2 + [EOT], [2] * 4 + [EOT] + [2] * 3 + [EOT]]
