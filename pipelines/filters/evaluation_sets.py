"""Evaluation sets as an index of word n-grams, and where a text has one of them: GPT-3's overlap, exactly.

Brown et al. 2020, arXiv:2005.14165, appendix C: 13-grams of lower-cased words without punctuation. Words are numbers
in a vocabulary of the evaluation sets alone, so that a document's window with any other word needs no look-up; a
window that is left is found by a 64-bit hash and then compared word by word, so a hit is never a hash collision.
(Two different n-grams of the evaluation sets under one hash, one in 10^7 indexes of a million n-grams, hide one of
the two.) No step runs Python per word: Arrow splits and numbers the words, numpy hashes the windows.
"""

import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.core.errors import SettingsError

_TEXT_ENDINGS = (".txt", ".text")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplication by it loses nothing modulo 2^64
_NO_WORD = -1
# Scripts that write no spaces between words; each of their characters counts as a word.
_UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"

Ids = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Ngrams:
    """The distinct n-grams of one length, once per evaluation set that has them, ordered by hash and set."""

    length: int
    hashes: Hashes
    owners: npt.NDArray[np.int16]  # index of the evaluation set
    starts: npt.NDArray[np.int64]  # where in the index's words it stands first


@dataclass(frozen=True)
class EvaluationIndex:
    """All evaluation sets in a form that finds them in texts."""

    names: tuple[str, ...]
    vocabulary: Any  # string array: the distinct words
    codes: Hashes  # a random number per word
    words: Ids  # of all items, one after the other
    ngrams: tuple[Ngrams, ...]
    items: int
    ignored_items: int  # too short to be looked for

    def find(self, texts: pa.Array) -> list[Counter[str]]:
        """Per text, evaluation set -> places where one of its n-grams stands; null texts have none.

        A whole item that is shorter than an n-gram counts once per place.
        """
        words, rows = split_words(texts)
        ids = cast(Any, pc).index_in(words, value_set=self.vocabulary).fill_null(_NO_WORD).to_numpy().astype(np.int32)
        found = [Counter[str]() for _ in range(len(texts))]
        unknown = np.concatenate(([0], np.cumsum(ids == _NO_WORD)))
        for ngrams in self.ngrams:
            starts = _windows(unknown, rows, ngrams.length)
            owners, places = self._hits(ngrams, ids, starts)
            for owner, row in zip(owners.tolist(), rows[places].tolist(), strict=True):
                found[row][self.names[owner]] += 1
        return found

    def _hits(self, ngrams: Ngrams, ids: Ids, starts: npt.NDArray[np.int64]) -> tuple[Any, npt.NDArray[np.int64]]:
        hashes = _hash(self.codes, ids, starts, ngrams.length)
        first = np.searchsorted(ngrams.hashes, hashes, "left")
        is_hit = first < len(ngrams.hashes)
        is_hit[is_hit] = ngrams.hashes[first[is_hit]] == hashes[is_hit]
        first, starts, hashes = first[is_hit], starts[is_hit], hashes[is_hit]
        for offset in range(ngrams.length):
            is_same = self.words[ngrams.starts[first] + offset] == ids[starts + offset]
            first, starts, hashes = first[is_same], starts[is_same], hashes[is_same]
        counts = np.searchsorted(ngrams.hashes, hashes, "right") - first
        before = np.repeat(np.cumsum(counts) - counts, counts)
        entries = np.repeat(first, counts) + np.arange(counts.sum()) - before
        return ngrams.owners[entries], np.repeat(starts, counts)


def split_words(texts: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """The words of `texts` in order (string array), and the row that each comes from.

    Lower case; what is neither letter, mark nor digit parts words.
    """
    compute = cast(Any, pc)
    lowered = compute.utf8_lower(compute.fill_null(texts.cast(pa.large_string()), ""))
    if compute.any(compute.match_substring_regex(lowered, _UNSPACED)).as_py():
        lowered = compute.replace_substring_regex(lowered, _UNSPACED, r" \1 ")
    spaced = compute.replace_substring_regex(lowered, r"[^\p{L}\p{M}\p{N}]+", " ")
    lists = compute.split_pattern(compute.utf8_trim(spaced, " "), " ")
    words, rows = lists.flatten(), compute.list_parent_indices(lists).to_numpy()
    is_word = compute.not_equal(words, "")
    return words.filter(is_word), rows[is_word.to_numpy(zero_copy_only=False)]


def _windows(unknown: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """Where windows of known words start that stay within one text."""
    if len(rows) < length:
        return np.empty(0, np.int64)
    is_whole = (unknown[length:] == unknown[:-length]) & (rows[length - 1 :] == rows[: len(rows) - length + 1])
    return np.flatnonzero(is_whole)


def _hash(codes: Hashes, ids: Ids, starts: npt.NDArray[np.int64], length: int) -> Hashes:
    hashes = np.zeros(len(starts), np.uint64)
    for offset in range(length):
        hashes = hashes * _BASE + codes[ids[starts + offset]]
    return hashes ^ (hashes >> np.uint64(29))


def load_index(
    sets: Mapping[str, str], fields: tuple[str, ...], ngram_words: int, min_item_words: int
) -> EvaluationIndex:
    """The index of `sets` (name -> path), made once per process and state of the files.

    Args:
        sets: JSON lines (.gz too), Parquet, or text with an item per line.
        fields: of JSON and Parquet items; empty: every field that holds text. Each is an item by itself.
        ngram_words: length of the n-grams.
        min_item_words: items shorter than an n-gram, but not than this, are looked for as a whole.

    Raises:
        SettingsError: a file is missing, damaged, or holds no text, or none that is long enough.
    """
    states = tuple((name, path, *_state(name, path)) for name, path in sorted(sets.items()))
    return _load(states, fields, ngram_words, min_item_words)


def _state(name: str, path: str) -> tuple[int, int]:
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise SettingsError(
            f"evaluation set {name}: {path}: {error.strerror}; give a readable file, or leave the set out"
        ) from None
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=2)
def _load(
    states: tuple[tuple[str, str, int, int], ...], fields: tuple[str, ...], ngram_words: int, min_item_words: int
) -> EvaluationIndex:
    texts: list[str] = []
    owners: list[int] = []
    for owner, (name, path, _, _) in enumerate(states):
        before = len(texts)
        texts.extend(read_items(f"evaluation set {name}", path, fields))
        if len(texts) == before:
            wanted = f"in {', '.join(fields)}" if fields else "in any field"
            raise SettingsError(f"evaluation set {name}: {path} holds no text {wanted}; name other evaluation_fields")
        owners.extend([owner] * (len(texts) - before))
    words, rows = split_words(pa.array(texts, pa.large_string()))
    encoded = words.dictionary_encode()
    ids = encoded.indices.to_numpy().astype(np.int32)
    codes = np.random.default_rng(0).integers(0, 2**64 - 1, len(encoded.dictionary), np.uint64, endpoint=True)
    lengths = np.bincount(rows, minlength=len(texts))
    least = min(min_item_words, ngram_words)
    is_ignored = lengths < least
    for owner, (name, path, _, _) in enumerate(states):
        longest = int(lengths[np.array(owners, np.int16) == owner].max())
        if longest < least:
            raise SettingsError(
                f"evaluation set {name}: {path}: its longest text has {longest} words, and those of fewer than {least} "
                "are not looked for; lower min_evaluation_words, name other evaluation_fields, or leave the set out"
            )
    owner_of = np.array(owners, np.int16)[rows]
    tables: list[Ngrams] = []
    for length in range(min(min_item_words, ngram_words), ngram_words + 1):
        starts = _windows(np.zeros(len(ids) + 1, np.int64), rows, length)
        if length < ngram_words:
            starts = starts[lengths[rows[starts]] == length]
        if len(starts):
            tables.append(_table(length, _hash(codes, ids, starts, length), owner_of[starts], starts))
    ignored = int(is_ignored.sum())
    names = tuple(state[0] for state in states)
    return EvaluationIndex(names, encoded.dictionary, codes, ids, tuple(tables), len(texts), ignored)


def _table(length: int, hashes: Hashes, owners: npt.NDArray[np.int16], starts: npt.NDArray[np.int64]) -> Ngrams:
    order = np.lexsort((starts, owners, hashes))
    hashes, owners, starts = hashes[order], owners[order], starts[order]
    is_first = np.ones(len(hashes), np.bool_)
    is_first[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return Ngrams(length, hashes[is_first], owners[is_first], starts[is_first])


def read_items(subject: str, path: str, fields: tuple[str, ...]) -> Iterator[str]:
    """The texts of a file of items: every text in the chosen fields, those inside lists and objects too.

    Args:
        subject: what the file is to a person, for error lines.
        path: JSON lines, Parquet, or text with an item per line.
        fields: of JSON and Parquet items; empty: all.

    Raises:
        SettingsError: the file is missing or damaged.
    """
    ending = "".join(Path(path).suffixes[-2:]).lower()
    try:
        if ending.endswith(".parquet"):
            yield from _parquet_items(path, fields)
            return
        with closing(_open(path, ending)) as file:
            is_text = ending.removesuffix(".gz").endswith(_TEXT_ENDINGS)
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                if is_text:
                    yield line
                    continue
                try:
                    yield from _strings(json.loads(line), fields)
                except (json.JSONDecodeError, RecursionError) as error:
                    raise SettingsError(f"{subject}: {path}, line {number} is not JSON ({error})") from None
    except (OSError, EOFError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingsError(
            f"{subject}: {path} can't be read ({reason}); give JSON lines, Parquet or text, .gz or not"
        ) from None


def _open(path: str, ending: str) -> IO[str]:
    if ending.endswith(".gz"):
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8")
    return Path(path).open(encoding="utf-8")


def _parquet_items(path: str, fields: tuple[str, ...]) -> Iterator[str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if not fields or name in fields]
        for batch in file.iter_batches(batch_size=1024, columns=names):
            for row in batch.to_pylist():
                yield from _strings(row, ())


def _strings(value: Any, fields: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, str):
        yield value.encode("utf-8", "ignore").decode()  # JSON can hold lone surrogates; Arrow can't
    elif isinstance(value, dict):
        for key, inner in cast(dict[str, Any], value).items():
            if not fields or key in fields:
                yield from _strings(inner, ())
    elif isinstance(value, list):
        for inner in cast(list[Any], value):
            yield from _strings(inner, fields)
