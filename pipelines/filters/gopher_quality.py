"""Gopher's quality rules: is this prose of a reasonable length, made of words?

Rae et al. 2021, arXiv:2112.11446, appendix A.1.1, "Quality Filtering". Words include punctuation marks;
a non-symbol word has a character outside `pipelines.filters.punctuation.SYMBOLS`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from gristmill.core.settings import scoring
from pipelines.decisions import Rule
from pipelines.filters.words import DocumentWords

FAMILY = "gopher_quality"
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_SPACE = re.compile(r"\s")

COLUMNS: dict[str, pa.DataType] = {
    "words": pa.int32(),
    "gopher_quality_non_symbol_words": pa.int32(),
    "gopher_quality_mean_word_length": pa.float32(),
    "gopher_quality_hashes": pa.float32(),
    "gopher_quality_ellipses": pa.float32(),
    "gopher_quality_bullet_lines": pa.float32(),
    "gopher_quality_ellipsis_lines": pa.float32(),
    "gopher_quality_alphabetic_words": pa.float32(),
    "gopher_quality_stop_words": pa.int32(),
}

REASONS: dict[str, str] = {
    "gopher_quality.too_few_words": "too few words",
    "gopher_quality.too_many_words": "too many words",
    "gopher_quality.short_words": "its words are too short on average",
    "gopher_quality.long_words": "its words are too long on average",
    "gopher_quality.hashes": "too many hash signs for its words",
    "gopher_quality.ellipses": "too many ellipses for its words",
    "gopher_quality.bullet_lines": "nearly every line starts with a bullet",
    "gopher_quality.ellipsis_lines": "too many lines end in an ellipsis",
    "gopher_quality.alphabetic_words": "too few words have a letter",
    "gopher_quality.stop_words": "too few of the common English words occur",
}


@dataclass(frozen=True)
class GopherQualitySettings:
    """Limits of arXiv:2112.11446, appendix A.1.1."""

    min_words: int = 50  # non-symbol words
    max_words: int = 100_000
    min_mean_word_length: float = 3.0  # code points of a non-symbol word
    max_mean_word_length: float = 10.0
    max_hashes: float = 0.1  # per word
    max_ellipses: float = 0.1  # per word
    max_bullet_lines: float = 0.9  # share of lines
    max_ellipsis_lines: float = 0.3  # share of lines
    min_alphabetic_words: float = 0.8  # share of words
    min_stop_words: int = 2  # distinct ones that occur
    stop_words: tuple[str, ...] = scoring(("the", "be", "to", "of", "and", "that", "have", "with"))
    bullets: tuple[str, ...] = scoring(("\N{BULLET}", "-"))


def rules(settings: GopherQualitySettings) -> tuple[Rule, ...]:
    """The rules in the order they are asked."""
    s = settings
    return (
        Rule("gopher_quality.too_few_words", "gopher_quality_non_symbol_words", "<", s.min_words),
        Rule("gopher_quality.too_many_words", "gopher_quality_non_symbol_words", ">", s.max_words),
        Rule("gopher_quality.short_words", "gopher_quality_mean_word_length", "<", s.min_mean_word_length),
        Rule("gopher_quality.long_words", "gopher_quality_mean_word_length", ">", s.max_mean_word_length),
        Rule("gopher_quality.hashes", "gopher_quality_hashes", ">", s.max_hashes),
        Rule("gopher_quality.ellipses", "gopher_quality_ellipses", ">", s.max_ellipses),
        Rule("gopher_quality.bullet_lines", "gopher_quality_bullet_lines", ">", s.max_bullet_lines),
        Rule("gopher_quality.ellipsis_lines", "gopher_quality_ellipsis_lines", ">", s.max_ellipsis_lines),
        Rule("gopher_quality.alphabetic_words", "gopher_quality_alphabetic_words", "<", s.min_alphabetic_words),
        Rule("gopher_quality.stop_words", "gopher_quality_stop_words", "<", s.min_stop_words),
    )


def signals(
    text: str, lines: Sequence[str], words: DocumentWords, settings: GopherQualitySettings
) -> dict[str, float | None]:
    """Every column of COLUMNS for one text; None where a share has nothing to be a share of.

    Args:
        text: as it is.
        lines: as str.splitlines has them, stripped.
        words: of the text, by a table that marks the stop words (see `word_table`).
        settings: of this family.
    """
    found: dict[str, float | None] = dict.fromkeys(COLUMNS)
    found["words"] = words.count
    found["gopher_quality_non_symbol_words"] = words.non_symbol_words
    found["gopher_quality_stop_words"] = words.marked_words
    if words.non_symbol_words:
        found["gopher_quality_mean_word_length"] = words.non_symbol_characters / words.non_symbol_words
    ellipses = text.count("...") + text.count(_ELLIPSIS)
    if words.count:
        found["gopher_quality_hashes"] = text.count("#") / words.count
        found["gopher_quality_ellipses"] = ellipses / words.count
        found["gopher_quality_alphabetic_words"] = words.alphabetic_words / words.count
    if lines:
        bullets = tuple(bullet for bullet in settings.bullets if not _SPACE.search(bullet))  # else no chunk's beginning
        bullet_lines = sum(line.startswith(bullets) for line in lines if line)
        ends = sum(line.endswith(("...", _ELLIPSIS)) for line in lines) if ellipses else 0
        found["gopher_quality_bullet_lines"] = bullet_lines / len(lines)
        found["gopher_quality_ellipsis_lines"] = ends / len(lines)
    return found
