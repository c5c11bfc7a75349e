"""Text to token ids, fast and in little memory: each stretch of text that comes again is encoded once.

A byte-level BPE works on one pre-token at a time, and the rules of `split_pattern` end a pre-token at certain places
whatever stands around them. Cut at all of these, a text falls into chunks (a word with the space and the marks before
it, mostly) whose tokens add up to those of the whole. Chunks are looked up in a table, and only those that are not in
it go through `tokenizers`. A tokenizer with any other split is used as it is.
"""

import contextlib
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from gristmill.core.layout import Layout
from pipelines.tokens.pretokenization import MOST_DIGITS, split_pattern, split_safely
from pipelines.tokens.vocabulary import Encoder

Tokens = npt.NDArray[np.unsignedinteger[Any]]

_GROUP_CHARACTERS = 1 << 18  # encoded at a time: an Encoding takes some 100 bytes a token
_TABLE_CHUNKS = 400_000  # some 200 bytes each; the commonest are met first, so that a full table is kept as it is
_KEPT_CHARACTERS = 48  # a longer chunk hardly comes again
_PARALLELISM = "TOKENIZERS_PARALLELISM"

# Where a chunk ends: after a letter that an ASCII character follows which is neither a letter nor an apostrophe
# (which may begin a contraction); after a visible character that a space follows; after line ends that a visible
# character follows (but no slash: o200k takes slashes along with line ends). The letters are ones that every version
# of Unicode calls so, and Python's \S leaves out more (U+001C to U+001F) than the \s of the tokenizers' regular
# expressions takes in, so that these cut too seldom rather than wrongly. A chunk is, in this order: a word with the
# marks before it; a run of visible characters; anything, up to the next place.
_CHUNK = re.compile(
    r" ?[!-/:-@\[-`{-~]*+[A-Za-zÀ-ÖØ-öø-ɏ]++(?=[\x00-&(-@\[-`{-\x7f])"
    r"| ?\S++(?:(?= )|[\r\n]++(?=[^\s/]))"
    r"|(?s:.)+?(?:(?<=\S)(?= )|(?<=[\r\n])(?=[^\s/])|\Z)"
)
_CUTTABLE = {split_pattern(name, digits) for name in ("cl100k", "o200k") for digits in range(1, MOST_DIGITS + 1)}


class TextEncoder:
    """Encodes page text to arrays of token ids, the same that the tokenizer gives for the whole text.

    Args:
        encoder: of a committed tokenizer; no special token comes out of a text.
        definition: the content of its tokenizer.json.
    """

    def __init__(self, encoder: Encoder, definition: Mapping[str, Any]) -> None:
        self._encoder = encoder
        self.dtype = encoder.dtype
        self._chunks: Callable[[str], list[str]] = _CHUNK.findall if is_cuttable(definition) else _whole
        self._table: dict[str, bytes] = {}

    @classmethod
    def load(cls, layout: Layout, version: str) -> Self:
        """The committed tokenizer `version`.

        Raises:
            MissingDataError: it is not there, or damaged.
        """
        encoder = Encoder.load(layout, version)
        return cls(encoder, layout.read_json(posixpath.join(layout.tokenizer_dir(version), "tokenizer.json")) or {})

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, without any special token."""
        parts: list[list[bytes]] = [[] for _ in texts]
        for numbers, pieces in _groups(texts):
            for number, ids in zip(numbers, self._encode_pieces(pieces), strict=True):
                parts[number].append(ids)
        return [np.frombuffer(b"".join(ids), dtype=self.dtype) for ids in parts]

    def _encode_pieces(self, pieces: Sequence[str]) -> list[bytes]:
        cut = [self._chunks(piece) for piece in pieces]
        table = self._table
        missing = list(set[str]().union(*cut).difference(table))
        is_full = len(table) >= _TABLE_CHUNKS
        for chunk, ids in zip(missing, self._encoder.encode(missing), strict=True):
            table[chunk] = ids.tobytes()
        found = [b"".join(map(table.__getitem__, chunks)) for chunks in cut]
        for chunk in missing:
            if is_full or len(chunk) > _KEPT_CHARACTERS:
                del table[chunk]
        return found


def is_cuttable(definition: Mapping[str, Any]) -> bool:
    """Say whether the tokens of chunks add up to those of the text, by the content of tokenizer.json."""
    model, splits = definition.get("model") or {}, definition.get("pre_tokenizer") or {}
    steps = cast(list[dict[str, Any]], splits.get("pretokenizers") or [])
    if definition.get("normalizer") or definition.get("truncation") or definition.get("padding"):
        return False
    if model.get("type") != "BPE" or model.get("dropout"):
        return False
    if not all(token["special"] for token in definition.get("added_tokens") or ()):  # special ones are text to Encoder
        return False
    if [step.get("type") for step in steps] != ["Split", "ByteLevel"]:
        return False
    split, level = steps
    return (
        split["pattern"].get("Regex") in _CUTTABLE
        and split["behavior"] == "Isolated"
        and not (split["invert"] or level["add_prefix_space"] or level["use_regex"])
    )


def _whole(piece: str) -> list[str]:
    return [piece]


def _groups(texts: Iterable[str]) -> Iterator[tuple[list[int], list[str]]]:
    """Pieces of all texts in order, so many characters at a time, each with the number of its text."""
    numbers, pieces, size = list[int](), list[str](), 0
    for number, text in enumerate(texts):
        for piece in split_safely(text):
            numbers.append(number)
            pieces.append(piece)
            size += len(piece)
            if size >= _GROUP_CHARACTERS:
                yield numbers, pieces
                numbers, pieces, size = [], [], 0
    if pieces:
        yield numbers, pieces


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep `tokenizers` to the calling thread: a Spark task has one core, and its neighbours have the others.

    An environment that sets TOKENIZERS_PARALLELISM has its way.
    """
    if _PARALLELISM in os.environ:
        yield
        return
    os.environ[_PARALLELISM] = "false"
    try:
        yield
    finally:
        del os.environ[_PARALLELISM]
