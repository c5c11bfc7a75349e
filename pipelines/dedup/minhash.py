"""MinHash signatures of many documents at a time: the least value of each permutation over a document's shingles.

Three families of permutations (Broder, "On the resemblance and containment of documents", 1997), each applied to all
documents of a block at once:

affine   a·h + b modulo 2^32, a odd, after MurmurHash3's finaliser: datasketch 2's "affine32"
wrapped  ((a·h + b) modulo 2^64) modulo 2^61 - 1: datatrove's; its product wraps before it is reduced
legacy   the same of 32-bit hashes, cut to 32 bits: datasketch 1's
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipelines.dedup.schemes import Parameters
from pipelines.dedup.shingles import Hashes, Shingles

Family = Literal["affine", "wrapped", "legacy"]
Matrix = npt.NDArray[Any]  # one row of MinHash values per document
BLOCK_HASH_BYTES = 1 << 18  # of hashes permuted at once, so that they and what is made of them stay in the L2 cache
_FAMILIES: dict[str, Family] = {
    "datatrove": "wrapped",
    "fineweb": "wrapped",
    "datasketch_legacy": "legacy",
    "slimpajama": "legacy",
}
_PRIME = np.uint64((1 << 61) - 1)


def family(parameters: Parameters) -> Family:
    """The permutations of the scheme."""
    return _FAMILIES.get(parameters.scheme, "affine")


@lru_cache
def permutations(kind: Family, count: int, seed: int) -> tuple[Hashes, Hashes]:
    """The multipliers and offsets of `count` permutations, as datasketch and datatrove draw theirs."""
    generator = np.random.RandomState(seed)
    if kind == "affine":
        multipliers = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        return multipliers, generator.randint(0, 1 << 32, count, dtype=np.uint32)
    if kind == "wrapped":
        multipliers = generator.randint(1, _PRIME, count, dtype=np.uint64)
        return multipliers, generator.randint(0, _PRIME, count, dtype=np.uint64)
    drawn = [generator.randint(low, _PRIME, dtype=np.uint64) for _ in range(count) for low in (1, 0)]
    return np.array(drawn[::2], np.uint64), np.array(drawn[1::2], np.uint64)


def signatures(shingles: Shingles, parameters: Parameters) -> Matrix:
    """One row of MinHash values, little-endian, for each document that has a shingle, in order."""
    kind = family(parameters)
    hashes = _prepared(shingles.hashes, kind)
    counts = shingles.counts[shingles.counts > 0]
    out = np.empty((len(counts), parameters.permutations), f"<u{parameters.value_bytes}")
    ends = np.cumsum(counts)
    first, start = 0, 0
    while first < len(counts):
        room = start + BLOCK_HASH_BYTES // hashes.itemsize
        last = max(first + 1, int(np.searchsorted(ends, room, side="right")))
        end = int(ends[last - 1])
        starts = np.concatenate(([0], ends[first : last - 1] - start))
        _SIGNERS[kind](
            hashes[start:end], starts, out[first:last], *permutations(kind, parameters.permutations, parameters.seed)
        )
        first, start = last, end
    return out


def _prepared(hashes: Hashes, kind: Family) -> Hashes:
    if kind != "affine":
        return hashes.astype(np.uint64, copy=False)
    return mixed32(hashes if hashes.dtype == np.uint32 else (hashes >> np.uint64(32)).astype(np.uint32))


def mixed32(hashes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """MurmurHash3's 32-bit finaliser (Appleby, public domain)."""
    hashes = hashes ^ (hashes >> np.uint32(16))
    hashes *= np.uint32(0x85EBCA6B)
    hashes ^= hashes >> np.uint32(13)
    hashes *= np.uint32(0xC2B2AE35)
    hashes ^= hashes >> np.uint32(16)
    return hashes


def _sign_affine(hashes: Hashes, starts: Any, out: Matrix, multipliers: Hashes, offsets: Hashes) -> None:
    permuted = np.empty_like(hashes)
    for index in range(len(multipliers)):
        np.multiply(hashes, multipliers[index], out=permuted)
        np.add(permuted, offsets[index], out=permuted)
        out[:, index] = np.minimum.reduceat(permuted, starts)


def _sign_wrapped(hashes: Hashes, starts: Any, out: Matrix, multipliers: Hashes, offsets: Hashes) -> None:
    permuted, high = np.empty_like(hashes), np.empty_like(hashes)
    for index in range(len(multipliers)):
        _reduce(hashes, multipliers[index], offsets[index], permuted, high)
        out[:, index] = np.minimum.reduceat(permuted, starts)


def _sign_legacy(hashes: Hashes, starts: Any, out: Matrix, multipliers: Hashes, offsets: Hashes) -> None:
    permuted, high = np.empty_like(hashes), np.empty_like(hashes)
    for index in range(len(multipliers)):
        _reduce(hashes, multipliers[index], offsets[index], permuted, high)
        np.bitwise_and(permuted, np.uint64(0xFFFFFFFF), out=permuted)
        out[:, index] = np.minimum.reduceat(permuted, starts)


_SIGNERS: dict[Family, Callable[[Hashes, Any, Matrix, Hashes, Hashes], None]] = {
    "affine": _sign_affine,
    "wrapped": _sign_wrapped,
    "legacy": _sign_legacy,
}


def _reduce(hashes: Hashes, multiplier: Any, offset: Any, out: Hashes, high: Hashes) -> None:
    """(a·h + b mod 2^64) mod 2^61 - 1: the low 61 bits and the high 3 added; a division only if that is not less."""
    np.multiply(hashes, multiplier, out=out)
    np.add(out, offset, out=out)
    np.right_shift(out, np.uint64(61), out=high)
    np.bitwise_and(out, _PRIME, out=out)
    np.add(out, high, out=out)
    if out.max() >= _PRIME:  # of 10^17 values about one
        np.remainder(out, _PRIME, out=out)
