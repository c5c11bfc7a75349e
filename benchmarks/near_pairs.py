"""All pairs of documents of at least some Jaccard similarity, exactly: the truth that an LSH is held against.

Prefix filtering (Chaudhuri, Ganti, Kaushik, "A primitive operator for similarity joins in data cleaning", 2006;
Bayardo, Ma, Srikant, "Scaling up all pairs similarity search", 2007): shingles are ordered from the rarest to the
commonest; of two sets whose similarity is t or more, the first |A| - ⌈t|A|⌉ + 1 of each have one in common. So pairs
are looked for in an inverted index of these rare shingles only, and each pair found is then counted out: nothing is
estimated, and no pair at t or above is missed (`tests/unit/test_dedup_jaccard_join.py` compares with all pairs).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.dedup.jaccard import ShingleSet, jaccard_pairs

_PENDING_PAIRS = 4_000_000  # 32 MB, then repetitions are thrown out


@dataclass(frozen=True)
class NearPairs:
    """Pairs of documents, as codes, and their similarities."""

    codes: npt.NDArray[np.int64]  # see `pair_codes`, ascending
    similarity: npt.NDArray[np.float64]

    def at_least(self, threshold: float) -> npt.NDArray[np.int64]:
        """The codes of the pairs of this similarity or more."""
        return self.codes[self.similarity >= threshold]


def pair_codes(left: Any, right: Any, count: int) -> npt.NDArray[np.int64]:
    """One number per pair of `count` documents, whichever of the two comes first."""
    return np.minimum(left, right) * count + np.maximum(left, right)


def pairs_of(codes: Any, count: int) -> npt.NDArray[np.int64]:
    """The pairs, shape (n, 2), that numbers of `pair_codes` stand for."""
    return np.stack([codes // count, codes % count], axis=1)


def near_pairs(sets: Sequence[ShingleSet], threshold: float) -> NearPairs:
    """Every pair of `sets` of similarity `threshold` or more."""
    lengths = np.array([len(s) for s in sets], np.int64)
    owner = np.repeat(np.arange(len(sets)), lengths)
    distinct, number, frequency = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    by_rarity = np.lexsort((distinct, frequency))
    rank = np.empty(len(distinct), np.int64)
    rank[by_rarity] = np.arange(len(distinct))
    ranks = rank[number]
    order = np.lexsort((ranks, owner))
    place = np.arange(len(order)) - (np.cumsum(lengths) - lengths)[owner]
    prefix = lengths - np.ceil(threshold * lengths - 1e-9).astype(np.int64) + 1
    is_indexed = (place < prefix[owner]) & (frequency[by_rarity][ranks[order]] > 1)
    shingle, document = ranks[order][is_indexed], owner[is_indexed]
    by_shingle = np.lexsort((document, shingle))
    candidates = _pairs_within(shingle[by_shingle], document[by_shingle], lengths, threshold)
    similarity = jaccard_pairs(sets, pairs_of(candidates, len(sets)))
    is_near = similarity >= threshold
    return NearPairs(candidates[is_near], similarity[is_near])


def _pairs_within(keys: Any, documents: Any, lengths: Any, threshold: float) -> Any:
    """Codes of the pairs that share a key and whose lengths allow the similarity; `keys` ascending."""
    found, pending, size = np.empty(0, np.int64), list[Any](), 0
    for members in groups(keys, documents):
        left, right = all_pairs(members)
        can = np.minimum(lengths[left], lengths[right]) >= threshold * np.maximum(lengths[left], lengths[right])
        pending.append(pair_codes(left[can], right[can], len(lengths)))
        size += len(pending[-1])
        if size > _PENDING_PAIRS:
            found, pending, size = np.unique(np.concatenate([found, *pending])), [], 0
    return np.unique(np.concatenate([found, *pending]))


def groups(keys: Any, members: Any) -> list[Any]:
    """The members of each run of equal keys that has two or more."""
    if not len(keys):
        return []
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    lengths = np.diff(np.r_[starts, len(keys)])
    return [members[s : s + n] for s, n in zip(starts[lengths > 1], lengths[lengths > 1], strict=True)]


def all_pairs(members: Any) -> tuple[Any, Any]:
    """Both sides of all pairs of `members`."""
    i, j = np.triu_indices(len(members), 1)
    return members[i], members[j]
