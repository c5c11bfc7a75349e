"""Gopher's repetition rules: lines, paragraphs and word n-grams that a text says again and again.

Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 and table A1. Shares of characters are over the code
points of the whole text; a repeated element is the second and any later occurrence.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.decisions import Rule
from pipelines.filters.words import HASH_BASE, DocumentWords

FAMILY = "gopher_repetition"
TOP_N = (2, 3, 4)
DUPLICATE_N = (5, 6, 7, 8, 9, 10)
_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
_TUPLE_BASE = np.uint64(0xD6E8FEB86659FD93)

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


def signals(text: str, words: DocumentWords, settings: GopherRepetitionSettings) -> dict[str, float | None]:
    """Every column of COLUMNS for one text; None where a share has nothing to be a share of."""
    size = len(text)
    found: dict[str, float | None] = dict.fromkeys(COLUMNS)
    found["characters"] = size
    if not size:
        return found
    for kind, parts in (
        ("paragraph", _PARAGRAPH_BREAK.split(text.strip())),
        ("line", _LINE_BREAK.split(text)),
    ):
        elements, characters = duplicates(parts)
        found[f"{FAMILY}_duplicate_{kind}s"] = elements / len(parts)
        found[f"{FAMILY}_duplicate_{kind}_characters"] = characters / size
    for n in TOP_N:
        top = top_ngram_characters(words, n)
        found[f"{FAMILY}_top_{n}_gram"] = None if top is None else top / size
    for n, characters in duplicate_ngram_characters(words, DUPLICATE_N).items():
        found[f"{FAMILY}_duplicate_{n}_grams"] = characters / size
    return found


def duplicates(parts: list[str]) -> tuple[int, int]:
    """How many of `parts` repeat an earlier one, and their code points together."""
    distinct = set(parts)
    if len(distinct) == len(parts):
        return 0, 0
    return len(parts) - len(distinct), sum(map(len, parts)) - sum(map(len, distinct))


def top_ngram_characters(words: DocumentWords, n: int) -> int | None:
    """Code points, spaces between words included, of all occurrences of the most frequent n-gram.

    Of equally frequent ones the first to occur counts. None where the text has fewer than `n` words.
    """
    size = words.count - n + 1
    if size < 1:
        return None
    ngrams = words.hashes[:size].copy()
    for k in range(1, n):
        ngrams *= _TUPLE_BASE
        ngrams += words.hashes[k : k + size]
    order = np.argsort(ngrams)
    ordered = ngrams[order]
    bounds = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
    counts = np.diff(bounds)
    most = int(counts.max())
    first = 0 if most == 1 else int(order[np.repeat(counts == most, counts)].min())
    return (int(words.lengths[first : first + n].sum()) + n - 1) * most


def duplicate_ngram_characters(words: DocumentWords, sizes: tuple[int, ...]) -> dict[int, int]:
    """For each n of `sizes`: code points in n-grams that repeat an earlier one.

    The text is walked from its start: a repeated n-gram counts and is jumped over, any other is remembered
    and the walk goes on at the next word. N-grams are equal when their words written together are equal.
    The hashes only say where a repetition may be; strings decide.
    """
    found = dict.fromkeys(sizes, 0)
    if words.count <= min(sizes):
        return found
    ends = np.cumsum(words.lengths)
    starts = ends - words.lengths
    powers = _powers(int(words.lengths.max()))
    ngrams = words.hashes.copy()
    for n in range(2, max(sizes) + 1):
        size = words.count - n + 1
        if size < 2:
            break
        ngrams = ngrams[:size] * powers[words.lengths[n - 1 :]] + words.hashes[n - 1 :]
        if n in found:
            order = np.argsort(ngrams)
            ordered = ngrams[order]
            is_equal = ordered[1:] == ordered[:-1]
            if is_equal.any():
                is_repeated = np.concatenate((is_equal, [False])) | np.concatenate(([False], is_equal))
                at = np.sort(order[is_repeated])
                found[n] = _walk(words.joined, at, starts[at], ends[at + n - 1], n)
    return found


def _walk(
    joined: str,
    words_at: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    n: int,
) -> int:
    seen: set[str] = set()
    characters = next_word = 0
    for word, start, end in zip(words_at.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if word < next_word:
            continue
        ngram = joined[start:end]
        if ngram in seen:
            characters += end - start
            next_word = word + n
        else:
            seen.add(ngram)
    return characters


def _powers(longest: int) -> npt.NDArray[np.uint64]:
    factors = np.full(longest + 1, HASH_BASE, np.uint64)
    factors[0] = 1
    return np.cumprod(factors)
