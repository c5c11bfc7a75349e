"""FineWeb's own rules: does the page read like paragraphs, or like a menu, a list or a template?

Penedo et al. 2024, arXiv:2406.17557, "Developing additional heuristic filters". Two limits follow the
published code (datatrove's FineWebQualityFilter, which made the data set), not the paper: repeated lines
may hold 0.01 of the characters (the paper says 0.1), and the paper has no limit on line breaks per word.
"""

from dataclasses import dataclass

import pyarrow as pa

from gristmill.core.settings import scoring
from pipelines.decisions import Rule
from pipelines.filters.gopher_repetition import duplicates
from pipelines.filters.punctuation import TERMINAL

FAMILY = "fineweb"

_SIGNALS: dict[str, pa.DataType] = {
    "lines": pa.int32(),
    "punctuated_lines": pa.float32(),
    "short_lines": pa.float32(),
    "duplicate_line_characters": pa.float32(),
    "line_breaks": pa.float32(),
}
COLUMNS: dict[str, pa.DataType] = {
    **{f"fineweb_{name}": type_ for name, type_ in _SIGNALS.items()},  # of the text as it was extracted
    **{f"fineweb_edited_{name}": type_ for name, type_ in _SIGNALS.items()},  # of what C4's line rules leave of it
}

REASONS: dict[str, str] = {
    "fineweb.empty": "no line holds anything but whitespace",
    "fineweb.punctuated_lines": "too few lines end a sentence",
    "fineweb.short_lines": "too many lines are short",
    "fineweb.duplicate_line_characters": "too much of the text lies in repeated lines",
    "fineweb.line_breaks": "too many line breaks for its words, as in a list",
}


@dataclass(frozen=True)
class FineWebSettings:
    """Limits of arXiv:2406.17557, or of its code where the two differ (see the module's docstring)."""

    min_punctuated_lines: float = 0.12  # share of lines that end in terminal punctuation
    max_short_lines: float = 0.67  # share of lines
    short_line_characters: int = scoring(30)  # a line of so many code points or fewer is short
    max_fineweb_duplicate_line_characters: float = 0.01  # code default; the paper: 0.1
    max_line_breaks: float = 0.3  # per word; code default, not in the paper


def rules(settings: FineWebSettings, *, is_edited: bool = False) -> tuple[Rule, ...]:
    """The rules in the order they are asked, of the text as it was extracted or of what C4's line rules leave of it."""
    s = settings
    prefix = "fineweb_edited_" if is_edited else "fineweb_"
    return (
        Rule("fineweb.empty", f"{prefix}lines", "<", 1),
        Rule("fineweb.punctuated_lines", f"{prefix}punctuated_lines", "<", s.min_punctuated_lines),
        Rule("fineweb.short_lines", f"{prefix}short_lines", ">", s.max_short_lines),
        Rule(
            "fineweb.duplicate_line_characters",
            f"{prefix}duplicate_line_characters",
            ">",
            s.max_fineweb_duplicate_line_characters,
        ),
        Rule("fineweb.line_breaks", f"{prefix}line_breaks", ">", s.max_line_breaks),
    )


def signals(
    text: str, words: int, edited: str, edited_words: int, settings: FineWebSettings
) -> dict[str, float | None]:
    """Every column of COLUMNS for one text, and for what C4 leaves of it, with their numbers of words."""
    found = _measured(text, words, settings)
    found_edited = found if edited == text else _measured(edited, edited_words, settings)
    return {
        **{f"fineweb_{name}": value for name, value in found.items()},
        **{f"fineweb_edited_{name}": value for name, value in found_edited.items()},
    }


def _measured(text: str, words: int, settings: FineWebSettings) -> dict[str, float | None]:
    """Every signal of one text of so many words; None where a share has nothing to be a share of."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    found: dict[str, float | None] = dict.fromkeys(_SIGNALS)
    found["lines"] = len(lines)
    if lines:
        breaks = text.count("\n")
        found["punctuated_lines"] = sum(line[-1] in TERMINAL for line in lines) / len(lines)
        found["short_lines"] = sum(len(line) <= settings.short_line_characters for line in lines) / len(lines)
        found["duplicate_line_characters"] = duplicates(lines)[1] / (len(text) - breaks)
        found["line_breaks"] = breaks / words
    return found
