"""Which corpus each draw of the mixture comes from: exact proportions at every moment, no state.

The i-th sequence drawn from a corpus of proportion p is due at time (i + 1/2) / p, and draws happen in the
order of their times, so that after any number of draws t a corpus has had p·t of them, give or take less
than the number of corpora. How many were due before a time is a division, so any draw is found in O(1).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


class Schedule:
    """Draw number → (corpus number, how many times that corpus was drawn before)."""

    def __init__(self, proportions: Sequence[float]) -> None:
        if not proportions or min(proportions) <= 0:
            raise ValueError("every corpus of a mixture needs a proportion above 0")
        self._rates = np.array(proportions, dtype=np.float64) / sum(proportions)

    def draws(self, start: int, stop: int) -> tuple[Int64s, Int64s]:
        """Draws start…stop-1: the corpus of each, and its ordinal among that corpus's draws; int64 both."""
        if len(self._rates) == 1:
            return np.zeros(stop - start, np.int64), np.arange(start, stop, dtype=np.int64)
        slack = len(self._rates) + 1
        first = self._due_before(start - slack)
        last = self._due_before(stop + slack)
        corpus = np.repeat(np.arange(len(first)), last - first)
        begins = np.concatenate([[0], np.cumsum(last - first)[:-1]])
        ordinal = np.arange(len(corpus), dtype=np.int64) - begins[corpus] + first[corpus]
        order = np.argsort(self._time(corpus, ordinal), kind="stable")  # ties: the corpus named first
        skipped = int(first.sum())
        wanted = order[start - skipped : stop - skipped]
        return corpus[wanted].astype(np.int64), ordinal[wanted]

    def _time(self, corpus: Int64s, ordinal: Int64s) -> npt.NDArray[np.float64]:
        return (ordinal + 0.5) / self._rates[corpus]

    def _due_before(self, time: float) -> Int64s:
        """How many draws of each corpus have a time below `time`, by the very comparison that sorts them."""
        corpora = np.arange(len(self._rates))
        count = np.maximum(np.ceil(self._rates * time - 0.5), 0).astype(np.int64)
        count += self._time(corpora, count) < time
        count -= (count > 0) & (self._time(corpora, count - 1) >= time)
        return count
