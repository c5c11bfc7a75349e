"""Where the lines and whitespace-separated chunks of texts lie, by array arithmetic over their UTF-8.

The same lines as str.splitlines and the same chunks as str.split find, whose rules Python does not offer as
tables: they are asked once for each character that may matter.
"""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

_LAST_SPACE = 0x3000  # ideographic space: no later code point is whitespace
_SPACES = [character for character in map(chr, range(_LAST_SPACE + 1)) if character.isspace()]
_BREAKS = frozenset(space for space in _SPACES if len(f"a{space}b".splitlines()) > 1)
_IS_SPACE = np.array([chr(byte) in _SPACES and byte < 128 for byte in range(256)])
_IS_BREAK = np.array([chr(byte) in _BREAKS and byte < 128 for byte in range(256)])
_WIDE_SPACE = re.compile("|".join(space for space in _SPACES if space > "\x7f").encode())
_WIDE_BREAKS = frozenset(space.encode() for space in _BREAKS if space > "\x7f")

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Lines and chunks of several texts, one after the other, numbered through all of them."""

    chunks: npt.NDArray[np.uint8]  # UTF-8 of all chunks, without anything between
    bounds: npt.NDArray[np.int32]  # where each chunk begins there, and the end
    chunk_lines: Integers  # the line of each chunk
    is_behind_gap: npt.NDArray[np.bool_]  # of each chunk: more or other whitespace than a space before it in its line
    first_chunks: Integers  # of each text, and their number
    first_lines: Integers  # likewise

    @classmethod
    def of(cls, data: npt.NDArray[np.uint8], texts: Integers) -> Self:
        """The layout of texts in UTF-8.

        Args:
            data: all texts, one directly after the other.
            texts: where each begins, and the end.
        """
        is_space, is_break = _IS_SPACE[data], _IS_BREAK[data]
        for found in _WIDE_SPACE.finditer(data.data):  # empty, where all is ASCII
            is_space[found.start() : found.end()] = True
            is_break[found.end() - 1] = found[0] in _WIDE_BREAKS
        is_start = ~is_space
        is_start[1:] &= is_space[:-1]
        beginnings = texts[:-1][texts[:-1] < texts[1:]]
        is_start[beginnings] = ~is_space[beginnings]
        starts = np.flatnonzero(is_start)
        breaks = np.flatnonzero(is_break)
        carriage = breaks[data[breaks] == 13]
        carriage = carriage[data[np.minimum(carriage + 1, len(data) - 1)] == 10]
        carriage = carriage[~np.isin(carriage + 1, texts)]
        breaks = breaks[~np.isin(breaks, carriage)]  # "\r\n" is one
        is_break[carriage] = False
        breaks_before = np.searchsorted(breaks, texts)
        lines = np.diff(breaks_before)
        lines[texts[:-1] < texts[1:]] += ~is_break[texts[1:][texts[:-1] < texts[1:]] - 1]  # an end without a break
        first_lines, first_chunks = _starts_of(lines), np.searchsorted(starts, texts)
        chunk_lines = np.searchsorted(breaks, starts)
        chunk_lines += np.repeat(first_lines[:-1] - breaks_before[:-1], np.diff(first_chunks))
        is_single_space = (data[np.maximum(starts - 1, 0)] == 32) & ~is_space[np.maximum(starts - 2, 0)]
        is_behind_gap = ~is_single_space
        is_behind_gap[:1] = False
        is_behind_gap[1:] &= chunk_lines[1:] == chunk_lines[:-1]
        chunks = data[~is_space]
        bounds = np.empty(len(starts) + 1, np.int32)
        bounds[:-1] = starts - np.cumsum(is_space, dtype=np.int32)[starts]
        bounds[-1] = len(chunks)
        return cls(chunks, bounds, chunk_lines, is_behind_gap, first_chunks, first_lines)

    @property
    def line_sizes(self) -> Integers:
        """Chunks of each line."""
        return np.bincount(self.chunk_lines, minlength=int(self.first_lines[-1]))


def _starts_of(sizes: Integers) -> Integers:
    """Where each of several ranges begins, and the end, if each begins where the one before ends."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
