"""MinHash signatures equal to datasketch's, many documents at a time.

datasketch 2.0 (scheme "affine32") hashes a shingle with the first 32 bits of SHA-1, mixes them with
MurmurHash3's finaliser, and takes as the i-th value of a signature the least of a[i]*h + b[i] mod 2^32
over the shingles. Here each document's shingles are hashed in one pass and the permutations are applied
to all documents of a block at once. Broder, "On the resemblance and containment of documents", 1997.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK_HASHES = 1 << 16  # shingle hashes permuted at once: 256 KiB, so that a block stays in the L2 cache
Hashes = npt.NDArray[np.uint32]


@lru_cache
def permutations(count: int, seed: int) -> tuple[Hashes, Hashes]:
    """The multipliers (odd) and offsets of `count` permutations of the 32-bit integers, as datasketch draws them."""
    generator = np.random.RandomState(seed)
    multipliers = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    offsets = generator.randint(0, 1 << 32, count, dtype=np.uint32)
    return multipliers, offsets


def shingle_hashes(normalised: str, words: int) -> Hashes:
    """Mixed 32-bit hashes of the distinct runs of `words` words; one run of them all where there are fewer.

    A short text thus equals exactly the texts that have the same words, which is what its content hash
    says too; leaving it without a signature would say the same, but for readers it would look like a gap.
    """
    data = normalised.encode("utf-8", "surrogatepass")
    if not data:
        return np.empty(0, np.uint32)
    spaces = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(" "))
    starts = np.concatenate([[0], spaces + 1])
    ends = np.concatenate([spaces, [len(data)]])
    run = min(words, len(starts))
    bounds = zip(starts[: len(starts) - run + 1].tolist(), ends[run - 1 :].tolist(), strict=True)
    sha1 = hashlib.sha1
    digests = b"".join([sha1(s, usedforsecurity=False).digest() for s in {data[start:end] for start, end in bounds}])
    return _mixed(np.frombuffer(digests, "<u4").reshape(-1, 5)[:, 0].astype(np.uint32))


def _mixed(hashes: Hashes) -> Hashes:
    """MurmurHash3's 32-bit finaliser (Appleby, public domain)."""
    hashes = hashes ^ (hashes >> np.uint32(16))
    hashes = hashes * np.uint32(0x85EBCA6B)
    hashes = hashes ^ (hashes >> np.uint32(13))
    hashes = hashes * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


def signatures(documents: Sequence[Hashes], count: int, seed: int) -> Hashes:
    """Signatures, one row of `count` values per document; every document must have at least one hash."""
    out = np.empty((len(documents), count), np.uint32)
    first = 0
    while first < len(documents):
        last, size = first, 0
        while last < len(documents) and (last == first or size + len(documents[last]) <= BLOCK_HASHES):
            size += len(documents[last])
            last += 1
        _sign_block(documents[first:last], out[first:last], *permutations(count, seed))
        first = last
    return out


def _sign_block(documents: Sequence[Hashes], out: Hashes, multipliers: Hashes, offsets: Hashes) -> None:
    hashes = np.concatenate(documents)
    lengths = [len(document) for document in documents]
    starts: Any = np.concatenate([[0], np.cumsum(lengths[:-1])]).astype(np.int64)
    permuted = np.empty_like(hashes)
    for index in range(len(multipliers)):
        np.multiply(hashes, multipliers[index], out=permuted)
        np.add(permuted, offsets[index], out=permuted)
        out[:, index] = np.minimum.reduceat(permuted, starts)
