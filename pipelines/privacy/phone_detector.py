"""Phone numbers as Presidio finds them, for all countries at once and only where there can be one.

Presidio runs phonenumbers' matcher over a text once for each country; the matcher takes a tenth of a second for each
thousand digits and country, and most digits are years, versions and prices. Here it is asked only about windows: what
a number and its extension can consist of around enough digits (`number_windows` says why that is sound). In a window
its walk is gone once, with its own patterns: what it would try, one after the other, the same for every country as long
as nothing is a number there. What it tries and has only ASCII digits, marks and no extension it judges by the digits
and the plus sign alone (pipelines.privacy.phone_numbering); anything else phonenumbers parses and verifies itself.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from pipelines.privacy.lookalikes import CONTEXT, speaks_of_phones
from pipelines.privacy.phone_numbering import Numbering
from pipelines.privacy.spans import Span
from pipelines.privacy.windows_phone import number_windows
from pipelines.privacy.windows_slab import Slab, Trigger

SCORE = 0.4  # what Presidio gives to a phone number
_CACHED_WINDOWS, _CACHED_CHARACTERS = 50_000, 200
_PLUS_DIGITS = 6  # shortest calling code and number together: +43, +49, +98 and 4 digits (phonenumbers 9.0)
_MARKS = 5  # the matcher allows four marks between two digits, so they are five apart
_LEAST_NUMBER = 2  # digits, for the parser (phonenumberutil)
_LONGEST_NUMBER = 28  # international prefix, calling code of 3 and number of 17 (phonenumberutil)
_EXTENSION = re.compile(r"[^\W\d_]|[#;]")
# ASCII digits behind a plus sign at most, and the matcher's marks but for x and ~, with which an extension may begin.
_SEPARATORS = (
    r"[\-\u2010-\u2015\u2212\u30FC\uFF0D-\uFF0F \u00A0\u00AD\u200B\u2060\u3000()\uFF08\uFF09\uFF3B\uFF3D.\[\]"
    r"/\u2053\u223C]*"
)
_PLAIN = re.compile(rf"{_SEPARATORS}([+\uFF0B]?)((?:{_SEPARATORS}[0-9])+){_SEPARATORS}")
_ALONE = re.compile(r"[^\d(+\uFF0B]?\d+\D?")  # a run of digits and its neighbours
_MARK = re.compile(r"\D+")
_BRACKETS = re.compile(r"[()\[\]\uFF08\uFF09\uFF3B\uFF3D]")
_OTHER_INNER = re.compile(r"[^0-9()+]")  # without one of these a number is not broken up but at brackets
_VALID = 1  # phonenumbers.Leniency.VALID; below it a number need only be possible


class PhoneDetector:
    """Presidio's PhoneRecognizer for `regions`; of what it finds, numbers of `min_digits` digits or more.

    With `needs_word` it may leave out, where digits stand alone, what counts only if a word such as "phone" is near.
    """

    def __init__(
        self, entity: str, regions: Sequence[str], leniency: int, min_digits: int, *, needs_word: bool = False
    ) -> None:
        from phonenumbers import PhoneMetadata

        self._needs_word = needs_word
        self.entities = (entity,)
        metadata: list[Any] = [PhoneMetadata.metadata_for_region(region) for region in regions]
        least = min(_PLUS_DIGITS, *(length for country in metadata for length in country.general_desc.possible_length))
        self._trigger = Trigger("digit", max(min_digits, least), farthest=_MARKS)
        self._min_digits = min_digits
        self._walk = _Walk(regions, leniency)
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
        found = self._walk.matches(window)
        return tuple(sorted((a, b) for a, b in found if number_digits(window[a:b]) >= self._min_digits))


@lru_cache
def _matcher() -> Any:
    """The module with the matcher's own patterns, which have no public names."""
    from phonenumbers import phonenumbermatcher

    return phonenumbermatcher


def number_digits(number: str) -> int:
    """Digits of a phone number, without those of an extension."""
    return sum(map(str.isdigit, _EXTENSION.split(number, maxsplit=1)[0]))


class _Walk:
    """The matcher's walk through a text, for several countries; a set of countries is an int with a bit for each."""

    def __init__(self, regions: Sequence[str], leniency: int) -> None:
        self._regions = tuple(regions)
        self._leniency = leniency
        self._numbering = Numbering(regions)
        matcher = _matcher()
        self._pattern, self._second = matcher._PATTERN, matcher._SECOND_NUMBER_START_PATTERN
        self._lead, self._unwanted = matcher._LEAD_PATTERN, matcher._UNWANTED_END_CHAR_PATTERN
        self._inner: list[Any] = list(matcher._INNER_MATCHES)

    def matches(self, text: str) -> set[tuple[int, int]]:
        """Start and end of every match of any country."""
        found: set[tuple[int, int]] = set()
        going = {0: self._numbering.everywhere}  # from where on which countries search
        while going:
            index = min(going)
            searching = going.pop(index)
            if len(text) - index < _LEAST_NUMBER:
                continue
            candidate = self._pattern.search(text, index)
            if candidate is None:
                continue
            tried, start = candidate.group(), candidate.start()
            another = self._second.search(tried)
            tried = tried[: another.start()] if another else tried
            for part, first in self._parts(text, tried, start):
                of = self._verified(text, part, first, searching)
                if of:
                    end = first + len(part)
                    found.add((first, end))
                    going[end] = going.get(end, 0) | of
                    searching &= ~of
                    if not searching:
                        break
            if searching:
                end = start + len(tried)
                going[end] = going.get(end, 0) | searching
        return found

    def _parts(self, text: str, candidate: str, offset: int) -> Iterator[tuple[str, int]]:
        """What the matcher tries of a candidate until something is a number: the whole, then parts of it."""
        matcher = _matcher()
        if "/" in candidate and matcher._SLASH_SEPARATED_DATES.search(candidate):
            return
        end = offset + len(candidate)
        if matcher._TIME_STAMPS.search(candidate) and matcher._TIME_STAMPS_SUFFIX.match(text[end:]):
            return
        yield candidate, offset
        is_whole = not _OTHER_INNER.search(candidate)
        if is_whole and "(" not in candidate:
            return
        for pattern in self._inner:
            found = pattern.search(candidate)
            if found:
                yield self._unwanted.sub("", candidate[: found.start()]), offset
            while found:
                yield self._unwanted.sub("", found.group(1)), offset + found.start(1)
                found = pattern.search(candidate, found.start() + 1)

    def _verified(self, text: str, part: str, first: int, searching: int) -> int:
        """Those of the countries `searching` for which the matcher takes `part`, which begins at `first`."""
        if not part or not self._may_stand(text, part, first):
            return 0
        if self._leniency < _VALID:
            return self._parsed(part, searching)
        plain = _PLAIN.fullmatch(part)
        if plain:
            of = self._judged(plain, part)
            if of is not None and self._leniency == _VALID:
                return of & searching
            return self._parsed(part, searching if of is None else of & searching)
        number, extension = _without_extension(part)
        plain = _PLAIN.fullmatch(number)
        of = self._judged(plain, part) if plain and "xx" not in part.lower() else None
        if of is None or self._leniency != _VALID:
            return self._parsed(part, searching if of is None else of & searching)
        return of & searching if of & searching and _is_only_extension(part, extension) else 0

    def _judged(self, plain: re.Match[str], part: str) -> int | None:
        """The countries where a number without an extension is valid; None: that is not for its digits to say."""
        digits = _MARK.sub("", plain[2])
        if len(digits) > _LONGEST_NUMBER:
            return 0
        if not plain[1]:
            written = "".join(filter(str.isdigit, part)) if len(part) > len(plain.string) else digits
            return self._numbering.valid_in(digits, written)
        abroad = self._numbering.valid_with_plus(digits)
        return None if abroad is None else self._numbering.everywhere * abroad

    def _may_stand(self, text: str, part: str, first: int) -> bool:
        """Whether the matcher would look at `part`, which begins at `first`, as a number at all."""
        matcher = _matcher()
        if _BRACKETS.search(part) and not matcher._MATCHING_BRACKETS.fullmatch(part):
            return False
        if "(" in part and matcher._PUB_PAGES.search(part):
            return False
        if self._leniency < _VALID:
            return True
        end = first + len(part)
        return not (
            (first > 0 and not self._lead.match(part) and _spoils(text[first - 1]))
            or (end < len(text) and _spoils(text[end]))
        )

    def _parsed(self, part: str, searching: int) -> int:
        """Those of the countries `searching` for which phonenumbers parses `part` and verifies it."""
        from phonenumbers import NumberParseException, PhoneNumberMatcher, parse

        found = 0
        for place, region in enumerate(self._regions):
            if searching >> place & 1:
                try:
                    number = parse(part, region, keep_raw_input=True)
                    if _matcher()._verify(self._leniency, number, part, PhoneNumberMatcher("", region)):
                        found |= 1 << place
                except NumberParseException:
                    continue
        return found


def _without_extension(part: str) -> tuple[str, str]:
    """A number and the digits of its extension, as phonenumbers takes them apart; the number may be none."""
    from phonenumbers import phonenumberutil

    number = phonenumberutil._build_national_number_for_parsing(part)
    if not phonenumberutil._is_viable_phone_number(number):
        return "", ""
    extension, number = phonenumberutil._maybe_strip_extension(number)
    return number, extension


def _is_only_extension(part: str, extension: str) -> bool:
    """Whether an x in `part`, but for one at its end, stands before the extension."""
    from phonenumbers import PhoneNumber

    return bool(_matcher()._contains_only_valid_x_chars(PhoneNumber(extension=extension), part))


@lru_cache(10_000)
def _spoils(neighbour: str) -> bool:
    """Whether digits beside this character are no number to the matcher: Latin letters, a percent or currency sign."""
    matcher = _matcher().PhoneNumberMatcher
    return bool(matcher._is_invalid_punctuation_symbol(neighbour) or matcher._is_latin_letter(neighbour))
