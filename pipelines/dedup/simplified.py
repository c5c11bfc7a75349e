"""The words that datatrove 0.10.1 makes shingles of, equal to its own: its simplified text, cut by spaCy's tokenizer.

Lower case; a number, with its decimals, is 0; punctuation and control characters are spaces; decomposed (NFD) and
without nonspacing marks. `simplify` says it of one text; `simplified_words` does it for many at once, with a table
look-up per character, and `pipelines.dedup.chunk_cuts` cuts them.
"""

import unicodedata
from functools import lru_cache

import numpy as np
import regex

from pipelines.dedup.chunk_cuts import cut
from pipelines.dedup.code_points import (
    ALL_CODE_POINTS,
    SPACE,
    Codes,
    Integers,
    Texts,
    Words,
    decoded,
    encoded,
    matching,
    ranges,
    replaced,
    words_between_spaces,
)
from pipelines.filters.punctuation import PUNCTUATION

_NUMBER = regex.compile(r"\p{Nd}+(?:[.,،٫⎖⎗⎘]\p{Nd}+)?")  # datatrove's, whose digits are those of the library `regex`
_SEPARATORS = ".,،٫⎖⎗⎘"
_TO_SPACE = str.maketrans(dict.fromkeys(PUNCTUATION, " "))
_SIGMA, _DOTTED_I = 0x3A3, 0x130
# Of an entry of the table, above the 21 bits of a character:
_DIGIT, _SEPARATOR, _SEVERAL, _NOT_ALONE = (np.uint32(1 << bit) for bit in (22, 23, 24, 25))
_CHARACTER = np.uint32((1 << 21) - 1)
_GONE = _CHARACTER  # no code point: a character that leaves nothing
_LAST_DECOMPOSABLE = 0x30000  # no character behind the second plane has a canonical decomposition, no mark but:
_TAGS = range(0xE0000, 0xE1000)
_LAST_SPACE, _LAST_LETTER = 0x3000, 0x40000


def simplify(text: str, *, is_number_zero: bool = True) -> str:
    """The simplified text; white space at its ends and runs of spaces, which spaCy's words don't see, may differ."""
    lowered = text.lower()
    if is_number_zero:
        lowered = _NUMBER.sub("0", lowered)
    spaced = " ".join(lowered.translate(_TO_SPACE).split())
    return "".join(c for c in unicodedata.normalize("NFD", spaced) if unicodedata.category(c) != "Mn")


def simplified_chunks(texts: Texts, *, is_number_zero: bool = True) -> Words:
    """What lies between the spaces of each text's simplified form."""
    tables = _tables()
    entries, bounds = tables.entries.take(texts.codes), texts.bounds
    if int(entries.max(initial=0)) > _CHARACTER:
        entries, bounds = _resolved(entries, texts, is_number_zero)
    return words_between_spaces(entries, bounds, np.flatnonzero(entries == _GONE))


def simplified_words(texts: Texts) -> Words:
    """spaCy's words of each text's simplified form."""
    return cut(simplified_chunks(texts), _tables().is_letter)


def _resolved(entries: Codes, texts: Texts, is_number_zero: bool) -> tuple[Codes, Integers]:
    """Plain characters in place of entries that say more, and where the texts lie then."""
    bounds = texts.bounds
    if int(entries.max()) >= _NOT_ALONE:
        worst = np.maximum.reduceat(entries, bounds[:-1])
        pieces: dict[int, Codes] = {}
        for index in np.flatnonzero(worst >= _NOT_ALONE).tolist():
            text = texts.text(index)
            piece = _tables().of_lower.take(encoded(text.lower() + "\n"))
            if piece.max() >= _NOT_ALONE:
                piece = encoded(simplify(text, is_number_zero=is_number_zero) + " ")
            pieces[index] = piece
        entries, bounds = replaced(entries, bounds, pieces)
    at = np.flatnonzero(entries > _CHARACTER)
    said = entries[at]
    entries[at] &= _CHARACTER
    if is_number_zero:
        _fold_numbers(entries, at[(said & _DIGIT) != 0], at[(said & _SEPARATOR) != 0])
    several = at[(said & _SEVERAL) != 0]
    if len(several):
        tables = _tables()
        which = entries[several]
        sizes = np.ones(len(entries), np.int64)
        sizes[several] = tables.sizes[which]
        new = np.concatenate(([0], np.cumsum(sizes)))
        entries = np.repeat(entries, sizes)
        entries[ranges(new[several], sizes[several])] = tables.parts[ranges(tables.starts[which], sizes[several])]
        bounds = new[bounds]
    return entries, bounds


def _fold_numbers(entries: Codes, digits: Integers, separators: Integers) -> None:
    """Leave one 0 of each number: a run of digits, or two with a separator between.

    Args:
        entries: plain characters; changed.
        digits: where digits are.
        separators: where characters are that may be a decimal separator.
    """
    if not len(digits):
        return
    is_first = np.ones(len(digits), bool)
    is_first[1:] = digits[1:] != digits[:-1] + 1
    firsts = digits[is_first]
    lasts = digits[np.append(is_first[1:], True)]
    # Runs that a separator joins to the one before; of a row of them every second one is the end of a number.
    between = firsts[1:] - 1
    is_joined = np.zeros(len(firsts), bool)
    is_joined[1:] = lasts[:-1] + 1 == between
    if len(separators):
        found = np.minimum(np.searchsorted(separators, between), len(separators) - 1)
        is_joined[1:] &= separators[found] == between
    else:
        is_joined[:] = False
    number = np.arange(len(firsts))
    is_end = (number - np.maximum.accumulate(np.where(is_joined, 0, number))) % 2 == 1
    entries[digits] = _GONE
    entries[firsts[~is_end]] = ord("0")
    entries[firsts[is_end] - 1] = _GONE


class _Tables:
    """What becomes of each code point: an entry; `parts` for those that become several characters."""

    def __init__(self) -> None:
        becomes = np.arange(ALL_CODE_POINTS, dtype=np.uint32)
        becomes[[code for code in range(_LAST_SPACE + 1) if chr(code).isspace()]] = SPACE
        becomes[[ord(character) for character in PUNCTUATION]] = SPACE
        self.starts, self.sizes = np.zeros(ALL_CODE_POINTS, np.int64), np.zeros(ALL_CODE_POINTS, np.int64)
        parts: list[int] = []
        for code in [*range(0x80, _LAST_DECOMPOSABLE), *_TAGS]:
            decomposed = unicodedata.normalize("NFD", chr(code))
            left = [ord(c) for c in decomposed if unicodedata.category(c) != "Mn"]
            if becomes[code] == SPACE:
                continue
            if any(unicodedata.combining(chr(c)) for c in left):  # may change places with its neighbours
                becomes[code] = code | _NOT_ALONE
            elif len(left) > 1:
                self.starts[code], self.sizes[code] = len(parts), len(left)
                becomes[code] = code | _SEVERAL
                parts += left
            elif left != [code]:
                becomes[code] = left[0] if left else _GONE
        self.parts = np.array(parts, np.uint32)
        becomes[matching(regex.compile(r"\p{Nd}+").finditer)] |= _DIGIT
        becomes[[ord(character) for character in _SEPARATORS]] |= _SEPARATOR
        self.of_lower = becomes
        self.is_letter = np.zeros(ALL_CODE_POINTS, bool)
        self.is_letter[[code for code in range(_LAST_LETTER) if chr(code).isalpha()]] = True
        plain = np.arange(ALL_CODE_POINTS, dtype=np.uint32)
        plain[[_SIGMA, _DOTTED_I]] = 0
        self.entries = becomes.take(encoded(decoded(plain).lower()))
        self.entries[[_SIGMA, _DOTTED_I]] = _NOT_ALONE


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    return _Tables()
