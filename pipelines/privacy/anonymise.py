"""What stands in for personal data, and a text with the stand-ins put in.

`operators` hands the same stand-ins to Presidio's AnonymizerEngine, and a test holds the two to the same text. The
stage puts them in itself: the engine copies the whole text for every finding, 30 ms for a page of 200 kB with 1,000.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal

from pipelines.privacy.fakes import fake, without_reserved
from pipelines.privacy.pseudonyms import key_from_environment, without_pseudonyms
from pipelines.privacy.spans import Span, resolve

Mode = Literal["placeholder", "pseudonym", "fake"]
StandIn = Callable[[str, str], str]
"""Entity and value to what stands in for the value."""
Find = Callable[[Sequence[str]], list[list[Span]]]
"""Texts to the findings in each, by position and without overlaps."""

MAX_ROUNDS = 4  # what another finding hid comes out in the second; on 2,707 real pages the first found everything


def stand_in(mode: Mode, secret_variable: str) -> StandIn:
    """What `mode` puts in for a finding.

    Raises:
        SettingsError: the mode needs a secret and the environment has none that will do.
    """
    if mode == "placeholder":
        return placeholder
    key = key_from_environment(secret_variable)
    return key.pseudonym if mode == "pseudonym" else partial(fake, key)


def placeholder(entity: str, value: str = "") -> str:
    """What stands in for a finding of that kind, as Presidio writes it: `<EMAIL_ADDRESS>`."""
    return f"<{entity}>"


def settled(texts: Sequence[str], find: Find) -> list[list[Span]]:
    """The findings in each text, and those that come to light when these are replaced, by position.

    What is hidden by an overlap or a neighbour at first (`a@b.org-c@d.org`) would be found by whoever looks at the
    text that we hand on. Only lines that a finding touches are looked at again: nothing else has changed.
    """
    found = [list(spans) for spans in find(texts)]
    for _ in range(MAX_ROUNDS):
        places, lines = list[tuple[int, _Line]](), list[str]()
        for index, spans in enumerate(found):
            for line in _touched_lines(texts[index], spans):
                places.append((index, line))
                lines.append(line.text)
        more = [
            (index, span)
            for (index, line), spans in zip(places, find(lines) if lines else [], strict=True)
            for span in line.original(spans)
        ]
        if not more:
            break
        for index in {index for index, _ in more}:
            found[index] = resolve([*found[index], *(span for other, span in more if other == index)])
    return found


class _Line:
    """A line with placeholders for its findings, which knows where its characters were."""

    def __init__(self, text: str, start: int, end: int, spans: Sequence[Span]) -> None:
        pieces, self._shifts, position, size = [], list[tuple[int, int, int]](), start, 0
        for span in spans:
            before, mark = text[position : span.start], placeholder(span.entity)
            self._shifts.append((size, size + len(before), position - size))
            pieces += (before, mark)
            size += len(before) + len(mark)
            position = span.end
        self._shifts.append((size, size + end - position, position - size))
        self.text = "".join((*pieces, text[position:end]))

    def original(self, spans: Iterable[Span]) -> Iterable[Span]:
        """The findings outside the placeholders, where they lie in the whole text."""
        for span in spans:
            for first, last, shift in self._shifts:
                if first <= span.start and span.end <= last:
                    yield span._replace(start=span.start + shift, end=span.end + shift)
                    break


def _touched_lines(text: str, spans: Sequence[Span]) -> Iterable[_Line]:
    position = 0
    while position < len(spans):
        start = text.rfind("\n", 0, spans[position].start) + 1
        inside = [spans[position]]
        while True:
            end = text.find("\n", inside[-1].end)
            end = len(text) if end < 0 else end
            following = position + len(inside)
            if following == len(spans) or spans[following].start > end:
                break
            inside.append(spans[following])
        yield _Line(text, start, end, inside)
        position += len(inside)


def anonymised(text: str, spans: Sequence[Span], stand_in: StandIn) -> str:
    """`text` with a stand-in for each of `spans`, which lie in order and do not overlap."""
    pieces: list[str] = []
    position = 0
    for span in spans:
        pieces += (text[position : span.start], stand_in(span.entity, text[span.start : span.end]))
        position = span.end
    return "".join(pieces) + text[position:]


def without_stand_ins(text: str, mode: Mode) -> str:
    """`text` as one looks for leftovers in it: what stands in, and what is nobody's, is no finding."""
    if mode == "placeholder":
        return text
    text = without_pseudonyms(text)
    return without_reserved(text) if mode == "fake" else text


def operators(stand_in: StandIn, entities: Iterable[str]) -> dict[str, Any]:
    """The stand-ins as operators of presidio-anonymizer: `AnonymizerEngine().anonymize(text, results, operators)`."""
    from presidio_anonymizer.entities import OperatorConfig

    return {entity: OperatorConfig("custom", {"lambda": partial(stand_in, entity)}) for entity in entities}
