"""Near-duplicates of known strength: real texts, changed as copies on the web are changed.

A share of the words is replaced, left out or doubled, all over the text; or a run of words is cut out, put before or
after it, as a navigation bar or a footer is. Strengths are drawn so that similarities spread from about a half to one.
"""

import random
from collections.abc import Sequence

COPIES = 3  # of each text
MINIMUM_WORDS, MAXIMUM_WORDS = 100, 3_000
_HIGHEST_SHARE = 0.09  # of the words: each change breaks five shingles, so that about half of them are left


def with_copies(texts: Sequence[str], seed: int = 1) -> list[str]:
    """The texts of a fitting length, each followed by its edited copies."""
    order = random.Random(seed)
    vocabulary = sorted({word for text in texts[:200] for word in text.split()})
    found: list[str] = []
    for text in texts:
        if MINIMUM_WORDS <= text.count(" ") + 1 <= MAXIMUM_WORDS:
            found += [text, *(edited(text, order, vocabulary) for _ in range(COPIES))]
    return found


def edited(text: str, order: random.Random, vocabulary: Sequence[str]) -> str:
    """One copy, changed in one of the ways, at a strength drawn at random."""
    words = text.split(" ")
    share = order.uniform(0, _HIGHEST_SHARE)
    way = order.randrange(5)
    if way == 0:  # as a site's frame changes: a block before and a block after
        block = [order.choice(vocabulary) for _ in range(int(len(words) * share * 5) + 1)]
        cut = order.randrange(len(block) + 1)
        return " ".join([*block[:cut], *words, *block[cut:]])
    if way == 1:  # as an excerpt: one run is gone
        run = int(len(words) * share * 5) + 1
        start = order.randrange(len(words) - run + 1)
        return " ".join([*words[:start], *words[start + run :]])
    for _ in range(int(len(words) * share) + 1):
        place = order.randrange(len(words))
        if way == 2:
            words[place] = order.choice(vocabulary)
        elif way == 3:
            words[place] = words[place] + " " + order.choice(vocabulary)
        elif len(words) > 1:
            del words[place]
    return " ".join(words)
