"""Paragraphs that other documents hold too: how a text is cut, what counts as the same, and the text without them.

As in CCNet (Wenzek et al. 2019, arXiv:1911.00359, 3: deduplication) a paragraph is a line, two are the same when the
first 64 bits of the SHA-1 of their normalised forms are, and repeats within a document go as well. Unlike its code,
which removes every copy of a repeated paragraph, the first copy stays (`pipelines.dedup.paragraph_files` says which
is the first), so that no passage is lost; and a line without letters or digits is no paragraph, so that blank lines
and rules stay where they are.
"""

import hashlib
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import regex

HASH_BYTES = 8
_DIGEST_BYTES = 20  # of SHA-1
_DIGIT = regex.compile(r"\p{Nd}")
# A combining mark is an accent on a letter of these scripts; in most others it is a vowel, or another letter.
_ACCENT = regex.compile(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}]\p{Mn}*)\p{Mn}")
_NOT_SAID = regex.compile(r"[\p{P}\p{Cc}\p{Cf}--\s]+", regex.V1)  # white space is control characters in part
_WHITE = " \t\n\v\f\r"
_ASCII: dict[int, str | None] = {
    **{ord(c): None for c in map(chr, range(128)) if unicodedata.category(c)[0] in "PC" and c not in _WHITE},
    **{ord(digit): "0" for digit in "123456789"},
}


@dataclass(frozen=True)
class Paragraphs:
    """The paragraphs of one text."""

    lines: npt.NDArray[np.int32]  # where each lies among the text's lines, ascending
    hashes: npt.NDArray[np.int64]  # what each says


def normalised(text: str) -> str:
    """Lower case, digits 0, without punctuation and accents; line i of the result is line i of `text`."""
    lowered = text.lower()
    if lowered.isascii():
        return lowered.translate(_ASCII)
    plain = _ACCENT.sub("", unicodedata.normalize("NFD", lowered))
    return _NOT_SAID.sub("", _DIGIT.sub("0", plain))


def paragraphs(text: str, min_characters: int = 0) -> Paragraphs:
    """The lines of `text` that have at least `min_characters` (1 at least) when normalised.

    The length of the normalised form decides, so that of two lines that are the same both count or neither.
    """
    lines: list[int] = []
    digests: list[bytes] = []
    shortest = max(min_characters, 1)
    for number, line in enumerate(normalised(text).split("\n")):
        words = " ".join(line.split())
        if len(words) >= shortest and (words[0].isalnum() or any(map(str.isalnum, words))):
            lines.append(number)
            digests.append(hashlib.sha1(words.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest())
    values = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST_BYTES)[:, :HASH_BYTES]
    return Paragraphs(np.array(lines, np.int32), np.ascontiguousarray(values).view("<i8").reshape(-1).astype(np.int64))


def hashes_of(text: str, lines: Collection[int]) -> dict[int, int]:
    """The hash of each of `lines` that `text` has and that is a paragraph of any length."""
    every = text.split("\n")
    wanted = [line for line in lines if 0 <= line < len(every)]
    found = paragraphs("\n".join(every[line] for line in wanted))
    return {wanted[place]: value for place, value in zip(found.lines.tolist(), found.hashes.tolist(), strict=True)}


def without(text: str, lines: Collection[int]) -> str:
    """`text` without these of its lines, and without the blank lines that parted them from the next ones.

    With nothing to remove it is `text` itself. A text whose end was removed ends with a line break if it did before.
    """
    if not lines:
        return text
    gone = frozenset(lines)
    kept: list[str] = []
    is_after_gap = False
    for number, line in enumerate(text.split("\n")):
        if number in gone:
            is_after_gap = True
        elif not is_after_gap or line.strip():
            kept.append(line)
            is_after_gap = False
    if not is_after_gap:
        return "\n".join(kept)
    while kept and not kept[-1].strip():
        kept.pop()
    end: Any = "\n" if kept and text.endswith("\n") else ""
    return "\n".join(kept) + end


def is_anything_left(text: str) -> bool:
    """Whether `text` still has a letter or a digit."""
    return any(map(str.isalnum, text))
