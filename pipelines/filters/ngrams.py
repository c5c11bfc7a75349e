"""Runs of n words that a text repeats, counted as Gopher's repetition rules ask for them.

Every run is hashed as a piece of the text's characters, by prefix sums of a polynomial modulo 2^64, so that a
run of any length costs the same. Hashes only say where a repetition may be: strings decide what is counted.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipelines.filters.words import DocumentWords

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_TUPLE_BASE = np.uint64(0xD6E8FEB86659FD93)
_BEGINNING = 16  # characters; five words have 22 on average
_BUCKETS = 1 << 16
_BUCKET_SHIFT = np.uint64(64 - 16)
_KEPT_POWERS = 1 << 17  # of each table, 1 MB; a longer text makes its own

Hashes = npt.NDArray[np.uint64]


class Ngrams:
    """The n-grams of one text."""

    def __init__(self, words: DocumentWords) -> None:
        self._words = words
        self._ends = np.cumsum(words.lengths)
        self._starts = self._ends - words.lengths

    def top_characters(self, sizes: tuple[int, ...]) -> dict[int, int | None]:
        """For each n of `sizes`: code points of all occurrences of the most frequent n-gram, with spaces between words.

        Of equally frequent ones the first to occur counts. None where the text has fewer than n words.
        """
        words = self._word_hashes
        found: dict[int, int | None] = dict.fromkeys(sizes)
        at = np.arange(len(words))
        hashes = words
        for n in range(2, max(sizes) + 1):
            if len(words) < n:
                break
            is_whole = at <= len(words) - n
            at = at[is_whole]
            hashes = hashes[is_whole] * _TUPLE_BASE + words[at + n - 1]
            ordered = np.sort(hashes)
            repeated = ordered[1:][ordered[1:] == ordered[:-1]]
            first, most = 0, 1
            if len(repeated):
                frequent, most = _most_frequent(repeated)
                near = _among(hashes, frequent)
                is_most = hashes[near] == frequent[0] if len(frequent) == 1 else np.isin(hashes[near], frequent)
                first = int(at[near[is_most][0]])
            if n in found:
                found[n] = (int(self._words.lengths[first : first + n].sum()) + n - 1) * most
            is_repeated = _among(hashes, repeated)  # a longer n-gram that repeats begins with one that does
            at, hashes = at[is_repeated], hashes[is_repeated]
        return found

    def duplicate_characters(self, n: int) -> int:
        """Code points in n-grams that repeat an earlier one.

        The text is walked from its start: a repeated n-gram counts and is jumped over, any other is remembered
        and the walk goes on at the next word. N-grams are equal when their words written together are equal.
        """
        size = self._words.count - n + 1
        if size < 2:
            return 0
        # Equal n-grams that are long enough begin with the same _BEGINNING characters.
        is_short = self._ends[n - 1 :] - self._starts[:size] < _BEGINNING
        at = np.flatnonzero(self._has_repeated_beginning[:size] | is_short)
        before, after = self._prefixes
        ngrams = (after[at + n - 1] - before[at]) * self._shifts[at]
        return self._walk(at[_may_repeat(ngrams)], n)

    def _walk(self, words_at: npt.NDArray[np.int64], n: int) -> int:
        if not len(words_at):
            return 0
        joined = self._joined
        seen: set[str] = set()
        characters = next_word = 0
        starts, ends = self._starts[words_at], self._ends[words_at + n - 1]
        for word, start, end in zip(words_at.tolist(), starts.tolist(), ends.tolist(), strict=True):
            if word < next_word:
                continue
            ngram = joined[start:end]
            if ngram in seen:
                characters += end - start
                next_word = word + n
            else:
                seen.add(ngram)
        return characters

    @cached_property
    def _joined(self) -> str:
        return self._words.joined

    @cached_property
    def _totals(self) -> Hashes:
        """The hash of all characters before each character, and of all, not yet shifted to a common place."""
        codes = self._words.layout.codes.astype(np.uint64)
        codes *= _MIX
        codes ^= codes >> np.uint64(29)
        codes *= _powers(_BASE, len(codes))
        total = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(codes, out=total[1:])
        return total

    @cached_property
    def _prefixes(self) -> tuple[Hashes, Hashes]:
        """The hash of all characters before each word, and up to its end."""
        return self._totals[self._starts], self._totals[self._ends]

    @cached_property
    def _shifts(self) -> Hashes:
        """What the hash of characters from each word on is multiplied with to stand at place 0."""
        return _powers(_INVERSE, len(self._words.layout.codes))[self._starts]

    @cached_property
    def _has_repeated_beginning(self) -> npt.NDArray[np.bool_]:
        """Of each word, whether the next _BEGINNING characters also follow the beginning of another word."""
        at = np.flatnonzero(self._starts + _BEGINNING <= len(self._words.layout.codes))
        total, starts = self._totals, self._starts[at]
        found = np.zeros(len(self._starts), np.bool_)
        found[at[_may_repeat((total[starts + _BEGINNING] - total[starts]) * self._shifts[at])]] = True
        return found

    @cached_property
    def _word_hashes(self) -> Hashes:
        before, after = self._prefixes
        return (after - before) * self._shifts


_kept_powers: dict[int, Hashes] = {}


def _may_repeat(hashes: Hashes) -> npt.NDArray[np.int64]:
    """Indices of all values that occur more than once, and of a few others."""
    ordered = np.sort(hashes)
    return _among(hashes, ordered[1:][ordered[1:] == ordered[:-1]])


def _among(hashes: Hashes, wanted: Hashes) -> npt.NDArray[np.int64]:
    """Indices of all values that are among `wanted`, and of a few others."""
    if not len(wanted):
        return np.zeros(0, np.int64)
    is_wanted = np.zeros(_BUCKETS, np.bool_)
    is_wanted[wanted >> _BUCKET_SHIFT] = True
    return np.flatnonzero(is_wanted[hashes >> _BUCKET_SHIFT])


def _most_frequent(repeated: Hashes) -> tuple[Hashes, int]:
    """The values that occur most often in a text, and how often, from all but one occurrence of each, sorted."""
    bounds = np.flatnonzero(repeated[1:] != repeated[:-1])
    counts = np.diff(np.concatenate(([-1], bounds, [len(repeated) - 1])))
    most = int(counts.max())
    ends = np.cumsum(counts) - 1
    return repeated[ends[counts == most]], most + 1


def _powers(base: int, size: int) -> Hashes:
    """1, base, base² … modulo 2^64."""
    if size > _KEPT_POWERS:
        return _made_powers(base, size)
    if base not in _kept_powers:
        _kept_powers[base] = _made_powers(base, _KEPT_POWERS)
    return _kept_powers[base][:size]


def _made_powers(base: int, size: int) -> Hashes:
    factors = np.full(size, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors)
