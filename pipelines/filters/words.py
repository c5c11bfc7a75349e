"""Words and sentences as the published filters count them: spaCy's blank English tokenizer and sentencizer.

spaCy splits a text at whitespace first and then each chunk by itself, so a chunk's tokens never depend on
its neighbours: each distinct chunk is tokenized once, and what the filters ask of it is remembered as a row
of numbers. A text is then a sequence of row numbers, and everything about it array arithmetic.

Two limits, both of texts that nobody wrote: see `pipelines.filters.chunk_tokens` for endless URLs; and where
an emoticon amid a chunk could be read another way together with the chunk before or after (": ):x"), spaCy
does, and this does not (none in 10,390 development pages).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.filters.chunk_tokens import ChunkTokenizer
from pipelines.filters.punctuation import SYMBOLS

CACHE_CHUNKS = 200_000  # distinct chunks remembered, about 60 MB; then the table starts afresh
CACHE_CHARACTERS = 8 << 20  # of these chunks together
BLOCK_CHUNKS = 100_000  # looked up at a time, so that one text can't fill the table without bound

_TOKENS, _FIRST_TOKEN, _CHARACTERS, _NON_SYMBOLS, _NON_SYMBOL_CHARACTERS, _ALPHABETIC = range(6)
_ENTERS, _INNER, _LEAVES = range(6, 9)  # see `_sentence_numbers`
_COLUMNS = 9
_PASSES = 2
_MORE = 2  # arrays grow by this factor

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DocumentWords:
    """The words of one text, with what the filters ask of them."""

    lines: list[str]  # as str.splitlines has them
    line_chunks: list[list[str]]  # whitespace-separated chunks of each line
    rows: Integers  # chunks × numbers of a chunk
    lengths: Integers  # code points of each word
    marks: npt.NDArray[np.uint64]  # which of the table's marked words occur: words × 64 bits

    @property
    def joined(self) -> str:
        """All words without anything between."""
        return "".join(chain.from_iterable(self.line_chunks))

    @property
    def count(self) -> int:
        """Number of words, punctuation included."""
        return len(self.lengths)

    @property
    def non_symbol_words(self) -> int:
        """Words with a character that is no symbol."""
        return self._sum(_NON_SYMBOLS)

    @property
    def non_symbol_characters(self) -> int:
        """Code points of those words."""
        return self._sum(_NON_SYMBOL_CHARACTERS)

    @property
    def alphabetic_words(self) -> int:
        """Words with a letter."""
        return self._sum(_ALPHABETIC)

    @property
    def marked_words(self) -> int:
        """How many distinct ones of the words that the table was told to mark occur."""
        return sum(int(bits).bit_count() for bits in self.marks)

    @property
    def line_sizes(self) -> Integers:
        """Chunks of each line."""
        return np.fromiter(map(len, self.line_chunks), np.int64, len(self.line_chunks))

    def words_of(self, is_wanted: npt.NDArray[np.bool_]) -> int:
        """Words of the lines that `is_wanted` (one value a line) names."""
        return int(self.rows[np.repeat(is_wanted, self.line_sizes), _TOKENS].sum())

    def sentences_of(self, is_wanted: npt.NDArray[np.bool_], is_even: bool) -> int:
        """Sentences of the stripped lines that `is_wanted` names, each line split by itself.

        `is_even` says what `is_evenly_spaced` says of the text.
        """
        sizes = self.line_sizes
        line = np.repeat(np.arange(len(sizes)), sizes)
        is_chunk_wanted = is_wanted[line]
        rows = self.rows[:, _ENTERS:]
        if not is_even:
            gaps = self._gaps(is_wanted)
            rows = np.insert(rows, gaps, (1, 0, 0), axis=0)
            is_chunk_wanted, line = np.insert(is_chunk_wanted, gaps, True), np.insert(line, gaps, line[gaps])
        at = np.flatnonzero(is_chunk_wanted & (rows[:, 2] != _PASSES))
        enters, inner, leaves = rows[at].T
        line = line[at]
        is_new = (leaves[:-1] == 1) & (enters[1:] == 1) & (line[1:] == line[:-1])
        return int(is_wanted.sum() + inner.sum() + is_new.sum())

    def _gaps(self, is_wanted: npt.NDArray[np.bool_]) -> list[int]:
        """Which chunks have more or other whitespace before them than a space: to spaCy a token without punctuation."""
        found: list[int] = []
        first = 0
        for line, chunks, is_asked in zip(self.lines, self.line_chunks, is_wanted.tolist(), strict=True):
            if is_asked and len(chunks) > 1 and " ".join(chunks) != line.strip():
                position = line.index(chunks[0]) + len(chunks[0])
                for at, chunk in enumerate(chunks[1:], first + 1):
                    start = line.index(chunk, position)
                    if line[position:start] != " ":
                        found.append(at)
                    position = start + len(chunk)
            first += len(chunks)
        return found

    def is_evenly_spaced(self, text: str) -> bool:
        """Whether each line of `text` is its chunks with single spaces between, and nothing around."""
        spaces = text.count(" ")
        gaps = len(self.rows) - sum(map(bool, self.line_chunks))
        characters = int(self.rows[:, _CHARACTERS].sum())
        return spaces == gaps and characters + spaces == sum(map(len, self.lines))

    def _sum(self, column: int) -> int:
        return int(self.rows[:, column].sum())


class WordTable:
    """Tokenizes texts, remembering chunks; what it returns never depends on what it remembers."""

    def __init__(self, marked: Sequence[str] = (), cache_chunks: int = CACHE_CHUNKS) -> None:
        self._tokenizer = ChunkTokenizer()
        self._marked = {word: (i // 64, 1 << i % 64) for i, word in enumerate(dict.fromkeys(marked))}
        self._cache_chunks = cache_chunks
        self._start_afresh()

    def words(self, text: str) -> list[str]:
        """The words of `text` in order, without whitespace."""
        tokens = self._tokenizer.tokens
        known = {chunk: tokens(chunk) for chunk in set(text.split())}
        return list(chain.from_iterable(known[chunk] for chunk in text.split()))

    def analyse(self, text: str) -> DocumentWords:
        """The words of `text` with what the filters ask of them."""
        lines = text.splitlines()
        line_chunks = [line.split() for line in lines]  # every end of a line is whitespace to str.split, too
        chunks = chain.from_iterable(line_chunks)
        rows: list[Integers] = []
        lengths: list[Integers] = []
        marks = np.zeros(1 + len(self._marked) // 64, np.uint64)
        while block := list(islice(chunks, BLOCK_CHUNKS)):
            at = self._find(block)
            found = self._rows[at]
            rows.append(found)
            lengths.append(self._lengths[_ranges(found[:, _FIRST_TOKEN], found[:, _TOKENS])])
            if self._marked:
                marks |= np.bitwise_or.reduce(self._marks[at], axis=0)
        if len(rows) == 1:
            return DocumentWords(lines, line_chunks, rows[0], lengths[0], marks)
        nothing = np.zeros((0, _COLUMNS), np.int64)
        return DocumentWords(
            lines, line_chunks, np.concatenate([nothing, *rows]), np.concatenate([nothing[:, 0], *lengths]), marks
        )

    def count(self, text: str) -> int:
        """Number of words of `text`."""
        at = self._find(text.split())
        return int(self._rows[at, _TOKENS].sum())

    def sentences(self, text: str) -> int:
        """Number of sentences of `text`: spans that cover it, so that an empty text is one."""
        sentences, is_ended = 1, False
        chunks = text.split()
        position = 0
        at = self._find(chunks)
        for row, chunk in zip(self._rows[at].tolist(), chunks, strict=True):
            start = text.index(chunk, position)
            # A gap other than a single space is a token to spaCy, and starts a sentence like a word.
            if is_ended and text[position:start] != " ":
                sentences, is_ended = sentences + 1, False
            position = start + len(chunk)
            sentences += row[_INNER] + (is_ended and row[_ENTERS] == 1)
            is_ended = is_ended if row[_LEAVES] == _PASSES else row[_LEAVES] == 1
        return sentences + (is_ended and text[position:] not in ("", " "))

    def _start_afresh(self) -> None:
        self._numbers: dict[str, int] = {}
        self._characters = 0
        self._tokens = 0
        self._rows: Integers = np.zeros((1024, _COLUMNS), np.int64)
        self._lengths: Integers = np.zeros(1024, np.int64)
        self._marks = np.zeros((1024, 1 + len(self._marked) // 64), np.uint64)

    def _find(self, chunks: list[str]) -> Integers:
        """The row of each chunk; rows stay valid until the next call."""
        if len(self._numbers) > self._cache_chunks or self._characters > CACHE_CHARACTERS:
            self._start_afresh()
        numbers = self._numbers
        unknown = set(chunks).difference(numbers)
        if unknown:
            self._learn(unknown)
        return np.fromiter(map(numbers.__getitem__, chunks), np.int64, len(chunks))

    def _learn(self, chunks: Iterable[str]) -> None:
        first = len(self._numbers)
        rows: list[tuple[int, ...]] = []
        lengths: list[int] = []
        token_at = self._tokens
        for row, chunk in enumerate(chunks, first):
            size = len(chunk)
            if chunk.isascii() and chunk.isalpha() and not self._tokenizer.is_special(chunk):
                lengths.append(size)
                rows.append((1, token_at, size, 1, size, 1, 1, 0, 0))
                token_at += 1
                tokens = (chunk,)
            else:
                tokens = self._tokenizer.tokens(chunk)
                sizes = list(map(len, tokens))
                lengths += sizes
                rows.append((len(tokens), token_at, size, *self._numbers_of(tokens, sizes)))
                token_at += len(tokens)
            self._characters += size
            self._numbers[chunk] = row
            if self._marked:
                self._mark(row, tokens)
        self._rows = _written(self._rows, first, np.array(rows, np.int64))
        self._lengths = _written(self._lengths, self._tokens, np.array(lengths, np.int64))
        self._tokens = token_at

    def _mark(self, row: int, tokens: Iterable[str]) -> None:
        if row >= len(self._marks):
            self._marks = _written(self._marks, row, np.zeros((1, self._marks.shape[1]), np.uint64))
        for token in tokens:
            if token in self._marked:
                word, bit = self._marked[token]
                self._marks[row, word] |= np.uint64(bit)

    def _numbers_of(self, tokens: Sequence[str], sizes: Sequence[int]) -> tuple[int, ...]:
        non_symbols = non_symbol_characters = alphabetic = 0
        for token, size in zip(tokens, sizes, strict=True):
            if token.isalpha():
                non_symbols += 1
                non_symbol_characters += size
                alphabetic += 1
            elif not SYMBOLS.issuperset(token):
                non_symbols += 1
                non_symbol_characters += size
                alphabetic += any(map(str.isalpha, token))
        return (non_symbols, non_symbol_characters, alphabetic, *self._sentence_numbers(tokens))

    def _sentence_numbers(self, tokens: Iterable[str]) -> tuple[int, int, int]:
        """How a chunk takes part in the sentencizer's walk.

        A token that ends a sentence waits for the next that is no punctuation, which then starts a new one.
        Returns (1 if such a start comes first when the walk enters waiting, starts within, and how the walk
        leaves: 1 waiting, 0 not waiting, _PASSES as it entered).
        """
        enters = inner = 0
        leaves = _PASSES
        for token in tokens:
            if token in self._tokenizer.sentence_ends:
                leaves = 1
            elif not self._tokenizer.is_punctuation(token):
                if leaves == 1:
                    inner += 1
                elif leaves == _PASSES:
                    enters = 1
                leaves = 0
        return enters, inner, leaves


@lru_cache(maxsize=2)
def word_table(marked: tuple[str, ...] = ()) -> WordTable:
    """The table of this process that marks these words: loading spaCy costs a second."""
    return WordTable(marked)


def words(text: str) -> list[str]:
    """The words of `text`, by this process's table."""
    return word_table().words(text)


def _ranges(starts: Integers, sizes: Integers) -> Integers:
    """The indices of all ranges `starts[i]` to `starts[i] + sizes[i]`, one range after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)


def _written(array: npt.NDArray[Any], at: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`array` with `values` written from `at` on; a longer copy where it is too short."""
    needed = at + len(values)
    if needed > len(array):
        longer = np.zeros((max(needed, len(array) * _MORE), *array.shape[1:]), array.dtype)
        longer[:at] = array[:at]
        array = longer
    array[at:needed] = values
    return array
