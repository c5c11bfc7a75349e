"""Words as the published filters count them: the tokens of spaCy's blank English tokenizer.

spaCy splits a text at whitespace first and then each chunk by itself, so a chunk's tokens never depend on
its neighbours: each distinct chunk is tokenized once, and its tokens and their features are remembered.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.filters.imports import DEEP_LEARNING, hidden
from pipelines.filters.punctuation import SYMBOLS

CACHE_CHUNKS = 200_000  # distinct chunks remembered, about 100 MB; then the table starts afresh
LONGEST_CHUNK = 2_000  # spaCy's time grows with the square of a chunk's length: cut what is longer
LONGEST_PUNCTUATION = 128  # and of a run of punctuation at either end above all
_PUNCTUATED_PIECE = 256
_PUNCTUATION_RUN = re.compile(rf"^[\W_]{{{LONGEST_PUNCTUATION}}}|[\W_]{{{LONGEST_PUNCTUATION}}}$")

HASH_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_MASK = (1 << 64) - 1


class Chunk(NamedTuple):
    """What is remembered of one whitespace-separated chunk."""

    tokens: tuple[str, ...]
    lengths: tuple[int, ...]  # code points of each token
    hashes: tuple[int, ...]  # see `token_hash`
    non_symbol_words: int  # tokens with a character that is no symbol
    non_symbol_characters: int  # code points of those tokens
    alphabetic_words: int  # tokens with a letter


@dataclass(frozen=True)
class DocumentWords:
    """The words of one text, with what the filters ask of them."""

    joined: str  # all tokens without anything between
    lengths: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    non_symbol_words: int
    non_symbol_characters: int
    alphabetic_words: int
    distinct: frozenset[str]

    @property
    def count(self) -> int:
        """Number of words, punctuation included."""
        return len(self.lengths)


class WordTable:
    """Tokenizes texts, remembering chunks; what it returns never depends on what it remembers."""

    def __init__(self, cache_chunks: int = CACHE_CHUNKS) -> None:
        with hidden(*DEEP_LEARNING):
            import spacy

            self._nlp = spacy.blank("en")  # which imports every package that offers spaCy a component
        vocabulary: Any = self._nlp.vocab
        vocabulary.lex_attr_getters = {}  # shapes, norms and the like of each new token: nobody asks for them
        tokenizer: Any = self._nlp.tokenizer
        self._special_cases: frozenset[str] = frozenset(tokenizer.rules)
        self._cache_chunks = cache_chunks
        self._chunks: dict[str, Chunk] = {}

    def words(self, text: str) -> list[str]:
        """The words of `text` in order, without whitespace."""
        chunks = text.split()
        self._learn(chunks)
        return list(chain.from_iterable(self._chunks[c].tokens for c in chunks))

    def analyse(self, text: str) -> DocumentWords:
        """The words of `text` with their features."""
        chunks = text.split()
        counts = Counter(chunks)
        self._learn(counts)
        known = self._chunks
        found = [known[c] for c in chunks]
        distinct = [(known[c], n) for c, n in counts.items()]
        return DocumentWords(
            joined="".join(chunks),
            lengths=np.fromiter(chain.from_iterable(c.lengths for c in found), np.int64),
            hashes=np.fromiter(chain.from_iterable(c.hashes for c in found), np.uint64),
            non_symbol_words=sum(c.non_symbol_words * n for c, n in distinct),
            non_symbol_characters=sum(c.non_symbol_characters * n for c, n in distinct),
            alphabetic_words=sum(c.alphabetic_words * n for c, n in distinct),
            distinct=frozenset(chain.from_iterable(c.tokens for c, _ in distinct)),
        )

    def _learn(self, chunks: Iterable[str]) -> None:
        if len(self._chunks) > self._cache_chunks:
            self._chunks = {}
        unknown: list[str] = []
        for chunk in dict.fromkeys(chunks):
            if chunk in self._chunks:
                continue
            tokens = self._plain(chunk)
            if tokens:
                self._chunks[chunk] = _describe(tokens)
            else:
                unknown.append(chunk)
        if unknown:
            with self._nlp.memory_zone():  # else spaCy keeps every string it ever saw
                for chunk in unknown:
                    self._chunks[chunk] = _describe(tuple(self._tokenize(chunk)))

    def _plain(self, chunk: str) -> tuple[str, ...]:
        """The tokens of letters or digits alone, or of letters and one punctuation mark; else nothing.

        They meet none of spaCy's affix and infix rules but one mark as a suffix; asking spaCy costs 40 µs.
        """
        if not chunk.isascii() or chunk in self._special_cases or len(chunk) > LONGEST_CHUNK:
            return ()
        if chunk.isalpha() or chunk.isdigit():
            return (chunk,)
        stem = chunk[:-1]
        return (stem, chunk[-1]) if chunk[-1] in ",;:?!" and stem.isalpha() and stem not in self._special_cases else ()

    def _tokenize(self, chunk: str) -> Iterator[str]:
        # Never several chunks in one call: spaCy's special cases (emoticons) then disturb each other.
        for piece in _pieces(chunk):
            document: Any = self._nlp.tokenizer(piece)
            for token in document:
                yield token.text


@lru_cache(maxsize=1)
def word_table() -> WordTable:
    """The table of this process: loading spaCy costs seconds."""
    return WordTable()


def words(text: str) -> list[str]:
    """The words of `text`, by this process's table."""
    return word_table().words(text)


def token_hash(token: str) -> int:
    """A polynomial hash modulo 2^64 that composes: hash(a + b) = hash(a) * HASH_BASE**len(b) + hash(b)."""
    value = 0
    for character in token:
        code = ord(character) * 0xBF58476D1CE4E5B9 & _MASK
        value = (value * HASH_BASE + (code ^ code >> 29)) & _MASK
    return value


def _describe(tokens: tuple[str, ...]) -> Chunk:
    words_proper = [t for t in tokens if not SYMBOLS.issuperset(t)]
    return Chunk(
        tokens,
        tuple(map(len, tokens)),
        tuple(map(token_hash, tokens)),
        len(words_proper),
        sum(map(len, words_proper)),
        sum(any(map(str.isalpha, t)) for t in tokens),
    )


def _pieces(chunk: str) -> list[str]:
    """`chunk` itself, or pieces of it where spaCy would take minutes (no whitespace for pages on end)."""
    pieces = [chunk[i : i + LONGEST_CHUNK] for i in range(0, len(chunk), LONGEST_CHUNK)]
    if len(chunk) <= _PUNCTUATED_PIECE or not any(_PUNCTUATION_RUN.search(p) for p in pieces):
        return pieces
    return [chunk[i : i + _PUNCTUATED_PIECE] for i in range(0, len(chunk), _PUNCTUATED_PIECE)]
