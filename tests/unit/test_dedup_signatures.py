"""Signatures of every scheme, and what counts as the same text."""

import itertools
import unicodedata
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from gristmill.core.settings import build, to_plain
from pipelines.dedup.code_points import BLOCK_BYTES, blocks
from pipelines.dedup.normalise import content_hash, normalise, normalised_words
from pipelines.dedup.schemes import SCHEMES, parameters
from pipelines.dedup.signatures import Settings, decide, score, tally
from pipelines.schema import DOCUMENT_SCHEMA, SIGNATURE_SCHEMA

VOCABULARY = ["a", "bee", "sea", "de", "ünï", "中", "zeta", "eta", "7", "theta"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join)
# What lower case, composition and marks make hard, amid plain letters.
HARD = (
    "abC ΣσςΟ İıi\u0307 e\u0301\u0323 中の゙゚ กั่ ລາວ កម្ម မြန် क़ 가\u1161\u11a8ᄀ "
    "\u0344\u212b \U0001d165𐐀 \n\t\x85\u200b\u2028-.,1２٣"
)
TEXTS = st.text(st.one_of(st.sampled_from(HARD), st.characters(exclude_categories=["Cs"])), max_size=60)


def batch_of(*texts: str | None, **columns: list[float | None]) -> pa.RecordBatch:
    rows = [{"doc_id": f"{index:032x}", "text": text} for index, text in enumerate(texts)]
    batch = pa.RecordBatch.from_pylist(rows, schema=DOCUMENT_SCHEMA)
    for name, values in columns.items():
        batch = batch.append_column(name, pa.array(values))
    return batch


Kind = Literal["affine32", "legacy"]


def by_datasketch(text: str, kind: Kind, shingle_words: int = 5, count: int = 112) -> bytes | None:
    words = normalise(text).split()
    if not words:
        return None
    run = min(shingle_words, len(words))
    sketch = MinHash(num_perm=count, seed=1, scheme=kind)
    sketch.update_batch([" ".join(words[i : i + run]).encode() for i in range(len(words) - run + 1)])
    return sketch.hashvalues.astype("<u4").tobytes()


@pytest.mark.parametrize(("scheme", "kind"), [("datasketch", "affine32"), ("datasketch_legacy", "legacy")])
@settings(max_examples=20, deadline=None)
@given(texts=st.lists(WORDS, max_size=6))
def test_signatures_equal_datasketchs(scheme: str, kind: Kind, texts: list[str]) -> None:
    found = score(batch_of(*texts), build(Settings, {"scheme": scheme}, "")).column("signature").to_pylist()
    assert found == [by_datasketch(text, kind) for text in texts]


def test_datasketch_with_other_shingles_and_bands() -> None:
    long = " ".join(f"w{index}" for index in range(3_000))
    chosen = Settings("datasketch", shingle_words=3, bands=4, rows=5)
    found = score(batch_of(long, "one two three four", long), chosen).column("signature").to_pylist()
    assert found == [by_datasketch(text, "affine32", 3, 20) for text in (long, "one two three four", long)]


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_a_signature_does_not_depend_on_the_batch_it_came_in(scheme: str) -> None:
    texts = [f"words number {i} are here, 中文 and Ünï 3.{i}, to be hashed: " + "again " * (i % 7) for i in range(30)]
    long = " ".join(f"word{index % 5000}" for index in range(BLOCK_BYTES // 6))
    chosen = build(Settings, {"scheme": scheme}, "")
    together = score(batch_of(*texts, None, "", long, "end of it, is it not so?"), chosen)
    for index, text in enumerate([*texts, None, "", long, "end of it, is it not so?"]):
        alone = score(batch_of(text), chosen)
        for name in ("signature", "content_hash", "quality"):
            assert together.column(name)[index] == alone.column(name)[0], (index, name)
    sizes = {len(value) for value in together.column("signature").to_pylist() if value is not None}
    assert sizes == {parameters(chosen).signature_bytes}


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_equal_values_estimate_the_share_of_common_shingles(scheme: str) -> None:
    every = ["".join(letters) for letters in itertools.product("bcdfghj", repeat=4)]
    one, other = every[:1_000], every[:800] + every[1_500:1_700]
    chosen = build(Settings, {"scheme": scheme, "bands": 100, "rows": 10}, "")
    kind = f"<u{parameters(chosen).value_bytes}"
    left, right = (np.frombuffer(value, kind) for value in score(
        batch_of(" ".join(one), " ".join(other)), chosen).column("signature").to_pylist())  # fmt: skip
    assert np.mean(left == right) == pytest.approx(800 / 1200, abs=0.06)


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
@given(TEXTS)
def test_normalise_settles_and_ignores_composition(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(unicodedata.normalize("NFC", text))


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=8), st.sampled_from([20, BLOCK_BYTES]))
def test_many_texts_are_normalised_as_one_is(texts: list[str], block_bytes: int) -> None:
    found = [
        text
        for block in blocks(pa.array(texts, pa.large_string()), block_bytes)
        for text in normalised_words(block).joined()
    ]
    assert found == [normalise(text) for text in texts]


def test_content_hash_is_of_words_or_of_symbols_where_there_are_none() -> None:
    def of(text: str) -> bytes:
        return content_hash(text, normalise(text))

    texts = [
        "A b, c.",
        "a B C",
        "a c b",
        "***  !!",
        "*** !!",
        "***",
        "!!!",
        "\ud800 x".encode("utf-8", "replace").decode(),
    ]
    assert of("A b, c.") == of("a B C")
    assert of("a b c") != of("a c b")
    assert of("***  !!") == of("*** !!")
    assert of("***") != of("!!!")
    assert score(batch_of(*texts), Settings()).column("content_hash").to_pylist() == [of(text) for text in texts]


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


def test_a_slice_of_a_batch() -> None:
    whole = batch_of("first of all", None, "Ünï and 中文", "the last of them")
    scored = score(whole, Settings())
    assert score(whole.slice(1, 2), Settings()).equals(scored.slice(1, 2))


def test_repetition_does_not_add_quality() -> None:
    said_once = "the mill grinds the grain that the cart brought in the morning"
    once, often = score(batch_of(said_once, " ".join([said_once] * 9)), Settings()).column("quality").to_pylist()
    assert once == 8
    assert often < 2.5 * once


def test_a_column_can_be_the_quality() -> None:
    chosen = Settings(quality="educational_value")
    scored = score(batch_of("one text", "two texts", educational_value=[2.5, None]), chosen)
    assert scored.column("quality").to_pylist() == [2.5, None]
    with pytest.raises(SettingsError, match="quality names 'educational_value', which the documents don't have"):
        score(batch_of("one text"), chosen)
    with pytest.raises(SettingsError, match="quality names 'url', which holds string"):
        score(batch_of("one text"), Settings(quality="url"))


@pytest.mark.parametrize(
    "values", [{"bands": 0}, {"rows": -1}, {"shingle_words": 0}, {"seed": -1}, {"scheme": "other"}, {"quality": ""}]
)
def test_settings_out_of_range(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        build(Settings, values, "settings of minhash_signatures")


def test_parameters_of_settings_of_reports_and_of_reports_before_there_were_schemes() -> None:
    chosen = Settings("refinedweb", bands=20)
    assert parameters(chosen) == parameters(to_plain(chosen))
    assert (parameters(chosen).bands, parameters(chosen).rows) == (20, 20)
    assert parameters(Settings()) == SCHEMES["gristmill"]
    assert parameters({"shingle_words": 5, "bands": 14, "rows": 8, "seed": 1}) == SCHEMES["gristmill"]
    assert SCHEMES["gristmill"].threshold == pytest.approx(0.719, abs=0.001)
    assert SCHEMES["gristmill"].probability(0.8) == pytest.approx(0.924, abs=0.001)
