"""C4's rules: drop lines that are no sentences, then documents with too little left or with signs of code.

Raffel et al. 2020, arXiv:1910.10683, section 2.2; the rules and their order follow datatrove 0.10.1's
C4QualityFilter, which made FineWeb. It asks each line in turn, and stops at the first line that condemns the
document; a line that is dropped condemns nothing. Kept lines are joined again: that is what `edit` does to the
text of kept documents. FineWeb leaves the rule of terminal punctuation off, and so do the defaults here.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from gristmill.core.settings import scoring
from pipelines.decisions import Rule
from pipelines.filters.words import DocumentWords, WordTable

FAMILY = "c4"
_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_TERMINAL = (".", "?", "!", '"', "'")
_DROPS = ("long_word", "unpunctuated", "few_word", "javascript", "policy")

COLUMNS: dict[str, pa.DataType] = {
    "c4_lines": pa.int32(),
    "c4_kept_lines": pa.int32(),
    **{f"c4_{drop}_lines": pa.int32() for drop in _DROPS},  # each dropped line by the first rule it fails
    "c4_edited_lines": pa.int32(),  # kept, without their citation marks
    "c4_early_lorem_ipsum_lines": pa.int32(),  # before the first curly bracket
    "c4_lorem_ipsum_lines": pa.int32(),
    "c4_curly_bracket_lines": pa.int32(),
    "c4_sentences": pa.int32(),  # of kept lines, each split by itself
}

REASONS: dict[str, str] = {
    "c4.lorem_ipsum": "a line has the words of a layout without a text",
    "c4.curly_bracket": "a line has a curly bracket, as program code has",
    "c4.too_few_sentences": "too few sentences are left after its line rules",
}


@dataclass(frozen=True)
class C4Settings:
    """The line rules, and the limits of arXiv:1910.10683, section 2.2; a limit of -1 switches a line rule off."""

    is_editing_lines: bool = True
    """Drop the lines and marks that the line rules find from what is kept, and ask FineWeb's rules of what is left."""
    is_requiring_terminal_punctuation: bool = scoring(False)  # C4: True; FineWeb, arXiv:2406.17557, 3.5: False
    min_line_words: int = scoring(3)  # separated by whitespace
    max_line_word_characters: int = scoring(1000)
    is_removing_citations: bool = scoring(True)  # [1], [edit], [citation needed]
    is_dropping_javascript_lines: bool = scoring(True)
    policy_phrases: tuple[str, ...] = scoring(
        ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
    )  # lower case; a line with one is dropped
    max_lorem_ipsum_lines: int = 0
    max_curly_bracket_lines: int = 0
    min_sentences: int = 5


@dataclass
class LineEdit:
    """What the line rules leave of one text, and what they found."""

    text: str
    words: int
    counts: dict[str, int] = field(default_factory=dict[str, int])  # by column


def rules(settings: C4Settings) -> tuple[Rule, ...]:
    """The rules in the order they are asked; of the two that look at lines, the one whose line comes first."""
    s = settings
    return (
        Rule("c4.lorem_ipsum", "c4_early_lorem_ipsum_lines", ">", s.max_lorem_ipsum_lines),
        Rule("c4.curly_bracket", "c4_curly_bracket_lines", ">", s.max_curly_bracket_lines),
        Rule("c4.lorem_ipsum", "c4_lorem_ipsum_lines", ">", s.max_lorem_ipsum_lines),
        Rule("c4.too_few_sentences", "c4_sentences", "<", s.min_sentences),
    )


def edit_lines(
    text: str, lines: Sequence[str], words: DocumentWords, table: WordTable, settings: C4Settings
) -> LineEdit:
    """Ask the line rules of every line of `text`.

    Args:
        text: as it is.
        lines: as str.splitlines has them, stripped.
        words: of the text, by `table`.
        table: counts the words of edited lines.
        settings: of this family.
    """
    counts = dict.fromkeys(COLUMNS, 0)
    is_kept = words.line_chunks >= settings.min_line_words
    counts["c4_lines"] = len(lines)
    edited: dict[int, str] = {}
    suspects = _suspects(lines, settings)
    counts["c4_few_word_lines"] = len(lines) - int(is_kept.sum())
    for at in suspects:
        counts["c4_few_word_lines"] -= not is_kept[at]  # judged below
        new = _judged(lines[at], int(words.line_chunks[at]), settings, counts)
        is_kept[at] = new is not None
        if new is not None and new != lines[at]:
            edited[at] = new
    counts["c4_kept_lines"] = int(is_kept.sum())
    counts["c4_edited_lines"] = len(edited)
    is_as_it_was = is_kept.copy()
    is_as_it_was[list(edited)] = False
    sentences = int(words.line_sentences[is_as_it_was].sum())
    counts["c4_sentences"] = sentences + sum(map(table.sentences, edited.values()))
    n_words = int(words.line_words[is_as_it_was].sum()) + sum(map(table.count, edited.values()))
    kept = [edited.get(at, lines[at]) for at in np.flatnonzero(is_kept).tolist()]
    return LineEdit("\n".join(kept).strip(), n_words, counts)


def edited_text(text: str, settings: C4Settings) -> str:
    """The text of `edit_lines` alone: lines need no tokenizer, and a decision made again has nothing else to count."""
    lines = [line.strip() for line in text.splitlines()]
    counts = dict.fromkeys(COLUMNS, 0)
    judged = {at: _judged(lines[at], len(lines[at].split()), settings, counts) for at in _suspects(lines, settings)}
    kept = [
        judged[at] if at in judged else line if len(line.split()) >= settings.min_line_words else None
        for at, line in enumerate(lines)
    ]
    return "\n".join(line for line in kept if line is not None).strip()


def _suspects(lines: Sequence[str], settings: C4Settings) -> Sequence[int]:
    """The lines that may meet any rule but that of too few words, in their order, each once."""
    if settings.is_requiring_terminal_punctuation:
        return range(len(lines))
    text = "\n".join(lines)
    found: set[int] = set()
    longest = settings.max_line_word_characters
    if longest >= 0 and len(text) > longest:
        found.update(at for at, line in enumerate(lines) if len(line) > longest)
    if settings.is_removing_citations:
        found.update(_lines_at(text, (citation.start() for citation in _CITATION.finditer(text))))
    lower = text.lower()
    javascript = ("javascript",) if settings.is_dropping_javascript_lines else ()
    for needle in ("{", "lorem ipsum", *javascript, *settings.policy_phrases):
        found.update(_lines_at(lower, _places(lower, needle)))
    return sorted(found)


def _places(text: str, needle: str) -> Iterator[int]:
    """Where `needle` comes first in each line that has it."""
    place = text.find(needle)
    while place >= 0:
        yield place
        line_end = text.find("\n", place)
        place = text.find(needle, line_end + 1) if line_end >= 0 else -1


def _lines_at(text: str, places: Iterable[int]) -> Iterator[int]:
    """The line of each of `places`, which ascend."""
    line = position = 0
    for place in places:
        line += text.count("\n", position, place)
        position = place
        yield line


def _judged(line: str, words: int, settings: C4Settings, counts: dict[str, int]) -> str | None:
    """The stripped line, of so many words between whitespace, as it is kept, or None; `counts` is told why."""
    longest = settings.max_line_word_characters
    if 0 <= longest < len(line) and len(max(line.split(), key=len)) > longest:
        counts["c4_long_word_lines"] += 1
        return None
    if settings.is_removing_citations and "[" in line:
        line = _CITATION.sub("", line)
    if settings.is_requiring_terminal_punctuation and (not line.endswith(_TERMINAL) or line.endswith("...")):
        counts["c4_unpunctuated_lines"] += 1
        return None
    if words < settings.min_line_words:
        counts["c4_few_word_lines"] += 1
        return None
    lower = line.lower()
    if "lorem ipsum" in lower:
        counts["c4_lorem_ipsum_lines"] += 1
        if not counts["c4_curly_bracket_lines"]:
            counts["c4_early_lorem_ipsum_lines"] += 1
    if settings.is_dropping_javascript_lines and "javascript" in lower:
        counts["c4_javascript_lines"] += 1
        return None
    if "{" in line:
        counts["c4_curly_bracket_lines"] += 1
    if any(phrase in lower for phrase in settings.policy_phrases):
        counts["c4_policy_lines"] += 1
        return None
    return line
