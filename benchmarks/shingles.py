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
    if not common:
        return Score(0.0, 0.0, 0.0)
    precision, recall = common / found.total(), common / wanted.total()
    return Score(precision, recall, 2 * precision * recall / (precision + recall))


def macro_score(scores: Iterable[Score]) -> Score:
    """The mean precision and recall over pages, every page counting alike, and the F1 of those two means."""
    listed = list(scores)
    if not listed:
        return Score(0.0, 0.0, 0.0)
    precision = sum(score.precision for score in listed) / len(listed)
    recall = sum(score.recall for score in listed) / len(listed)
    total = precision + recall
    return Score(precision, recall, 2 * precision * recall / total if total else 0.0)
