"""Chat examples over the demo's stories: questions, rewriting, classifying. The answers follow from the grammar."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from gristmill.demo import vocabulary as words
from gristmill.demo.prose import Fact, Story
from gristmill.demo.stories import GENRES

EXCERPT_WORDS = 75  # with question and answer it stays below 256 tokens of a 4,000-word vocabulary
_TASKS = ("question", "question", "question", "shorten", "rename", "own words", "genre", "mood", "place")


def examples(stories: Sequence[Story], count: int, seed: int) -> list[dict[str, Any]]:
    """About `count` examples: `{"messages": [...], "task": ...}`; fewer stories give fewer."""
    rng = random.Random(f"{seed}/instructions")
    made: list[dict[str, Any]] = []
    seen: set[str] = set()
    for story in _rounds(stories, rng, count * 3):
        if len(made) >= count:
            break
        task = rng.choice(_TASKS)
        pair = _TASK_MAKERS[task](story, rng)
        if pair is not None and pair[0] not in seen:
            seen.add(pair[0])
            messages = [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
            made.append({"messages": messages, "task": task})
    return made


def _rounds(stories: Sequence[Story], rng: random.Random, limit: int) -> Iterator[Story]:
    given = 0
    while stories and given < limit:
        for story in rng.sample(stories, len(stories)):
            given += 1
            yield story


def _excerpt(story: Story, centre: int, rng: random.Random) -> str:
    """Two to four sentences around sentence `centre`, in order, within EXCERPT_WORDS where possible."""
    sentences = story.sentences
    first = max(0, centre - rng.randint(0, 1))
    last = min(len(sentences), first + rng.randint(2, 4))
    while last - first > 1 and sum(len(s.split()) for s in sentences[first:last]) > EXCERPT_WORDS:
        if last - 1 > centre:
            last -= 1
        elif first < centre:
            first += 1
        else:
            break
    return " ".join(sentences[first:last])


def _question(story: Story, rng: random.Random) -> tuple[str, str] | None:
    if not story.facts:
        return None
    fact = rng.choice(story.facts)
    return f"{_excerpt(story, fact.sentence, rng)}\n\n{fact.question}", fact.answer


def _shorten(story: Story, rng: random.Random) -> tuple[str, str] | None:
    """The sentence that says why is what remains."""
    facts: list[Fact] = [f for f in story.facts if f.kind == "why"]
    if not facts:
        return None
    sentence = rng.choice(facts).sentence
    prompt = "Say in one sentence what happens here and why:"
    return f"{prompt}\n\n{_excerpt(story, sentence, rng)}", story.sentences[sentence]


def _rename(story: Story, rng: random.Random) -> tuple[str, str] | None:
    if story.genre != "tale":
        return None
    bank = words.WOMEN if story.hero in words.WOMEN else words.MEN
    name = rng.choice([n for n in bank if n not in story.text])
    named = [
        i for i, s in enumerate(story.sentences) if story.hero in s.split() and len(s.split()) < EXCERPT_WORDS // 2
    ]
    if not named:
        return None
    text = story.sentences[rng.choice(named)]
    return f"Rewrite this and call {story.hero} {name} instead:\n\n{text}", text.replace(story.hero, name)


def _own_words(story: Story, rng: random.Random) -> tuple[str, str] | None:
    if not story.own_words:
        return None
    sentence, told = rng.choice(story.own_words)
    return f"Rewrite this as if {story.hero} were telling it:\n\n{story.sentences[sentence]}", told


def _genre(story: Story, rng: random.Random) -> tuple[str, str] | None:
    prompt = f"Is this a {', a '.join(GENRES[:3])}, an explanation, a set of instructions or a travel guide?"
    return f"{_excerpt(story, rng.randrange(len(story.sentences)), rng)}\n\n{prompt}", _A_GENRE[story.genre]


_A_GENRE = {
    "tale": "A tale.",
    "diary": "A diary.",
    "news report": "A news report.",
    "explanation": "An explanation.",
    "instructions": "A set of instructions.",
    "travel guide": "A travel guide.",
}


def _mood(story: Story, rng: random.Random) -> tuple[str, str] | None:
    feelings = words.FEELINGS[story.mood]
    telling = [i for i, s in enumerate(story.sentences) if any(f in s.lower().rstrip(".").split() for f in feelings)]
    if not telling or story.genre not in ("tale", "diary"):
        return None
    prompt = "What is the mood of this passage: happy, sad, frightening, funny or calm?"
    return f"{prompt}\n\n{_excerpt(story, rng.choice(telling), rng)}", story.mood.capitalize() + "."


def _place(story: Story, rng: random.Random) -> tuple[str, str] | None:
    land = next(land for land in words.LANDSCAPES if land.name == story.landscape)
    telling = [i for i, s in enumerate(story.sentences) if any(place in s for place in land.places)]
    if not telling:
        return None
    prompt = "Where does this take place: sea, mountain, forest, town, farm, desert or river?"
    return f"{_excerpt(story, rng.choice(telling), rng)}\n\n{prompt}", f"{story.landscape.capitalize()}."


_TASK_MAKERS = {
    "question": _question,
    "shorten": _shorten,
    "rename": _rename,
    "own words": _own_words,
    "genre": _genre,
    "mood": _mood,
    "place": _place,
}
