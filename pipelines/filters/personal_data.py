"""Put placeholders in the place of personal data."""

from collections.abc import Sequence

from pipelines.filters.recognizer_spans import Span, resolve

__all__ = ["Span", "placeholder", "replace", "resolve"]


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
