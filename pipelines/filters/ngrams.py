"""Runs of n words that a text repeats, counted as Gopher's repetition rules ask for them.

Every run is hashed as a piece of the text's bytes, by prefix sums of a polynomial modulo 2^64 over the hashes of its
words, so that a run of any length costs the same. Many short texts are looked at together: a hash is kept apart from
other texts' by the text's number in its upper bits.
"""

import itertools
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
_BUCKETS = 1 << 18
_BUCKET_FACTOR = np.uint64(0xFF51AFD7ED558CCD)
_BUCKET_SHIFT = np.uint64(64 - 18)
_MANY = 1 << 13
_KEPT_POWERS = 1 << 17  # of each table, 1 MB; a longer text makes its own


class Ngrams:
    """The n-grams of several texts."""

    def __init__(self, words: GroupWords) -> None:
        self._words = words
        sizes, bounds = words.sizes, words.first_words
        counts = np.diff(bounds)
        self._text = words.text.tobytes()
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
        counts, first_words = np.diff(bounds), bounds[:-1]
        before = self._characters_before
        found: dict[int, list[int | None]] = {}
        at = np.arange(len(words))
        hashes = words
        for n in range(2, max(sizes) + 1):
            is_whole = at + n <= self._last[at]
            at = at[is_whole]
            hashes = hashes[is_whole] * _TUPLE_BASE + words[at + (n - 1)]
            keys = self._tagged(hashes, at)
            repeated = _repeated(keys)
            if n in sizes:
                first, most = first_words.copy(), np.ones(len(counts), np.int64)
                self._most_frequent(keys, at, repeated, first, most)
                has_any = counts >= n
                first[~has_any] = 0
                size = before[np.minimum(first + n, len(words))] - before[first] + n - 1
                found[n] = [int(s) if has else None for s, has in zip(size * most, has_any, strict=True)]
            is_repeated = _among(keys, repeated)  # a longer n-gram that repeats begins with one that does
            at, hashes = at[is_repeated], hashes[is_repeated]
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
        for n in sizes:
            own = at[at + n <= self._last[at]]
            keys = self._tagged((self._totals[own + n] - self._totals[own]) * self._shifts[own], own)
            own = own[_among(keys, _repeated(keys))]
            firsts = np.searchsorted(own, self._words.first_words).tolist()
            found[n] = [self._walk(own[first:last], n) for first, last in itertools.pairwise(firsts)]
        return found

    def _walk(self, words_at: Integers, n: int) -> int:
        if len(words_at) < 2:
            return 0
        text = self._text
        seen: set[bytes] = set()
        repeated: list[int] = []
        next_word = 0
        starts, ends = self._starts[words_at].tolist(), self._ends[words_at + (n - 1)].tolist()
        for word, start, end in zip(words_at.tolist(), starts, ends, strict=True):
            if word < next_word:
                continue
            ngram = text[start:end]
            if ngram in seen:
                repeated.append(word)
                next_word = word + n
            else:
                seen.add(ngram)
        before = self._characters_before
        at = np.array(repeated, np.int64)
        return int((before[at + n] - before[at]).sum())

    def _most_frequent(self, keys: Hashes, at: Integers, repeated: Hashes, first: Integers, most: Integers) -> None:
        """Set where the most frequent n-gram of each text comes first, and how often it occurs, if it is repeated.

        Args:
            keys: of the n-grams.
            at: the first word of each.
            repeated: all but one occurrence of each key, sorted.
            first: to be set, one value a text.
            most: likewise.
        """
        if not len(repeated):
            return
        run_ends = np.flatnonzero(np.concatenate((repeated[1:] != repeated[:-1], [True])))
        counts = np.diff(run_ends, prepend=-1)
        values = repeated[run_ends]
        texts = self._texts_of(values)
        text_starts = np.flatnonzero(np.concatenate(([True], texts[1:] != texts[:-1])))
        highest = np.maximum.reduceat(counts, text_starts)
        frequent = values[counts == np.repeat(highest, np.diff(text_starts, append=len(texts)))]
        near = _among(keys, frequent)
        place = np.minimum(np.searchsorted(frequent, keys[near]), len(frequent) - 1)
        near = near[frequent[place] == keys[near]]
        found, earliest = np.unique(self._texts_of(keys[near]), return_index=True)
        first[found] = at[near[earliest]]
        most[found] = highest + 1

    def _tagged(self, hashes: Hashes, at: Integers) -> Hashes:
        """`hashes` of n-grams that begin at the words `at`, with the number of their text in the upper bits."""
        return (hashes >> self._tag_width) | self._tags[at]

    def _texts_of(self, keys: Hashes) -> Integers:
        return (keys >> self._tag_shift).astype(np.int64) if self._tag_width else np.zeros(len(keys), np.int64)

    def _repeated_beginnings(self) -> npt.NDArray[np.bool_]:
        """Of each word, whether the next _BEGINNING bytes also follow the beginning of another word of its text."""
        text = self._words.text
        found = np.zeros(len(self._starts), np.bool_)
        at = np.flatnonzero(self._starts + _BEGINNING <= self._text_ends)
        if len(at):
            starts = self._starts[at]
            halves: Hashes = np.ndarray((len(text) - _HALF + 1,), "<u8", text.data, strides=(1,))  # from each byte on
            hashes = halves[starts] * np.uint64(BASE) + halves[starts + _HALF] * _SECOND_HALF
            keys = self._tagged(hashes, at)
            found[at[_among(keys, _repeated(keys))]] = True
        return found


_kept_powers: dict[int, Hashes] = {}


def _repeated(keys: Hashes) -> Hashes:
    """All but one occurrence of each of `keys`, sorted."""
    if len(keys) > _MANY:  # sorting costs ten times as much for a key as counting its bucket
        buckets = _buckets(keys)
        keys = keys[(np.bincount(buckets, minlength=_BUCKETS) > 1)[buckets]]
    ordered = np.sort(keys)
    return ordered[1:][ordered[1:] == ordered[:-1]]


def _among(keys: Hashes, wanted: Hashes) -> Integers:
    """Indices of all keys that are among `wanted`, and of a few others."""
    if not len(wanted):
        return np.zeros(0, np.int64)
    is_wanted = np.zeros(_BUCKETS, np.bool_)
    is_wanted[_buckets(wanted)] = True
    return np.flatnonzero(is_wanted[_buckets(keys)])


def _buckets(keys: Hashes) -> Integers:
    return ((keys * _BUCKET_FACTOR) >> _BUCKET_SHIFT).astype(np.int64)


def _powers(base: int, size: int) -> Hashes:
    """1, base, base² … modulo 2^64."""
    if size > _KEPT_POWERS:
        return powers(base, size)
    if base not in _kept_powers:
        _kept_powers[base] = powers(base, _KEPT_POWERS)
    return _kept_powers[base]
