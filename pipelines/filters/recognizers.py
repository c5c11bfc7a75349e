"""Presidio's pattern recognizers, without a language model, kept off the network and off most of the text.

Presidio's engine on whole texts with these recognizers does about 0.1 MB/s; here each recognizer sees only
the windows where it could find something (pipelines.filters.windows) and finds the same. Context words,
which in Presidio raise a score, are off: they need a language model, and at the default threshold of 0.4
they would only add very weak patterns (nine digits near the word "ssn").
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pipelines.filters import windows
from pipelines.filters.imports import DEEP_LEARNING, hidden
from pipelines.filters.recognizer_settings import RecognizerSettings
from pipelines.filters.windows import Window

ENTITIES = (
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "IP_ADDRESS",
    "CREDIT_CARD",
    "IBAN_CODE",
    "US_SSN",
    "CRYPTO",
    "MAC_ADDRESS",
)
_CACHED_WINDOWS = 50_000
_CACHED_CHARACTERS = 200
_EXTENSION = re.compile(r"[^\W\d_]|[#;]")
_PLUS_DIGITS = 6  # shortest calling code and number together: +43, +49, +98 and 4 digits (phonenumbers 9.0)
_PREFIX_DIGITS = 8  # the same behind an international prefix, which has at least 2
# Mastercard's second range, 222100 to 272099, in use since 2017, which Presidio's card pattern leaves out.
_MASTERCARD_2 = r"\b2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)[- ]?\d{4}[- ]?\d{4}[- ]?\d{4}\b"


class Span(NamedTuple):
    """One finding."""

    start: int
    end: int  # exclusive
    entity: str
    score: float


@dataclass(frozen=True)
class Recognizer:
    """A Presidio recognizer and where it may find something."""

    entity: str
    find_windows: Callable[[str], Iterator[Window]]
    analyze: Callable[[str], tuple[Span, ...]]

    def find(self, text: str) -> Iterator[Span]:
        """What Presidio's recognizer finds in `text`."""
        for first, last in self.find_windows(text):
            for span in self.analyze(text[first:last]):
                yield Span(first + span.start, first + span.end, span.entity, span.score)


class Engine:
    """Every recognizer that the settings ask for, over many texts at once."""

    def __init__(self, settings: RecognizerSettings) -> None:
        self._settings = settings
        entities = ENTITIES if settings.entities is None else settings.entities
        self.entities: tuple[str, ...] = tuple(sorted(entities))
        self._recognizers = recognizers(
            tuple(e for e in ENTITIES if e in entities),
            settings.phone_regions,
            settings.phone_leniency,
            max(settings.min_phone_digits, 1),
        )

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """What is found in each text with at least the settings' score: by position, without overlaps."""
        from pipelines.filters.personal_data import find

        return [find(text, self._recognizers, self._settings.score_threshold) for text in texts]


@lru_cache(maxsize=4)
def engine(settings: RecognizerSettings) -> Engine:
    """The engine of `settings`; loading it takes seconds, so once per process."""
    return Engine(settings)


@lru_cache(maxsize=4)
def recognizers(
    entities: tuple[str, ...], regions: tuple[str, ...], leniency: int, min_phone_digits: int = 1
) -> tuple[Recognizer, ...]:
    """The recognizers of `entities`; loading them takes seconds, so once per process.

    With `min_phone_digits` 1 they find what Presidio's find; with more, only phone numbers of so many digits.
    """
    found: list[Recognizer] = []
    for entity, presidio in presidio_recognizers(entities, regions, leniency).items():
        if entity == "PHONE_NUMBER":
            found.append(_phone_recognizer(presidio, min_phone_digits))
        else:
            found.append(Recognizer(entity, _WINDOWS[entity], _remembering(_analyzer(presidio[0]))))
    return tuple(found)


_WINDOWS: dict[str, Callable[[str], Iterator[Window]]] = {
    "EMAIL_ADDRESS": windows.email_windows,
    "IP_ADDRESS": windows.ip_windows,
    "CREDIT_CARD": windows.card_windows,
    "IBAN_CODE": windows.iban_windows,
    "US_SSN": windows.ssn_windows,
    "CRYPTO": windows.crypto_windows,
    "MAC_ADDRESS": windows.mac_windows,
}


def presidio_recognizers(entities: tuple[str, ...], regions: tuple[str, ...], leniency: int) -> dict[str, list[Any]]:
    """Presidio's own recognizer objects by entity; for phone numbers one per region."""
    with hidden(*DEEP_LEARNING):
        from presidio_analyzer import Pattern
        from presidio_analyzer import predefined_recognizers as presidio
    from tldextract import TLDExtract

    # No URL: the list of domain suffixes is the one in the package, never a download.
    suffixes = TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(presidio.EmailRecognizer):
        """Presidio's, but for where it takes the domain suffixes from."""

        def validate_result(self, pattern_text: str) -> bool:
            return suffixes(pattern_text).fqdn != ""

    makers: dict[str, Callable[[], list[Any]]] = {
        "EMAIL_ADDRESS": lambda: [OfflineEmailRecognizer()],
        "PHONE_NUMBER": lambda: [
            presidio.PhoneRecognizer(supported_regions=(region,), leniency=leniency) for region in regions
        ],
        "IP_ADDRESS": lambda: [presidio.IpRecognizer()],
        "CREDIT_CARD": lambda: [
            presidio.CreditCardRecognizer(
                patterns=[
                    *presidio.CreditCardRecognizer.PATTERNS,
                    Pattern("Mastercard 2-series (weak)", _MASTERCARD_2, 0.3),
                ]
            )
        ],
        "IBAN_CODE": lambda: [presidio.IbanRecognizer()],
        "US_SSN": lambda: [presidio.UsSsnRecognizer()],
        "CRYPTO": lambda: [presidio.CryptoRecognizer()],
        "MAC_ADDRESS": lambda: [presidio.MacAddressRecognizer()],
    }
    return {entity: makers[entity]() for entity in ENTITIES if entity in entities}


def _phone_recognizer(regional: list[Any], min_digits: int) -> Recognizer:
    """One recognizer for all regions, which asks only those whose numbers are short enough for a window."""
    analyzers = [(_least_digits(r.supported_regions[0]), _analyzer(r)) for r in regional]
    trigger = windows.phone_trigger(max(min_digits, min(_PLUS_DIGITS, *(least for least, _ in analyzers))))

    def analyze(window: str) -> tuple[Span, ...]:
        digits = sum(map(str.isdigit, window))
        abroad = _PLUS_DIGITS if "+" in window or "\N{FULLWIDTH PLUS SIGN}" in window else _PREFIX_DIGITS
        found = (span for least, ask in analyzers if digits >= min(least, abroad) for span in ask(window))
        return tuple(s for s in dict.fromkeys(found) if _number_digits(window[s.start : s.end]) >= min_digits)

    return Recognizer("PHONE_NUMBER", lambda text: windows.phone_windows(text, trigger), _remembering(analyze))


def _number_digits(number: str) -> int:
    """Digits of a phone number, without those of an extension."""
    return sum(map(str.isdigit, _EXTENSION.split(number, maxsplit=1)[0]))


def _least_digits(region: str) -> int:
    """Digits of the shortest national number that may be valid in `region`."""
    from phonenumbers import PhoneMetadata

    metadata: Any = PhoneMetadata.metadata_for_region(region)
    return min(metadata.general_desc.possible_length)


def _analyzer(presidio: Any) -> Callable[[str], tuple[Span, ...]]:
    entities = list(presidio.supported_entities)

    def analyze(window: str) -> tuple[Span, ...]:
        return tuple(
            Span(found.start, found.end, found.entity_type, found.score)
            for found in presidio.analyze(window, entities, None)
        )

    return analyze


def _remembering(analyze: Callable[[str], tuple[Span, ...]]) -> Callable[[str], tuple[Span, ...]]:
    """`analyze` with a memory for short windows: the same years, versions and addresses come again."""
    remembered = lru_cache(maxsize=_CACHED_WINDOWS)(analyze)
    return lambda window: remembered(window) if len(window) <= _CACHED_CHARACTERS else analyze(window)
