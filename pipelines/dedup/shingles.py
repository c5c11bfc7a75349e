"""Shingles of many texts at once, as the hashes of which each scheme takes minima.

A shingle is a run of words (of characters in scheme `slimpajama`), a document the set of its shingles (Broder 1997).
Scheme `gristmill` hashes a shingle as a polynomial over its code points modulo 2^64, which sums over prefixes give for
all shingles of a block at once (Karp and Rabin, "Efficient randomized pattern-matching algorithms", 1987), then mixes
it with MurmurHash3's 64-bit finaliser. The others hash its bytes, with the function that they are known for.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.dedup.code_points import BLOCK_BYTES, SPACE, Codes, Integers, Texts, Words, decoded, ranges
from pipelines.dedup.schemes import Parameters
from pipelines.dedup.simplified import simplified_chunks, simplified_words
from pipelines.dedup.xxh64 import xxh64

Hashes = npt.NDArray[Any]  # unsigned, of the width that the scheme's permutations take
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_WORD = 1 << 64
_AT_ONCE = 1 << 15  # shingles; a usual block has fewer, a text of megabytes is gone through in steps


@dataclass(frozen=True)
class Shingles:
    """The hashes of the shingles of some texts, those of a text one after the other; some may be there twice."""

    hashes: Hashes
    counts: Integers  # of each text

    @property
    def distinct(self) -> Integers:
        """Distinct hashes of each text."""
        ends = np.cumsum(self.counts).tolist()
        out = np.empty(len(ends), np.int64)
        ordered = self.hashes.copy()
        for index, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            own = ordered[start:end]
            own.sort()
            out[index] = min(1, end - start) + np.count_nonzero(own[1:] != own[:-1])
        return out


def shingles_of(texts: Texts, words: Words, parameters: Parameters) -> Shingles:
    """The shingles of `texts` by the scheme of `parameters`.

    Args:
        texts: as they are.
        words: of `normalised_words`, which some schemes cut.
        parameters: of the signatures.
    """
    width = parameters.shingle_words
    match parameters.scheme:
        case "gristmill":
            return polynomial(words, *runs(words, width))
        case "refinedweb":
            chunks = simplified_chunks(texts, is_number_zero=False)
            return polynomial(chunks, *runs(chunks, width))
        case "datatrove" | "fineweb":
            simplified = simplified_words(texts)
            spans = runs(simplified, width, is_short_one=False)
            return _hashed(simplified, *spans, xxh64 if parameters.scheme == "datatrove" else _sha1_64)
        case "datasketch" | "datasketch_legacy":
            return _hashed(words, *runs(words, width), _sha1_32)
        case "slimpajama":
            return characters(texts, width)


def runs(words: Words, width: int, *, is_short_one: bool = True) -> tuple[Integers, Integers, Integers]:
    """First word and last word of each run of `width` words of a text, and the runs of each text.

    Args:
        words: of some texts.
        width: words of a run.
        is_short_one: whether fewer words are one run: a short text then equals exactly the texts of the same words,
            as its content hash says too. Else they have none, and such a text is never a near-duplicate.
    """
    lengths = words.counts
    run = np.minimum(lengths, width) if is_short_one else np.full_like(lengths, width)
    counts = np.where(lengths > 0, np.maximum(lengths - run + 1, 0), 0)
    first = ranges(words.first_words[:-1], counts)
    return first, first + np.repeat(run - 1, counts), counts


def polynomial(words: Words, first: Integers, last: Integers, counts: Integers) -> Shingles:
    """64-bit hashes of the text between the start of word first[i] and the end of word last[i]."""
    starts, ends = words.starts[first], words.ends[last]
    windows = [slice(at, at + _AT_ONCE) for at in range(0, len(starts), _AT_ONCE)]
    hashes = [_polynomials(words.codes, starts[own], ends[own]) for own in windows]
    return Shingles(np.concatenate(hashes) if hashes else np.empty(0, np.uint64), counts)


def _polynomials(codes: Codes, starts: Integers, ends: Integers) -> npt.NDArray[np.uint64]:
    """Of codes[starts[i] : ends[i]], both rising."""
    codes, starts, ends = codes[starts[0] : ends[-1]], starts - starts[0], ends - starts[0]
    powers, inverses = _powers(len(codes))
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers, out=sums[1:])
    return _mixed64((sums[ends] - sums[starts]) * inverses[starts])


def _mixed64(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """MurmurHash3's 64-bit finaliser (Appleby, public domain)."""
    hashes = hashes ^ (hashes >> np.uint64(33))
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xC4CEB9FE1A85EC53)
    hashes ^= hashes >> np.uint64(33)
    return hashes


def _powers(size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Powers of the base and of its inverse; those of a usual block are remembered."""
    usual = 2 * BLOCK_BYTES
    powers, inverses = _made_powers(usual) if size <= usual else _made_powers.__wrapped__(size)
    return powers[:size], inverses[:size]


@lru_cache(maxsize=1)
def _made_powers(size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    both: list[npt.NDArray[np.uint64]] = []
    for base in (_BASE, pow(_BASE, -1, _WORD)):
        factors = np.full(size, base, np.uint64)
        factors[:1] = 1
        both.append(np.cumprod(factors))
    return both[0], both[1]


def _hashed(
    words: Words,
    first: Integers,
    last: Integers,
    counts: Integers,
    function: Callable[[bytes, Integers, Integers], Hashes],
) -> Shingles:
    """What `function` makes of the UTF-8 of each run, its words joined by single spaces."""
    data = decoded(words.codes).encode("utf-8", "surrogatepass")
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == SPACE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    return Shingles(function(data, starts[first], ends[last]), counts)


def characters(texts: Texts, width: int) -> Shingles:
    """Runs of `width` characters of the text that SlimPajama's code makes of each: see `slim`."""
    slim_texts = [slim(texts.text(index)) for index in range(len(texts.bounds) - 1)]
    counts = np.array([max(0, len(text) - width + 1) for text in slim_texts], np.int64)
    text = "".join(slim_texts)
    data = text.encode("utf-8", "surrogatepass")
    is_first = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    places = np.append(np.flatnonzero(is_first), len(data))
    sizes = np.array([len(text) for text in slim_texts], np.int64)
    first = ranges(np.cumsum(sizes) - sizes, counts)
    return Shingles(_sha1_32(data, places[first], places[first + width]), counts)


_ASCII_PUNCTUATION = dict.fromkeys(map(ord, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"))


def slim(text: str) -> str:
    """Lower case, without ASCII punctuation, white space collapsed."""
    return " ".join(text.lower().translate(_ASCII_PUNCTUATION).split())


def _sha1_64(data: bytes, starts: Integers, ends: Integers) -> Hashes:
    return _sha1(data, starts, ends, "<u8").astype(np.uint64)


def _sha1_32(data: bytes, starts: Integers, ends: Integers) -> Hashes:
    return _sha1(data, starts, ends, "<u4").astype(np.uint32)


def _sha1(data: bytes, starts: Integers, ends: Integers, kind: str) -> Hashes:
    """The first bytes of the SHA-1 of each piece of `data`."""
    sha1, width = hashlib.sha1, np.dtype(kind).itemsize
    pieces = [np.empty(0, kind)]
    for at in range(0, len(starts), _AT_ONCE):
        bounds = zip(starts[at : at + _AT_ONCE].tolist(), ends[at : at + _AT_ONCE].tolist(), strict=True)
        digests = b"".join([sha1(data[start:end], usedforsecurity=False).digest() for start, end in bounds])
        firsts = np.ascontiguousarray(np.frombuffer(digests, np.uint8).reshape(-1, 20)[:, :width])
        pieces.append(firsts.view(kind).reshape(-1))
    return np.concatenate(pieces)
