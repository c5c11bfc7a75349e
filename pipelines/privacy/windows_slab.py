"""Many texts as one, and where in it a pattern could match: found by arithmetic on positions of rare characters.

Most patterns for personal data hold some digits close together, a long run of letters and digits, or a mark such as @.
Those are found for a megabyte of text in milliseconds. Around each such place goes a window, and a pattern is run on
windows alone. Why it finds there what it finds in the whole text is said at `bounded` and `chunked`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.privacy.windows_traits import BLANKS, NUL, TOKEN

Positions = NDArray[np.int64]
Kind = Literal["digit", "dot", "colon", "pair", "token"]
_BITS = {"digit": 1, "dot": 2, "colon": 4, "hyphen": 8, "token": 16, "blank": 32, "upper": 64}
_LONGEST_CHUNK = 4_096
_NEAR = 512  # an address has at most 64 + 1 + 255 characters (RFC 5321, section 4.5.3.1)


@dataclass(frozen=True)
class Trigger:
    """What every match of a pattern holds: `count` characters of a kind, or one of some literals."""

    kind: str  # digit, dot, colon, token (in a row), literal, iban
    count: int = 1
    literals: tuple[str, ...] = ()
    nearest: int = 1  # between two characters of a kind that follow each other: so far apart at least
    farthest: int = 1 << 30
    digits: int = 0  # of a run of token characters, so many are digits at least


@dataclass(frozen=True)
class Windows:
    """Pieces of a slab's text, joined by NUL; a match in `text` lies inside one piece."""

    text: str
    starts: list[int]  # where each piece begins in `text`
    origins: list[int]  # and in the slab
    cores: list[tuple[int, int]]  # of the slab: a match outside is none

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        """Where in the slab a match in `text` lies; None outside the core of its piece."""
        piece = bisect_right(self.starts, start) - 1
        shift = self.origins[piece] - self.starts[piece]
        first, last = self.cores[piece]
        return (start + shift, end + shift) if first <= start + shift and end + shift <= last else None


@lru_cache
def _kinds() -> NDArray[np.uint8]:
    """A byte of bits for each code point."""
    import regex

    table = np.zeros(0x110000, np.uint8)
    everything = "".join(map(chr, range(0x110000)))
    for match in regex.finditer(r"\d+", everything):
        table[match.start() : match.end()] |= _BITS["digit"]
    for name, characters in (
        ("dot", "."),
        ("colon", ":"),
        ("hyphen", "-"),
        ("token", "".join(TOKEN) + "\u017f\u212a\u0130\u0131"),  # what regex takes for s, k and i without case
        ("blank", BLANKS + NUL),
        ("upper", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ):
        table[[ord(character) for character in characters]] |= _BITS[name]
    return table


@lru_cache
def _latin() -> bytes:
    return _kinds()[:256].tobytes()


class Slab:
    """Texts joined by NUL, with positions of what triggers look for; all in code points."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.text = NUL.join(texts)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        self.ends = np.cumsum(lengths + 1) - 1
        self.starts = self.ends - lengths
        self._kinds = _kinds_of(self.text)
        self._found: dict[Any, Any] = {}

    def text_at(self, position: int) -> int:
        """The number of the text that holds `position`."""
        return int(np.searchsorted(self.starts, position, "right")) - 1

    def where(self, bits: int) -> Positions:
        """Positions of characters of a kind, in order."""
        if bits not in self._found:
            self._found[bits] = np.flatnonzero((self._kinds & np.uint8(bits)) != 0)  # of bools: three times faster
        return self._found[bits]

    def candidates(self, trigger: Trigger, span: int | None) -> tuple[Positions, Positions]:
        """First and last position of each place that sets off `trigger`; both rise.

        Args:
            trigger: what is looked for.
            span: no farther apart than this are the first and the last character; None: no limit.
        """
        key = trigger, span
        if key not in self._found:
            self._found[key] = self._candidates(trigger, span)
        return self._found[key]

    def _candidates(self, trigger: Trigger, span: int | None) -> tuple[Positions, Positions]:
        if trigger.kind == "literal":
            return self._literals(trigger.literals)
        if trigger.kind == "token":
            return self._runs(trigger.count, trigger.digits)
        if trigger.kind == "iban":
            return self._iban_heads()
        bits = _BITS["colon"] | _BITS["hyphen"] if trigger.kind == "pair" else _BITS[trigger.kind]
        places = self.where(bits)
        more = trigger.count - 1
        if len(places) <= more:
            return places[:0], places[:0]
        first, last = places[: len(places) - more], places[more:]
        chosen = np.ones(len(first), bool) if span is None else last - first < span
        if more and (trigger.nearest > 1 or trigger.farthest < 1 << 30):
            gaps = np.diff(places)
            fits = (gaps >= trigger.nearest) & (gaps <= trigger.farthest)
            misfits = np.concatenate(([0], np.cumsum(~fits)))
            chosen &= misfits[more:] == misfits[: len(misfits) - more]
        return first[chosen], last[chosen]

    def _runs(self, least: int, least_digits: int) -> tuple[Positions, Positions]:
        """Runs of token characters."""
        if "others" not in self._found:
            others = np.flatnonzero((self._kinds & np.uint8(_BITS["token"])) == 0)
            self._found["others"] = np.concatenate(([-1], others, [len(self.text)]))
        others = self._found["others"]
        long = np.flatnonzero(np.diff(others) > least)
        first, last = others[long] + 1, others[long + 1] - 1
        if not least_digits:
            return first, last
        digits = self.where(_BITS["digit"])
        count = np.searchsorted(digits, last, "right") - np.searchsorted(digits, first)
        return first[count >= least_digits], last[count >= least_digits]

    def _literals(self, literals: tuple[str, ...]) -> tuple[Positions, Positions]:
        places: list[int] = []
        for literal in literals:
            at = self.text.find(literal)
            while at >= 0:
                places.append(at)
                at = self.text.find(literal, at + 1)
        first = np.array(sorted(places), np.int64)
        return first, first + max(map(len, literals), default=1) - 1

    def _iban_heads(self) -> tuple[Positions, Positions]:
        """Two capital letters and two digits."""
        digits = self.where(_BITS["digit"])
        second = digits[1:][np.diff(digits) == 1]
        second = second[second >= 3]
        upper = np.uint8(_BITS["upper"])
        heads = second[(self._kinds[second - 2] & self._kinds[second - 3] & upper) != 0]
        return heads - 3, heads

    def bounded(self, trigger: Trigger, longest: int, reach: int) -> Windows:
        """Windows for a pattern of which no match is longer than `longest` or depends on more than `reach` around it.

        Every match M holds a candidate (first to last position), so it begins and ends within `longest` of it, and what
        decides it lies within `longest + reach` of it: inside the candidate's window. Windows that touch are joined, so
        M lies in one of them. The other way round, an attempt at a match that sees the cut edge of a window begins
        beyond its last candidate or ends before its first, holds none, and fails in the whole text too. So the matches
        are the same, and as each window's candidates are its own, so is what a match takes away from the next.
        Between texts, and between windows, is a NUL, which the pattern cannot tell from the end of a text.
        """
        first, last = self.candidates(trigger, longest)
        margin = longest + reach
        return self._windows((trigger, longest, reach), first - margin, last + 1 + margin, 0)

    def chunked(self, trigger: Trigger, reach: int) -> Windows:
        """Windows for a pattern without blanks in its matches: what is between the blanks around each candidate.

        No match leaves its chunk. `reach` characters on either side are there to be looked at; the nearest is a blank,
        so that no match begins in them and ends in the chunk, and what they hold by themselves is not counted.
        Of a chunk of more than 4,096 characters only what is near a candidate is looked at (512 characters): no
        address is longer, and a pattern without a limit may take hours for it.
        """
        first, last = self.candidates(trigger, None)
        blanks = np.concatenate(([-1], self.where(_BITS["blank"]), [len(self.text)]))
        before = np.searchsorted(blanks, first) - 1
        starts, ends = blanks[before] + 1, blanks[before + 1]
        inside = last < ends
        first, last, starts, ends = first[inside], last[inside], starts[inside], ends[inside]
        is_endless = ends - starts > _LONGEST_CHUNK
        starts = np.where(is_endless, np.maximum(starts, first - _NEAR), starts)
        ends = np.where(is_endless, np.minimum(ends, last + 1 + _NEAR), ends)
        return self._windows((trigger, reach), starts, ends, reach)

    def _windows(self, key: Any, starts: Positions, ends: Positions, reach: int) -> Windows:
        if key in self._found:
            return self._found[key]
        if len(starts):
            begins = np.concatenate(([True], starts[1:] > ends[:-1]))
            finishes = np.concatenate((begins[1:], [True]))
            starts, ends = starts[begins], ends[finishes]
        size = len(self.text)
        starts, ends = np.maximum(starts, 0), np.minimum(ends, size)
        cores = list(zip(starts.tolist(), ends.tolist(), strict=True))
        pieces = [(max(a - reach, 0), min(b + reach, size)) for a, b in cores]
        text = self.text
        cut = [text[a:b] for a, b in pieces]
        offsets = np.cumsum([0, *(len(piece) + 1 for piece in cut)])[:-1].tolist()
        found = Windows(NUL.join(cut), offsets, [a for a, _ in pieces], cores)
        self._found[key] = found
        return found


def _kinds_of(text: str) -> NDArray[np.uint8]:
    if text.isascii():
        return np.frombuffer(text.encode("ascii").translate(_latin()), np.uint8)
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) == 2 * len(text):  # nothing beyond the basic plane
        return _kinds()[np.frombuffer(units, np.uint16)]
    return _kinds()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)]
