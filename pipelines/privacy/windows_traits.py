"""What every match of a regular expression has in common, read from its syntax tree.

Presidio compiles its patterns with the module `regex`, this reads them with the standard library's parser. What the two
would not read alike is given up (None), and so is what the parser does not know: then nothing is assumed of a match.
"""

import re
import warnings
from dataclasses import dataclass
from re import _constants as op  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
from re import _parser as parser  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
from typing import Any

NUL = "\0"
BLANKS = " \t\n\r"
TOKEN = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-")
_DIGITS = frozenset("0123456789")
_UNBOUNDED = 1 << 16  # a longest match of so many characters is as good as none
_MOST_REPEATS = 1 << 10  # of a literal that are counted
# Fuzzy counts such as {e<2}, POSIX classes such as [:alpha:], calls such as (?1): the parser would misread them.
_REGEX_ONLY = re.compile(r"\{[^{}\]]*[ides][^{}\]]*\}|\[:\^?\w+:\]|\\[KGXRmMLpPhj]|\(\?[&R|0-9+]")
_CLASSES = {"d": "0123456789", "w": "".join(sorted(TOKEN - {"-"})), "s": BLANKS + "\f\v\x1c\x1d\x1e\x1f"}
_ASCII = frozenset(map(chr, range(128)))


@dataclass(frozen=True)
class Traits:
    """What holds for every match of a pattern."""

    longest: int | None  # characters; None: no limit
    reach: int | None  # how many characters beyond itself it may depend on; None: no limit
    digits: int  # at least so many characters of \\d
    token_run: int  # at least so many characters of TOKEN without another between
    literals: tuple[str, ...]  # one of these is in it; (): none is known
    dots: int  # at least so many full stops
    colons: int
    has_blank: bool  # may hold one of BLANKS
    is_joinable: bool  # cannot tell a NUL from the end of the text


@dataclass
class _Facts:
    """`Traits` of a piece of a pattern while it is read."""

    digits: int = 0
    dots: int = 0
    colons: int = 0
    run: int = 0
    literals: tuple[str, ...] = ()
    reach: int = 0
    has_blank: bool = False
    sees_nul: bool = False
    is_token: bool = True  # holds no other character


class _UnknownError(Exception):
    pass


def traits_of(pattern: str, *, ignores_case: bool) -> Traits | None:
    """The traits of `pattern`, compiled with MULTILINE and DOTALL; None where it can't be read."""
    if ignores_case:
        pattern = pattern.replace("(?i)", "")  # which says the same again; regex lets it stand in the middle
    if _REGEX_ONLY.search(pattern):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "possible nested set": regex might read it as one
            tree: Any = parser.parse(pattern, re.MULTILINE | re.DOTALL | (re.IGNORECASE if ignores_case else 0))
        folds = bool(tree.state.flags & re.IGNORECASE)
        facts = _Reader(folds).sequence(tree)
    except (re.error, _UnknownError, Warning, RecursionError, OverflowError):
        return None
    longest = int(tree.getwidth()[1])
    return Traits(
        longest=longest if longest < _UNBOUNDED else None,
        reach=facts.reach if facts.reach < _UNBOUNDED else None,
        digits=facts.digits,
        token_run=facts.run,
        literals=facts.literals,
        dots=facts.dots,
        colons=facts.colons,
        has_blank=facts.has_blank,
        is_joinable=not facts.sees_nul,
    )


class _Reader:
    def __init__(self, folds: bool) -> None:
        self.folds = folds
        self.groups: dict[int, _Facts] = {}

    def sequence(self, tree: Any) -> _Facts:
        """Pieces one after the other: counts add up, and of the literals the longest is kept."""
        facts, run, literal = _Facts(), 0, ""
        for code, argument in tree:
            piece, width = self.piece(code, argument)
            facts.digits += piece.digits
            facts.dots += piece.dots
            facts.colons += piece.colons
            facts.reach = max(facts.reach, piece.reach)
            facts.has_blank |= piece.has_blank
            facts.sees_nul |= piece.sees_nul
            facts.is_token &= piece.is_token
            run = run + width if piece.is_token else 0
            facts.run = max(facts.run, run, piece.run)
            if code is op.LITERAL:
                literal = literal + chr(argument) if self.is_plain(chr(argument)) else ""
                facts.literals = _rarer(facts.literals, (literal,) if literal else ())
            elif code is not op.AT:
                literal = ""
                facts.literals = _rarer(facts.literals, piece.literals)
        return facts

    def piece(self, code: Any, argument: Any) -> tuple[_Facts, int]:
        """Facts and shortest width of one node."""
        if code in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY):
            return self.characters(code, argument), 1
        if code is op.AT:
            is_boundary = argument in (op.AT_BOUNDARY, op.AT_NON_BOUNDARY)
            return _Facts(reach=1, sees_nul=not is_boundary), 0
        if code in (op.ASSERT, op.ASSERT_NOT):
            inner = self.sequence(argument[1])
            return _Facts(reach=int(argument[1].getwidth()[1]) + 1 + inner.reach, sees_nul=inner.sees_nul), 0
        if code is op.BRANCH:
            return self.branches(argument[1])
        if code is op.SUBPATTERN:
            group, added, _, inner = argument
            if added & re.IGNORECASE and not self.folds:
                raise _UnknownError
            facts = self.sequence(inner)
            if group is not None:
                self.groups[group] = facts
            return facts, int(inner.getwidth()[0])
        if code is op.ATOMIC_GROUP:
            return self.sequence(argument), int(argument.getwidth()[0])
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            return self.repeated(*argument)
        if code is op.GROUPREF and argument in self.groups:
            known = self.groups[argument]
            return _Facts(known.digits, known.dots, known.colons, is_token=known.is_token), 0
        raise _UnknownError

    def repeated(self, least: int, most: Any, inner: Any) -> tuple[_Facts, int]:
        """A piece `least` times or more."""
        once, times = self.sequence(inner), min(int(least), _MOST_REPEATS)
        width = int(inner.getwidth()[0])
        facts = _Facts(once.digits * times, once.dots * times, once.colons * times)
        facts.reach, facts.has_blank, facts.sees_nul = once.reach, once.has_blank, once.sees_nul
        facts.is_token = once.is_token
        facts.run = (width * times if once.is_token else once.run) if times else 0
        facts.literals = once.literals if times else ()
        return facts, width * times

    def branches(self, alternatives: Any) -> tuple[_Facts, int]:
        """One of several: what all have."""
        found = [self.sequence(alternative) for alternative in alternatives]
        literals = tuple(dict.fromkeys(text for facts in found for text in facts.literals))
        return _Facts(
            digits=min(facts.digits for facts in found),
            dots=min(facts.dots for facts in found),
            colons=min(facts.colons for facts in found),
            run=min(facts.run for facts in found),
            literals=literals if all(facts.literals for facts in found) else (),
            reach=max(facts.reach for facts in found),
            has_blank=any(facts.has_blank for facts in found),
            sees_nul=any(facts.sees_nul for facts in found),
            is_token=all(facts.is_token for facts in found),
        ), min(int(alternative.getwidth()[0]) for alternative in alternatives)

    def characters(self, code: Any, argument: Any) -> _Facts:
        """A node that takes one character."""
        if code is op.ANY:
            return _Facts(has_blank=True, sees_nul=True, is_token=False)
        items = argument if code is op.IN else [(op.NEGATE, None)] * (code is op.NOT_LITERAL) + [(op.LITERAL, argument)]
        plain, is_digit, beyond = set[str](), True, False  # beyond: may take what is not ASCII, but for digits
        negated = bool(items) and items[0][0] is op.NEGATE
        chosen_items: Any = items[1:] if negated else items
        for kind, value in chosen_items:
            if kind is op.LITERAL:
                chosen = {chr(value)}
            elif kind is op.RANGE:
                chosen = set(map(chr, range(value[0], min(value[1], 127) + 1)))
                beyond |= value[1] > 127
                is_digit &= value[1] <= 127  # beyond it lie letters too, and `chosen` may be empty
            elif kind is op.CATEGORY:
                letter = str(value).rsplit("_", 1)[-1][:1].lower()  # CATEGORY_DIGIT, CATEGORY_NOT_WORD
                if "NOT" in str(value) or letter not in _CLASSES:
                    return _Facts(has_blank=True, sees_nul=True, is_token=False)
                chosen = set(_CLASSES[letter])
                beyond |= letter != "d"
                is_digit &= letter == "d"
                if letter == "d":
                    plain.add("\u0660")  # a digit that is no token
            else:
                raise _UnknownError
            is_digit &= chosen <= _DIGITS
            plain |= chosen
        if negated:
            plain, is_digit, beyond = set(_ASCII) - plain, False, True
        if self.folds:
            plain |= {variant for c in plain for variant in (c.lower(), c.upper()) if len(variant) == 1}
        return _Facts(
            digits=int(is_digit),
            dots=int(plain == {"."} and not beyond),
            colons=int(plain == {":"} and not beyond),
            run=int(plain <= TOKEN and not beyond),
            literals=(chr(argument),) if code is op.LITERAL and self.is_plain(chr(argument)) else (),
            has_blank=bool(plain & set(BLANKS)),
            sees_nul=NUL in plain,
            is_token=plain <= TOKEN and not beyond,
        )

    def is_plain(self, character: str) -> bool:
        """Whether there is one way only to write it."""
        return not self.folds or (character in _ASCII and not character.isalpha())


def _rarer(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """The alternatives whose shortest is longer, where an @ counts as four; of two alike the fewer."""
    if not one or not other:
        return one or other
    return max(one, other, key=lambda texts: (min(len(text) + 3 * ("@" in text) for text in texts), -len(texts)))
