"""What recognizers find: spans of a text, and how those that overlap become one."""

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """One finding."""

    start: int
    end: int  # exclusive
    entity: str
    score: float


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Join overlapping spans, so that no piece of any is left over; the order given does not matter.

    The joined span has the entity of the surest of them; of equally sure ones the longest; then the first by
    name.
    """
    joined: list[tuple[int, int, Span]] = []
    for span in sorted(spans):
        if joined and span.start < joined[-1][1]:
            start, end, best = joined[-1]
            joined[-1] = start, max(end, span.end), min(best, span, key=_rank)
        else:
            joined.append((span.start, span.end, span))
    return [Span(start, end, best.entity, best.score) for start, end, best in joined]


def _rank(span: Span) -> tuple[float, int, str, int]:
    return -span.score, span.start - span.end, span.entity, span.start
