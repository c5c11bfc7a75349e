"""Where a text's lines and whitespace-separated chunks lie, by array arithmetic over its code points.

The same lines as str.splitlines and the same chunks as str.split find, whose rules Python does not offer as
tables: they are asked once for each code point that may matter.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

_LAST_SPACE = 0x3000  # ideographic space: no later code point is whitespace
_IS_SPACE = np.array([chr(code).isspace() for code in range(_LAST_SPACE + 2)])
_IS_BREAK = np.array([len(f"a{chr(code)}b".splitlines()) > 1 for code in range(_LAST_SPACE + 1)])


@dataclass(frozen=True)
class Layout:
    """Lines and chunks of one text."""

    line_sizes: npt.NDArray[np.int64]  # chunks of each line
    chunk_lines: npt.NDArray[np.int64]  # the line of each chunk
    is_behind_gap: npt.NDArray[np.bool_]  # of each chunk: more or other whitespace than a space before it in its line
    codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint32]  # code points of all chunks, without anything between

    @classmethod
    def of(cls, text: str, lines: int) -> Self:
        """The layout of `text`, which str.splitlines cuts into so many lines."""
        if text.isascii():
            codes = np.frombuffer(text.encode(), np.uint8)
            is_space = _IS_SPACE[codes]
        else:
            codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
            is_space = _IS_SPACE[np.minimum(codes, _LAST_SPACE + 1)]
        is_start = ~is_space
        is_start[1:] &= is_space[:-1]
        starts = np.flatnonzero(is_start)
        spaces = np.flatnonzero(is_space)
        breaks = spaces[_IS_BREAK[codes[spaces]]]
        is_first_half = (codes[breaks] == 13) & (codes[np.minimum(breaks + 1, len(codes) - 1)] == 10)
        breaks = breaks[~is_first_half]  # "\r\n" is one
        chunk_lines = np.searchsorted(breaks, starts)
        is_single_space = (codes[np.maximum(starts - 1, 0)] == 32) & ~is_space[np.maximum(starts - 2, 0)]
        is_behind_gap = ~is_single_space
        is_behind_gap[:1] = False
        is_behind_gap[1:] &= chunk_lines[1:] == chunk_lines[:-1]
        return cls(np.bincount(chunk_lines, minlength=lines), chunk_lines, is_behind_gap, codes[~is_space])

    @property
    def first_chunks(self) -> list[int]:
        """The first chunk of each line that has any."""
        sizes = self.line_sizes
        return (np.cumsum(sizes) - sizes)[sizes > 0].tolist()
