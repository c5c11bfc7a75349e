"""Texts of a batch as arrays of code points, many documents together, and as sequences of words made of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

BLOCK_BYTES = 1 << 17  # of texts looked at together: the arrays of a block stay in the processor's L2 cache
ALL_CODE_POINTS = 0x110000
SPACE = 32

Codes = npt.NDArray[np.uint32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """Some texts, each followed by a line feed; text i is codes[bounds[i] : bounds[i + 1] - 1]."""

    codes: Codes
    bounds: Integers

    def text(self, index: int) -> str:
        """One of them as a string."""
        return decoded(self.codes[self.bounds[index] : self.bounds[index + 1] - 1])


@dataclass(frozen=True)
class Words:
    """The words of some texts: each followed by one space, those of a text one after the other."""

    codes: Codes
    ends: Integers  # of each word: where its space is
    first_words: Integers  # of each text, and the number of all

    @property
    def starts(self) -> Integers:
        """Where each word starts."""
        starts = np.empty_like(self.ends)
        starts[:1] = 0
        starts[1:] = self.ends[:-1] + 1
        return starts

    @property
    def counts(self) -> Integers:
        """Words of each text."""
        return np.diff(self.first_words)

    def joined(self) -> list[str]:
        """Each text's words with single spaces between; empty for a text without words."""
        text = decoded(self.codes)
        ends = np.concatenate(([0], self.ends + 1))[self.first_words].tolist()
        return [text[start : max(start, end - 1)] for start, end in pairwise(ends)]


def decoded(codes: Codes) -> str:
    """The code points as a string; a lone surrogate stays one."""
    return codes.astype("<u4", copy=False).tobytes().decode("utf-32-le", "surrogatepass")


def encoded(text: str) -> Codes:
    """The code points of a string."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32, copy=False)


def blocks(texts: Any, block_bytes: int = BLOCK_BYTES) -> Iterator[Texts]:
    """The texts (an array of large strings; null is empty), in order, as many together as a block has room for."""
    texts = texts.cast(pa.large_string()).fill_null("")
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = memoryview(texts.buffers()[2] or b"")
    lengths = np.asarray(pc.call_function("utf8_length", [texts])).astype(np.int64) + 1
    first = 0
    while first < len(texts):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + block_bytes, side="right")) - 1)
        places = offsets[first : last + 1].tolist()
        pieces = [data[start:end] for start, end in pairwise(places)]
        text = b"\n".join([*pieces, b""]).decode("utf-8", "surrogatepass")
        bounds = np.zeros(last - first + 1, np.int64)
        np.cumsum(lengths[first:last], out=bounds[1:])
        yield Texts(encoded(text), bounds)
        first = last


def replaced(codes: Codes, bounds: Integers, pieces: dict[int, Codes]) -> tuple[Codes, Integers]:
    """The same texts with those of `pieces` in place of some, each with its line feed (or what stands for it)."""
    every = [pieces.get(i, codes[bounds[i] : bounds[i + 1]]) for i in range(len(bounds) - 1)]
    new = np.zeros(len(bounds), np.int64)
    np.cumsum([len(piece) for piece in every], out=new[1:])
    return np.concatenate(every), new


def words_between_spaces(codes: Codes, bounds: Integers, gone: Integers | None = None) -> Words:
    """Words of texts in which every other character is a space; spaces are collapsed.

    Args:
        codes: of texts that end with a space each.
        bounds: of the texts.
        gone: where characters are that leave nothing.
    """
    is_word = codes != SPACE
    is_kept = is_word.copy()
    is_kept[1:] |= is_word[:-1]  # a word, and the first space after it: each text ends with one
    if gone is not None and len(gone):
        is_kept[gone] = False
        is_first = np.append(True, np.diff(gone) != 1)
        firsts, after = gone[is_first], gone[np.append(is_first[1:], True)] + 1
        is_behind_space = codes[firsts - 1] == SPACE  # or behind the first character of all, where the last is one
        is_kept[after[is_behind_space & (codes[after] == SPACE)]] = False
    kept = codes[is_kept]
    ends = np.flatnonzero(kept == SPACE)
    places = bounds.tolist()
    sizes = [np.count_nonzero(is_kept[start:end]) for start, end in pairwise(places)]
    return Words(kept, ends, np.searchsorted(ends, np.cumsum(np.array([0, *sizes], np.int64))))


def ranges(starts: Integers, sizes: Integers) -> Integers:
    """The indices of all ranges `starts[i]` to `starts[i] + sizes[i]`, one range after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)


def matching(pattern: Callable[[str], Iterator[Any]]) -> npt.NDArray[np.bool_]:
    """Which code points a compiled pattern's `finditer` matches."""
    every = np.arange(ALL_CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    found = np.zeros(ALL_CODE_POINTS, bool)
    for match in pattern(every):
        found[match.start() : match.end()] = True
    return found
