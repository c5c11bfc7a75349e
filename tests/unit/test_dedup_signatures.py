"""Signatures against datasketch, and what counts as the same text."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from gristmill.core.settings import build
from pipelines.dedup.minhash import BLOCK_HASHES, permutations, shingle_hashes, signatures
from pipelines.dedup.normalise import content_hash, normalise
from pipelines.dedup.signatures import Settings, decide, score, tally
from pipelines.schema import DOCUMENT_SCHEMA, SIGNATURE_SCHEMA

VOCABULARY = ["a", "bee", "sea", "de", "ünï", "中", "zeta", "eta", "7", "theta"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join)


def batch_of(*texts: str | None) -> pa.RecordBatch:
    rows = [{"doc_id": f"{index:032x}", "text": text} for index, text in enumerate(texts)]
    return pa.RecordBatch.from_pylist(rows, schema=DOCUMENT_SCHEMA)


def by_datasketch(text: str, shingle_words: int = 5, count: int = 112) -> list[int]:
    words = normalise(text).split()
    run = min(shingle_words, len(words))
    sketch = MinHash(num_perm=count, seed=1)
    sketch.update_batch([" ".join(words[i : i + run]).encode() for i in range(len(words) - run + 1)])
    return sketch.hashvalues.tolist()


def unpacked(scored: pa.RecordBatch) -> list[list[int] | None]:
    """The values of each signature."""
    column = scored.column("signature").to_pylist()
    return [None if value is None else np.frombuffer(value, "<u4").tolist() for value in column]


def test_permutations_are_datasketchs() -> None:
    ours, theirs = permutations(112, 1), MinHash(num_perm=112, seed=1).permutations
    assert np.array_equal(ours[0], theirs[0])
    assert np.array_equal(ours[1], theirs[1])


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, max_size=6))
def test_signatures_equal_datasketchs(texts: list[str]) -> None:
    found = unpacked(score(batch_of(*texts), Settings()))
    assert found == [by_datasketch(text) if normalise(text) else None for text in texts]


def test_a_text_longer_than_a_block_and_other_settings() -> None:
    long = " ".join(f"w{index}" for index in range(BLOCK_HASHES + 50))
    chosen = Settings(shingle_words=3, bands=4, rows=5)
    found = unpacked(score(batch_of(long, "one two three four", long), chosen))
    assert found == [by_datasketch(text, 3, 20) for text in (long, "one two three four", long)]


def test_signature_of_each_document_does_not_depend_on_its_neighbours() -> None:
    documents = [shingle_hashes(f"words number {index} are here to be hashed", 5) for index in range(50)]
    together = signatures(documents, 16, 1)
    assert np.array_equal(together, np.concatenate([signatures([document], 16, 1) for document in documents]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello,  WORLD!\n", "hello world"),
        ("it's 3.14_or so", "it s 3 14 or so"),
        ("Cafe\u0301 — ÄRGER", "café ärger"),
        ("हिन्दी में", "हिन्दी में"),
        ("日本語テキスト ok", "日 本 語 テ キ ス ト ok"),
        ("… !? --- \u200b", ""),
        ("", ""),
    ],
)
def test_normalise(text: str, words: str) -> None:
    assert normalise(text) == words


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_normalise_settles_and_ignores_composition(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(unicodedata.normalize("NFC", text))


def test_content_hash_is_of_words_or_of_symbols_where_there_are_none() -> None:
    def of(text: str) -> bytes:
        return content_hash(text, normalise(text))

    assert of("A b, c.") == of("a B C")
    assert of("a b c") != of("a c b")
    assert of("***  !!") == of("*** !!")
    assert of("***") != of("!!!")


def test_texts_without_words_and_without_text() -> None:
    scored = score(batch_of("?!", None, "", "short text"), Settings())
    assert scored.schema == SIGNATURE_SCHEMA
    assert [value is None for value in scored.column("signature").to_pylist()] == [True, True, True, False]
    assert [value is None for value in scored.column("content_hash").to_pylist()] == [False, True, False, False]
    assert scored.column("quality").to_pylist() == [0.0, 0.0, 0.0, 1.0]
    assert tally(scored) == {"without_signature": 3}
    assert decide(scored, Settings()).column("reason").null_count == 4


def test_a_batch_of_no_rows() -> None:
    assert score(batch_of(), Settings()).schema == SIGNATURE_SCHEMA


def test_repetition_does_not_add_quality() -> None:
    said_once = "the mill grinds the grain that the cart brought in the morning"
    once, often = score(batch_of(said_once, " ".join([said_once] * 9)), Settings()).column("quality").to_pylist()
    assert often < 2.5 * once


@pytest.mark.parametrize("values", [{"bands": 0}, {"rows": -1}, {"shingle_words": 0}, {"seed": -1}])
def test_settings_out_of_range(values: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        build(Settings, values, "settings of minhash_signatures")
