"""Documents to rows: concatenate, cut at the sequence length, remember where every token came from.

Nothing is dropped: a document longer than a row goes on in the next one, each document ends with one
end-of-text token, and only the last row of a segment is filled up with padding. A span is a run of tokens of
one document in one row; every token that is not padding lies in exactly one span, the end-of-text token in
its document's last. For the other way to pack see `best_fit.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Tokens = npt.NDArray[np.unsignedinteger[Any]]
Packing = Literal["concatenate", "best_fit"]

SPAN_SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.int64(), nullable=False),  # row of the shard
        pa.field("start", pa.int32(), nullable=False),  # position in the row
        pa.field("length", pa.int32(), nullable=False),  # tokens
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("doc_offset", pa.int64(), nullable=False),  # token of the document that lies at `start`
    ]
)
"""Columns of spans-*.parquet, in the order of the tokens in the shard."""


@dataclass(frozen=True)
class PackedShard:
    """One full shard, or the last of a segment."""

    input_ids: Tokens  # (sequences, sequence length); a view that is valid until the packer is used again
    tokens: int  # without padding
    spans: list[pa.RecordBatch]  # SPAN_SCHEMA


class Packer(Protocol):
    """Packs one split of a segment into shards."""

    documents_cut: int  # so far: documents that lie in more than one row

    def add(self, doc_ids: Sequence[str], documents: Sequence[Tokens]) -> Iterator[PackedShard]:
        """Take documents; yields each shard that becomes full, before its memory is used again."""
        ...

    def finish(self) -> Iterator[PackedShard]:
        """What is left."""
        ...


class Concatenation:
    """Packs one split of a segment into shards of at most `sequences` rows; its memory is one shard.

    Args:
        sequence_length: tokens per row.
        sequences: rows per shard, at most.
        dtype: uint16 or uint32.
        eot_id: appended to each document.
        pad_id: fills the last row; no document may hold it.
    """

    def __init__(self, sequence_length: int, sequences: int, dtype: npt.DTypeLike, eot_id: int, pad_id: int) -> None:
        self._length, self._eot_id, self._pad_id = sequence_length, eot_id, pad_id
        self._buffer: Tokens = np.empty(sequence_length * sequences, dtype=dtype)  # untouched pages cost nothing
        self._filled = 0
        self._spans: list[pa.RecordBatch] = []
        self.documents_cut = 0

    def add(self, doc_ids: Sequence[str], documents: Sequence[Tokens]) -> Iterator[PackedShard]:
        """Append documents; yields each shard that becomes full, before the buffer is used again."""
        if not documents:
            return
        lengths = np.array([len(d) + 1 for d in documents], dtype=np.int64)
        ends = np.cumsum(lengths)
        flat = np.empty(int(ends[-1]), dtype=self._buffer.dtype)
        for document, end in zip(documents, ends.tolist(), strict=True):
            flat[end - 1 - len(document) : end - 1] = document
        flat[ends - 1] = self._eot_id
        begins = ends - lengths
        at = begins + self._filled  # the buffer begins and ends with a row, wherever a shard ends
        self.documents_cut += int(np.count_nonzero(at // self._length != (at + lengths - 1) // self._length))
        done = 0
        while done < len(flat):
            take = min(len(flat) - done, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + take] = flat[done : done + take]
            self._spans.append(self._cut_spans(doc_ids, begins, ends, done, take))
            self._filled += take
            done += take
            if self._filled == len(self._buffer):
                yield self._shard()

    def finish(self) -> Iterator[PackedShard]:
        """The last, shorter shard, its last row filled up with padding; nothing if no token is left."""
        if self._filled:
            yield self._shard()

    def _cut_spans(
        self,
        doc_ids: Sequence[str],
        begins: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        done: int,
        take: int,
    ) -> pa.RecordBatch:
        """Spans of the tokens done…done+take-1 of a batch, which go to the buffer at the filled mark."""
        shift = self._filled - done  # from a position in the batch to one in the buffer
        first_row_end = (self._filled // self._length + 1) * self._length
        row_starts = np.arange(first_row_end, self._filled + take, self._length, dtype=np.int64) - shift
        document_starts = begins[(begins > done) & (begins < done + take)]
        starts = np.union1d(np.union1d(row_starts, document_starts), [done])
        lengths = np.diff(starts, append=done + take)
        document = np.searchsorted(ends, starts, side="right")
        at = starts + shift
        return pa.record_batch(
            [
                pa.array(at // self._length),
                pa.array((at % self._length).astype(np.int32)),
                pa.array(lengths.astype(np.int32)),
                pa.array(doc_ids, pa.string()).take(pa.array(document)),
                pa.array(starts - begins[document]),
            ],
            schema=SPAN_SCHEMA,
        )

    def _shard(self) -> PackedShard:
        rows = -(-self._filled // self._length)
        self._buffer[self._filled : rows * self._length] = self._pad_id
        shard = PackedShard(self._buffer[: rows * self._length].reshape(rows, self._length), self._filled, self._spans)
        self._filled, self._spans = 0, []
        return shard
