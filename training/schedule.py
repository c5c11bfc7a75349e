"""Which source each draw of the mixture comes from: exact proportions at every moment, no state, no rounding.

One pass over the mixture draws a source D times, T draws in all. The source's i-th draw is due at time
(2i + 1)·T / 2D, and draws happen in the order of their times, so that after any number of draws t a source has
had t·D/T of them, give or take less than the number of sources, and after each pass exactly D. How many were
due before a time is a division, so any draw is found, and any draw's number, without those before it.

All of it is in integers, so that nothing depends on where a run is cut or how large the mixture is: times are
cut off at 1/2^20 of a draw (ties: the source named first), and what would not fit 64 bits is Python's.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_FINE = 20  # bits behind the point of a time
_BLOCK = 1 << 12  # draws found at a time: with it and _MOST_DRAWS no product passes 2^63
_MOST_DRAWS = 1 << 44
_FAR = 1 << 62  # a time beyond every block

Int64s = npt.NDArray[np.int64]


class Schedule:
    """Draw number → (source number, how many times that source was drawn before), and back.

    Args:
        draws: of each source in one pass, whole numbers above 0. Only their ratio matters.
    """

    def __init__(self, draws: Sequence[int]) -> None:
        if not draws or min(draws) <= 0:
            raise ValueError("every source of a mixture needs a draw in each pass")
        self._counts = tuple(int(d) for d in draws)
        self._total = sum(self._counts)
        if self._total > _MOST_DRAWS:
            raise ValueError(f"{self._total} draws in one pass are more than 2^44")
        # A source's draws are whole + part / (2·D) fine steps of time apart.
        self._whole = np.array([min((self._total << _FINE) // d, _FAR) for d in self._counts], np.int64)
        self._part = np.array([2 * ((self._total << _FINE) % d) for d in self._counts], np.int64)
        self._twice = np.array([2 * d for d in self._counts], np.int64)

    def draws(self, start: int, stop: int) -> tuple[Int64s, Int64s]:
        """Draws start…stop-1: the source of each, and its ordinal among that source's draws; int64 both."""
        if len(self._counts) == 1:
            return np.zeros(stop - start, np.int64), np.arange(start, stop, dtype=np.int64)
        blocks = [self._block(b, min(b + _BLOCK, stop)) for b in range(start, stop, _BLOCK)]
        if len(blocks) == 1:
            return blocks[0]
        empty = np.empty(0, np.int64)
        return (
            np.concatenate([empty, *(source for source, _ in blocks)]),
            np.concatenate([empty, *(ordinal for _, ordinal in blocks)]),
        )

    def draw_number(self, source: int, ordinal: int) -> int:
        """The number of a source's draw `ordinal` among the draws of all; the inverse of `draws`, O(sources)."""
        if len(self._counts) == 1:
            return ordinal
        time = self._time(source, ordinal)
        return ordinal + sum(
            self._due_before(other, time + (other < source)) for other in range(len(self._counts)) if other != source
        )

    def _block(self, start: int, stop: int) -> tuple[Int64s, Int64s]:
        sources = range(len(self._counts))
        # Each source is at most half a draw off its share, so these times enclose all draws wanted.
        slack = len(self._counts) // 2 + 1
        begin, end = max(start - slack, 0) << _FINE, (stop + slack) << _FINE
        first = [self._due_before(c, begin) for c in sources]
        number = np.array([self._due_before(c, end) - i for c, i in zip(sources, first, strict=True)], np.int64)
        source = np.repeat(np.arange(len(first)), number)
        nth = np.arange(len(source), dtype=np.int64) - (np.cumsum(number) - number)[source]
        # Time relative to `begin`, as `_time` has it: what the first draw is behind it, and so many steps more.
        behind = [divmod((2 * i + 1) * (self._total << _FINE), 2 * d) for i, d in zip(first, self._counts, strict=True)]
        offset = np.array([min(whole - begin, _FAR) for whole, _ in behind], np.int64)
        rest = np.array([part for _, part in behind], np.int64)
        time = offset[source] + nth * self._whole[source]
        time += (rest[source] + nth * self._part[source]) // self._twice[source]
        order = np.argsort(time, kind="stable")
        skipped = sum(first)
        chosen = order[start - skipped : stop - skipped]
        return source[chosen], np.array(first, np.int64)[source[chosen]] + nth[chosen]

    def _time(self, source: int, ordinal: int) -> int:
        return (2 * ordinal + 1) * (self._total << _FINE) // (2 * self._counts[source])

    def _due_before(self, source: int, time: int) -> int:
        """How many draws of a source have a time below `time`: the i with (2i + 1)·T / 2D < time."""
        twice = 2 * (self._total << _FINE)
        return max(-((twice // 2 - 2 * self._counts[source] * time) // twice), 0)
