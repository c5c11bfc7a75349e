"""Phone numbers: what is compiled from phonenumbers' metadata, and its matcher's walk, give phonenumbers' verdicts."""

from functools import lru_cache

import pytest
from hypothesis import given, settings, strategies

from pipelines.privacy.phone_detector import PhoneDetector
from pipelines.privacy.phone_numbering import Numbering
from pipelines.privacy.windows_slab import Slab

# Presidio's countries; and such as rewrite prefixes, share a code, keep a leading zero or have short numbers.
REGIONS = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR", "IT", "RU", "AR", "MX", "GG", "KZ", "AU", "SE")
SHAPES = (
    "{}",
    "0{}",
    "1{}",
    "+{}",
    "({0}) {0}",
    "Tel. {}",
    "{} x12",
    "{} ext. 3",
    "{};",
    "{}xx4",
    "a{}",
    "{}%",
    "{}/{}",
)


@lru_cache
def _numbering() -> Numbering:
    return Numbering(REGIONS)


@lru_cache
def _detector(leniency: int) -> PhoneDetector:
    return PhoneDetector("PHONE_NUMBER", REGIONS[:8], leniency, 1)


@lru_cache
def _examples() -> list[tuple[str, str]]:
    """Calling code and national number of an example of each kind in each country."""
    from phonenumbers import SUPPORTED_REGIONS, example_number_for_type, national_significant_number

    found = (example_number_for_type(region, kind) for region in sorted(SUPPORTED_REGIONS) for kind in range(11))
    return sorted({(str(n.country_code), national_significant_number(n)) for n in found if n})


def _verdict(number: str, region: str) -> bool:
    from phonenumbers import NumberParseException, is_valid_number, parse
    from phonenumbers.phonenumbermatcher import _is_national_prefix_present_if_required

    try:
        parsed = parse(number, region, keep_raw_input=True)
    except NumberParseException:
        return False
    return is_valid_number(parsed) and bool(_is_national_prefix_present_if_required(parsed))


def _check(digits: str) -> None:
    valid = _numbering().valid_in(digits, digits)
    assert [bool(valid >> place & 1) for place in range(len(REGIONS))] == [_verdict(digits, r) for r in REGIONS]
    with_plus = _numbering().valid_with_plus(digits)
    assert with_plus is None or {_verdict(f"+{digits}", region) for region in REGIONS} == {with_plus}


@pytest.mark.parametrize("prefix", ["", "0", "00", "011", "8"])
def test_examples_of_every_country(prefix: str) -> None:
    for code, national in _examples()[len(prefix) :: 9]:
        _check(prefix + code + national)
        _check(prefix + national)


@settings(max_examples=150, deadline=None)
@given(strategies.from_regex(r"(?:00|011|0|1|44|49|55|91|972)?[0-9]{3,16}", fullmatch=True))
def test_any_digits(digits: str) -> None:
    _check(digits)


@settings(max_examples=150, deadline=None)
@given(
    strategies.lists(
        strategies.tuples(
            strategies.sampled_from(SHAPES),
            strategies.integers(0, 10**6),
            strategies.sampled_from(["", " ", "-", ".", " - ", "  "]),
            strategies.sampled_from([" ", "\n", ", ", " / ", ":30 ", "\u0664 "]),
        ),
        min_size=1,
        max_size=4,
    ),
    strategies.sampled_from([0, 1, 2, 3]),
)
def test_the_walk_is_the_matchers(pieces: list[tuple[str, int, str, str]], leniency: int) -> None:
    from phonenumbers import PhoneNumberMatcher

    text = ""
    for shape, number, mark, after in pieces:
        code, national = _examples()[number % len(_examples())]
        digits = code + national if number % 2 else national
        text += shape.format(*[f"{digits[:3]}{mark}{digits[3:6]}{mark}{digits[6:]}"] * 2) + after
    found = {(m.start, m.end) for region in REGIONS[:8] for m in PhoneNumberMatcher(text, region, leniency=leniency)}
    spans = _detector(leniency).find(Slab([text]))
    enough = {(a, b) for a, b in found if sum(map(str.isdigit, text[a:b])) >= 6}
    assert enough <= {(span.start, span.end) for span in spans} <= found
