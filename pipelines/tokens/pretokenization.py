"""How text falls into pre-tokens, which no merge crosses, and where it may be cut without changing them."""

import re
from collections.abc import Iterator
from typing import Literal

Pattern = Literal["cl100k", "o200k"]
MOST_DIGITS = 3

_CONTRACTION = r"(?i:'(?:s|t|re|ve|m|ll|d))"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WHITE_SPACE = r"|\s*[\r\n]+|\s+(?!\S)|\s+"


def split_pattern(pattern: Pattern = "cl100k", digits: int = MOST_DIGITS) -> str:
    """The regular expression (Oniguruma's dialect) whose matches, one after the other, are the pre-tokens of a text.

    Args:
        pattern: the rule of a published vocabulary. cl100k, GPT-4's: contractions, words with at most one leading
            mark, numbers, runs of marks with the line ends after them, white space. o200k, GPT-4o's: combining marks
            belong to words, a word ends where small letters turn to capitals and takes its contraction with it.
        digits: of a number that may share a token: 3 in both vocabularies, 1 in LLaMA (Touvron et al. 2023, 2.1).
    """
    if digits not in range(1, MOST_DIGITS + 1):
        raise ValueError(f"digits is {digits}; give 1 to {MOST_DIGITS}")
    number = rf"|\p{{N}}{{1,{digits}}}"
    if pattern == "cl100k":
        words = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+"
        return words + number + r"| ?[^\s\p{L}\p{N}]+[\r\n]*" + _WHITE_SPACE
    lead = r"[^\r\n\p{L}\p{N}]?"
    words = f"{lead}{_UPPER}*{_LOWER}+{_CONTRACTION}?|{lead}{_UPPER}+{_LOWER}*{_CONTRACTION}?"
    return words + number + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _WHITE_SPACE


# Where every pattern above ends a pre-token, whatever stands around it: between a visible character and a space;
# after a line end that a visible character follows (o200k takes slashes along with line ends); between a letter and
# a mark that begins no contraction.
_SAFE_CUT = re.compile(r"(?<=\S)(?= )|(?<=[\r\n])(?=[^\s/])|(?<=[^\W\d_])(?=[.,;:!?()，。、：；！？…])")
PIECE_CHARACTERS = 1 << 16  # what is encoded at once, and with it memory, is bounded by twice this


def split_safely(text: str, size: int = PIECE_CHARACTERS) -> list[str]:
    """Cut a long text into pieces of `size` to 2 × `size` characters whose tokens add up to those of the whole.

    Only a run of more than `size` characters without any such place (no page that people read has one) is cut
    anyhow, since its tokens would take gigabytes: its text stays the same, its tokens may not.
    """
    pieces: list[str] = []
    start = 0
    while len(text) - start > 2 * size:
        cut = _SAFE_CUT.search(text, start + size, start + 2 * size)
        end = cut.start() if cut is not None else start + 2 * size
        pieces.append(text[start:end])
        start = end
    pieces.append(text[start:])
    return pieces


# A run of characters without white space longer than this is a line of base64, a URL or unspaced script; a longer one
# of white space is layout. As one pre-token it would make every merge in it cost its length, and tokens of thousands
# of spaces; so training and measuring see it in pieces. cl100k's longest token has 128 characters too.
LONGEST_RUN = 128
_RUN_CUT = re.compile(rf"\S{{{LONGEST_RUN}}}(?=\S)|\s{{{LONGEST_RUN}}}(?=\s)")


def short_runs(text: str) -> Iterator[str]:
    """The text in pieces, cut within each run of visible characters, or of white space, longer than LONGEST_RUN."""
    start = 0
    for run in _RUN_CUT.finditer(text):
        yield text[start : run.end()]
        start = run.end()
    yield text[start:]
