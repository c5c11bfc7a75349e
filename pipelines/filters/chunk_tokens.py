"""The tokens of one whitespace-separated chunk, as spaCy's blank English tokenizer splits it.

spaCy's own call costs 25 µs a chunk (this: 5), most of it to make a document and for patterns of 150 alternatives tried
one after the other at every position. Here the same rules (spaCy's lists of prefixes, suffixes, infixes, special
cases, its URL pattern) are applied in the same order, over indices instead of copies and with the single
characters of each list in one class, in time linear in the chunk's length. Tests compare with spaCy itself.

One limit: a chunk is asked for being a URL up to LONGEST_URL characters, for the pattern takes time with the
square of the length where colons abound.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from re import Pattern

from pipelines.filters.spacy_rules import is_punctuation, rules

LONGEST_URL = 2_000
_TAIL = 8  # holds any suffix and what it looks behind at, but for runs of dots
_ALWAYS_SUFFIX = frozenset(",;:?!)]}\"'`>")  # after a word always a token, whatever the word
_ALWAYS_PREFIX = frozenset("([{\"'`<")
_SHORT = 64  # a rest so short is looked at as a whole before any pattern is asked
_DIGIT = re.compile("[0-9]")
_MAYBE_INFIX = re.compile(r"[.+\-*^,~:<>=/]")  # what every infix of ASCII text has


class ChunkTokenizer:
    """Splits chunks; holds spaCy's rules in a form that is fast to ask."""

    def __init__(self) -> None:
        found = rules()
        self.sentence_ends = found.sentence_ends
        self.is_punctuation = is_punctuation
        prefixes, suffixes = _one_class(found.prefixes), _one_class(found.suffixes)
        self._prefix = re.compile("|".join(prefixes))
        self._prefix_of = _PrefixSizes(prefixes)
        self._single_suffix = re.compile(suffixes[0])
        self._ascii_suffixes = frozenset(filter(self._single_suffix.match, map(chr, range(128))))
        self._suffix = re.compile(f"(?:{'|'.join(suffixes[1:])})$")
        infixes = [pattern for pattern in found.infixes if pattern.strip()]  # as spaCy does
        self._infixes = re.compile("|".join(infixes)).finditer
        self._ascii_infixes = re.compile("|".join(filter(_may_be_ascii, infixes))).finditer
        self._url = found.is_url
        self._specials: Mapping[str, tuple[str, ...]] = {}
        self._longest_special = 0
        # A special case that has an affix or infix is also found amid a chunk, by the tokens it has without its rule.
        raw = {text: self._split(text) for text in found.specials if not text.isspace()}
        self._sequences: dict[tuple[str, ...], list[list[str]]] = {}
        for tokens in raw.values():
            if len(tokens) > 1:  # a single token without an affix is none that spaCy looks for
                self._sequences.setdefault(tuple(tokens[:2]), []).append(tokens)
        self._specials = found.specials
        self._longest_special = max(map(len, found.specials))

    @property
    def special_chunks(self) -> Iterable[str]:
        """Chunks that have a rule of their own."""
        return self._specials

    def is_special(self, chunk: str) -> bool:
        """Whether `chunk` as a whole has a rule of its own, such as "don't"."""
        return chunk in self._specials

    def tokens(self, chunk: str) -> list[str]:
        """The tokens of `chunk`, which has no whitespace and is not empty."""
        if chunk.isascii() and chunk not in self._specials:
            # A word with one mark, as most chunks are: two tokens, or else the rest has a rule of its own.
            stem, rest = chunk[:-1], chunk[1:]
            if stem.isalpha() and (chunk[-1] in _ALWAYS_SUFFIX or (chunk[-1] == "." and stem[-1].islower())):
                if stem not in self._specials:
                    return [stem, chunk[-1]]
            elif rest.isalpha() and len(rest) > 1 and chunk[0] in _ALWAYS_PREFIX and rest not in self._specials:
                return [chunk[0], rest]
        tokens = self._split(chunk)
        if len(tokens) > 1 and not self._sequences.keys().isdisjoint(itertools.pairwise(tokens)):
            return self._with_specials(tokens)
        return tokens

    def _split(self, chunk: str) -> list[str]:
        tokens: list[str] = []
        suffixes: list[str] = []
        start, end = 0, len(chunk)
        specials, longest = self._specials, self._longest_special
        prefix, prefix_of = self._prefix.match, self._prefix_of
        while start < end:
            size = end - start
            if size <= _SHORT:
                rest = chunk[start:end]
                if rest in specials or (rest.isascii() and (rest.isalpha() or rest.isdigit())):
                    break
            after = start + prefix_of[chunk[start]]
            if after < start:
                found = prefix(chunk, start, end)
                after = found.end() if found else start
            if after > start and 0 < end - after <= longest and chunk[after:end] in specials:
                tokens.append(chunk[start:after])
                start = after
                break
            before = end - self._suffix_length(chunk, after, end) if after < end else end
            if before < end and 0 < before - start <= longest and chunk[start:before] in specials:
                suffixes.append(chunk[before:end])
                end = before
                break
            if after == start and before == end:
                break
            if after > start:
                tokens.append(chunk[start:after])
            if before < end:
                suffixes.append(chunk[before:end])
            start, end = after, before
        if start < end:
            self._core(chunk[start:end], tokens)
        if suffixes:
            suffixes.reverse()
            tokens += suffixes
        return tokens

    def _suffix_length(self, chunk: str, start: int, end: int) -> int:
        """Of the suffix of chunk[start:end], or 0; nothing before `start` is looked at."""
        last = chunk[end - 1]
        if last in self._ascii_suffixes:
            return 1
        if last > "\x7f" and self._single_suffix.match(last):
            return 2 if last == "\N{HORIZONTAL ELLIPSIS}" and end - start > 1 and chunk[end - 2] == last else 1
        size = 1
        if last == ".":
            while size < end - start and chunk[end - size - 1] == ".":
                size += 1
            if size > 1:
                return size
        tail = chunk[max(start, end - _TAIL) : end]
        if tail.isalpha() or last in "0123456789":
            return 0  # units follow a digit, a genitive an apostrophe, and neither ends in a digit
        if last.isalpha() and tail.isascii() and tail[-2] != "'" and not _DIGIT.search(tail):
            return 0
        found = self._suffix.search(tail)
        return found.end() - found.start() if found else 0

    def _core(self, core: str, tokens: list[str]) -> None:
        """Append the tokens of what has no affix left."""
        if len(core) <= self._longest_special and core in self._specials:
            tokens += self._specials[core]
            return
        is_ascii = core.isascii()
        if (is_ascii and not _MAYBE_INFIX.search(core)) or (
            "." in core and len(core) <= LONGEST_URL and self._url(core)
        ):
            tokens.append(core)
            return
        start = 0
        for infix in self._ascii_infixes(core) if is_ascii else self._infixes(core):
            first, last = infix.span()
            if first == 0:
                continue
            if first != start:
                tokens.append(core[start:first])
            if first != last:
                tokens.append(core[first:last])
            start = last
        if start < len(core):
            tokens.append(core[start:])

    def _with_specials(self, tokens: list[str]) -> list[str]:
        """Special cases found among the tokens, the longest first, of equally long ones the first."""
        found = [
            (len(sequence), start)
            for start, pair in enumerate(itertools.pairwise(tokens))
            for sequence in self._sequences.get(pair, ())
            if tokens[start : start + len(sequence)] == sequence
        ]
        taken: set[int] = set()
        replaced: dict[int, int] = {}
        for size, start in sorted(found, key=lambda span: (-span[0], span[1])):
            if start not in taken and start + size - 1 not in taken:
                replaced[start] = size
            taken.update(range(start, start + size))  # as spaCy has it: of spans not taken, too
        result: list[str] = []
        position = 0
        while position < len(tokens):
            size = replaced.get(position, 0)
            result += self._specials["".join(tokens[position : position + size])] if size else [tokens[position]]
            position += size or 1
        return result


class _PrefixSizes(dict[str, int]):
    """Size of the prefix that begins with a character: 1 or 0 whatever follows, or -1 where that matters."""

    def __init__(self, prefixes: list[str]) -> None:
        super().__init__()
        self._single = re.compile(prefixes[0])
        self._longer = frozenset(pattern.lstrip("\\")[0] for pattern in prefixes[1:])

    def __missing__(self, character: str) -> int:
        size = -1 if character > "\x7f" or character in self._longer else int(bool(self._single.match(character)))
        if character <= "\x7f":
            self[character] = size
        return size


def _one_class(patterns: Iterable[str]) -> list[str]:
    """`patterns` with all that stand for one character out of a set joined into one class, put first.

    Which alternative of a prefix wins only matters where one begins like another; where a list has both "…" and
    "……", the single one comes first in spaCy too. A suffix ends at the end, so that its beginning alone decides.
    """
    single: list[str] = []
    others: list[str] = []
    for pattern in patterns:
        if not pattern.strip():
            continue  # as spaCy does
        if len(pattern) == 1 or (len(pattern) == 2 and pattern[0] == "\\"):
            single.append(re.escape(pattern[-1]))
        elif _is_class(pattern):
            single.append(pattern[1:-1])
        else:
            others.append(pattern)
    return [f"[{''.join(single)}]", *others]


def _is_class(pattern: str) -> bool:
    return pattern[0] == "[" and pattern.find("]") == len(pattern) - 1


def _may_be_ascii(pattern: str) -> bool:
    """Whether an infix pattern can match in ASCII text: literals and classes without an ASCII character can't."""
    if _is_class(pattern):
        compiled: Pattern[str] = re.compile(pattern)
        return any(compiled.match(chr(code)) for code in range(128))
    return len(pattern) > 2 or pattern.isascii()
