"""Where the lines and whitespace-separated chunks of texts lie, by array arithmetic over their UTF-8.

The same lines as str.splitlines and the same chunks as str.split find, whose rules Python does not offer as
tables: they are asked once for each character that may matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

_LAST_SPACE = 0x3000  # ideographic space: no later code point is whitespace
_SPACES = [character for character in map(chr, range(_LAST_SPACE + 1)) if character.isspace()]
_BREAKS = frozenset(space for space in _SPACES if len(f"a{space}b".splitlines()) > 1)


def _table(is_wanted: Iterable[bool]) -> bytes:
    """For bytes.translate: 1 for each byte that is wanted, 0 for any other."""
    return bytes(map(int, is_wanted))


_IS_SPACE = _table(chr(byte) in _SPACES and byte < 128 for byte in range(256))
_IS_BREAK = _table(chr(byte) in _BREAKS and byte < 128 for byte in range(256))
_WIDE = {space.encode(): space in _BREAKS for space in _SPACES if space > "\x7f"}
_IS_WIDE_FIRST = _table(any(space[0] == byte for space in _WIDE) for byte in range(256))

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
        is_space, is_break = _among(data, _IS_SPACE), _among(data, _IS_BREAK)
        _mark_wide(data, is_space, is_break)
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
        # A few breaks looked up among the many chunks, not the other way round.
        chunks_before = np.searchsorted(starts, breaks)
        chunk_lines = np.repeat(np.arange(len(breaks) + 1), np.diff(chunks_before, prepend=0, append=len(starts)))
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


def _among(data: npt.NDArray[np.uint8], table: bytes) -> npt.NDArray[np.bool_]:
    """Of each byte, whether `table` has it."""
    return np.frombuffer(bytearray(data.data).translate(table), np.bool_)


def _mark_wide(data: npt.NDArray[np.uint8], is_space: npt.NDArray[np.bool_], is_break: npt.NDArray[np.bool_]) -> None:
    """Mark whitespace of several bytes in `is_space`, and in `is_break` the last byte of what breaks a line."""
    firsts = np.flatnonzero(_among(data, _IS_WIDE_FIRST))
    if not len(firsts):
        return
    padded = np.concatenate((data, np.zeros(2, np.uint8))).astype(np.int32)
    second, third = padded[firsts + 1], padded[firsts + 2]
    two = padded[firsts] << 8 | second
    codes = {2: two, 3: two << 8 | third}
    for space, breaks in _WIDE.items():
        found = firsts[codes[len(space)] == int.from_bytes(space, "big")]
        for place in range(len(space)):
            is_space[found + place] = True
        if breaks:
            is_break[found + len(space) - 1] = True


def _starts_of(sizes: Integers) -> Integers:
    """Where each of several ranges begins, and the end, if each begins where the one before ends."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
