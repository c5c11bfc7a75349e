"""Pages that a crawl brings and nobody wants to train on, and the edits that make near-duplicates."""

import random

from gristmill.demo import vocabulary as words
from gristmill.demo.prose import Story, plural

MIN_NEAR_JACCARD = 0.86  # of word 5-grams; at 14 bands of 8 rows, 0.85 is found with 98.8 % probability
_ADVERTS = ("Cheap", "Best", "Buy", "Discount", "Top", "Free", "New", "Sale:")


def link_farm(rng: random.Random) -> tuple[str, str]:
    """A title and the HTML of a page that is nothing but links."""
    links = [
        f'<li><a href="http://{rng.choice(words.OBJECTS)}-{place.lower()}.example/">{rng.choice(_ADVERTS)} '
        f"{plural(rng.choice(words.OBJECTS))} {place}</a></li>"
        for place in rng.sample(words.VILLAGES, rng.randint(60, 120))
    ]
    return f"{rng.choice(_ADVERTS)} links for {rng.choice(words.VILLAGES)}", "<ul>\n" + "\n".join(links) + "\n</ul>"


def symbol_soup(rng: random.Random) -> tuple[str, list[str]]:
    """A title and lines of figures and signs, as price lists and broken exports hold them."""
    lines: list[str] = []
    for _ in range(rng.randint(12, 25)):
        cells: list[str] = []
        for _ in range(rng.randint(8, 14)):
            kind = rng.random()
            if kind < 0.5:
                cells.append(f"{rng.randint(1, 9999)}")
            elif kind < 0.75:
                cells.append(rng.choice(("#", "##", "%%", "***", "--", "=>", "::", "||", "+/-", "...", "~~", "$")))
            else:
                cells.append(rng.choice(("the", "of", "and", "with", *words.COLOURS)))
        lines.append(" ".join(cells))
    return f"Table {rng.randint(1, 99)}", lines


def too_short(rng: random.Random, story: Story) -> list[str]:
    """One or two sentences of a story, fewer than forty words."""
    kept: list[str] = []
    for sentence in story.sentences[: rng.randint(1, 2)]:
        if sum(len(s.split()) for s in (*kept, sentence)) < 40:
            kept.append(sentence)
    return [" ".join(kept or [" ".join(story.sentences[0].split()[:30]) + "."])]


def repetitive(rng: random.Random, story: Story) -> list[str]:
    """A story gone wrong: its paragraphs, its sentences or one phrase again and again."""
    way = rng.randrange(3)
    if way == 0:  # the same paragraphs pasted several times
        paragraphs = [" ".join(p) for p in story.paragraphs[:3]]
        return paragraphs * rng.randint(3, 5)
    if way == 1:  # one sentence as a refrain after every other
        refrain = max(story.sentences[:6], key=len)
        return [f"{sentence} {refrain}" for sentence in story.sentences[6:16]]
    phrase = (
        f"the {rng.choice(words.COLOURS)} {rng.choice(words.OBJECTS)} and the {rng.choice(words.TRAITS)} {story.hero}"
    )
    lines = [", ".join([phrase] * rng.randint(4, 6)) + "." for _ in range(rng.randint(5, 8))]
    return [" ".join(story.paragraphs[0]), *lines]


def boilerplate(rng: random.Random) -> str:
    """The HTML of a page whose main part is still to come."""
    return rng.choice(
        (
            '<div class="spinner"></div><noscript></noscript>',
            f'<div class="ad"><a href="/buy"><img src="/ad{rng.randint(1, 99)}.gif" alt=""></a></div>',
            '<form action="/login"><input name="user"><input name="word" type="password"><button>OK</button></form>',
            '<div id="app" data-root="true"></div>',
        )
    )


def shingles(text: str) -> set[tuple[str, ...]]:
    """The distinct runs of five words, as plain as can be: lower case, split at whitespace."""
    tokens = text.lower().split()
    return {tuple(tokens[i : i + 5]) for i in range(len(tokens) - 4)}


def jaccard(left: str, right: str) -> float:
    """Similarity of two texts by their 5-grams of words."""
    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b) if a or b else 1.0


def near_duplicate(rng: random.Random, paragraphs: list[str]) -> list[str]:
    """The paragraphs with a few words changed, at a 5-gram Jaccard of at least MIN_NEAR_JACCARD."""
    original = "\n".join(paragraphs)
    changes = rng.randint(2, 5)
    while True:
        edited = [p.split(" ") for p in paragraphs]
        for _ in range(changes):
            paragraph = rng.choice(edited)
            position = rng.randrange(len(paragraph))
            word = paragraph[position]
            if rng.random() < 0.3:
                paragraph.insert(position, rng.choice(("indeed", "perhaps", "then", "again", "once")))
            else:
                tail = word[len(word.rstrip('.,;:!?"”')) :]
                paragraph[position] = rng.choice(words.COLOURS + words.TRAITS) + tail
        result = [" ".join(p) for p in edited]
        if result != paragraphs and jaccard(original, "\n".join(result)) >= MIN_NEAR_JACCARD:
            return result
        changes = max(1, changes - 1)
