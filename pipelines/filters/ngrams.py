"""Runs of n words that a text repeats, counted as Gopher's repetition rules ask for them.

Every run is hashed as a piece of the text's bytes, by prefix sums of a polynomial modulo 2^64 over the hashes of its
words, so that a run of any length costs the same. Many short texts are looked at together: a hash is kept apart from
other texts' by the text's number in its upper bits.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipelines.filters.chunk_table import BASE, Hashes, Integers, powers
from pipelines.filters.words import GroupWords

_INVERSE = pow(BASE, -1, 1 << 64)
_TUPLE_BASE = np.uint64(0xD6E8FEB86659FD93)
_SECOND_HALF = np.uint64(0xA0761D6478BD642F)
_BEGINNING = 16  # bytes; five words have 22 characters on average
_HALF = _BEGINNING // 2
_LONG = 256  # bytes of an n-gram that are compared together with others'
# One after the other for the keys that share a bucket with others; what still does is sorted.
_FACTORS = tuple(map(np.uint64, (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 0x9FB21C651E98DF25, 0xBF58476D1CE4E5B9)))
_KEPT_POWERS = 1 << 17  # of each table, 1 MB; a longer text makes its own


class Ngrams:
    """The n-grams of several texts."""

    def __init__(self, words: GroupWords) -> None:
        self._words = words
        sizes, bounds = words.sizes, words.first_words
        counts = np.diff(bounds)
        padded = words.text.tobytes() + bytes(_BEGINNING)
        # What is read from each byte on.
        self._halves: Hashes = np.ndarray((len(words.text) + _HALF + 1,), "<u8", padded, strides=(1,))
        self._characters_before = np.concatenate((np.zeros(1, np.int64), np.cumsum(words.lengths)))
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        text_starts = np.concatenate((np.zeros(1, np.int64), self._ends))[bounds]
        self._last = np.repeat(bounds[1:], counts)  # of each word, the end of its text's words
        tag_bits = max(len(counts) - 1, 0).bit_length()
        self._tag_shift, self._tag_width = np.uint64(64 - tag_bits if tag_bits else 0), np.uint64(tag_bits)
        self._tags = np.repeat(np.arange(len(counts), dtype=np.uint64), counts) << self._tag_shift
        places = self._starts - np.repeat(text_starts[:-1], counts)
        longest = int(np.diff(text_starts).max(initial=0)) + 1
        # The hash of all bytes before each word and of all, not yet shifted to a common place; and the shifts.
        self._totals = np.zeros(len(sizes) + 1, np.uint64)
        np.cumsum(words.hashes * _powers(BASE, longest)[places], out=self._totals[1:])
        self._shifts = _powers(_INVERSE, longest)[places]
        self._text_ends = np.repeat(text_starts[1:], counts)
        self._has_repeated_beginning = self._repeated_beginnings()

    def top_characters(self, sizes: Sequence[int]) -> dict[int, list[int | None]]:
        """For each n of `sizes` and each text: code points of all occurrences of the most frequent n-gram, with spaces
        between words.

        Of equally frequent ones the first to occur counts. None where the text has fewer than n words.
        """
        words, bounds = self._words.hashes, self._words.first_words
        counts = np.diff(bounds)
        before = self._characters_before
        found: dict[int, list[int | None]] = {}
        at = np.arange(len(words))
        hashes = words
        for n in range(2, max(sizes) + 1):
            is_whole = at + n <= self._last[at]
            at = at[is_whole]
            hashes = hashes[is_whole] * _TUPLE_BASE + words[at + (n - 1)]
            keys = self._tagged(hashes, at)
            own = _maybe_repeated(keys)
            at, hashes = at[own], hashes[own]
            equal = _first_equal(keys[own])
            times = np.bincount(equal, minlength=len(equal))[equal]
            is_repeated = times > 1
            # A longer n-gram that repeats begins with one that does.
            at, hashes, times = at[is_repeated], hashes[is_repeated], times[is_repeated]
            if n in sizes:
                first, most = self._most_frequent(at, times)
                has_any = counts >= n
                first[~has_any] = 0
                size = before[np.minimum(first + n, len(words))] - before[first] + n - 1
                found[n] = [int(s) if has else None for s, has in zip(size * most, has_any, strict=True)]
        return found

    def duplicate_characters(self, sizes: Sequence[int]) -> dict[int, list[int]]:
        """For each n of `sizes` and each text: code points in n-grams that repeat an earlier one.

        The text is walked from its start: a repeated n-gram counts and is jumped over, any other is remembered
        and the walk goes on at the next word. N-grams are equal when their words written together are equal.
        Hashes only say where a repetition may be: bytes decide what is counted.
        """
        found: dict[int, list[int]] = {}
        least = min(sizes)
        at = np.flatnonzero(np.arange(least, len(self._last) + least) <= self._last)
        # Equal n-grams that are long enough begin with the same _BEGINNING bytes; others are short for
        # the least n too.
        is_short = self._ends[at + (least - 1)] - self._starts[at] < _BEGINNING
        at = at[is_short | self._has_repeated_beginning[at]]
        room, totals, shifts, tags = self._last[at] - at, self._totals[at], self._shifts[at], self._tags[at]
        for n in sizes:
            is_whole = room >= n
            if not is_whole.all():
                at, room = at[is_whole], room[is_whole]
                totals, shifts, tags = totals[is_whole], shifts[is_whole], tags[is_whole]
            keys = (((self._totals[at + n] - totals) * shifts) >> self._tag_width) | tags
            own = _maybe_repeated(keys)
            found[n] = self._counted(at[own], _first_equal(keys[own]), n)
        return found

    def _counted(self, at: Integers, equal: Integers, n: int) -> list[int]:
        """Code points of the n-grams of each text that the walk counts; see `_walk`."""
        found, earlier = self._walk(at, equal, n)
        if not self._are_equal(found, earlier, n):  # two n-grams have one hash
            found, _ = self._walk(at, self._equal_by_bytes(at, n), n)
        before, bounds = self._characters_before, self._words.first_words
        totals = np.concatenate((np.zeros(1, np.int64), np.cumsum(before[found + n] - before[found])))
        return np.diff(totals[np.searchsorted(found, bounds)]).tolist()

    def _walk(self, at: Integers, equal: Integers, n: int) -> tuple[Integers, Integers]:
        """The first words of the n-grams counted, and of each that of the equal one that was remembered.

        Only what has an equal n-gram before it needs a look: that one was remembered unless it was jumped over.

        Args:
            at: the first words of all n-grams that may be counted or remembered.
            equal: of each, the index of the first equal one.
            n: words of each.
        """
        later = np.flatnonzero(equal != np.arange(len(equal)))
        jumped, jump = bytearray(len(self._last)), b"\1" * (n - 1)
        remembered: dict[int, int] = {}  # the first of equal ones, where it was jumped over -> the one in its stead
        found: list[int] = []
        earlier: list[int] = []
        next_word = 0
        for word, first in zip(at[later].tolist(), at[equal[later]].tolist(), strict=True):
            if word < next_word:
                continue
            before = remembered.setdefault(first, word) if jumped[first] else first
            if before != word:
                found.append(word)
                earlier.append(before)
                next_word = word + n
                jumped[word + 1 : next_word] = jump
        return np.array(found, np.int64), np.array(earlier, np.int64)

    def _are_equal(self, at: Integers, others: Integers, n: int) -> bool:
        """Whether each n-gram at `at` has the bytes of that at `others`, compared _HALF bytes at a time."""
        starts, other_starts = self._starts[at], self._starts[others]
        sizes = self._ends[at + (n - 1)] - starts
        if not np.array_equal(sizes, self._ends[others + (n - 1)] - other_starts):
            return False
        for first in range(0, min(int(sizes.max(initial=0)), _LONG), _HALF):
            differing = self._halves[starts + first] ^ self._halves[other_starts + first]
            over = np.maximum(_HALF - (sizes - first), 0).astype(np.uint64)  # bytes that are the next word's
            if np.any(differing << np.uint64(8) * over):
                return False
            is_longer = sizes > first + _HALF
            starts, other_starts, sizes = starts[is_longer], other_starts[is_longer], sizes[is_longer]
        text, rows = self._words.text.data, zip(starts.tolist(), other_starts.tolist(), sizes.tolist(), strict=True)
        return all(text[start : start + size] == text[other : other + size] for start, other, size in rows)

    def _equal_by_bytes(self, at: Integers, n: int) -> Integers:
        """Of each n-gram at `at`, the index of the first in its text that has the same bytes."""
        starts, ends = self._starts[at].tolist(), self._ends[at + (n - 1)].tolist()
        text = self._words.text.tobytes()
        ngrams = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        firsts: dict[tuple[int, bytes], int] = {}
        keys = enumerate(zip(self._last[at].tolist(), ngrams, strict=True))
        return np.array([firsts.setdefault(key, index) for index, key in keys], np.int64)

    def _most_frequent(self, at: Integers, times: Integers) -> tuple[Integers, Integers]:
        """Of each text, where its most frequent n-gram comes first, and how often it occurs.

        Args:
            at: the first words of all n-grams that are repeated.
            times: how often each occurs.
        """
        bounds = self._words.first_words
        first, most = bounds[:-1].copy(), np.ones(len(bounds) - 1, np.int64)
        places = np.searchsorted(at, bounds)
        texts = np.flatnonzero(np.diff(places))
        if len(texts):
            starts = places[texts]
            most[texts] = np.maximum.reduceat(times, starts)
            tops = np.flatnonzero(times == np.repeat(most[texts], np.diff(starts, append=len(at))))
            first[texts] = at[tops[np.searchsorted(tops, starts)]]
        return first, most

    def _tagged(self, hashes: Hashes, at: Integers) -> Hashes:
        """`hashes` of n-grams that begin at the words `at`, with the number of their text in the upper bits."""
        return (hashes >> self._tag_width) | self._tags[at]

    def _repeated_beginnings(self) -> npt.NDArray[np.bool_]:
        """Of each word, whether the next _BEGINNING bytes also follow the beginning of another word of its text."""
        keys = self._halves[self._starts] * np.uint64(BASE) + self._halves[self._starts + _HALF] * _SECOND_HALF
        found = np.zeros(len(keys), np.bool_)
        found[_maybe_repeated((keys >> self._tag_width) | self._tags)] = True
        return found & (self._starts + _BEGINNING <= self._text_ends)


_kept_powers: dict[int, Hashes] = {}


def _maybe_repeated(keys: Hashes) -> Integers:
    """Indices of all keys that occur more than once, and of some others."""
    buckets = _buckets(keys, len(keys), _FACTORS[0])
    return np.flatnonzero((np.bincount(buckets) > 1)[buckets])


def _first_equal(keys: Hashes) -> Integers:
    """Of each key, the index of the first equal one: by buckets, which costs a third of sorting."""
    found = left = np.arange(len(keys))
    for factor in _FACTORS:
        if not len(left):
            return found
        own = keys[left]
        buckets = _buckets(own, len(own), factor)
        first = np.full(int(buckets.max()) + 1, len(keys))
        np.minimum.at(first, buckets, left)
        first = first[buckets]
        if len(left) == len(found):
            found = first
        else:
            found[left] = first
        left = left[keys[first] != own]  # equal keys share a bucket, and all are found or none
    _, index, group = np.unique(keys[left], return_index=True, return_inverse=True)
    found[left] = left[index[group]]
    return found


def _buckets(keys: Hashes, count: int, factor: np.uint64) -> Integers:
    """The bucket of each key, where there are two to four for each of `count` keys."""
    return ((keys * factor) >> np.uint64(63 - count.bit_length())).view(np.int64)


def _powers(base: int, size: int) -> Hashes:
    """1, base, base² … modulo 2^64."""
    if size > _KEPT_POWERS:
        return powers(base, size)
    if base not in _kept_powers:
        _kept_powers[base] = powers(base, _KEPT_POWERS)
    return _kept_powers[base]
