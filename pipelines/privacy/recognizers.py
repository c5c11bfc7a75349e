"""Personal data in texts: Presidio's recognizers, kept off the network and off most of the text.

Presidio's engine on whole texts does about 0.1 MB/s; here each pattern sees only the windows where it could find
something (pipelines.privacy.windows_slab), phone numbers are asked for only where there can be one
(pipelines.privacy.phone_detector), and the findings are the same. Context words, which in Presidio raise a score,
are off: they need a language model, and at the default threshold of 0.4 they would only add very weak patterns (nine
digits near the word "ssn").
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

from pipelines.privacy.lookalikes import (
    is_lookalike_phone,
    is_part_of_more,
    is_section_number,
    speaks_of_addresses,
)
from pipelines.privacy.pattern_detectors import PatternDetector, WindowDetector
from pipelines.privacy.phone_detector import PhoneDetector
from pipelines.privacy.recognizer_settings import RecognizerSettings
from pipelines.privacy.registry import build_recognizers
from pipelines.privacy.spans import Span, resolve
from pipelines.privacy.windows_slab import Slab

_BEFORE, _AFTER = 64, 16  # characters around a finding that say what it is
_NEAR, _PORT = 40, 7  # in which a word or a port speaks for a short address; a port has 5 digits
_OF_DIGITS = frozenset({"PHONE_NUMBER", "CREDIT_CARD", "CA_SIN"})  # alone, and so what a decimal may hold
_SLAB_CHARACTERS = 300_000  # texts searched at once: enough to pay for arrays, few enough to stay in the cache


class Detector(Protocol):
    """A recognizer that is run on a slab."""

    entities: tuple[str, ...]  # that it may find; () where no score reaches the threshold

    def find(self, slab: Slab) -> Iterator[Span]:
        """Findings in positions of the slab, in any order, with duplicates."""
        ...


class Engine:
    """Every recognizer that the settings ask for, over many texts at once."""

    def __init__(self, settings: RecognizerSettings) -> None:
        recognizers, file = build_recognizers(settings)
        self._settings = settings
        self._threshold = settings.score_threshold
        self._allowed = file.allow
        made = [_detector(recognizer, settings) for recognizer in recognizers]
        self._detectors = [detector for detector in made if detector.entities]
        self.entities: tuple[str, ...] = tuple(sorted({e for d in self._detectors for e in d.entities}))

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """What is found in each text with at least the settings' score: by position, without overlaps."""
        return [resolve(spans) for spans in self._raw(texts)]

    def analyze(self, texts: Sequence[str]) -> list[list[Span]]:
        """What Presidio's engine returns for each text: overlaps of one kind within another stay; by position."""
        return [sorted(_without_contained(spans)) for spans in self._raw(texts)]

    def _raw(self, texts: Sequence[str]) -> list[list[Span]]:
        found: list[list[Span]] = [[] for _ in texts]
        first = 0
        while first < len(texts):
            last, size = first, 0
            while last < len(texts) and (last == first or size < _SLAB_CHARACTERS):
                size += len(texts[last])
                last += 1
            self._search(texts[first:last], found[first:last])
            first = last
        return found

    def _search(self, texts: Sequence[str], found: Sequence[list[Span]]) -> None:
        slab = Slab(texts)
        starts: list[int] = slab.starts.tolist()
        for detector in self._detectors:
            for span in detector.find(slab):
                if span.score >= self._threshold:
                    number = bisect_right(starts, span.start) - 1
                    local = Span(span.start - starts[number], span.end - starts[number], span.entity, span.score)
                    if self._counts(texts[number], local):
                        found[number].append(local)

    def _counts(self, text: str, span: Span) -> bool:
        """Whether a finding is one that the settings want."""
        value = text[span.start : span.end]
        if value in self._allowed:
            return False
        if span.entity == "IP_ADDRESS":
            if not is_section_number(value, self._settings.min_ip_number):
                return True
            return speaks_of_addresses(text[max(span.start - _NEAR, 0) : span.start], text[span.end : span.end + _PORT])
        if span.entity not in _OF_DIGITS or not self._settings.drop_lookalikes:
            return True
        before, after = text[max(span.start - _BEFORE, 0) : span.start], text[span.end : span.end + _AFTER]
        if span.entity == "PHONE_NUMBER":
            return not is_lookalike_phone(value, before, after)
        return not is_part_of_more(before, after)


@lru_cache(maxsize=4)
def engine(settings: RecognizerSettings) -> Engine:
    """The engine of `settings`; loading it takes seconds, so once per process.

    Raises:
        SettingsError: the file of recognizers, or what the settings choose of it, is wrong.
    """
    return Engine(settings)


def _detector(recognizer: Any, settings: RecognizerSettings) -> Detector:
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    kind = type(recognizer)
    if kind.analyze is PhoneRecognizer.analyze:
        return PhoneDetector(
            recognizer.supported_entities[0],
            recognizer.supported_regions,
            recognizer.leniency,
            settings.min_phone_digits,
            needs_word=settings.drop_lookalikes,
        )
    if kind.analyze is PatternRecognizer.analyze:
        return PatternDetector(recognizer, settings.score_threshold)
    return WindowDetector(recognizer)


def _without_contained(spans: Sequence[Span]) -> list[Span]:
    """Without what lies inside a finding of its kind that is as sure, as Presidio's engine has it."""
    kept: list[Span] = []
    for span in sorted(set(spans), key=lambda s: (s.entity, s.start, s.start - s.end, -s.score)):
        inside = (k for k in kept if k.entity == span.entity and span.start >= k.start and span.end <= k.end)
        if all(span.score > k.score for k in inside):
            kept.append(span)
    return kept
