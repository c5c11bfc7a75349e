"""A seeded shuffle of 0…n-1 that is computed, never stored, and undone as easily.

A Feistel network permutes the numbers of 2k bits; numbers at or above n are sent through again until they
fall below it (cycle walking, Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains"), which permutes
exactly 0…n-1. At most four numbers are walked for each one wanted, since 2^2k < 4n.
"""

import hashlib

import numpy as np
import numpy.typing as npt

_ROUNDS = 8  # four make a pseudo-random permutation of a large domain (Luby & Rackoff 1988); small ones need more
# Odd 64-bit constants that spread every input bit over the product: 2^64 / golden ratio, and a prime.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_SPREAD_MORE = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)

UInt64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]


class Permutation:
    """A permutation of 0…size-1 chosen by `key`; position → number and back, in any order, in O(1) each."""

    def __init__(self, size: int, key: str) -> None:
        if not 1 <= size < 1 << 62:
            raise ValueError(f"a permutation takes 1 to 2^62 numbers, not {size}")
        self.size = size
        half_bits = max(((size - 1).bit_length() + 1) // 2, 1)
        self._half = np.uint64(half_bits)
        self._mask = np.uint64((1 << half_bits) - 1)
        digest = hashlib.shake_256(key.encode()).digest(8 * _ROUNDS)
        self._keys = np.frombuffer(digest, dtype="<u8").astype(np.uint64)

    def __call__(self, positions: Int64s) -> Int64s:
        """The numbers at `positions`; shape as given, each position in 0…size-1."""
        return self._walk(positions, is_inverse=False)

    def positions(self, numbers: Int64s) -> Int64s:
        """Where `numbers` stand: the inverse; shape as given, each number in 0…size-1."""
        return self._walk(numbers, is_inverse=True)

    def _walk(self, values: Int64s, *, is_inverse: bool) -> Int64s:
        network = self._undo if is_inverse else self._network
        found = network(values.astype(np.uint64))
        outside = np.flatnonzero(found >= self.size)
        while len(outside):
            found[outside] = network(found[outside])
            outside = outside[found[outside] >= self.size]
        return found.astype(np.int64)

    def _network(self, numbers: UInt64s) -> UInt64s:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ self._round(right, key)
        return (left << self._half) | right

    def _undo(self, numbers: UInt64s) -> UInt64s:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys[::-1]:
            left, right = right ^ self._round(left, key), left
        return (left << self._half) | right

    def _round(self, half: UInt64s, key: np.uint64) -> UInt64s:
        mixed = (half + key) * _SPREAD
        mixed ^= mixed >> _SHIFT
        mixed *= _SPREAD_MORE
        mixed >>= _SHIFT
        mixed &= self._mask
        return mixed
