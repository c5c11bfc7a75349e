"""Phone numbers as Presidio finds them, by phonenumbers' matcher, asked only where and for whom there can be one.

The matcher takes a tenth of a second for each thousand digits and country, and most digits are years, versions and
prices. A window is what a number and its extension can consist of around enough digits (`number_windows` says why it is
sound). In a window the matcher's own patterns give what it would try, the same for every country as long as nothing is
a number; and of what has no extension and only ASCII digits it uses nothing but the digits and the plus sign. So a
country is asked only if those of something tried are a valid number there.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from pipelines.filters.recognizer_lookalikes import CONTEXT, speaks_of_phones
from pipelines.filters.recognizer_spans import Span
from pipelines.filters.windows_phone import number_windows
from pipelines.filters.windows_slab import Slab, Trigger

SCORE = 0.4  # what Presidio gives to a phone number
_CACHED_WINDOWS, _CACHED_CHARACTERS, _CACHED_NUMBERS = 50_000, 200, 100_000
_PLUS_DIGITS = 6  # shortest calling code and number together: +43, +49, +98 and 4 digits (phonenumbers 9.0)
_PREFIX_DIGITS = 8  # the same behind an international prefix, which has at least 2
_MARKS = 5  # the matcher allows four marks between two digits, so they are five apart
_LONGEST_NUMBER = 28  # international prefix, calling code of 3 and number of 17 (phonenumberutil)
_EXTENSION = re.compile(r"[^\W\d_]|[#;]")
# ASCII digits, plus signs, and the matcher's marks but for x and ~, with which an extension may begin.
_PLAIN = re.compile(
    r"[0-9+\uFF0B\-\u2010-\u2015\u2212\u30FC\uFF0D-\uFF0F \u00A0\u00AD\u200B\u2060\u3000()\uFF08\uFF09\uFF3B\uFF3D.\[\]"
    r"/\u2053\u223C]*"
)
_ALONE = re.compile(r"[^\d(+\uFF0B]?\d+\D?")  # a run of digits and its neighbours
_PLUS = re.compile("[+\uff0b]")  # stands before the first digit, where it stands at all
_MARK = re.compile(r"\D+")
_KINDS = (  # of numbers; a valid one is of a kind
    *("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost"),
    *("voip", "personal_number", "pager", "uan", "voicemail"),
)
_VALID = 1  # phonenumbers.Leniency.VALID; below it a number need only be possible


class PhoneDetector:
    """Presidio's PhoneRecognizer for `regions`; of what it finds, numbers of `min_digits` digits or more.

    With `needs_word` it may leave out, where digits stand alone, what counts only if a word such as "phone" is near.
    """

    def __init__(
        self, entity: str, regions: Sequence[str], leniency: int, min_digits: int, *, needs_word: bool = False
    ) -> None:
        self._needs_word = needs_word
        self.entities = (entity,)
        self._asked = [_Region(region, leniency) for region in regions]
        least = min((region.least_digits for region in self._asked), default=_PLUS_DIGITS)
        self._trigger = Trigger("digit", max(min_digits, min(_PLUS_DIGITS, least)), farthest=_MARKS)
        self._min_digits = min_digits
        self._leniency = leniency
        self._remembered: Callable[[str], tuple[tuple[int, int], ...]] = lru_cache(_CACHED_WINDOWS)(self._in_window)

    def find(self, slab: Slab) -> Iterator[Span]:
        """Findings in positions of the slab."""
        first, last = slab.candidates(self._trigger, None)
        text = slab.text
        for start, end in number_windows(text, zip(first.tolist(), last.tolist(), strict=True)):
            window = text[start:end]
            if (
                self._needs_word
                and _ALONE.fullmatch(window)
                and not speaks_of_phones(text[max(start - CONTEXT, 0) : start + 1])
            ):
                continue
            found = self._remembered(window) if len(window) <= _CACHED_CHARACTERS else self._in_window(window)
            for a, b in found:
                yield Span(start + a, start + b, self.entities[0], SCORE)

    def _in_window(self, window: str) -> tuple[tuple[int, int], ...]:
        from phonenumbers import PhoneNumberMatcher

        wanted = self._asked if self._leniency < _VALID else _regions_for(window, self._asked, self._min_digits)
        found = {
            (match.start, match.end)
            for region in wanted
            for match in PhoneNumberMatcher(window, region.name, leniency=self._leniency)
        }
        return tuple(sorted((a, b) for a, b in found if number_digits(window[a:b]) >= self._min_digits))


@lru_cache
def _matcher() -> Any:
    """The module with the matcher's own patterns, which have no public names."""
    from phonenumbers import phonenumbermatcher

    return phonenumbermatcher


def number_digits(number: str) -> int:
    """Digits of a phone number, without those of an extension."""
    return sum(map(str.isdigit, _EXTENSION.split(number, maxsplit=1)[0]))


def _regions_for(window: str, regions: Sequence["_Region"], min_digits: int) -> Sequence["_Region"]:
    """Those of `regions` where something in `window` may be a valid number of `min_digits` or more."""
    numbers: set[str] = set()
    for candidate, offset in _candidates(window):
        if not _PLAIN.fullmatch(candidate):
            return regions  # an extension or other digits: anything may be
        for part, first in _parts(candidate, offset):
            digits = _MARK.sub("", part)
            if min_digits <= len(digits) <= _LONGEST_NUMBER and _may_stand_at(window, part, first):
                numbers.add(f"+{digits}" if _PLUS.search(part) else digits)
    return [region for region in regions if any(region.may_be_valid(digits) for digits in numbers)]


def _candidates(window: str) -> Iterator[tuple[str, int]]:
    """What the matcher tries one after the other as long as nothing is a number, and where it begins.

    Without those that it takes for dates and times.
    """
    found = _matcher()._PATTERN.search(window, 0)
    while found:
        candidate, start = found.group(), found.start()
        another = _matcher()._SECOND_NUMBER_START_PATTERN.search(candidate)
        candidate = candidate[: another.start()] if another else candidate
        end = start + len(candidate)
        is_time = _matcher()._TIME_STAMPS.search(candidate) and _matcher()._TIME_STAMPS_SUFFIX.match(window[end:])
        if not is_time and not _matcher()._SLASH_SEPARATED_DATES.search(candidate):
            yield candidate, start
        found = _matcher()._PATTERN.search(window, end)


def _parts(candidate: str, offset: int) -> Iterator[tuple[str, int]]:
    """`candidate`, and the parts of it that the matcher tries when the whole is no number."""
    yield candidate, offset
    unwanted = _matcher()._UNWANTED_END_CHAR_PATTERN
    for pattern in _matcher()._INNER_MATCHES:
        found = pattern.search(candidate)
        if found:
            yield unwanted.sub("", candidate[: found.start()]), offset
        while found:
            yield unwanted.sub("", found.group(1)), offset + found.start(1)
            found = pattern.search(candidate, found.start() + 1)


def _may_stand_at(window: str, part: str, first: int) -> bool:
    """Whether the matcher would look at `part`, which begins at `first`, as a number at all."""
    if not _matcher()._MATCHING_BRACKETS.fullmatch(part) or _matcher()._PUB_PAGES.search(part):
        return False
    before, after = window[max(first - 1, 0) : first], window[first + len(part) : first + len(part) + 1]
    is_led = _matcher()._LEAD_PATTERN.match(part)
    return not (before.isascii() and before.isalpha() and not is_led) and not (after.isascii() and after.isalpha())


class _Region:
    """What phonenumbers knows of the numbers of one country."""

    def __init__(self, name: str, leniency: int) -> None:
        from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

        metadata: Any = PhoneMetadata.metadata_for_region(name)
        self.name, self.leniency = name, leniency
        self.least_digits: int = min(metadata.general_desc.possible_length)
        code: int = metadata.country_code
        sharing = [PhoneMetadata.metadata_for_region(region) for region in COUNTRY_CODE_TO_REGION_CODE[code]]
        kinds = [getattr(region, kind) for region in sharing for kind in _KINDS if region is not None]
        national = "|".join({kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern})
        prefix: str = metadata.national_prefix_for_parsing or ""
        # International; or national, with or without the country's code and its prefix. A prefix that is rewritten
        # (national_prefix_transform_rule) may leave anything.
        forms = [r"\+\d+", rf"(?:{metadata.international_prefix}).*", rf"(?:{code})?(?:{prefix})?(?:{national})"]
        if metadata.national_prefix_transform_rule:
            forms.append(rf"(?:{code})?(?:{prefix}).*")
        self._form = re.compile("|".join(f"(?:{form})" for form in forms))
        self.may_be_valid: Callable[[str], bool] = lru_cache(_CACHED_NUMBERS)(self._may_be_valid)

    def _may_be_valid(self, digits: str) -> bool:
        """Whether the matcher takes a candidate of these digits, whatever marks stand between them."""
        from phonenumbers import NumberParseException, is_valid_number, parse

        if not self._form.fullmatch(digits):
            return False
        try:
            number = parse(digits, self.name, keep_raw_input=True)
        except NumberParseException:
            return False
        return is_valid_number(number) and bool(_matcher()._is_national_prefix_present_if_required(number))
