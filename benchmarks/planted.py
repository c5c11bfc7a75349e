"""Made documents with planted clusters of known members: what `duplicate_clusters` has to find, and nothing else.

Documents are runs of random words, 70 of a vocabulary of 50,000, so that no two meet by chance. A cluster has one such
text, copies of it, and texts with another first or last word (similarity 0.97 with the first text, 0.94 or more with
each other). The chain is a window that moves over one long run of words, a word further for each link: neighbours are
alike (0.97), documents 70 links apart have nothing in common.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.schema import DOCUMENT_SCHEMA

WORDS = 70
VOCABULARY = 50_000
# Of each 10,000 documents: how many clusters of each size; and one of the largest for every 100,000.
CLUSTERS = ((2, 400), (3, 100), (5, 40), (10, 20), (50, 6), (200, 1))
LARGEST, LARGEST_EVERY = 1_000, 100_000
COPY_EVERY = 5  # members of a cluster are exact copies of its first


@dataclass(frozen=True)
class Plan:
    """For each document, by number, what it is made of; the same numbers give the same texts."""

    cluster: Any  # number of the planted cluster, int64; documents of one number belong together
    member: Any  # place in it; in the chain, the link

    def __len__(self) -> int:
        return len(self.cluster)


def plan(documents: int, chain: int, new: int = 0, seed: int = 1) -> Plan:
    """`documents` documents, then `new` later ones, of which half belong to clusters of the first.

    The chain is cluster 0; a cluster of one is a document of its own. Order is random, but for the later ones.
    """
    order = np.random.default_rng(seed)
    sizes = [size for size, count in CLUSTERS for _ in range(max(1, count * (documents - chain) // 10_000))]
    sizes += [LARGEST] * (documents // LARGEST_EVERY)
    lengths = np.array([chain, *sizes, *[1] * (documents - chain - sum(sizes))], np.int64)
    assert lengths.sum() == documents, "too few documents for the clusters and the chain"
    cluster = np.repeat(np.arange(len(lengths)), lengths)
    member = np.arange(documents) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    shuffled = order.permutation(documents)
    known, fresh = new // 2, new - new // 2
    again = order.choice(np.arange(1, len(lengths)), known)  # maybe a cluster twice: members differ by their number
    return Plan(
        np.concatenate([cluster[shuffled], again, len(lengths) + np.arange(fresh) // 2]),
        np.concatenate([member[shuffled], documents + np.arange(known), np.arange(fresh) % 2]),
    )


def document_id(number: int) -> str:
    """The id of a document; ids are in another order than numbers."""
    return f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}{number:016x}"


def document_number(doc_id: str) -> int:
    """The number that `document_id` was given."""
    return int(doc_id[16:], 16)


def batches(made: Plan, start: int, end: int, rows: int = 4096) -> Iterator[pa.RecordBatch]:
    """Documents `start` to `end` (DOCUMENT_SCHEMA)."""
    vocabulary: Any = pa.array([f"w{number:x}" for number in range(VOCABULARY)])
    for first in range(start, end, rows):
        cluster, member = made.cluster[first : min(first + rows, end)], made.member[first : min(first + rows, end)]
        words = _words(cluster, member)
        flat = vocabulary.take(pa.array(words.ravel()))
        bounds = pa.array(np.arange(0, words.size + 1, WORDS), pa.int32())
        text: Any = cast(Any, pc).binary_join(pa.ListArray.from_arrays(bounds, flat), " ")
        ids = pa.array([document_id(number) for number in range(first, first + len(words))])
        empty = pa.RecordBatch.from_pylist([{}] * len(words), DOCUMENT_SCHEMA.remove(0))
        columns = {"doc_id": ids, "text": text.cast(pa.large_string())}
        yield pa.record_batch(
            [columns[f.name] if f.name in columns else empty.column(f.name) for f in DOCUMENT_SCHEMA],
            schema=DOCUMENT_SCHEMA,
        )


def _words(cluster: Any, member: Any) -> Any:
    """Numbers of words, shape (documents, WORDS)."""
    place = np.arange(WORDS, dtype=np.uint64)
    stream, offset = cluster.astype(np.uint64)[:, None], np.where(cluster == 0, member, 0).astype(np.uint64)[:, None]
    words = _random(stream, offset + place)
    is_edited = (cluster != 0) & (member % COPY_EVERY != 0)
    edited = np.flatnonzero(is_edited)
    where = np.where(member[edited] % 2 == 0, 0, WORDS - 1)
    words[edited, where] = _random(stream[edited, 0] + np.uint64(1 << 40), member[edited].astype(np.uint64))
    return words


def _random(stream: Any, place: Any) -> Any:
    """A number of a word for each place of each stream (SplitMix64's mixer: Steele, Lea, Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        value = stream * np.uint64(0xD1342543DE82EF95) + place * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
        value ^= value >> np.uint64(31)
    return (value % np.uint64(VOCABULARY)).astype(np.int64)


def wrongly_clustered(made: Plan, representative: Any) -> int:
    """Documents whose found cluster has not exactly the planted members; 0 when all is as planned.

    Args:
        made: the plan.
        representative: number of the document that represents each document, its own where nothing repeats it.
    """
    pairs = np.stack([made.cluster, representative], axis=1)
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    _, planted, of_planted = np.unique(distinct[:, 0], return_inverse=True, return_counts=True)
    _, found, of_found = np.unique(distinct[:, 1], return_inverse=True, return_counts=True)
    is_right = (of_planted[planted] == 1) & (of_found[found] == 1)
    return int(np.count_nonzero(~is_right[which.ravel()]))
