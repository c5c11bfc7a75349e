"""What Presidio finds and is something else: decimals, dates, ISBNs, section numbers. Dropped if the settings say so.

On 10,390 real pages (72 MB of text) plain Presidio finds 2,035 phone numbers, of which fewer than fifty are one, and
7,123 dotted quads, of which 3,970 number sections ("6.3.4.2") and versions.
"""

import re

CONTEXT = 48  # characters before bare digits in which a word such as "phone" speaks for them
_ISBN_DIGITS = (10, 13)
_QUAD = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_EDGE = " ()[]-.\u00a0"
_YEAR = r"(?:1[5-9]|20)\d\d"
_SHAPES = re.compile(
    "|".join(
        (
            r"0\.\d+",  # a decimal
            r"[1-9]\d*\.\d+",
            r"[1-9]\d{0,2}(?:[.\u00a0]\d{3}){2,}|[1-9](?: \d{3}){2,}",  # thousands
            rf"{_YEAR}-\d{{4,7}}",  # CVE-2026-116307
            rf"{_YEAR}[-\u2010-\u2015/ ]+{_YEAR}",  # years
            rf"\d{{5,}} +{_YEAR}",  # size and year in a listing of files
            r"[1-9]\d*(?:\.\d+)?/\d[\d.]*|\d{1,2}/\d+",  # a fraction; area codes before a slash have a zero and more
        )
    )
)
_HOST = re.compile(r"\d{1,3}(?:-\d{1,3}){3}")  # an address in a host's name
_INSIDE = re.compile(
    "|".join(
        (
            r"[ \u00a0\u3000]{2}",  # columns of a table
            r"\.\.",  # a range
            rf"(?<!\d){_YEAR}-(?:0\d|1[0-2])-[0-3]\d(?!\d)",  # dates
            rf"(?<!\d)[0-3]?\d([./-])[01]?\d\1{_YEAR}(?!\d)",
            r"- -|- 0|\(-|\[-",  # signs
            r"\. | # ",  # the end of a sentence, a count
        )
    )
)
_RANGE = re.compile(r"([1-9]\d{3,6}) ?[-\u2010-\u2015] ?([1-9]\d{3,6})")
_RANGE_SHARE = 1.2  # the end of a range of pages or ports is seldom farther than this from its beginning
_POSTCODE = re.compile(r"\d{5}-\d{4}")
_STATE = re.compile(r"\b[A-Z]{2},? +\Z")
_ISBN = re.compile(r"\bI[SB][BS]N(?:-1[03])?:?[ \u00a0]*\Z", re.IGNORECASE)
_GOES_BEFORE = re.compile(r"\d[.:,]\Z|/\Z|\w-\Z")
_GOES_ON = re.compile(r"[.,:]\d|[%\u00b0]")
_HEX_AFTER = re.compile(r" (?:[a-f]\d|\d[a-f]|[a-f]{2})\b")  # the next byte of a dump
_ZONE = re.compile(r"\d{4} [+-]\d{4}\Z")  # year and time zone of a date
_EXTENSION = re.compile(r"x|ext", re.IGNORECASE)
_E164_DIGITS = 15  # ITU-T E.164: no international number is longer
_LIMITS = {"2147483647", "2147483648", "4294967295", "4294967296", "+2147483647", "+4294967295"}  # of whole numbers
_SPEAKS_FOR = re.compile(
    r"\b(?:\w*phones?|tel|fax|mobiles?|cell(?:ular)?|call\w*|dial|ring|text (?:me|us)|sms|whatsapp|contact|"
    r"reach\w*|hotline|helpline|answering|desk|t[eé]l[eé]fon\w*|telefon\w*|t[eé]l[eé]phone|m[oó]vil|"
    r"handy|portable|(?:my|your|his|her|our|their) (?:number|registered))\b|\b(?:messages? (?:to|at)|text) ?\Z",
    re.IGNORECASE,
)
_SPEAKS_AFTER = re.compile(
    r" {0,2}-? ?\(?(?:office|fax|mobile|cell|phone|telephone)\b| is (?:my|his|her|our|their) ", re.IGNORECASE
)
_NETWORK_WORD = re.compile(
    r"(?<!\w)(?:ip(?:v4)?|inet|address(?:es)?|hosts?|servers?|gateways?|routers?|resolvers?|nameservers?|dns|dhcp|"
    r"netmask|subnets?|ping|ssh|traceroute|localhost|proxy)(?!\w)|://\Z",
    re.IGNORECASE,
)
_PORT_OR_PREFIX = re.compile(r":\d{2,5}(?![\d.])|/(?:[89]|[12]\d|3[0-2])(?![\d./])")


def speaks_of_phones(text: str) -> bool:
    """Whether `text` has a word such as "call", "tel" or "mobile"."""
    return bool(_SPEAKS_FOR.search(text))


def is_part_of_more(before: str, after: str) -> bool:
    """Whether digits go on beyond a finding: it is a fraction, the seconds of a time or a piece of a path."""
    return bool(_GOES_BEFORE.search(before) or _GOES_ON.match(after))


def is_lookalike_phone(number: str, before: str, after: str) -> bool:
    """Whether what was found as a phone number has the form of something else.

    Args:
        number: as found.
        before: the text before it; a few dozen characters are enough.
        after: the text after it, a few characters.
    """
    bare = number.strip(_EDGE)
    digits = sum(map(str.isdigit, bare))
    if is_part_of_more(before, after) or _ZONE.search(number):
        return True
    if "+" in number or "\uff0b" in number:
        return not _EXTENSION.search(number) and (digits > _E164_DIGITS or bare in _LIMITS)
    has_word = speaks_of_phones(before[-CONTEXT:]) or bool(_SPEAKS_AFTER.match(after))
    if bare.isdigit():
        return not bare.isascii() or bare in _LIMITS or not has_word
    if _SHAPES.fullmatch(bare) or _INSIDE.search(number) or _HEX_AFTER.match(after) or _has_quad(number):
        return True
    if has_word:
        return bool(_ISBN.search(before))  # one number in eleven would do as an ISBN, and any two groups as a range
    return bool(
        _HOST.fullmatch(bare)
        or _is_isbn(bare, before)
        or _is_range(bare)
        or (_POSTCODE.fullmatch(bare) and _STATE.search(before))
    )


def speaks_of_addresses(before: str, after: str) -> bool:
    """Whether a dotted quad between these is an address by what is beside it: a word, a port or a prefix length."""
    return bool(_NETWORK_WORD.search(before) or _PORT_OR_PREFIX.match(after))


def is_section_number(address: str, least: int) -> bool:
    """Whether a dotted quad has no number of `least` or more, as those of sections and versions."""
    quad = _QUAD.fullmatch(address)
    return bool(quad) and all(int(number) < least for number in address.split("."))


def _has_quad(number: str) -> bool:
    return any(max(map(int, quad.group().split("."))) <= 255 for quad in _QUAD.finditer(number))


def _is_isbn(number: str, before: str) -> bool:
    digits = re.sub(r"[ -]", "", number)
    if _ISBN.search(before):
        return True
    if not digits.isdigit() or len(digits) not in _ISBN_DIGITS or number.count("-") + number.count(" ") < 3:
        return False
    values = list(map(int, digits))
    if len(digits) == _ISBN_DIGITS[0]:
        return sum((10 - place) * value for place, value in enumerate(values)) % 11 == 0
    return (
        digits[:3] in {"978", "979"} and sum(value * (1, 3)[place % 2] for place, value in enumerate(values)) % 10 == 0
    )


def _is_range(number: str) -> bool:
    found = _RANGE.fullmatch(number)
    return bool(found) and int(found[1]) <= int(found[2]) <= _RANGE_SHARE * int(found[1])
