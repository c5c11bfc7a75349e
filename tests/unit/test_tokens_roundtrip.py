"""Encode, pack, unpack, decode: the text comes back byte for byte, and its tokens are those of the tokenizer."""

import contextlib
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokens_data import doc_id, pack, story, train, write_documents

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.tokens import encoding, pretokenization
from pipelines.tokens.encoding import TextEncoder, is_cuttable, one_thread
from pipelines.tokens.files import verify_manifest
from pipelines.tokens.unpack import document_spans, document_text, document_tokens
from pipelines.tokens.vocabulary import SPECIAL_TOKENS, Encoder, new_tokenizer

PIECES = [
    *SPECIAL_TOKENS,
    *("word", "Word", "don't", "'s", "'", "\u2019t", " ", "  ", "\t", "\n", "\r\n", "\n\n", " \n ", "\x00"),
    *("\x0b", "\x1c", "\x1f", "\x85", "\xa0", "\u2028", "\u3000", "\u200b", "\u200d", "\ufeff", "\ufffd"),
    *("\u0301", "\u0338", "e\u0301", "\ufb01", "\u0130", "\u01c5", "\u4e2d\u6587", "\ud55c\uad6d\uc5b4"),
    *("\u0e44\u0e17\u0e22", "\u05e2\u05d1\u05e8\u05d9\u05ea", "\u202e", "\U0001f468\u200d\U0001f469"),
    *("\U0001f1e9\U0001f1ea", "\U0010ffff", "\xb2", "\xbd", "\u0663", "1", "12345", "3.14", "a1", "1a", "_"),
    *("-", "--", "/", "//", "\n/", "!\n/x", ".", "...", "(", ")", "<|", "|>", "<|endoftext", "{%", "\\", "aA"),
    *("AAa", "camelCase", "\u017f", "\xff", "\u0100", "\u024f", "\u0416", "\xdf"),
]
nasty = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.text(alphabet=" \n\r\t.'aA1/\x1c\u3000é中", max_size=60),
    st.tuples(st.sampled_from(PIECES), st.integers(1, 400)).map(lambda pair: pair[0] * pair[1]),
)


def encoder_of(texts: list[str], **made: Any) -> tuple[Encoder, dict[str, Any]]:
    """A tokenizer that has learned merges from `texts`, across all kinds of characters."""
    import json

    from tokenizers import pre_tokenizers, trainers

    tokenizer: Any = new_tokenizer(**made)
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        min_frequency=1,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return Encoder(tokenizer), json.loads(tokenizer.to_str())


LEARNED = [story(i) for i in range(30)] + [
    a + b + c for a in PIECES for b in (" ", "a", ".", "\n") for c in PIECES[::5]
]


@pytest.mark.parametrize("digits", [1, 3])
@pytest.mark.parametrize("pattern", ["cl100k", "o200k"])
def test_chunks_have_the_tokens_of_the_whole_text(pattern: str, digits: int) -> None:
    encoder, definition = encoder_of(LEARNED, pattern=pattern, digits=digits)
    assert is_cuttable(definition)
    chunked = TextEncoder(encoder, definition)
    tokenizer: Any = encoder._tokenizer

    @settings(max_examples=300, deadline=None)
    @given(st.lists(nasty, max_size=4))
    def check(texts: list[str]) -> None:
        whole = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        assert [ids.tolist() for ids in chunked.encode(texts)] == whole
        assert [encoder.decode(ids) for ids in chunked.encode(texts)] == texts

    check()


def test_every_split_of_the_vocabulary_is_known_to_be_cuttable() -> None:
    _, definition = encoder_of(["a b"])
    assert is_cuttable(definition)
    for change in (
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"model": definition["model"] | {"dropout": 0.1}},
        {"added_tokens": [*definition["added_tokens"], {"content": "a b", "special": False}]},
    ):
        assert not is_cuttable(definition | change)
    split, level = definition["pre_tokenizer"]["pretokenizers"]
    for steps in (
        [level],
        [split],
        [split | {"pattern": {"Regex": ".+"}}, level],
        [split, level | {"use_regex": True}],
    ):
        assert not is_cuttable(definition | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}})


def test_another_split_goes_through_whole() -> None:
    encoder, definition = encoder_of(LEARNED)
    other = TextEncoder(encoder, definition | {"normalizer": {"type": "NFC"}})
    texts = ["one two", "", "three\nfour"]
    assert [i.tolist() for i in other.encode(texts)] == [
        i.tolist() for i in TextEncoder(encoder, definition).encode(texts)
    ]


def test_a_full_table_and_long_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, definition = encoder_of(LEARNED)
    texts = [story(i, 200) * 3 + "x" * 50 for i in range(20)]
    expected = [ids.tolist() for ids in TextEncoder(encoder, definition).encode(texts)]
    monkeypatch.setattr(encoding, "_TABLE_CHUNKS", 5)
    monkeypatch.setattr(encoding, "_GROUP_CHARACTERS", 100)
    monkeypatch.setattr(pretokenization.split_safely, "__defaults__", (64,))
    small = TextEncoder(encoder, definition)
    assert [ids.tolist() for ids in small.encode(texts)] == expected
    assert [ids.tolist() for ids in small.encode(texts[::-1])] == expected[::-1]


def test_a_text_without_any_place_to_cut_still_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, definition = encoder_of(LEARNED)
    monkeypatch.setattr(pretokenization.split_safely, "__defaults__", (64,))
    texts = ["a" * 1000, "中" * 999, "\n" * 777, " " * 300, "\U0001f468\u200d" * 400]
    assert [encoder.decode(ids) for ids in TextEncoder(encoder, definition).encode(texts)] == texts


def test_one_thread_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    with contextlib.suppress(KeyError), one_thread():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
        raise KeyError
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    with one_thread():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_every_text_comes_out_of_its_shards(layout: Layout, packing: str) -> None:
    write_documents(layout, "seed", "00000", [LEARNED])
    train(layout, vocabulary_size=500)

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.lists(nasty, max_size=8), min_size=1, max_size=3),
        st.sampled_from([0.0005, 1.0]),
        st.sampled_from([2, 5, 64]),
    )
    def check(parts: list[list[str]], shard_mb: float, sequence_length: int) -> None:
        partition = write_documents(layout, "c", "00000", parts)
        pack(
            layout,
            partition,
            packing=packing,
            shard_mb=shard_mb,
            window_mb=0.002,
            sequence_length=sequence_length,
            heldout_fraction=0.3,
        )
        texts = [text for part in parts for text in part]
        assert [document_text(layout, partition, doc_id("c00000", i)) for i in range(len(texts))] == texts
        assert verify_manifest(layout, partition, is_deep=True) == []

    check()


def test_what_is_not_there_is_said(layout: Layout) -> None:
    partition = write_documents(layout, "c", "00000", [[story(i) for i in range(20)]])
    with pytest.raises(MissingDataError, match=r"token_shards c\|00000 is not materialized"):
        document_spans(layout, partition, "x")
    train(layout)
    pack(layout, partition)
    assert document_spans(layout, partition, "x") == []
    with pytest.raises(MissingDataError, match="gristmill explain x"):
        document_tokens(layout, partition, "x")
    spans = document_spans(layout, partition, doc_id("c00000", 3))
    assert [s.doc_offset for s in spans] == np.cumsum([0, *(s.length for s in spans[:-1])]).tolist()
    folder = layout.partition_dir("token_shards", partition)
    for name in (spans[0].shard, spans[0].shard.replace("shard", "spans").replace("arrow", "parquet")):
        with open(f"{folder}/{name}", "r+b") as file:  # noqa: PTH123
            file.truncate(50)
        with pytest.raises(MissingDataError, match="can't be read"):
            document_tokens(layout, partition, doc_id("c00000", 3))


def test_no_segment_is_no_partition(layout: Layout) -> None:
    with pytest.raises(MissingDataError, match="run `gristmill run c"):
        document_tokens(layout, Partition("c", "00007"), "x")
