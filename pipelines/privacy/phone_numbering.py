"""Which strings of digits are valid phone numbers in which countries: phonenumbers' verdict, compiled.

phonenumbers parses and checks a number in a tenth of a millisecond for each country. What it looks at is a handful of
regular expressions of its metadata, with lengths; here those are compiled once for a country, and run in the order in
which `phonenumbers.parse`, `is_valid_number` and the matcher's check for a national prefix run them.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

_LEAST, _MOST = 2, 17  # digits of a national number, as phonenumbers parses it
_KINDS = (  # of numbers; a valid one is of a kind
    *("premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail"),
    *("fixed_line", "mobile"),
)
_CACHED = 100_000  # strings of digits


class Numbering:
    """The countries that are asked; each has a bit, in their order."""

    def __init__(self, regions: Sequence[str]) -> None:
        from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

        self._regions = [_Region(region) for region in regions]
        for code in COUNTRY_CODE_TO_REGION_CODE:  # now, in a third of a second, rather than amid the texts
            _code(code)
        self._least = min((region.least for region in self._regions), default=0)
        self.everywhere = (1 << len(regions)) - 1
        self.valid_in: Callable[[str, str], int] = lru_cache(_CACHED)(self._valid_in)
        self.valid_with_plus: Callable[[str], bool | None] = lru_cache(_CACHED)(is_valid_abroad)

    def _valid_in(self, digits: str, written: str) -> int:
        """The bits of the countries where `digits` (ASCII), dialled as they are, are a valid number.

        `written` are all digits of what is judged, those of an extension too: phonenumbers looks among them for the
        national prefix.
        """
        if len(digits) < self._least:
            return 0
        found = 0
        for place, region in enumerate(self._regions):
            if region.is_valid(digits, written):
                found |= 1 << place
        return found


def is_valid_abroad(digits: str) -> bool | None:
    """Whether `digits` are valid behind a plus sign; None where no country has such a code, and the caller's counts."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    if len(digits) <= _LEAST:
        return False
    for size in (1, 2, 3):
        code = int(digits[:size])
        if not code:
            return None
        if code in COUNTRY_CODE_TO_REGION_CODE:
            known = _code(code)
            return known.is_valid(known.main.stripped(digits[size:]))
    return None


class _Region:
    """How numbers are dialled in one country."""

    def __init__(self, name: str, code: int = 0) -> None:
        from phonenumbers import PhoneMetadata

        self._metadata: Any = PhoneMetadata.metadata_for_region_or_calling_code(code, name)
        metadata = self._metadata
        self.code: int = metadata.country_code
        lengths: Sequence[int] = metadata.general_desc.possible_length
        local: Sequence[int] = metadata.general_desc.possible_length_local_only
        self.least = min((*lengths, *local))
        self._longest = lengths[-1]
        self._lengths, self._local = frozenset(lengths), frozenset(local)
        self._general = re.compile(rf"(?:{metadata.general_desc.national_number_pattern or '(?!)'})\Z")
        self._abroad = re.compile(metadata.international_prefix or "(?!)")
        self._prefix = re.compile(metadata.national_prefix_for_parsing or "(?!)")

    def is_valid(self, digits: str, written: str) -> bool:
        """Whether `digits`, dialled in this country, are a valid number with the prefix that it needs."""
        abroad = self._abroad.match(digits)
        if abroad and digits[abroad.end() : abroad.end() + 1] != "0":
            return bool(is_valid_abroad(digits[abroad.end() :]))
        own = _code(self.code)
        if digits.startswith(own.prefix):
            rest = self._taken_apart(digits[len(own.prefix) :])[0]
            if (not self._general.match(digits) and self._general.match(rest)) or self._is_too_long(digits):
                return own.is_valid(own.main.stripped(rest))
        national = self.stripped(digits)
        return own.is_valid(national) and (not own.needs_prefix(national) or own.main.has_prefix(written))

    def stripped(self, digits: str) -> str:
        """A national number without the national prefix, where what is left has a possible length."""
        rest = self._taken_apart(digits)[0]
        is_possible = len(rest) not in self._local and (len(rest) in self._lengths or len(rest) > self._longest)
        return rest if is_possible else digits

    def has_prefix(self, digits: str) -> bool:
        """Whether a national prefix can be taken from `digits`."""
        return self._taken_apart(digits)[1]

    def _taken_apart(self, digits: str) -> tuple[str, bool]:
        """`digits` without a national prefix, and whether there was one."""
        prefix = self._prefix.match(digits) if digits else None
        if prefix is None:
            return digits, False
        if self._metadata.national_prefix_transform_rule and prefix.groups()[-1] is not None:  # it is rewritten
            _, rest, was_there = _stripper()(digits, self._metadata)
            return rest, was_there
        rest = digits[prefix.end() :]
        if self._general.match(digits) and not self._general.match(rest):
            return digits, False
        return rest, True

    def _is_too_long(self, digits: str) -> bool:
        return len(digits) > self._longest and len(digits) not in self._local


class _Code:
    """The numbers behind one country calling code, which several countries may share."""

    def __init__(self, code: int) -> None:
        from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

        self.prefix = str(code)
        names: Sequence[str] = COUNTRY_CODE_TO_REGION_CODE[code]
        self.main = _Region(names[0], code)
        sharing: list[Any] = [PhoneMetadata.metadata_for_region_or_calling_code(code, name) for name in names]
        self._valid = re.compile(_of_any([metadata for metadata in sharing if metadata is not None]))
        self._lengths = {
            length
            for metadata in sharing
            if metadata is not None
            for length in metadata.general_desc.possible_length or range(_LEAST, _MOST + 1)
        }.intersection(range(_LEAST, _MOST + 1))
        formats: Any = getattr(PhoneMetadata.metadata_for_region(names[0], None), "number_format", ())
        self._formats = [_format(number_format) for number_format in formats]

    def is_valid(self, national: str) -> bool:
        """Whether a national number is of a kind, in the first country that it can belong to."""
        return len(national) in self._lengths and bool(self._valid.match(national))

    def needs_prefix(self, national: str) -> bool:
        """Whether the number is written with the national prefix inside the country."""
        for leading, pattern, needs in self._formats:
            if (leading is None or leading.match(national)) and pattern.match(national):
                return needs
        return False


@lru_cache(512)  # there are about 250
def _code(code: int) -> _Code:
    return _Code(code)


def _of_any(sharing: Sequence[Any]) -> str:
    """The national numbers that are of a kind in the first of some countries that they can belong to.

    A number belongs to a country that has leading digits if it begins with them, whatever it is there.
    """
    forms: list[str] = []
    elsewhere = ""  # no leading digits of the countries before
    for metadata in sharing:
        leading = metadata.leading_digits if len(sharing) > 1 else None
        forms.append(f"{elsewhere}(?={leading or ''}){_of_a_kind(metadata)}")
        if leading is not None:
            elsewhere += f"(?!{leading})"
    return "|".join(forms)


def _of_a_kind(metadata: Any) -> str:
    """The national numbers whose type phonenumbers knows."""
    kinds = [getattr(metadata, kind) for kind in _KINDS[: -1 if metadata.same_mobile_and_fixed_line_pattern else None]]
    either = "|".join(dict.fromkeys(filter(None, map(_described, kinds))))
    general = _described(metadata.general_desc)
    return f"(?={general or '(?!)'})(?:{either or '(?!)'})"


def _described(description: Any) -> str:
    """A regular expression for a PhoneNumberDesc, with its lengths."""
    if description is None or not description.national_number_pattern:
        return ""
    lengths = "|".join(rf"\d{{{length}}}" for length in description.possible_length if length > 0)
    if not lengths and description.possible_length:
        return ""
    return (
        rf"(?=(?:{lengths})\Z)(?:{description.national_number_pattern})\Z"
        if lengths
        else (rf"(?:{description.national_number_pattern})\Z")
    )


def _format(number_format: Any) -> tuple[re.Pattern[str] | None, re.Pattern[str], bool]:
    """Leading digits, numbers, and whether the national prefix is part of a way to write numbers."""
    from phonenumbers.phonenumberutil import (
        _formatting_rule_has_first_group_only,  # pyright: ignore[reportPrivateUsage]
    )

    leading: Sequence[str] = number_format.leading_digits_pattern
    rule = number_format.national_prefix_formatting_rule
    needs = bool(rule) and not number_format.national_prefix_optional_when_formatting
    return (
        re.compile(leading[-1]) if leading else None,
        re.compile(rf"(?:{number_format.pattern})\Z"),
        needs and not _formatting_rule_has_first_group_only(rule),
    )


@lru_cache
def _stripper() -> Callable[[str, Any], tuple[str, str, bool]]:
    from phonenumbers import phonenumberutil

    return phonenumberutil._maybe_strip_national_prefix_carrier_code  # pyright: ignore[reportPrivateUsage]
