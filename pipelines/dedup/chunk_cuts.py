"""Chunks between spaces cut into words by spaCy's rules, asking the tokenizer only for those that a rule could cut.

Most chunks of a simplified text are letters alone, which no rule cuts but for a list of contractions (tests ask for
every letter there is): a table of what contractions look like tells which of them to ask for. What else there is, a
digit amid letters or a sign that simplifying leaves, is asked for once and remembered.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipelines.dedup.code_points import SPACE, Codes, Integers, Words, decoded, encoded
from pipelines.filters.chunk_tokens import ChunkTokenizer

_REMEMBERED_CHUNKS = 1 << 18
_LONGEST = 15  # a chunk this long is no contraction

_tokenizer = lru_cache(maxsize=1)(ChunkTokenizer)


def cut(chunks: Words, is_letter: npt.NDArray[np.bool_]) -> Words:
    """The chunks as spaCy's tokenizer cuts them.

    Args:
        chunks: what lies between the spaces of some texts, lower-case.
        is_letter: of each code point.
    """
    if not len(chunks.ends):
        return chunks
    codes, starts, ends = chunks.codes, chunks.starts, chunks.ends
    is_other = ~(((codes - np.uint32(ord("a"))) < np.uint32(26)) | (codes == SPACE))
    foreign = np.flatnonzero(is_other)
    is_other[foreign] = ~is_letter[codes[foreign]]
    others = np.cumsum(is_other, dtype=np.int32)[ends]  # up to each chunk's end
    is_asked = np.diff(others, prepend=np.int32(0)) > 0
    first, sizes = codes[starts], ends - starts
    is_asked &= (first != ord("0")) | (sizes > 1)
    is_asked |= _contraction_shapes()[_shape(sizes, first, codes[starts + 1], codes[ends - 1])]
    at = np.flatnonzero(is_asked)
    if not len(at):
        return chunks
    text = decoded(codes)
    asked = zip(starts[at].tolist(), ends[at].tolist(), strict=True)
    cuts, places = _cuts, list[int]()
    if len(cuts) > _REMEMBERED_CHUNKS:
        cuts.clear()
    for start, end in asked:
        found = cuts[text[start:end]]
        if found:
            places += [start + place for place in found]
    if not places:
        return chunks
    new = np.insert(codes, places, SPACE)
    first_codes = np.concatenate(([0], ends + 1))[chunks.first_words]
    new_ends = np.flatnonzero(new == SPACE)
    first_codes = first_codes + np.searchsorted(np.array(places), first_codes)
    return Words(new, new_ends, np.searchsorted(new_ends, first_codes))


class _Cuts(dict[str, tuple[int, ...]]):
    """Where the tokenizer cuts a chunk, remembered."""

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        tokens = _tokenizer().tokens(chunk)
        places, place = list[int](), 0
        for token in tokens[:-1]:
            place += len(token)
            places.append(place)
        found = self[chunk] = tuple(places)
        return found


_cuts = _Cuts()


@lru_cache(maxsize=1)
def _contraction_shapes() -> npt.NDArray[np.bool_]:
    """Whether a chunk of letters a to z of a certain shape may be one that has a rule of its own."""
    shapes = np.zeros((_LONGEST + 1) << 15, bool)
    for chunk in _tokenizer().special_chunks:
        if chunk.isascii() and chunk.isalpha() and chunk.islower():
            codes = encoded(chunk + " ")
            shapes[_shape(np.array([len(chunk)]), codes[:1], codes[1:2], codes[-2:-1])] = True
    return shapes


def _shape(sizes: Integers, first: Codes, second: Codes, last: Codes) -> Integers:
    """One number of a chunk's length and of the places in the alphabet of three of its letters."""
    letters = (first & np.uint32(31)) << np.uint32(10) | (second & np.uint32(31)) << np.uint32(5) | last & np.uint32(31)
    return (np.minimum(sizes, _LONGEST) << 15) + letters
