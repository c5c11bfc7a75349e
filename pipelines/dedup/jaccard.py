"""Exact Jaccard similarity of shingle sets: what the equal values of two MinHash signatures only estimate.

A shingle is a run of words, a document the set of its shingles, as sorted 64-bit hashes; two sets are as alike as the
share of their shingles that both have (Broder, "On the resemblance and containment of documents", 1997). Hashes of 64
bits make that exact for every purpose: two documents of a thousand shingles have a false match once in 10^13 pairs.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ShingleSet = npt.NDArray[np.uint64]  # sorted, each once
_REMEMBERED_WORDS = 1 << 19  # about 64 MiB; a language's frequent words come back at once
_GATHERED = 1 << 20  # hashes looked up at a time: one byte each, which stays in the cache


class _WordHashes(dict[str, int]):
    """The 64-bit hash of a word, computed when it is first asked for."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED_WORDS:
            self.clear()
        value = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        self[word] = value
        return value


_word_hashes = _WordHashes()


def shingle_set(words: Sequence[str], width: int) -> ShingleSet:
    """The hashes of the distinct runs of `width` words; of the one run of all, where there are fewer; of none, none.

    A run's hash is the sum of its words' hashes, each times an odd number that its place has, modulo 2^64 (multilinear
    hashing; Lemire and Kaser, "Strongly universal string hashing is fast", arXiv:1202.4961).
    """
    if not words:
        return np.empty(0, np.uint64)
    hashes = np.fromiter(map(_word_hashes.__getitem__, words), np.uint64, len(words))
    run = min(width, len(words))
    count = len(words) - run + 1
    total = np.zeros(count, np.uint64)
    for place in range(run):
        total += hashes[place : place + count] * _multiplier(place)
    return np.unique(total)


def _multiplier(place: int) -> np.uint64:
    digest = hashlib.blake2b(place.to_bytes(8, "little"), digest_size=8, person=b"shingle").digest()
    return np.uint64(int.from_bytes(digest, "little") | 1)


def jaccard(left: ShingleSet, right: ShingleSet) -> float:
    """Shingles in common over shingles in either; 0 where one has none."""
    if not len(left) or not len(right):
        return 0.0
    small, large = sorted((left, right), key=len)
    places = np.minimum(np.searchsorted(large, small), len(large) - 1)
    common = int(np.count_nonzero(large[places] == small))
    return common / (len(left) + len(right) - common)


def jaccard_pairs(sets: Sequence[ShingleSet], pairs: Any) -> npt.NDArray[np.float64]:
    """`jaccard` of each pair.

    Args:
        sets: of the documents.
        pairs: two indexes into `sets` per row, shape (n, 2), in any order; equal first indexes side by side are faster.
    """
    table = np.asarray(pairs, np.int64).reshape(-1, 2)
    lengths = np.array([len(s) for s in sets], np.int64)
    out = np.zeros(len(table))
    if not len(table):
        return out
    starts = np.flatnonzero(np.r_[True, table[1:, 0] != table[:-1, 0]])
    for start, end in zip(starts, [*starts[1:], len(table)], strict=True):
        first, others = int(table[start, 0]), table[start:end, 1]
        common = _common(sets[first], [sets[other] for other in others])
        out[start:end] = _ratio(common, lengths[first], lengths[others])
    return out


def links(sets: Sequence[ShingleSet], threshold: float, known: Any = None) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of similarity `threshold` or more that connect whatever such pairs connect.

    Of all pairs, those are left out that are connected by others already and those whose lengths alone forbid it: n
    documents that are all alike cost n - 1 comparisons, n that are all different n²/2, each about a microsecond per
    thousand shingles.

    Args:
        sets: of the documents. Their order decides which pairs stand for a group, never which documents are in it.
        threshold: above 0, at most 1.
        known: of each document a number; those of equal numbers are connected already. None: none is.
    """
    group = np.arange(len(sets)) if known is None else np.array(known)
    if len(sets) == 2:
        return [(0, 1)] if group[0] != group[1] and jaccard(sets[0], sets[1]) >= threshold else []
    lengths = np.array([len(s) for s in sets], np.int64)
    if not lengths.any():
        return []
    distinct, dense = np.unique(np.concatenate(sets), return_inverse=True)
    numbers: list[Any] = np.split(dense.astype(np.int32), np.cumsum(lengths)[:-1])
    del dense
    is_in = np.zeros(len(distinct), np.uint8)
    found = list[tuple[int, int]]()
    for i in range(len(sets) - 1):
        low, high = threshold * lengths[i], lengths[i] / threshold  # |A ∩ B| ≤ min, |A ∪ B| ≥ max
        later, theirs = group[i + 1 :], lengths[i + 1 :]
        others = i + 1 + np.flatnonzero((later != group[i]) & (theirs >= low) & (theirs <= high) & (theirs > 0))
        if not len(others) or not lengths[i]:
            continue
        is_in[numbers[i]] = 1
        common = _marked(is_in, [numbers[other] for other in others])
        is_in[numbers[i]] = 0
        for j in others[_ratio(common, lengths[i], lengths[others]) >= threshold].tolist():
            if group[j] != group[i]:
                found.append((i, j))
                group[group == group[j]] = group[i]
    return found


def _ratio(common: Any, own: Any, theirs: Any) -> Any:
    return common / np.maximum(own + theirs - common, 1)


def _marked(is_in: Any, documents: Sequence[Any]) -> Any:
    """How many of each document's (non-empty) numbers are marked."""
    counts = np.empty(len(documents), np.int64)
    for first, last in _blocks([len(document) for document in documents]):
        block = np.concatenate(documents[first:last])
        starts = np.cumsum([0, *(len(document) for document in documents[first : last - 1])])
        counts[first:last] = np.add.reduceat(is_in[block], starts, dtype=np.int64)
    return counts


def _common(one: ShingleSet, others: Sequence[ShingleSet]) -> Any:
    """How many shingles of `one` each of `others` has."""
    counts = np.zeros(len(others), np.int64)
    filled = [index for index, other in enumerate(others) if len(other)]
    if not len(one) or not filled:
        return counts
    sets = [others[index] for index in filled]
    for first, last in _blocks([len(s) for s in sets]):
        block = np.concatenate(sets[first:last])
        is_hit = one[np.minimum(np.searchsorted(one, block), len(one) - 1)] == block
        starts = np.cumsum([0, *(len(s) for s in sets[first : last - 1])])
        counts[filled[first:last]] = np.add.reduceat(is_hit, starts, dtype=np.int64)
    return counts


def _blocks(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of documents of about _GATHERED hashes, at least one document each."""
    bounds, first, size = list[tuple[int, int]](), 0, 0
    for index, length in enumerate(lengths):
        if index > first and size + length > _GATHERED:
            bounds.append((first, index))
            first, size = index, 0
        size += length
    return [*bounds, (first, len(lengths))] if lengths else []
