"""The grammar's engine: templates, banks and what a page remembers while it is written.

A template is expanded in two steps. The first resolves every choice and every bank and leaves the hero's
own slots open; the second fills these. So the same sentence can be told of "Mara" and of "I".
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gristmill.demo import vocabulary as words

HERO_SLOTS: tuple[str, ...] = ("hero", "he", "his", "him", "himself")
_FIRST_PERSON: dict[str, str] = dict(zip(HERO_SLOTS, ("I", "I", "my", "me", "myself"), strict=True))
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])")
_IRREGULAR = {"knife": "knives", "scarf": "scarves", "goose": "geese", "mouse": "mice", "sheep": "sheep"}


@dataclass(frozen=True)
class Fact:
    """A question that one sentence of a page answers."""

    kind: str  # who, where, why, what
    question: str
    answer: str
    sentence: int  # index over the sentences of the page


@dataclass(frozen=True)
class Story:
    """One page of prose and what is known about it."""

    title: str
    genre: str
    mood: str
    landscape: str
    hero: str
    paragraphs: tuple[tuple[str, ...], ...]  # each a tuple of sentences
    facts: tuple[Fact, ...]
    own_words: tuple[tuple[int, str], ...] = ()  # (sentence, the same told by the hero)

    @property
    def sentences(self) -> list[str]:
        """All sentences in reading order."""
        return [sentence for paragraph in self.paragraphs for sentence in paragraph]

    @property
    def text(self) -> str:
        """The paragraphs, one a line."""
        return "\n".join(" ".join(paragraph) for paragraph in self.paragraphs)


def plural(noun: str) -> str:
    """The plural of a regular English noun, and of the irregular ones that the vocabulary holds."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("man"):
        return noun[:-3] + "men"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def upper_first(text: str) -> str:
    """`text` with its first letter, after any quotation mark, as a capital."""
    for position, character in enumerate(text):
        if character.isalpha():
            return text[:position] + character.upper() + text[position + 1 :]
    return text


def finish(skeleton: str, hero: dict[str, str]) -> str:
    """Fill the hero's slots and make a sentence: articles, capital, full stop."""
    text = upper_first(_ARTICLE.sub(r"\1n ", _SLOT.sub(lambda m: hero[m[1]], skeleton)))
    text = re.sub(r"(: \"|\? |\. )([a-z])", lambda m: m[1] + m[2].upper(), text)
    if text.endswith('"'):
        return text if text[-2] in ".?!" else f'{text[:-1]}."'
    return text if text[-1] in ".?!" else f"{text}."


def _pronouns(is_woman: bool) -> tuple[str, str, str, str]:
    return ("she", "her", "her", "herself") if is_woman else ("he", "his", "him", "himself")


@dataclass
class Writer:
    """Draws the words of one page; repeats as little as the banks allow."""

    rng: random.Random
    landscape: words.Landscape = field(init=False)
    mood: str = field(init=False)
    fixed: dict[str, str] = field(init=False)
    hero: dict[str, str] = field(init=False)
    _used: set[str] = field(init=False, default_factory=set[str])
    _templates: dict[int, list[str]] = field(init=False, default_factory=dict[int, list[str]])

    def __post_init__(self) -> None:
        rng = self.rng
        self.landscape = rng.choice(words.LANDSCAPES)
        self.mood = rng.choice(sorted(words.FEELINGS))
        is_woman, is_friend_woman = rng.random() < 0.5, rng.random() < 0.5
        names = rng.sample(words.WOMEN if is_woman else words.MEN, 1)
        friend = rng.choice([n for n in (words.WOMEN if is_friend_woman else words.MEN) if n not in names])
        self.hero = dict(zip(HERO_SLOTS, (names[0], *_pronouns(is_woman)), strict=True))
        she, hers, her, _ = _pronouns(is_friend_woman)
        places = rng.sample(self.landscape.places, 3)
        village, village2 = rng.sample(words.VILLAGES, 2)
        role, friend_role = rng.sample(self.landscape.roles, 2)
        self.fixed = {
            "friend": friend,
            "she": she,
            "hers": hers,
            "her": her,
            "village": village,
            "village2_fixed": village2,
            "role": role,
            "roles": plural(role),
            "friend_role": friend_role,
            "place": places[0],
            "place2": places[1],
            "place3": places[2],
            "thing": rng.choice(words.OBJECTS),
            "animal": rng.choice(self.landscape.animals),
        }

    def draw(self, options: Sequence[str]) -> str:
        """One of `options`, a fresh one if a few tries find it."""
        choice = self.rng.choice(options)
        for _ in range(4):
            if choice not in self._used:
                break
            choice = self.rng.choice(options)
        self._used.add(choice)
        return choice

    def template(self, bank: Sequence[str]) -> str:
        """A template of `bank` that this page has not used yet, while there is one."""
        left = self._templates.setdefault(id(bank), [])
        if not left:
            left.extend(self.rng.sample(bank, len(bank)))
        return left.pop()

    def expand(self, template: str) -> str:
        """Resolve choices and banks; the hero's slots stay."""
        while "[" in template:
            template = _CHOICE.sub(lambda m: self.rng.choice(m[1].split("|")), template)
        previous = ""
        while template != previous:
            previous, template = template, _SLOT.sub(lambda m: self._slot(m[1]), template)
            while "[" in template:
                template = _CHOICE.sub(lambda m: self.rng.choice(m[1].split("|")), template)
        return template

    def sentence(self, template: str, *, is_own: bool = False) -> str:
        """A finished sentence; with `is_own` as the hero would tell it."""
        return finish(self.expand(template), _FIRST_PERSON if is_own else self.hero)

    def fill(self, skeleton: str, *, is_own: bool = False) -> str:
        """Fill the hero's slots of a piece that is not a sentence."""
        hero = _FIRST_PERSON if is_own else self.hero
        return _ARTICLE.sub(r"\1n ", _SLOT.sub(lambda m: hero[m[1]], skeleton))

    def settle(self, name: str, bank: Sequence[str]) -> str:
        """Draw and expand a piece that keeps its value on this page, as slot `name`."""
        self.fixed[name] = self.expand(self.rng.choice(bank))
        return self.fixed[name]

    def _slot(self, name: str) -> str:
        if name in HERO_SLOTS:
            return "{" + name + "}"
        if name in self.fixed:
            return self.fixed[name]
        if name.endswith("_cap"):
            return upper_first(self._slot(name[:-4]))
        if name.endswith("_said"):
            return upper_first(self.fill(self.fixed[name[:-5]], is_own=True))
        if name.endswith("_fixed"):
            self.fixed[name] = self._slot(name[:-6])
            return self.fixed[name]
        return self.expand(self.draw(self._bank(name)))

    def _bank(self, name: str) -> Sequence[str]:
        land = self.landscape
        local: dict[str, Sequence[str] | Callable[[], Sequence[str]]] = {
            "animal2": land.animals,
            "role2": land.roles,
            "roles2": lambda: [plural(role) for role in land.roles],
            "weather": land.weathers,
            "sights": land.sights,
            "feeling": words.FEELINGS[self.mood],
            "objects": lambda: [plural(thing) for thing in words.OBJECTS],
            "friend2": lambda: [f"{self.rng.choice(words.WOMEN + words.MEN)} {surname}" for surname in words.SURNAMES],
            "age": lambda: [str(self.rng.randint(19, 91))],
        }
        bank = local.get(name) or _GENERAL[name]
        return bank() if callable(bank) else bank


_GENERAL: dict[str, Sequence[str]] = {
    "trait": words.TRAITS,
    "how": words.HOW,
    "time": words.TIMES,
    "time2": words.TIMES,
    "season": words.SEASONS,
    "number": words.NUMBERS,
    "kin": words.KIN,
    "body": words.BODIES,
    "room": words.ROOMS,
    "spot": words.SPOTS,
    "object": words.OBJECTS,
    "material": words.MATERIALS,
    "colour": words.COLOURS,
    "size": words.SIZES,
    "size_high": words.HEIGHTS,
    "food": words.FOODS,
    "drink": words.DRINKS,
    "village2": words.VILLAGES,
    "weather_now": words.WEATHERS_NOW,
    "weather_now_not": words.CLEARINGS,
    "polish": words.POLISHES,
}


class Telling:
    """Collects sentences, paragraphs and facts while a page is written."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.paragraphs: list[list[str]] = [[]]
        self.facts: list[Fact] = []
        self.own: list[tuple[int, str]] = []
        self.is_own = False

    def say(self, bank: Sequence[str], count: int = 1, *facts: tuple[str, str, str]) -> None:
        """Add `count` sentences of `bank`; `facts` are what the last of them answers."""
        for _ in range(count):
            skeleton = self.writer.expand(self.writer.template(bank))
            self.paragraphs[-1].append(self.writer.sentence(skeleton, is_own=self.is_own))
            if "{" in skeleton and not self.is_own:
                self.own.append((self._index(), self.writer.sentence(skeleton, is_own=True)))
        for kind, question, answer in facts:
            fill = self.writer.fill
            self.facts.append(
                Fact(
                    kind,
                    upper_first(fill(question if not self.is_own else question.replace("{hero}", "the writer"))),
                    upper_first(fill(answer, is_own=self.is_own)) + ".",
                    self._index(),
                )
            )

    def turn(self) -> None:
        """Begin a new paragraph."""
        if self.paragraphs[-1]:
            self.paragraphs.append([])

    def story(self, title: str, genre: str) -> Story:
        """The finished page."""
        writer = self.writer
        return Story(
            title=upper_first(writer.fill(writer.expand(title))),
            genre=genre,
            mood=writer.mood,
            landscape=writer.landscape.name,
            hero=writer.hero["hero"],
            paragraphs=tuple(tuple(p) for p in self.paragraphs if p),
            facts=tuple(self.facts),
            own_words=tuple(self.own),
        )

    def _index(self) -> int:
        return sum(map(len, self.paragraphs)) - 1
