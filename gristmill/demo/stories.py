"""Whole pages of prose: tales, diaries, reports, explanations, crafts and guides, each with its facts."""

import random
from collections.abc import Callable
from itertools import pairwise

from gristmill.demo import explanations as essay
from gristmill.demo import plots
from gristmill.demo import vocabulary as words
from gristmill.demo.prose import Story, Telling, Writer

GENRES = ("tale", "diary", "news report", "explanation", "instructions", "travel guide")
_CHAIN_LENGTH = (5, 9)


def _settle_plot(writer: Writer) -> None:
    for name, bank in (
        ("goal", plots.GOALS),
        ("reason", plots.REASONS),
        ("trouble", plots.TROUBLE_CLAUSES),
        ("cause", plots.CAUSES),
        ("lesson", plots.LESSON_CLAUSES),
        ("spot_fixed", words.SPOTS),
    ):
        writer.settle(name, bank)


def _plot(page: Telling, rng: random.Random) -> None:
    """The beats that tales and diaries share, from the wish to the end."""
    fixed = page.writer.fixed
    is_good = page.writer.mood not in ("sad", "frightening")
    page.say(plots.WISHES, 1, ("why", f"Why did {{hero}} want to {fixed['goal']}?", f"because {fixed['reason']}"))
    page.say(plots.DAILY, rng.randint(0, 2))
    page.turn()
    page.say(plots.TROUBLES, 1, ("why", f"Why did it happen that {fixed['trouble']}?", f"because {fixed['cause']}"))
    page.say(plots.REACTIONS, rng.randint(2, 3))
    page.turn()
    page.say(plots.JOURNEYS, rng.randint(2, 4))
    page.turn()
    page.say(plots.MEETINGS, 1, ("who", f"Whom did {{hero}} meet at {fixed['place2']}?", fixed["friend"]))
    page.say(plots.TALKS, rng.randint(2, 3))
    page.turn()
    page.say(plots.EFFORTS, rng.randint(2, 4))
    page.say(plots.TURNS, 1, ("where", f"Where was the {fixed['thing']}?", f"it was {fixed['spot_fixed']}"))
    page.turn()
    page.say(
        plots.GOOD_ENDS if is_good else plots.BAD_ENDS,
        1,
        ("what", f"Could {{hero}} {fixed['goal']} in the end?", "yes" if is_good else "no"),
    )
    page.say(plots.CLOSINGS[page.writer.mood], rng.randint(1, 2))
    page.say(plots.LESSONS)


def tale(rng: random.Random) -> Story:
    """Somebody wants something, it goes wrong, somebody helps."""
    page = Telling(Writer(rng))
    _settle_plot(page.writer)
    fixed = page.writer.fixed
    page.say(
        plots.OPENINGS,
        1,
        ("who", f"Which {fixed['role']} is this about?", "{hero}"),
        ("where", "In which village does {hero} live?", f"in {fixed['village']}"),
        ("what", "What is the work of {hero}?", f"{{hero}} is a {fixed['role']}"),
    )
    page.say(plots.DAILY, rng.randint(1, 3))
    if rng.random() < 0.5:
        page.turn()
    _plot(page, rng)
    title = rng.choice(
        (
            "{hero} and the {thing}",
            "The {thing} of {village}",
            "The {role} of {village}",
            "How {hero} met {friend}",
            "The {animal} and the {thing}",
            "The {trait} {role}",
            "A {season} in {village}",
        )
    )
    return page.story(title, "tale")


def diary(rng: random.Random) -> Story:
    """The same kind of plot, told by the hero."""
    page = Telling(Writer(rng))
    page.is_own = True
    _settle_plot(page.writer)
    fixed = page.writer.fixed
    hero = page.writer.hero["hero"]
    page.say(
        (
            f"[Dear diary,|My dear {{kin}},|Dear friend,] this is {hero}, your {{role}} in {{village}}, and I must "
            "tell you [everything|about the {thing}|what happened {time}]",
            f"My name is {hero}; I [work|live] as a {{role}} near {{place}} in {{village}}, and I write this {{time}}",
            f"{{village}}, {{time}}: I, {hero} the {{role}}, sit in {{room}} and write",
        ),
        1,
        ("who", "Who is writing?", hero),
        ("where", "Where does {hero} live?", f"in {fixed['village']}"),
    )
    _plot(page, rng)
    return page.story(
        rng.choice(
            (
                "From the diary of {hero}",
                "A letter from {village}",
                "My {season} at {place}",
                "{hero} writes about the {thing}",
                "What I did with the {thing}",
            )
        ),
        "diary",
    )


def report(rng: random.Random) -> Story:
    """News from a village."""
    page = Telling(Writer(rng))
    _settle_plot(page.writer)
    fixed = page.writer.fixed
    fixed["trouble"] = page.writer.fill(fixed["trouble"].replace("{his}", "a").replace("{him}", "the visitors"))
    fixed["cause"] = page.writer.fill(fixed["cause"].replace("{he}", "somebody").replace("{his} ", "the "))
    page.say(
        essay.REPORT_OPENINGS,
        1,
        ("where", "Where did it happen?", f"in {fixed['village']}"),
        ("why", f"Why did it happen that {fixed['trouble']}?", f"because {fixed['cause']}"),
    )
    for count in (rng.randint(2, 3), rng.randint(3, 4), rng.randint(2, 4)):
        page.say(essay.REPORT_LINES, count)
        page.turn()
    if rng.random() < 0.5:
        page.say(plots.EFFORTS[:0] + essay.CHAIN_EXAMPLES, 1)
    return page.story(
        rng.choice(
            (
                "Trouble at {place}",
                "News from {village}",
                "{village}: {number} {objects} missing",
                "A {thing} keeps {village} busy",
                "{roles2} of {village} ask for help",
            )
        ),
        "news report",
    )


def explanation(rng: random.Random) -> Story:
    """A walk through the graph of causes."""
    page = Telling(Writer(rng))
    writer = page.writer
    chain = _walk(rng)
    clause, np, _ = essay.EVENTS[chain[0]]
    writer.fixed |= {"last": essay.EVENTS[chain[-1]][0], "last_np": essay.EVENTS[chain[-1]][1]}
    writer.fixed |= {"clause": clause, "np": np}
    page.say(essay.CHAIN_OPENINGS)
    page.say(essay.CHAIN_EXAMPLES)
    page.turn()
    for position, (cause, effect) in enumerate(pairwise(chain)):
        clause, np, _ = essay.EVENTS[cause]
        writer.fixed |= {"clause": clause, "np": np}
        writer.fixed |= {"effect": essay.EVENTS[effect][0], "effect_np": essay.EVENTS[effect][1]}
        page.say(
            essay.CHAIN_LINKS,
            1,
            ("why", f"Why is it that {essay.EVENTS[effect][0]}?", f"because {clause}"),
        )
        page.say(essay.CHAIN_EXAMPLES, rng.randint(1, 2))
        if position % 2:
            page.turn()
    clause, np, _ = essay.EVENTS[chain[0]]
    writer.fixed |= {"clause": clause, "np": np}
    page.turn()
    page.say(essay.CHAIN_CLOSINGS)
    return page.story(
        rng.choice(
            ("Why {last}", "How {np} leads to {last_np}", "From {np} to {last_np}", "What {np} does to {village}")
        ),
        "explanation",
    )


def _walk(rng: random.Random) -> list[str]:
    """A path through the events without a repeat."""
    while True:
        path = [rng.choice(sorted(essay.EVENTS))]
        length = rng.randint(*_CHAIN_LENGTH)
        while len(path) < length:
            following = [name for name in essay.EVENTS[path[-1]][2] if name not in path]
            if not following:
                break
            path.append(rng.choice(following))
        if len(path) >= _CHAIN_LENGTH[0]:
            return path


def instructions(rng: random.Random) -> Story:
    """How a thing is made, step by step."""
    page = Telling(Writer(rng))
    writer = page.writer
    writer.fixed["material_fixed"] = rng.choice(
        ("clay", "willow", "wool", "oak bark", "copper wire", "goat hair", "river sand", "birch wood", "flax", "straw",
         "beeswax", "horn", "pine resin", "old rope", "sheepskin", "bone", "slate", "cork", "reed", "felt")
    )  # fmt: skip
    writer.fixed["hers2"] = "the"
    fixed = writer.fixed
    page.say(essay.CRAFT_OPENINGS, 1, ("what", "What is being made?", f"a {fixed['thing']}"))
    page.say(essay.CHAIN_EXAMPLES, rng.randint(1, 2))
    page.turn()
    first, *steps = essay.CRAFT_STEPS
    page.say((first,), 1, ("where", f"Where does the {fixed['material_fixed']} come from?", f"from {fixed['place']}"))
    count = rng.randint(6, 9)
    order = sorted(rng.sample(range(len(steps)), count))
    for position, step in enumerate(order):
        page.say((steps[step],))
        if position % 3 == 2:
            page.say(essay.CHAIN_EXAMPLES, rng.randint(0, 1))
            page.turn()
    page.turn()
    page.say(essay.CRAFT_CLOSINGS, rng.randint(1, 2))
    return page.story(
        rng.choice(
            (
                "How to make a {thing}",
                "Making a {thing} in {village}",
                "The {thing}: step by step",
                "A {thing} of {material_fixed}",
            )
        ),
        "instructions",
    )


def guide(rng: random.Random) -> Story:
    """A visitor's guide to a place."""
    page = Telling(Writer(rng))
    fixed = page.writer.fixed
    reason = page.writer.settle("reason_guide", [r.replace("its", "the") for r in essay.GUIDE_REASONS])
    first, *others = essay.GUIDE_LINES
    page.say(
        (first,),
        1,
        ("why", f"Why was {fixed['place']} built?", f"because {reason}"),
        ("where", f"Where is {fixed['place']}?", f"in {fixed['village']}"),
    )
    for count in (2, rng.randint(3, 4), rng.randint(2, 4)):
        for _ in range(count):
            page.say(others)
        page.turn()
    page.say(essay.CHAIN_EXAMPLES[3:6], 1)
    return page.story(
        rng.choice(
            (
                "A visit to {village}",
                "{place} of {village}",
                "A day near {place2}",
                "Walks around {village}",
                "Where the {roles2} live",
            )
        ),
        "travel guide",
    )


_WRITERS: dict[str, tuple[Callable[[random.Random], Story], float]] = {
    "tale": (tale, 0.42),
    "diary": (diary, 0.14),
    "news report": (report, 0.12),
    "explanation": (explanation, 0.16),
    "instructions": (instructions, 0.08),
    "travel guide": (guide, 0.08),
}


def write_story(rng: random.Random) -> Story:
    """A page of prose of some genre."""
    names = list(_WRITERS)
    genre = rng.choices(names, [_WRITERS[name][1] for name in names])[0]
    return _WRITERS[genre][0](rng)
