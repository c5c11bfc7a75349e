"""Gopher's repetition rules: lines, paragraphs and word n-grams that a text says again and again.

Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 and table A1. Shares of characters are over the code
points of the whole text; a repeated element is the second and any later occurrence.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipelines.decisions import Rule
from pipelines.filters.ngrams import Ngrams
from pipelines.filters.words import GroupWords

FAMILY = "gopher_repetition"
TOP_N = (2, 3, 4)
DUPLICATE_N = (5, 6, 7, 8, 9, 10)

COLUMNS: dict[str, pa.DataType] = {
    "characters": pa.int32(),
    "gopher_repetition_duplicate_paragraphs": pa.float32(),
    "gopher_repetition_duplicate_paragraph_characters": pa.float32(),
    "gopher_repetition_duplicate_lines": pa.float32(),
    "gopher_repetition_duplicate_line_characters": pa.float32(),
    **{f"gopher_repetition_top_{n}_gram": pa.float32() for n in TOP_N},
    **{f"gopher_repetition_duplicate_{n}_grams": pa.float32() for n in DUPLICATE_N},
}

REASONS: dict[str, str] = {
    "gopher_repetition.empty": "the text is empty",
    "gopher_repetition.duplicate_paragraphs": "too many of its paragraphs repeat an earlier one",
    "gopher_repetition.duplicate_paragraph_characters": "too much of the text lies in repeated paragraphs",
    "gopher_repetition.duplicate_lines": "too many of its lines repeat an earlier one",
    "gopher_repetition.duplicate_line_characters": "too much of the text lies in repeated lines",
    **{f"gopher_repetition.top_{n}_gram": f"the most frequent run of {n} words takes up too much" for n in TOP_N},
    **{
        f"gopher_repetition.duplicate_{n}_grams": f"repeated runs of {n} words take up too much of the text"
        for n in DUPLICATE_N
    },
}


@dataclass(frozen=True)
class GopherRepetitionSettings:
    """Limits of table A1 of arXiv:2112.11446; a share above its limit rejects the document."""

    max_duplicate_paragraphs: float = 0.30
    max_duplicate_paragraph_characters: float = 0.20
    max_duplicate_lines: float = 0.30
    max_duplicate_line_characters: float = 0.20
    max_top_2_gram: float = 0.20
    max_top_3_gram: float = 0.18
    max_top_4_gram: float = 0.16
    max_duplicate_5_grams: float = 0.15
    max_duplicate_6_grams: float = 0.14
    max_duplicate_7_grams: float = 0.13
    max_duplicate_8_grams: float = 0.12
    max_duplicate_9_grams: float = 0.11
    max_duplicate_10_grams: float = 0.10


def rules(settings: GopherRepetitionSettings) -> tuple[Rule, ...]:
    """The rules in the order they are asked: paragraphs, lines, top n-grams, duplicate n-grams."""
    names = [name for name in COLUMNS if name.startswith(FAMILY)]
    shares = [name.removeprefix(f"{FAMILY}_") for name in names]
    return (
        Rule("gopher_repetition.empty", "characters", "<", 1),
        *(Rule(f"{FAMILY}.{s}", f"{FAMILY}_{s}", ">", getattr(settings, f"max_{s}")) for s in shares),
    )


def runs(words: GroupWords) -> list[dict[str, int | None]]:
    """For each text, by column: code points that runs of words take up; None where a text has too few words."""
    ngrams = Ngrams(words)
    found = {f"{FAMILY}_top_{n}_gram": top for n, top in ngrams.top_characters(TOP_N).items()}
    found |= {f"{FAMILY}_duplicate_{n}_grams": count for n, count in ngrams.duplicate_characters(DUPLICATE_N).items()}
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def signals(text: str, runs: Mapping[str, int | None]) -> dict[str, float | None]:
    """Every column of COLUMNS for one text, whose repeated runs are `runs`; None where a share is of nothing."""
    size = len(text)
    found: dict[str, float | None] = dict.fromkeys(COLUMNS)
    found["characters"] = size
    if not size:
        return found
    for kind, parts in (("paragraph", paragraphs(text)), ("line", lines(text))):
        elements, characters = duplicates(parts)
        found[f"{FAMILY}_duplicate_{kind}s"] = elements / len(parts)
        found[f"{FAMILY}_duplicate_{kind}_characters"] = characters / size
    for name, characters in runs.items():
        found[name] = None if characters is None else characters / size
    return found


def paragraphs(text: str) -> list[str]:
    """The parts of the stripped text between two or more line breaks."""
    first, *others = text.strip().split("\n\n")
    return [first, *(part for other in others if (part := other.lstrip("\n")))]


def lines(text: str) -> list[str]:
    """The parts of the text between line breaks; empty ones only where the text begins or ends with a break."""
    first, *others = text.split("\n")
    if not others:
        return [first]
    return [first, *(other for other in others[:-1] if other), others[-1]] if any(others) or first else ["", ""]


def duplicates(parts: list[str]) -> tuple[int, int]:
    """How many of `parts` repeat an earlier one, and their code points together."""
    distinct = set(parts)
    if len(distinct) == len(parts):
        return 0, 0
    return len(parts) - len(distinct), sum(map(len, parts)) - sum(map(len, distinct))
