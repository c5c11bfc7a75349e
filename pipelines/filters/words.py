"""Words and sentences as the published filters count them: spaCy's blank English tokenizer and sentencizer.

spaCy splits a text at whitespace first and then each chunk by itself, so a chunk's tokens never depend on
its neighbours: each distinct chunk is tokenized once, and what the filters ask of it is remembered as a row
of numbers. A text is then a sequence of row numbers, and everything about it array arithmetic.

Two limits, both of texts that nobody wrote: see `pipelines.filters.chunk_tokens` for endless URLs; and where
an emoticon amid a chunk could be read another way together with the chunk before or after (": ):x"), spaCy
does, and this does not (none in 2,748 development pages).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.filters.chunk_tokens import ChunkTokenizer
from pipelines.filters.line_layout import Layout
from pipelines.filters.punctuation import SYMBOLS

CACHE_CHUNKS = 200_000  # distinct chunks remembered, about 60 MB; then the table starts afresh
CACHE_CHARACTERS = 8 << 20  # of these chunks together
BLOCK_CHUNKS = 100_000  # looked up at a time, so that one text can't fill the table without bound

_TOKENS, _FIRST_TOKEN, _CHARACTERS, _NON_SYMBOLS, _NON_SYMBOL_CHARACTERS, _ALPHABETIC = range(6)
_ENTERS, _INNER, _LEAVES = range(6, 9)  # see `_numbers_of`
_COLUMNS = 9
_WORD, _END, _PUNCTUATION = range(3)  # what a token is to the sentencizer
_PASSES = 2
_SHORT_TOKEN = 8
_MORE = 2  # arrays grow by this factor

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class DocumentWords:
    """The words of one text, with what the filters ask of them."""

    lines: list[str]  # as str.splitlines has them
    chunks: list[str]  # separated by whitespace; no line ends amid one
    layout: Layout
    rows: Numbers  # chunks × numbers of a chunk
    lengths: Integers  # code points of each word
    marks: npt.NDArray[np.uint64]  # which of the table's marked words occur, a bit each

    @property
    def joined(self) -> str:
        """All words without anything between."""
        return "".join(self.chunks)

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

    def words_of(self, is_wanted: npt.NDArray[np.bool_]) -> int:
        """Words of the lines that `is_wanted` (one value a line) names."""
        return int(self.rows[is_wanted[self.layout.chunk_lines], _TOKENS].sum())

    def sentences_of(self, is_wanted: npt.NDArray[np.bool_]) -> int:
        """Sentences of the lines that `is_wanted` names, stripped, each line split by itself."""
        line, rows = self.layout.chunk_lines, self.rows[:, _ENTERS:]
        gaps = np.flatnonzero(self.layout.is_behind_gap)
        if len(gaps):  # a token to spaCy, and no punctuation
            rows, line = np.insert(rows, gaps, (1, 0, 0), axis=0), np.insert(line, gaps, line[gaps])
        at = np.flatnonzero(is_wanted[line] & (rows[:, 2] != _PASSES))
        enters, inner, leaves = rows[at].T
        line = line[at]
        is_new = (leaves[:-1] == 1) & (enters[1:] == 1) & (line[1:] == line[:-1])
        return int(is_wanted.sum() + inner.sum() + is_new.sum())

    def _sum(self, column: int) -> int:
        return int(self.rows[:, column].sum())


class _Numbers(dict[str, int]):
    """Numbers chunks in the order they are asked for; `new` are those asked for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, chunk: str) -> int:
        number = len(self)
        self[chunk] = number
        self.new.append(chunk)
        return number


class WordTable:
    """Tokenizes texts, remembering chunks; what it returns never depends on what it remembers."""

    def __init__(self, marked: Sequence[str] = (), cache_chunks: int = CACHE_CHUNKS) -> None:
        self._tokenizer = _tokenizer()
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
        chunks = text.split()
        rows = [np.zeros((0, _COLUMNS), np.int32)]
        lengths = [np.zeros(0, np.int64)]
        marks = np.zeros(self._marks.shape[1], np.uint64)
        for first in range(0, len(chunks), BLOCK_CHUNKS):
            at = self._find(chunks[first : first + BLOCK_CHUNKS])
            found = self._rows[at]
            rows.append(found)
            lengths.append(self._lengths[_ranges(found[:, _FIRST_TOKEN], found[:, _TOKENS])])
            if self._marked:
                marks |= np.bitwise_or.reduce(self._marks[at], axis=0)
        lines = text.splitlines()
        return DocumentWords(lines, chunks, Layout.of(text, len(lines)), _joined(rows), _joined(lengths), marks)

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
        self._numbers = _Numbers()
        self._known_tokens: dict[str, tuple[int, int, int]] = {}
        self._characters = 0
        self._tokens = 0
        self._rows: Numbers = np.zeros((1024, _COLUMNS), np.int32)
        self._lengths: Integers = np.zeros(1024, np.int64)
        self._marks = np.zeros((1024, 1 + len(self._marked) // 64), np.uint64)

    def _find(self, chunks: list[str]) -> Integers:
        """The row of each chunk; rows stay valid until the next call."""
        if len(self._numbers) > self._cache_chunks or self._characters > CACHE_CHARACTERS:
            self._start_afresh()
        numbers = self._numbers
        at = np.fromiter(map(numbers.__getitem__, chunks), np.int64, len(chunks))
        if numbers.new:
            try:
                self._learn(numbers.new)
            except BaseException:
                self._start_afresh()  # some have a number and no row
                raise
            numbers.new = []
        return at

    def _learn(self, chunks: list[str]) -> None:
        """Add the rows of `chunks`, which have got the last numbers."""
        first = len(self._numbers) - len(chunks)
        self._marks = _grown(self._marks, len(self._numbers))
        rows: list[tuple[int, ...]] = []
        lengths: list[int] = []
        token_at = self._tokens
        tokenize, is_special = self._tokenizer.tokens, self._tokenizer.is_special
        for row, chunk in enumerate(chunks, first):
            size = len(chunk)
            self._characters += size
            if chunk.isascii() and chunk.isalpha() and not is_special(chunk):
                lengths.append(size)
                rows.append((1, token_at, size, 1, size, 1, 1, 0, 0))
                token_at += 1
                tokens = [chunk]
            else:
                tokens = tokenize(chunk)
                lengths += map(len, tokens)
                rows.append((len(tokens), token_at, size, *self._numbers_of(tokens)))
                token_at += len(tokens)
            if self._marked and not self._marked.keys().isdisjoint(tokens):
                self._mark(row, tokens)
        self._rows = _written(self._rows, first, np.array(rows, np.int32))
        self._lengths = _written(self._lengths, self._tokens, np.array(lengths, np.int64))
        self._tokens = token_at

    def _mark(self, row: int, tokens: Iterable[str]) -> None:
        for token in self._marked.keys() & tokens:
            word, bit = self._marked[token]
            self._marks[row, word] |= np.uint64(bit)

    def _numbers_of(self, tokens: Iterable[str]) -> tuple[int, ...]:
        """The numbers of a chunk of these tokens, from _NON_SYMBOLS on.

        The last three are its part in the sentencizer's walk, where a token that ends a sentence waits for the next
        that is no punctuation, which then starts a new one: 1 if such a start comes first when the walk enters
        waiting; starts within; and how the walk leaves (1 waiting, 0 not waiting, _PASSES as it entered).
        """
        non_symbols = characters = alphabetic = enters = inner = 0
        leaves = _PASSES
        known = self._known_tokens
        for token in tokens:
            traits = known.get(token) or self._learn_token(token)
            if traits[0]:
                non_symbols += 1
                characters += len(token)
                alphabetic += traits[1]
            kind = traits[2]
            if kind == _WORD:
                if leaves == 1:
                    inner += 1
                elif leaves == _PASSES:
                    enters = 1
                leaves = 0
            elif kind == _END:
                leaves = 1
        return non_symbols, characters, alphabetic, enters, inner, leaves

    def _learn_token(self, token: str) -> tuple[int, int, int]:
        """Whether it has more than symbols, whether it has a letter, and what it is to the sentencizer."""
        if token.isalpha():
            return 1, 1, _WORD  # not worth remembering
        is_word = not SYMBOLS.issuperset(token)
        kind = _WORD
        if token in self._tokenizer.sentence_ends:
            kind = _END
        elif self._tokenizer.is_punctuation(token):
            kind = _PUNCTUATION
        traits = int(is_word), int(any(map(str.isalpha, token))), kind
        if len(token) <= _SHORT_TOKEN:
            self._known_tokens[token] = traits
        return traits


@lru_cache(maxsize=1)
def _tokenizer() -> ChunkTokenizer:
    """Shared by all tables of this process: loading spaCy costs a second."""
    return ChunkTokenizer()


@lru_cache(maxsize=2)
def word_table(marked: tuple[str, ...] = ()) -> WordTable:
    """The table of this process that marks these words."""
    return WordTable(marked)


def words(text: str) -> list[str]:
    """The words of `text`, by this process's table."""
    return word_table().words(text)


def _joined(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return arrays[1] if len(arrays) == 2 else np.concatenate(arrays)


def _ranges(starts: Numbers, sizes: Numbers) -> Integers:
    """The indices of all ranges `starts[i]` to `starts[i] + sizes[i]`, one range after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)


def _written(array: npt.NDArray[Any], at: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`array` with `values` written from `at` on; a longer copy where it is too short."""
    array = _grown(array, at + len(values))
    array[at : at + len(values)] = values
    return array


def _grown(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """`array` itself where it has `size` rows; else a copy with more, of zeros."""
    if size <= len(array):
        return array
    longer = np.zeros((max(size, len(array) * _MORE), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
