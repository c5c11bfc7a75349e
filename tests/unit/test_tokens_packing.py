"""Packing: every token of every document is in exactly one span, and the spans give the text back."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.tokens.packing import SPAN_SCHEMA, PackedShard, Packer

EOT, PAD = 0, 1
documents_strategy = st.lists(st.lists(st.integers(2, 300), max_size=40), max_size=25)


def pack_all(documents: list[list[int]], batch: int, length: int, rows: int) -> list[PackedShard]:
    packer = Packer(length, rows, np.uint16, EOT, PAD)
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
    return found


@settings(max_examples=200, deadline=None)
@given(documents_strategy, st.integers(1, 7), st.integers(2, 9), st.integers(1, 4))
def test_accounting_is_exact(documents: list[list[int]], batch: int, length: int, rows: int) -> None:
    shards = pack_all(documents, batch, length, rows)
    rebuilt: dict[str, list[int]] = {f"d{i}": [] for i in range(len(documents))}
    for number, shard in enumerate(shards):
        assert shard.input_ids.shape[1] == length
        is_last = number == len(shards) - 1
        assert len(shard.input_ids) == rows or is_last
        covered = np.zeros(shard.input_ids.size, int)
        for span in pa.Table.from_batches(shard.spans, SPAN_SCHEMA).to_pylist():
            begin = span["sequence"] * length + span["start"]
            assert 0 < span["length"] <= length - span["start"]
            assert span["doc_offset"] == len(rebuilt[span["doc_id"]])
            rebuilt[span["doc_id"]] += shard.input_ids.reshape(-1)[begin : begin + span["length"]].tolist()
            covered[begin : begin + span["length"]] += 1
        assert covered[: shard.tokens].tolist() == [1] * shard.tokens
        assert not covered[shard.tokens :].any()
        padding = shard.input_ids.reshape(-1)[shard.tokens :]
        assert (padding == PAD).all()
        assert len(padding) < length
        assert is_last or len(padding) == 0
    assert list(rebuilt.values()) == [[*d, EOT] for d in documents]


@settings(max_examples=50, deadline=None)
@given(documents_strategy, st.integers(1, 7), st.integers(1, 7))
def test_batches_do_not_show(documents: list[list[int]], one: int, other: int) -> None:
    first, second = (pack_all(documents, batch, 8, 3) for batch in (one, other))
    assert [s.input_ids.tolist() for s in first] == [s.input_ids.tolist() for s in second]
