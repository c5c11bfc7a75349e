"""What counts as the same text: the words that signatures and content hashes are made of.

Lower case, Unicode NFC, everything but letters, marks and digits turned into one space. Digits stay:
two price lists that differ only in their numbers are different documents. In scripts that write no
spaces (Chinese, Japanese kana, Thai, Lao, Khmer, Burmese) each character counts as a word, or a whole
clause would be one.

`normalise` says it of one text; `normalised_words` does it for many at once with one table look-up per character.
"""

import hashlib
import unicodedata
from functools import lru_cache

import numpy as np
import regex

from pipelines.dedup.code_points import (
    ALL_CODE_POINTS,
    SPACE,
    Codes,
    Texts,
    Words,
    encoded,
    matching,
    replaced,
    words_between_spaces,
)

HASH_BYTES = 16
_NOT_WORD = regex.compile(r"[^\p{L}\p{M}\p{N}]+")
_UNSPACED = regex.compile(r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*)")
_ASCII_WORDS = {code: " " for code in range(128) if not chr(code).isalnum()}

_SIGMA, _DOTTED_I = 0x3A3, 0x130  # lower case of the first depends on its neighbours, of the second has two characters
# Of an entry of the table, above the 21 bits of the lower-case character:
_MARK, _UNSPACED_SCRIPT, _NOT_ALONE = np.uint32(1 << 22), np.uint32(1 << 23), np.uint32(1 << 24)
_CHARACTER = np.uint32((1 << 21) - 1)
_LAST_DECOMPOSABLE = 0x30000  # no character behind the second plane has a canonical decomposition


def normalise(text: str) -> str:
    """The words of `text`, lower-case, joined by single spaces; empty where it has none."""
    lowered = text.lower()
    if lowered.isascii():
        return " ".join(lowered.translate(_ASCII_WORDS).split())
    spaced = _NOT_WORD.sub(" ", unicodedata.normalize("NFC", lowered))
    if _UNSPACED.search(spaced):
        spaced = _UNSPACED.sub(r" \1 ", spaced)
    return " ".join(spaced.split())


def normalised_words(texts: Texts) -> Words:
    """The words of each of some texts: those of `normalise`."""
    table, settled = _tables()
    entries, bounds = table.take(texts.codes), texts.bounds
    if int(entries.max(initial=0)) >= _MARK:
        worst = np.maximum.reduceat(entries, bounds[:-1])
        pieces: dict[int, Codes] = {}
        for index in np.flatnonzero(worst >= _UNSPACED_SCRIPT).tolist():
            piece = entries[bounds[index] : bounds[index + 1]]
            if worst[index] >= _NOT_ALONE:
                piece = settled.take(encoded(unicodedata.normalize("NFC", texts.text(index).lower()) + "\n"))
            pieces[index] = _spaced(piece) if piece.max() >= _UNSPACED_SCRIPT else piece
        if pieces:
            entries, bounds = replaced(entries, bounds, pieces)
        entries &= _CHARACTER
    return words_between_spaces(entries, bounds)


def content_hash(text: str, normalised: str) -> bytes:
    """BLAKE2b-128 of the normalised text; of the text itself, white space collapsed, where it has no words.

    Without the exception every page of nothing but symbols would be a copy of every other.
    """
    data = normalised or "\0" + " ".join(text.split())
    return hashlib.blake2b(data.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def _spaced(entries: Codes) -> Codes:
    """With spaces around each character of an unspaced script and the marks that follow it."""
    at = np.arange(len(entries))
    is_word = entries != SPACE
    is_mark, is_unspaced = (entries & _MARK) != 0, (entries & _UNSPACED_SCRIPT) != 0
    # Alone: such a character, and marks between which and the last character that is no mark there is one.
    last_base = np.maximum.accumulate(np.where(is_mark, 0, at))
    is_alone = np.maximum.accumulate(np.where(is_unspaced, at, -1)) >= last_base
    was_alone = is_alone[:-1]
    is_start = np.where(is_alone[1:], ~(is_mark[1:] & was_alone), was_alone)
    return np.insert(entries, np.flatnonzero(is_start & is_word[1:] & is_word[:-1]) + 1, SPACE)


@lru_cache(maxsize=1)
def _tables() -> tuple[Codes, Codes]:
    """For each code point an entry: of text as it is, and of text that is lower-case and NFC already."""
    every = np.arange(ALL_CODE_POINTS, dtype=np.uint32)
    is_word = ~matching(_NOT_WORD.finditer)
    flags = np.zeros(ALL_CODE_POINTS, np.uint32)
    flags[matching(regex.compile(r"\p{M}+").finditer)] |= _MARK
    unspaced = _UNSPACED.pattern.removesuffix(r"\p{M}*)").removeprefix("(")
    flags[matching(regex.compile(f"{unspaced}+").finditer)] |= _UNSPACED_SCRIPT
    settled = np.where(is_word, every | flags, np.uint32(SPACE))
    alone = every.copy()
    alone[[_SIGMA, _DOTTED_I]] = 0
    lower = encoded(alone.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass").lower())
    table = settled.take(lower)
    table[_may_compose()] |= _NOT_ALONE
    table[[_SIGMA, _DOTTED_I]] |= _NOT_ALONE
    return table, settled


def _may_compose() -> np.ndarray:
    """Code points that NFC may change, by themselves or together with the one before."""
    found = np.zeros(ALL_CODE_POINTS, bool)
    found[0x1161:0x1176] = found[0x11A8:0x11C3] = True  # Hangul vowels and final consonants
    for code in range(0x80, _LAST_DECOMPOSABLE):
        character = chr(code)
        parts = unicodedata.decomposition(character)
        if parts and parts[0] != "<":
            found[[int(part, 16) for part in parts.split()[1:]]] = True
            if not unicodedata.is_normalized("NFC", character):
                found[code] = True
        elif unicodedata.combining(character):
            found[code] = True
    return found
