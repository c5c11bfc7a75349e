"""Find personal data in a text and put placeholders in its place."""

from collections.abc import Iterable, Sequence

from pipelines.filters.recognizers import Recognizer, Span


def find(text: str, recognizers: Sequence[Recognizer], score_threshold: float) -> list[Span]:
    """What the recognizers find with at least `score_threshold`, without overlaps, by position."""
    found = (span for recognizer in recognizers for span in recognizer.find(text))
    return resolve(span for span in found if span.score >= score_threshold)


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


def placeholder(entity: str) -> str:
    """What stands in for a finding, as Presidio writes it: `<EMAIL_ADDRESS>`."""
    return f"<{entity}>"


def replace(text: str, spans: Sequence[Span]) -> str:
    """`text` with a placeholder for each of `spans`, which `resolve` made."""
    pieces: list[str] = []
    position = 0
    for span in spans:
        pieces += (text[position : span.start], placeholder(span.entity))
        position = span.end
    return "".join(pieces) + text[position:]
