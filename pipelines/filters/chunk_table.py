"""What the filters ask of a whitespace-separated chunk, remembered as a row of numbers for each distinct chunk."""

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.filters.chunk_tokens import ChunkTokenizer
from pipelines.filters.punctuation import SYMBOLS

CACHE_CHUNKS = 200_000  # distinct chunks remembered, about 50 MB; then those that came once go
CACHE_CHARACTERS = 8 << 20  # of these chunks together

TOKENS, NON_SYMBOLS, NON_SYMBOL_CHARACTERS, ALPHABETIC, FIRST_TOKEN = range(5)
ENTERS, INNER, LEAVES = range(5, 8)  # see `_rows`
COLUMNS = 8
PASSES = 2
BASE = 0x9E3779B97F4A7C15  # of the hashes: odd, so that it has an inverse modulo 2^64

_IS_WORD, _HAS_LETTER, _ENDS, _IS_PUNCTUATION = 1, 2, 4, 8  # traits of a token; the last two are the sentencizer's
_ALPHABETIC_WORD = _IS_WORD | _HAS_LETTER
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_MIX_SHIFT = np.uint64(29)
_SHORT_TOKEN = 32
_KNOWN_TOKENS = 50_000  # about 5 MB; then they are learnt anew
_MORE = 2  # arrays grow by this factor
_SOME_USES = 2

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]


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


class ChunkTable:
    """Tokenizes chunks once; rows and tokens stay where they are until the next call of `find`."""

    def __init__(self, tokenizer: ChunkTokenizer, marked: Iterable[str], capacity: int) -> None:
        self._tokenizer = tokenizer
        self._marked = {word: (i // 64, 1 << i % 64) for i, word in enumerate(dict.fromkeys(marked))}
        self._capacity = capacity
        self._start_afresh()

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, chunks: Sequence[str]) -> Integers:
        """The row of each chunk."""
        if len(self._numbers) > self._capacity or self.characters > CACHE_CHARACTERS:
            self._forget()
        numbers = self._numbers
        at = np.fromiter(map(numbers.__getitem__, chunks), np.int64, len(chunks))
        if numbers.new:
            try:
                self._learn(numbers.new)
            except BaseException:
                self._start_afresh()  # some have a number and no row
                raise
            numbers.new = []
        self._uses[at] += 1
        return at

    def _forget(self) -> None:
        """Keep the chunks that were asked for most often, at most half of what there is room for."""
        least = _SOME_USES
        uses = self._uses[: len(self._numbers)]
        while 2 * np.count_nonzero(uses >= least) > self._capacity:
            least *= 2
        is_kept = uses >= least
        chunks = list(compress(self._numbers, is_kept.tolist()))
        if 2 * sum(map(len, chunks)) > CACHE_CHARACTERS:
            self._start_afresh()
            return
        rows, marks, uses = self.rows[: len(is_kept)][is_kept], self.marks[: len(is_kept)][is_kept], uses[is_kept] // 2
        token_at = ranges(rows[:, FIRST_TOKEN], rows[:, TOKENS])
        lengths, sizes, hashes = self.lengths[token_at], self.sizes[token_at], self.hashes[token_at]
        self._start_afresh()
        rows[:, FIRST_TOKEN] = np.cumsum(rows[:, TOKENS]) - rows[:, TOKENS]
        self._numbers.update(zip(chunks, range(len(chunks)), strict=True))
        self._tokens, self.characters = len(token_at), sum(map(len, chunks))
        self.rows, self.marks, self._uses = rows, marks, uses
        self.lengths, self.sizes, self.hashes = lengths, sizes, hashes

    def _start_afresh(self) -> None:
        self._numbers = _Numbers()
        self._traits = _Traits(self._tokenizer)
        self._tokens = 0
        self._uses = np.zeros(1024, np.int64)  # calls of `find` that asked for a chunk
        self.characters = 0  # of all chunks together
        self.rows: Numbers = np.zeros((1024, COLUMNS), np.int32)
        self.marks: Hashes = np.zeros((1024, 1 + len(self._marked) // 64), np.uint64)  # a bit for each marked word
        # Of each token of each chunk:
        self.lengths: Numbers = np.zeros(1024, np.int32)  # code points
        self.sizes: Numbers = np.zeros(1024, np.int32)  # bytes of its UTF-8
        self.hashes: Hashes = np.zeros(1024, np.uint64)  # the sum of each byte, mixed, times a power of BASE

    def _learn(self, chunks: list[str]) -> None:
        """Add the rows of `chunks`, which have got the last numbers."""
        first = len(self._numbers) - len(chunks)
        self.marks, self._uses = (_grown(array, len(self._numbers)) for array in (self.marks, self._uses))
        # Flat lists: a tuple for each chunk is as much work for the garbage collector as the tokens are.
        tokens: list[str] = []
        counts: list[int] = []
        marked = self._marked.keys()
        tokenize, is_special = self._tokenizer.tokens, self._tokenizer.is_special
        for row, chunk in enumerate(chunks, first):
            if chunk.isalpha() and chunk.isascii() and not is_special(chunk):
                tokens.append(chunk)
                counts.append(1)
                if chunk in marked:
                    self._mark(row, (chunk,))
            else:
                own = tokenize(chunk)
                tokens += own
                counts.append(len(own))
                if not marked.isdisjoint(own):
                    self._mark(row, own)
        lengths = np.fromiter(map(len, tokens), np.int32, len(tokens))
        rows = _rows(self._traits.of(tokens), lengths, np.array(counts, np.int32))
        rows[:, FIRST_TOKEN] += self._tokens
        text = "".join(chunks)
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        sizes = lengths if len(data) == len(text) else _utf8_sizes(text, lengths)
        self.characters += len(text)
        self.rows = _written(self.rows, first, rows)
        self.lengths = _written(self.lengths, self._tokens, lengths)
        self.sizes = _written(self.sizes, self._tokens, sizes)
        self.hashes = _written(self.hashes, self._tokens, _hashes_of(data, sizes))
        self._tokens += len(tokens)

    def _mark(self, row: int, tokens: Iterable[str]) -> None:
        for token in self._marked.keys() & tokens:
            word, bit = self._marked[token]
            self.marks[row, word] |= np.uint64(bit)


class _Traits(dict[str, int]):
    """Of tokens: bits that say whether it has more than symbols, whether it has a letter, what it ends or waits for."""

    def __init__(self, tokenizer: ChunkTokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def of(self, tokens: list[str]) -> Numbers:
        """The traits of each token."""
        if len(self) > _KNOWN_TOKENS:
            self.clear()
        return np.fromiter(map(self.__getitem__, tokens), np.int32, len(tokens))

    def __missing__(self, token: str) -> int:
        traits = self._learned(token)
        if len(token) <= _SHORT_TOKEN:
            self[token] = traits
        return traits

    def _learned(self, token: str) -> int:
        if token.isalpha():
            return _IS_WORD | _HAS_LETTER
        has_letter = _HAS_LETTER if any(map(str.isalpha, token)) else 0
        if "0" <= token[0] <= "9" or "a" <= token[0] <= "z" or "A" <= token[0] <= "Z":
            return _IS_WORD | has_letter  # neither set has one of these
        traits = has_letter if SYMBOLS.issuperset(token) else has_letter | _IS_WORD
        if token in self._tokenizer.sentence_ends:
            return traits | _ENDS
        return traits | _IS_PUNCTUATION if self._tokenizer.is_punctuation(token) else traits


def _rows(traits: Numbers, lengths: Numbers, counts: Numbers) -> Numbers:
    """The rows of chunks of so many tokens each, which have these traits and lengths.

    The last three columns are a chunk's part in the sentencizer's walk, where a token that ends a sentence waits for
    the next that is no punctuation, which then starts a new one: 1 if such a start comes first when the walk enters
    waiting; starts within; and how the walk leaves (1 waiting, 0 not waiting, PASSES as it entered).
    """
    rows = np.empty((len(counts), COLUMNS), np.int32)
    starts = np.cumsum(counts) - counts
    is_word = traits & _IS_WORD
    rows[:, TOKENS], rows[:, FIRST_TOKEN] = counts, starts
    rows[:, NON_SYMBOLS] = np.add.reduceat(is_word, starts)
    rows[:, NON_SYMBOL_CHARACTERS] = np.add.reduceat(is_word * lengths, starts)
    rows[:, ALPHABETIC] = np.add.reduceat(((traits & _ALPHABETIC_WORD) == _ALPHABETIC_WORD).astype(np.int32), starts)
    walked = np.flatnonzero((traits & _IS_PUNCTUATION) == 0)
    chunk = np.repeat(np.arange(len(counts)), counts)[walked]
    is_end = (traits[walked] & _ENDS) != 0
    is_first = np.diff(chunk, prepend=-1) > 0
    is_last = np.diff(chunk, append=len(counts)) > 0
    rows[:, ENTERS], rows[:, LEAVES] = 0, PASSES
    rows[chunk[is_first], ENTERS] = ~is_end[is_first]
    rows[chunk[is_last], LEAVES] = is_end[is_last]
    is_start = ~is_first & ~is_end
    is_start[1:] &= is_end[:-1]
    rows[:, INNER] = np.bincount(chunk[is_start], minlength=len(counts))
    return rows


def powers(base: int, size: int) -> Hashes:
    """1, base, base² … modulo 2^64."""
    factors = np.full(size, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors)


def _hashes_of(data: npt.NDArray[np.uint8], sizes: Numbers) -> Hashes:
    """The hash of each token, of so many bytes of `data` each."""
    codes = data.astype(np.uint64)
    codes *= _MIX
    codes ^= codes >> _MIX_SHIFT
    ends = np.cumsum(sizes)
    starts = ends - sizes
    codes *= powers(BASE, int(sizes.max()))[np.arange(len(data)) - np.repeat(starts, sizes)]
    return np.add.reduceat(codes, starts)


def ranges(starts: Numbers, sizes: Numbers) -> Integers:
    """The indices of all ranges `starts[i]` to `starts[i] + sizes[i]`, one range after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)


def _utf8_sizes(text: str, lengths: Numbers) -> Numbers:
    """Bytes in UTF-8 of each token of `text`, of so many code points each."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    widths = np.ones(len(codes), np.int32)
    for least in (0x80, 0x800, 0x10000):
        widths += codes >= least
    return np.add.reduceat(widths, np.cumsum(lengths) - lengths, dtype=np.int32)


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
