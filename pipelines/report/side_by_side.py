"""Two texts line by line beside each other: what both say, and what only one of them does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Literal

MAX_CHARACTERS = 200_000  # of a text that are compared; the rest is told by its length
MAX_LINES = 2_000  # of a text that are compared: the matcher's worst case is their product
MAX_WORDS = 400  # of a pair of lines whose words are compared
Kind = Literal["equal", "changed", "left", "right", "skipped"]


@dataclass(frozen=True)
class Pair:
    """A line of the left text beside one of the right; `skipped` stands for `count` equal lines that are not shown."""

    kind: Kind
    left: str | None = None
    right: str | None = None
    count: int = 1


def bounded(text: str, characters: int = MAX_CHARACTERS) -> str:
    """The beginning of `text`, cut where a line or at least a word ends, so that nothing in it is cut in two."""
    if len(text) <= characters:
        return text
    for separator in ("\n", " "):
        end = text.rfind(separator, characters // 2, characters)
        if end > 0:
            return text[:end]
    return ""  # a single word of this length is no text, and half of it may be anything


def is_bounded(text: str) -> bool:
    """Whether `side_by_side` sees less than the whole text."""
    return len(text) > MAX_CHARACTERS or sum(1 for line in text.split("\n") if line.strip()) > MAX_LINES


def side_by_side(left: str, right: str, context: int | None = 2) -> list[Pair]:
    """The lines that are not blank of both texts, up to MAX_LINES each, in pairs.

    Args:
        left: a text.
        right: the one it is compared with.
        context: equal lines shown before and after a difference; None for all.
    """
    ours, theirs = ([line.strip() for line in text.split("\n") if line.strip()][:MAX_LINES] for text in (left, right))
    pairs = list(_pairs(ours, theirs))
    return pairs if context is None else list(_folded(pairs, context))


def _pairs(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Pair]:
    for tag, i, i_end, j, j_end in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        for left, right in zip_longest(ours[i:i_end], theirs[j:j_end]):
            if tag == "equal":
                yield Pair("equal", left, right)
            elif left is None or right is None:
                yield Pair("right" if left is None else "left", left, right)
            else:
                yield Pair("changed", left, right)


def _folded(pairs: Sequence[Pair], context: int) -> Iterator[Pair]:
    differing = [place for place, pair in enumerate(pairs) if pair.kind != "equal"]
    shown = {near for place in differing for near in range(place - context, place + context + 1)}
    skipped = 0
    for place, pair in enumerate(pairs):
        if place not in shown:
            skipped += 1
            continue
        if skipped:
            yield Pair("skipped", count=skipped)
            skipped = 0
        yield pair
    if skipped:
        yield Pair("skipped", count=skipped)


def differing_words(left: str, right: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """The words of both lines in runs, each with whether the other line lacks it there."""
    ours, theirs = left.split(" "), right.split(" ")
    if max(len(ours), len(theirs)) > MAX_WORDS:
        return [(left, True)], [(right, True)]
    runs: tuple[list[tuple[str, bool]], list[tuple[str, bool]]] = ([], [])
    for tag, i, i_end, j, j_end in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        for side, words in zip(runs, (ours[i:i_end], theirs[j:j_end]), strict=True):
            if words:
                side.append((" ".join(words), tag != "equal"))
    return runs
