"""Words and sentences as the published filters count them: spaCy's blank English tokenizer and sentencizer.

spaCy splits a text at whitespace first and then each chunk by itself, so a chunk's tokens never depend on
its neighbours: each distinct chunk is tokenized once (`pipelines.filters.chunk_table`). Texts are looked at many
together, as sequences of row numbers, and everything about them is array arithmetic.

Two limits, both of texts that nobody wrote: see `pipelines.filters.chunk_tokens` for endless URLs; and where
an emoticon amid a chunk could be read another way together with the chunk before or after (": ):x"), spaCy
does, and this does not (none in 2,748 development pages).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.filters.chunk_table import (
    ALPHABETIC,
    CACHE_CHUNKS,
    ENTERS,
    FIRST_TOKEN,
    INNER,
    LEAVES,
    NON_SYMBOL_CHARACTERS,
    NON_SYMBOLS,
    PASSES,
    TOKENS,
    ChunkTable,
    Hashes,
    Integers,
    Numbers,
    ranges,
)
from pipelines.filters.chunk_tokens import ChunkTokenizer
from pipelines.filters.line_layout import Layout

GROUP_BYTES = 1 << 20  # of texts looked at together: arrays that fit the processor's cache
BLOCK_CHUNKS = 100_000  # looked up at a time, so that one text can't fill the table without bound
_SUMMED = (TOKENS, NON_SYMBOLS, NON_SYMBOL_CHARACTERS, ALPHABETIC)


@dataclass(frozen=True)
class DocumentWords:
    """The words of one text, as the filters ask for them; lines are those of str.splitlines."""

    count: int  # of words, punctuation included
    non_symbol_words: int  # words with a character that is no symbol
    non_symbol_characters: int  # code points of those words
    alphabetic_words: int  # words with a letter
    marked_words: int  # how many distinct ones of the words that the table was told to mark occur
    line_chunks: Integers  # chunks separated by whitespace, of each line
    line_words: Integers  # of each line
    line_sentences: Integers  # of each line, stripped and split by itself


@dataclass(frozen=True)
class GroupWords:
    """The words of several texts, one text after the other."""

    text: npt.NDArray[np.uint8]  # UTF-8 of all words, nothing between
    documents: list[DocumentWords]
    first_words: Integers  # of each text, and their number
    lengths: Numbers  # code points of each word
    sizes: Numbers  # bytes of its UTF-8
    hashes: Hashes  # see `ChunkTable.hashes`


class WordTable:
    """Tokenizes texts, remembering chunks; what it returns never depends on what it remembers."""

    def __init__(self, marked: Sequence[str] = (), cache_chunks: int = CACHE_CHUNKS) -> None:
        self._tokenizer = _tokenizer()
        self._is_marking = bool(marked)
        self._chunks = ChunkTable(self._tokenizer, marked, cache_chunks)

    def words(self, text: str) -> list[str]:
        """The words of `text` in order, without whitespace."""
        tokens = self._tokenizer.tokens
        known = {chunk: tokens(chunk) for chunk in set(text.split())}
        return list(chain.from_iterable(known[chunk] for chunk in text.split()))

    def count(self, text: str) -> int:
        """Number of words of `text`."""
        at = self._chunks.find(text.split())
        return int(self._chunks.rows[at, TOKENS].sum())

    def sentences(self, text: str) -> int:
        """Number of sentences of `text`: spans that cover it, so that an empty text is one."""
        sentences, is_ended = 1, False
        chunks = text.split()
        position = 0
        at = self._chunks.find(chunks)
        for row, chunk in zip(self._chunks.rows[at].tolist(), chunks, strict=True):
            start = text.index(chunk, position)
            # A gap other than a single space is a token to spaCy, and starts a sentence like a word.
            if is_ended and text[position:start] != " ":
                sentences, is_ended = sentences + 1, False
            position = start + len(chunk)
            sentences += row[INNER] + (is_ended and row[ENTERS] == 1)
            is_ended = is_ended if row[LEAVES] == PASSES else row[LEAVES] == 1
        return sentences + (is_ended and text[position:] not in ("", " "))

    def analyse(self, texts: Any) -> Iterator[GroupWords]:
        """The words of `texts` (large strings; null is empty), as many together as GROUP_BYTES has room for."""
        if texts.null_count:
            texts = texts.fill_null("")
        bounds = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
        data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
        first = 0
        while first < len(texts):
            last = max(first + 1, int(np.searchsorted(bounds, bounds[first] + GROUP_BYTES, side="right")) - 1)
            yield self._group(data[bounds[first] : bounds[last]], bounds[first : last + 1] - bounds[first])
            first = last

    def _group(self, data: npt.NDArray[np.uint8], texts: Integers) -> GroupWords:
        layout = Layout.of(data, texts)
        buffers = [None, pa.py_buffer(layout.bounds), pa.py_buffer(layout.chunks)]
        chunks: Any = pa.Array.from_buffers(pa.string(), len(layout.chunk_lines), buffers).dictionary_encode()
        which = np.asarray(chunks.indices)
        known, marks, lengths, sizes, hashes = self._look_up(chunks.dictionary)
        columns = np.ascontiguousarray(known.T)[:, which]
        token_at = ranges(columns[FIRST_TOKEN], columns[TOKENS])
        sums = np.stack([_sums(columns[column], layout.first_chunks) for column in _SUMMED])
        documents = _documents(layout, columns, sums, marks[which] if self._is_marking else None)
        first_words = np.concatenate((np.zeros(1, np.int64), np.cumsum(sums[0])))
        return GroupWords(layout.chunks, documents, first_words, lengths[token_at], sizes[token_at], hashes[token_at])

    def _look_up(self, distinct: Any) -> tuple[Numbers, Hashes, Numbers, Numbers, Hashes]:
        """Rows and marks of distinct chunks; lengths, sizes and hashes of their tokens, which the rows count anew."""
        pieces: list[tuple[npt.NDArray[Any], ...]] = []
        table, tokens = self._chunks, 0
        for first in range(0, max(len(distinct), 1), BLOCK_CHUNKS):
            at = table.find(distinct.slice(first, BLOCK_CHUNKS).to_pylist())
            rows = table.rows[at]
            own = ranges(rows[:, FIRST_TOKEN], rows[:, TOKENS])
            rows[:, FIRST_TOKEN] = tokens + np.cumsum(rows[:, TOKENS]) - rows[:, TOKENS]
            tokens += len(own)
            pieces.append((rows, table.marks[at], table.lengths[own], table.sizes[own], table.hashes[own]))
        rows, marks, lengths, sizes, hashes = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
        return rows, marks, lengths, sizes, hashes


def _documents(layout: Layout, columns: Numbers, sums: Integers, marks: Hashes | None) -> list[DocumentWords]:
    """The texts of `layout`; `columns` are rows of a ChunkTable, turned, `sums` of _SUMMED, one row a chunk or text."""
    line_chunks = layout.line_sizes
    line_bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(line_chunks)))
    line_words = _sums(columns[TOKENS], line_bounds)
    line_sentences = 1 + _sums(columns[INNER], line_bounds) + _starts_between(layout, columns[ENTERS:])
    chunks, lines = layout.first_chunks.tolist(), layout.first_lines.tolist()
    documents: list[DocumentWords] = []
    for index, (count, non_symbols, characters, alphabetic) in enumerate(sums.T.tolist()):
        marked = 0 if marks is None else _bits(marks[chunks[index] : chunks[index + 1]])
        own = slice(lines[index], lines[index + 1])
        numbers = (count, non_symbols, characters, alphabetic, marked)
        documents.append(DocumentWords(*numbers, line_chunks[own], line_words[own], line_sentences[own]))
    return documents


def _starts_between(layout: Layout, walks: Numbers) -> Integers:
    """Sentences of each line that a chunk starts because of what is before it; `walks` are ENTERS, INNER and LEAVES."""
    enters, _, leaves = walks
    line = layout.chunk_lines
    gaps = np.flatnonzero(layout.is_behind_gap)
    if len(gaps):  # a token to spaCy, and no punctuation
        enters, leaves = np.insert(enters, gaps, 1), np.insert(leaves, gaps, 0)
        line = np.insert(line, gaps, line[gaps])
    at = np.flatnonzero(leaves != PASSES)
    enters, leaves, line = enters[at], leaves[at], line[at]
    is_new = (leaves[:-1] == 1) & (enters[1:] == 1) & (line[1:] == line[:-1])
    return np.bincount(line[1:][is_new], minlength=int(layout.first_lines[-1]))


def _bits(marks: Hashes) -> int:
    """How many bits of a row are set in any of `marks`."""
    return sum(int(bits).bit_count() for bits in np.bitwise_or.reduce(marks, axis=0))


def _sums(values: Numbers, bounds: Integers) -> Integers:
    """The sum of values[bounds[i] : bounds[i + 1]] for each i."""
    totals = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=totals[1:])
    return np.diff(totals[bounds])


@lru_cache(maxsize=1)
def _tokenizer() -> ChunkTokenizer:
    """Shared by all tables of this process."""
    return ChunkTokenizer()


@lru_cache(maxsize=2)
def word_table(marked: tuple[str, ...] = ()) -> WordTable:
    """The table of this process that marks these words."""
    return WordTable(marked)


def words(text: str) -> list[str]:
    """The words of `text`, by this process's table."""
    return word_table().words(text)
