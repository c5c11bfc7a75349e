"""Precision, recall and F1 of an extracted text against a gold text, by shingles of four words.

The measure of Scrapinghub's article extraction benchmark (the token F1 that trafilatura's and resiliparse's authors
quote too): texts become bags of overlapping word 4-grams, so that order counts and white space does not.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

SHINGLE_WORDS = 4
# Scripts that put no space between words give one word per character; every other word is a run of letters or digits.
_UNSPACED = (
    r"\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


@dataclass(frozen=True)
class Score:
    """Shares between 0 and 1."""

    precision: float
    recall: float
    f1: float


def shingles(text: str) -> Counter[tuple[str, ...]]:
    """The bag of word 4-grams of `text`; a text of fewer than four words is one shingle, an empty one none."""
    words = _WORD.findall(text)
    if not words:
        return Counter()
    last = max(len(words) - SHINGLE_WORDS, 0)
    return Counter(tuple(words[start : start + SHINGLE_WORDS]) for start in range(last + 1))


def page_score(text: str, gold: str) -> Score:
    """Score one page: shingles in common over those extracted (precision) and over those of the gold (recall).

    Both empty is right (1, 1, 1); one of them empty is wrong (0, 0, 0).
    """
    found, wanted = shingles(text), shingles(gold)
    if not found and not wanted:
        return Score(1.0, 1.0, 1.0)
    common = (found & wanted).total()
    precision, recall = common / found.total() if found else 0.0, common / wanted.total() if wanted else 0.0
    return Score(precision, recall, f1(precision, recall))


def f1(precision: float, recall: float) -> float:
    """The harmonic mean of the two, 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def macro_score(scores: Iterable[Score]) -> Score:
    """The means over pages of precision, recall and F1, every page counting alike.

    Scrapinghub's benchmark quotes the F1 of the two means instead (`f1` of this precision and recall), which is higher.
    """
    listed = list(scores)
    count = max(len(listed), 1)
    return Score(
        sum(score.precision for score in listed) / count,
        sum(score.recall for score in listed) / count,
        sum(score.f1 for score in listed) / count,
    )
