"""Documents to rows by best fit: few documents are cut, at the price of a little padding.

Concatenation cuts every document that lies across the end of a row, and what follows the cut is learned without its
beginning. Here a document that fits a row is never cut, and one that does not gives whole rows and one remainder;
remainders and short documents are put together by best-fit decreasing bin packing: the longest first, each into the
row that it leaves least room in (Ding et al. 2024, "Fewer Truncations Improve Language Modeling", section 2).

They look over the whole corpus; here it is a window of documents, so that memory is bounded. Rows that the window
leaves with the most room stay open for the next one. What is packed depends on the documents and their order alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.tokens.packing import SPAN_SCHEMA, PackedShard, Tokens

_PIECE_BYTES = 400  # what a piece takes beside its tokens: objects, and its document's id
_CARRIED = 0.25  # of the window may be rows that stay open
_SPAN_ROWS = 1 << 16  # spans are kept as lists up to this many, then as arrays


@dataclass(frozen=True, slots=True)
class _Piece:
    doc_id: str
    offset: int  # in the document, tokens
    tokens: Tokens  # less than a row, the end-of-text token last
    arrival: int

    @property
    def size(self) -> int:
        return len(self.tokens)


@dataclass(slots=True)
class _Row:
    room: int
    first: int  # arrival of its earliest piece
    pieces: list[_Piece] = field(default_factory=list[_Piece])


class BestFit:
    """Packs one split of a segment into shards of at most `sequences` rows.

    Args:
        sequence_length: tokens per row.
        sequences: rows per shard, at most.
        dtype: uint16 or uint32.
        eot_id: appended to each document.
        pad_id: fills rows; no document may hold it.
        window_bytes: memory for the documents that are packed together, and a quarter more for open rows; beside it
            there is one shard.
    """

    def __init__(
        self,
        sequence_length: int,
        sequences: int,
        dtype: npt.DTypeLike,
        eot_id: int,
        pad_id: int,
        window_bytes: int,
    ) -> None:
        self._length, self._sequences, self._eot_id, self._pad_id = sequence_length, sequences, eot_id, pad_id
        self._buffer: Tokens = np.empty((sequences, sequence_length), dtype=dtype)
        self._rows = self._tokens = 0
        self._spans = _Spans()
        self._window: list[_Piece] = []
        self._window_bytes, self._used, self._arrivals = window_bytes, 0, 0
        self._open: list[_Row] = []
        self._most_open = max(int(window_bytes * _CARRIED) // (sequence_length * self._buffer.itemsize), 1)
        self.documents_cut = 0

    def add(self, doc_ids: Sequence[str], documents: Sequence[Tokens]) -> Iterator[PackedShard]:
        """Take documents; yields each shard that becomes full, before the buffer is used again."""
        for doc_id, document in zip(doc_ids, documents, strict=True):
            tokens = np.empty(len(document) + 1, dtype=self._buffer.dtype)
            tokens[:-1], tokens[-1] = document, self._eot_id
            self.documents_cut += len(tokens) > self._length
            whole = len(tokens) - len(tokens) % self._length
            for offset in range(0, whole, self._length):
                self._put(doc_id, 0, offset, tokens[offset : offset + self._length])
                yield from self._end_row()
            if whole == len(tokens):
                continue
            rest = tokens[whole:].copy() if whole else tokens  # a view would keep all of it
            self._window.append(_Piece(doc_id, whole, rest, self._arrivals))
            self._arrivals += 1
            self._used += rest.nbytes + _PIECE_BYTES
            if self._used >= self._window_bytes:
                yield from self._pack(is_last=False)

    def finish(self) -> Iterator[PackedShard]:
        """All that is left, the last shard perhaps shorter; nothing if no token is left."""
        yield from self._pack(is_last=True)
        if self._rows:
            yield self._shard()

    def _pack(self, *, is_last: bool) -> Iterator[PackedShard]:
        rows = best_fit_decreasing(self._window, self._open, self._length)
        self._window, self._used, self._open = [], 0, []
        if not is_last:
            unfilled = sorted((row for row in rows if row.room), key=lambda row: (-row.room, row.first))
            self._open = unfilled[: self._most_open]
            kept = {id(row) for row in self._open}
            rows = [row for row in rows if id(row) not in kept]
        for row in sorted(rows, key=attrgetter("first")):
            start = 0
            for piece in row.pieces:
                self._put(piece.doc_id, start, piece.offset, piece.tokens)
                start += piece.size
            self._buffer[self._rows, start:] = self._pad_id
            yield from self._end_row()

    def _put(self, doc_id: str, start: int, offset: int, tokens: Tokens) -> None:
        self._buffer[self._rows, start : start + len(tokens)] = tokens
        self._spans.add(self._rows, start, len(tokens), doc_id, offset)
        self._tokens += len(tokens)

    def _end_row(self) -> Iterator[PackedShard]:
        self._rows += 1
        if self._rows == self._sequences:
            yield self._shard()

    def _shard(self) -> PackedShard:
        shard = PackedShard(self._buffer[: self._rows], self._tokens, self._spans.batches())
        self._rows = self._tokens = 0
        self._spans = _Spans()
        return shard


def best_fit_decreasing(pieces: Sequence[_Piece], rows: Sequence[_Row], length: int) -> list[_Row]:
    """Put pieces into `rows` and new ones of `length` tokens, the longest piece first, each where it fits tightest.

    Which rooms there are is kept as the bits of one number, so that the tightest is found by a shift: a few hundred
    nanoseconds at 2,048 tokens a row, however many rows are open. Among equals the earlier piece goes first, and the
    row that was touched last is taken.
    """
    found = list(rows)
    with_room: list[list[_Row]] = [[] for _ in range(length + 1)]
    rooms = 0
    for row in found:
        with_room[row.room].append(row)
        rooms |= 1 << row.room
    for piece in sorted(pieces, key=attrgetter("size"), reverse=True):  # stable
        size = piece.size
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            row = _Row(length, piece.arrival)
            found.append(row)
        row.pieces.append(piece)
        row.first = min(row.first, piece.arrival)
        row.room -= size
        if row.room:
            with_room[row.room].append(row)
            rooms |= 1 << row.room
    return found


class _Spans:
    """Collects the spans of a shard in the order of its tokens."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._rows: list[tuple[int, int, int, str, int]] = []

    def add(self, sequence: int, start: int, length: int, doc_id: str, offset: int) -> None:
        self._rows.append((sequence, start, length, doc_id, offset))
        if len(self._rows) >= _SPAN_ROWS:
            self._flush()

    def batches(self) -> list[pa.RecordBatch]:
        self._flush()
        return self._batches

    def _flush(self) -> None:
        if self._rows:
            columns = [pa.array(c, f.type) for c, f in zip(zip(*self._rows, strict=True), SPAN_SCHEMA, strict=True)]
            self._batches.append(pa.record_batch(columns, schema=SPAN_SCHEMA))
            self._rows = []
