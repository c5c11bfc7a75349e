"""Where in a text a recognizer could find anything: windows around candidates, everything else is skipped.

A window is sound when the recognizer, run on the window alone, finds exactly what it finds there in the
whole text. Each function says why its windows are. A recognizer's pattern that changes must be looked at
here again; tests compare with plain Presidio on real text.
"""

import re
from collections.abc import Iterator
from re import Pattern

Window = tuple[int, int]
"""Start and end (exclusive) in code points."""

LONGEST_CHUNK = 4_096
_REACH = 512  # an address has at most 64 + 1 + 255 characters (RFC 5321, section 4.5.3.1)

_CARD = re.compile(r"\d(?:[- ]?\d){12,}")
_SSN = re.compile(r"\d(?:[- .]?\d){8,}")
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{4}[ -]?[A-Z0-9]{4}")
_IBAN_REACH = 4 + 6 * 5 + 5 + 4 + 1  # longest match of Presidio's pattern, and the character after it
_IBAN_TRIGGER = 14
_AT = re.compile("@")
# Dotted quads; in IPv6 two colons with at most four hexadecimal digits between them.
_IP = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d|:[0-9A-Fa-f]{0,4}:")
_MAC = re.compile(
    r"[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:|-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}"
)
_CRYPTO = re.compile(r"[^\W_]{26,}")

# What python-phonenumbers' matcher lets a number consist of: leading marks, digits, separators; and what
# an extension ("ext. 12", "доб 12", ";ext=12") adds.
_PHONE_LEAD = r"(\[\uFF08\uFF3B+\uFF0B"
_PHONE_MARKS = (
    r"\-x\u2010-\u2015\u2212\u30FC\uFF0D-\uFF0F \u00A0\u00AD\u200B\u2060\u3000()\uFF08\uFF09\uFF3B\uFF3D.\[\]/~\u2053"
    r"\u223C\uFF5E"
)
_PHONE_EXTENSION = r"\t,;=:#\uFF03extnsioa\u00F3\u0301\uFF45\uFF58\uFF54\uFF4E\uFF49\u0434\u043E\u0431\uFF0E"
PHONE_CLASS = rf"[{_PHONE_LEAD}{_PHONE_MARKS}{_PHONE_EXTENSION}\d]"
_PHONE_CHARACTER = re.compile(PHONE_CLASS, re.IGNORECASE)
_PHONE_RUN = re.compile(rf"{PHONE_CLASS}*", re.IGNORECASE)
_PHONE_START = re.compile(rf"[{_PHONE_LEAD}\d]")
_PHONE_END = re.compile(r"[\d#]")


def email_windows(text: str) -> Iterator[Window]:
    """Around each @, as far as there is no blank."""
    return _chunks(text, _AT)


def ip_windows(text: str) -> Iterator[Window]:
    """Around each dotted quad or pair of colons, as far as there is no blank."""
    return _chunks(text, _IP)


def mac_windows(text: str) -> Iterator[Window]:
    """Around each run of hexadecimal pairs or fours, as far as there is no blank."""
    return _chunks(text, _MAC)


def crypto_windows(text: str) -> Iterator[Window]:
    """Each run of letters and digits long enough: the pattern has nothing else and looks at no neighbour."""
    return (match.span() for match in _CRYPTO.finditer(text))


def card_windows(text: str) -> Iterator[Window]:
    """Each run of 13 digits or more with single separators, and the neighbours that `\\b` looks at.

    A run can't be extended, a match can't leave it, and no other match can begin in the neighbours.
    """
    return _runs(text, _CARD)


def ssn_windows(text: str) -> Iterator[Window]:
    """Each run of 9 digits or more with single separators; sound for the reasons of `card_windows`."""
    return _runs(text, _SSN)


def iban_windows(text: str) -> Iterator[Window]:
    """From before each possible beginning of a number to beyond its longest end.

    A beginning may lie inside the text that shows another, hence the longer reach; windows that touch are
    joined, so that what is cut at an end is no beginning.
    """
    start = end = -1
    for match in _IBAN.finditer(text):
        first, last = max(match.start() - 1, 0), min(match.start() + _IBAN_REACH + _IBAN_TRIGGER, len(text))
        if first > end:
            if end >= 0:
                yield start, end
            start = first
        end = last
    if end >= 0:
        yield start, end


def phone_trigger(least_digits: int) -> Pattern[str]:
    """What every phone number of `least_digits` or more holds: its digits, at most four marks between two."""
    return re.compile(rf"\d(?:[{_PHONE_MARKS}X]{{0,4}}\d){{{least_digits - 1},}}")


def phone_windows(text: str, trigger: Pattern[str]) -> Iterator[Window]:
    """The run of characters a number and its extension can have around each trigger, and one neighbour.

    No number leaves its run; the matcher looks at one neighbour, and at a `:dd` behind a time stamp, which
    belongs to the run. What comes before the first possible beginning or after the last possible end of a
    number is cut off, but for the neighbour.
    """
    position = 0
    while found := trigger.search(text, position):
        first = found.start()
        while first > position and _PHONE_CHARACTER.match(text, first - 1):
            first -= 1
        run = _PHONE_RUN.match(text, found.end())
        last = position = run.end() if run else found.end()
        begin = _PHONE_START.search(text, first)
        first = begin.start() if begin else first
        while not _PHONE_END.match(text, last - 1):
            last -= 1
        yield max(first - 1, 0), min(last + 1, len(text))


def _runs(text: str, pattern: Pattern[str]) -> Iterator[Window]:
    size = len(text)
    for match in pattern.finditer(text):
        yield max(match.start() - 1, 0), min(match.end() + 1, size)


def _chunks(text: str, trigger: Pattern[str]) -> Iterator[Window]:
    """The piece between blanks around each match of `trigger`.

    No pattern that uses this matches a blank, and to a boundary or lookaround of theirs a blank is the same
    as the end of the text. Only a chunk of more than LONGEST_CHUNK characters is cut to what is near.
    """
    position = 0
    while found := trigger.search(text, position):
        lowest, highest = max(position, found.start() - LONGEST_CHUNK), found.end() + LONGEST_CHUNK
        first = max(text.rfind(blank, lowest, found.start()) for blank in " \n\t") + 1
        if not first:
            first = position if lowest == position else found.start() - _REACH
        last = min((at for blank in " \n\t" if (at := text.find(blank, found.end(), highest)) >= 0), default=-1)
        if last < 0:
            last = len(text) if highest >= len(text) else found.end() + _REACH
        yield first, last
        position = last
