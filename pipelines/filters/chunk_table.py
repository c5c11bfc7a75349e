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
ENTERS, INNER, LEAVES = range(5, 8)  # see `_numbers_of`
COLUMNS = 8
PASSES = 2
BASE = 0x9E3779B97F4A7C15  # of the hashes: odd, so that it has an inverse modulo 2^64

_WORD, _END, _PUNCTUATION = range(3)  # what a token is to the sentencizer
_ALPHABETIC_WORD = (1, 1, _WORD)  # its traits, see `_learn_token`
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_MIX_SHIFT = np.uint64(29)
_SHORT_TOKEN = 8
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
        self._known_tokens: dict[str, tuple[int, int, int]] = {}
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
        numbers: list[int] = []
        marked = self._marked.keys()
        tokenize, is_special, numbers_of = self._tokenizer.tokens, self._tokenizer.is_special, self._numbers_of
        for row, chunk in enumerate(chunks, first):
            token_at = self._tokens + len(tokens)
            if chunk.isalpha() and chunk.isascii() and not is_special(chunk):
                tokens.append(chunk)
                numbers += (1, 1, len(chunk), 1, token_at, 1, 0, 0)
                if chunk in marked:
                    self._mark(row, (chunk,))
            else:
                own = tokenize(chunk)
                tokens += own
                numbers += numbers_of(own, token_at)
                if not marked.isdisjoint(own):
                    self._mark(row, own)
        lengths = np.fromiter(map(len, tokens), np.int32, len(tokens))
        text = "".join(chunks)
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        sizes = lengths if len(data) == len(text) else _utf8_sizes(text, lengths)
        self.characters += len(text)
        self.rows = _written(self.rows, first, np.array(numbers, np.int32).reshape(-1, COLUMNS))
        self.lengths = _written(self.lengths, self._tokens, lengths)
        self.sizes = _written(self.sizes, self._tokens, sizes)
        self.hashes = _written(self.hashes, self._tokens, _hashes_of(data, sizes))
        self._tokens += len(tokens)

    def _mark(self, row: int, tokens: Iterable[str]) -> None:
        for token in self._marked.keys() & tokens:
            word, bit = self._marked[token]
            self.marks[row, word] |= np.uint64(bit)

    def _numbers_of(self, tokens: Sequence[str], token_at: int) -> tuple[int, ...]:
        """The row of a chunk of these tokens, the first of which is the table's `token_at`th.

        The last three are its part in the sentencizer's walk, where a token that ends a sentence waits for the next
        that is no punctuation, which then starts a new one: 1 if such a start comes first when the walk enters
        waiting; starts within; and how the walk leaves (1 waiting, 0 not waiting, PASSES as it entered).
        """
        non_symbols = characters = alphabetic = enters = inner = 0
        leaves = PASSES
        known = self._known_tokens
        for token in tokens:
            is_word, has_letter, kind = (
                _ALPHABETIC_WORD if token.isalpha() else known.get(token) or self._learn_token(token)
            )
            if is_word:
                non_symbols += 1
                characters += len(token)
                alphabetic += has_letter
            if kind == _WORD:
                if leaves == 1:
                    inner += 1
                elif leaves == PASSES:
                    enters = 1
                leaves = 0
            elif kind == _END:
                leaves = 1
        return len(tokens), non_symbols, characters, alphabetic, token_at, enters, inner, leaves

    def _learn_token(self, token: str) -> tuple[int, int, int]:
        """Whether it has more than symbols, whether it has a letter, and what it is to the sentencizer."""
        has_letter = int(any(map(str.isalpha, token)))
        if "0" <= token[0] <= "9" or "a" <= token[0] <= "z" or "A" <= token[0] <= "Z":
            traits = 1, has_letter, _WORD  # neither set has one of these
        else:
            is_word, kind = not SYMBOLS.issuperset(token), _WORD
            if token in self._tokenizer.sentence_ends:
                kind = _END
            elif self._tokenizer.is_punctuation(token):
                kind = _PUNCTUATION
            traits = int(is_word), has_letter, kind
        if len(token) <= _SHORT_TOKEN:
            self._known_tokens[token] = traits
        return traits


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
