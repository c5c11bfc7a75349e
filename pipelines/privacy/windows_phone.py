"""Where in a text a phone number could be: the runs of characters that it and its extension can consist of."""

import re
from collections.abc import Iterable, Iterator

Window = tuple[int, int]
"""Start and end (exclusive) in code points."""

# What python-phonenumbers' matcher lets a number consist of: leading marks, digits, separators; and what
# an extension ("ext. 12", "доб 12", ";ext=12") adds.
_PHONE_LEAD = r"(\[\uFF08\uFF3B+\uFF0B"
_PHONE_MARKS = (
    r"\-x\u2010-\u2015\u2212\u30FC\uFF0D-\uFF0F \u00A0\u00AD\u200B\u2060\u3000()\uFF08\uFF09\uFF3B\uFF3D.\[\]/~\u2053"
    r"\u223C\uFF5E"
)
_PHONE_EXTENSION = r"\t,;=:#\uFF03extnsioa\u00F3\u0301\uFF45\uFF58\uFF54\uFF4E\uFF49\u0434\u043E\u0431\uFF0E"
PHONE_CLASS = rf"[{_PHONE_LEAD}{_PHONE_MARKS}{_PHONE_EXTENSION}\d]"
_PHONE_RUN = re.compile(rf"{PHONE_CLASS}*", re.IGNORECASE)
_PHONE_START = re.compile(rf"[{_PHONE_LEAD}\d]")
_NO_END = re.compile(r"[^\d#]*")
_STEP = 32  # characters looked at together on the way back


def number_windows(text: str, places: Iterable[Window]) -> Iterator[Window]:
    """The run around each place with enough digits, and one neighbour.

    No number leaves its run; the matcher looks at one neighbour, and at a `:dd` behind a time stamp, which belongs to
    the run. What comes before the first possible beginning or after the last possible end of a number is cut off, but
    for the neighbour.

    Args:
        text: any.
        places: first and last position of enough digits with at most four marks between two, both rising.
    """
    position = 0
    for first_digit, last_digit in places:
        if first_digit < position:
            continue
        first = first_digit
        while first > position:
            before = text[max(first - _STEP, position) : first][::-1]
            run = _PHONE_RUN.match(before)
            first -= run.end() if run else 0
            if not run or run.end() < len(before):
                break
        run = _PHONE_RUN.match(text, last_digit)
        last = position = run.end() if run else last_digit + 1
        begin = _PHONE_START.search(text, first)
        first = begin.start() if begin else first
        tail = _NO_END.match(text[last_digit:last][::-1])
        last -= tail.end() if tail else 0
        yield max(first - 1, 0), min(last + 1, len(text))
