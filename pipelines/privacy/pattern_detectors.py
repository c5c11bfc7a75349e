"""Presidio's pattern recognizers on a slab of texts: its patterns, its checks and its scores, run on windows."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pipelines.privacy.spans import Span
from pipelines.privacy.windows_slab import Slab, Trigger
from pipelines.privacy.windows_traits import Traits, traits_of

_IGNORECASE = 2
_SECONDS = 60  # Presidio's limit for a pattern on a text
_SURE, _NEVER = 1.0, 0.0  # the scores of a checksum that holds and of one that does not
_REACH = 2  # characters around a window at least, so that patterns share their windows
_LONG = 64  # a match of more characters is looked for between blanks, if it has none
_LOG = logging.getLogger(__name__)
# A trigger is worth taking when few places of ordinary text set it off; the first that a pattern has is taken.
_ENOUGH_DIGITS, _ENOUGH_LITERAL = 6, 3
_TOKEN_RUNS = (26, 16, 8)  # these lengths alone are looked for, so that patterns share their windows
_WITH_DIGITS = 8  # so short a run is common unless it has digits


@dataclass(frozen=True)
class Plan:
    """One pattern of a recognizer, and where it is run."""

    expression: Any  # compiled by regex
    score: float
    trigger: Trigger | None = None  # None: on whole texts
    longest: int | None = None
    reach: int = 0
    literals: tuple[str, ...] = ()  # one is in every match

    def pieces(self, slab: Slab) -> Iterator[tuple[int, int, str]]:
        """Every match in `slab`: start, end and text."""
        if self.trigger is None:
            for start, end in zip(slab.starts.tolist(), slab.ends.tolist(), strict=True):
                for match in self._matches(slab.text[start:end]):
                    yield start + match.start(), start + match.end(), match.group()
            return
        windows = (
            slab.chunked(self.trigger, self.reach)
            if self.longest is None
            else slab.bounded(self.trigger, self.longest, self.reach)
        )
        if self.literals and not any(literal in windows.text for literal in self.literals):
            return
        for match in self._matches(windows.text):
            place = windows.place(*match.span())
            if place:
                yield *place, match.group()

    def _matches(self, text: str) -> Iterator[Any]:
        try:
            yield from self.expression.finditer(text, timeout=_SECONDS)
        except TimeoutError:  # as Presidio has it: what the pattern found so far counts
            _LOG.warning("a pattern took more than %d s on one text and was left", _SECONDS)


class PatternDetector:
    """A PatternRecognizer of Presidio; finds what its `analyze` finds in each text, before duplicates are dropped."""

    def __init__(self, recognizer: Any, threshold: float) -> None:
        from presidio_analyzer import PatternRecognizer

        kind = type(recognizer)
        self._entity: str = recognizer.supported_entities[0]
        self._recognizer = recognizer
        is_checked = kind.validate_result is not PatternRecognizer.validate_result
        self.plans = [
            plan_of(pattern.regex, int(recognizer.global_regex_flags), pattern.score)
            for pattern in recognizer.patterns
            if pattern.score >= threshold or is_checked  # only a check raises a score
        ]
        self.entities = (self._entity,) if self.plans else ()

    def find(self, slab: Slab) -> Iterator[Span]:
        """Findings in positions of the slab."""
        for plan in self.plans:
            for start, end, text in plan.pieces(slab):
                score = self._score(text, plan.score) if text else _NEVER
                if score > _NEVER:
                    yield Span(start, end, self._entity, score)

    def _score(self, text: str, score: float) -> float:
        is_valid = self._recognizer.validate_result(text)
        if is_valid is not None:
            score = _SURE if is_valid else _NEVER
        return _NEVER if self._recognizer.invalidate_result(text) else score


class WindowDetector:
    """A recognizer with an `analyze` of its own, run on the windows of its one pattern, or on whole texts."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer
        patterns = getattr(recognizer, "patterns", [])
        flags = int(getattr(recognizer, "global_regex_flags", 0))
        plans = [plan_of(pattern.regex, flags, pattern.score) for pattern in patterns]
        self._plan = plans[0] if len(plans) == 1 and plans[0].trigger is not None else None
        self.entities: tuple[str, ...] = tuple(recognizer.supported_entities)

    def find(self, slab: Slab) -> Iterator[Span]:
        """Findings in positions of the slab."""
        plan = self._plan
        if plan is None or plan.trigger is None or plan.longest is None:
            pieces = list(zip(slab.starts.tolist(), slab.ends.tolist(), strict=True))
        else:
            pieces = slab.bounded(plan.trigger, plan.longest, plan.reach).cores
        for first, last in pieces:
            for found in self._recognizer.analyze(slab.text[first:last], list(self.entities), None):
                yield Span(first + found.start, first + found.end, found.entity_type, found.score)


def plan_of(pattern: str, flags: int, score: float) -> Plan:
    """Where to run `pattern`: in windows as narrow as what is known of its matches allows."""
    import regex

    expression = regex.compile(pattern, flags)
    traits = traits_of(pattern, ignores_case=bool(flags & _IGNORECASE))
    whole = Plan(expression, score)
    if traits is None or traits.reach is None or not traits.is_joinable:
        return whole
    longest = traits.longest
    trigger = _KNOWN.get(sha256(pattern.encode()).hexdigest()[:16]) or _trigger(traits)
    if not traits.has_blank and (longest is None or longest > _LONG or (trigger and trigger.kind == "token")):
        longest = None  # the chunk that it is in is shorter, or is looked at by others too
    elif longest is None:
        return whole
    literals = traits.literals if min(map(len, traits.literals), default=0) >= _ENOUGH_LITERAL else ()
    return Plan(expression, score, trigger, longest, max(traits.reach, _REACH), literals) if trigger else whole


def _trigger(traits: Traits) -> Trigger | None:
    """The rarest of what every match holds, as far as that can be told beforehand."""
    run = next((length for length in _TOKEN_RUNS if length <= traits.token_run), 0)
    shortest_literal = min(map(len, traits.literals), default=0)
    options = (
        (traits.digits >= _ENOUGH_DIGITS, Trigger("digit", traits.digits)),
        (run > _WITH_DIGITS or (run > 0 and traits.digits > 0), Trigger("token", run, digits=min(traits.digits, 1))),
        (shortest_literal >= _ENOUGH_LITERAL or "@" in traits.literals, Trigger("literal", literals=traits.literals)),
        (traits.dots >= 2, Trigger("dot", traits.dots)),
        (traits.colons >= 2, Trigger("colon", traits.colons)),
        (traits.digits >= 1, Trigger("digit", traits.digits)),
        (shortest_literal >= 1, Trigger("literal", literals=traits.literals)),
    )
    return next((trigger for holds, trigger in options if holds), None)


# Of Presidio's patterns whose marks alone are too common, how far apart the marks are. By the hash of the pattern: when
# Presidio changes one, what can be read from it holds instead.
_QUAD = Trigger("dot", 3, nearest=2, farthest=4)  # four numbers of one to three digits and full stops between
_KNOWN = {
    "5def597d3b4dac73": _QUAD,  # IPv4_mapped
    "66197b1f8e63cd27": _QUAD,  # IPv4_embedded
    "ae1e66dfc54606cf": _QUAD,  # IPv4
    # IPv6: two colons at least, and between one and the next no more than four hexadecimal digits.
    "c4f79b73053cd5f0": Trigger("colon", 2, farthest=5),
    # MAC_COLON_OR_HYPHEN: six pairs of digits and five times the same mark between.
    "a101077778af2f88": Trigger("pair", 5, nearest=3, farthest=3),
    "1dbdb084e42f48d2": Trigger("dot", 2, nearest=5, farthest=5),  # MAC_CISCO_DOT: three times four digits
    "1f98697e78e08d67": Trigger("iban"),  # IBAN Generic: it begins with two capitals and two digits, and case counts
}
