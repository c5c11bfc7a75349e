"""Bytes are counted from tokens as the text has them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from training.bits_per_byte import bits_per_byte, bytes_of_tokens, labelled_bytes, perplexity


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the quick brown fox", "naïve café 東京 the the"] * 5, trainer)
    return tokenizer


@settings(deadline=None, max_examples=80)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_text_has_the_bytes_of_its_tokens(byte_level: Tokenizer, text: str) -> None:
    counts = bytes_of_tokens(byte_level)
    assert counts[byte_level.encode(text).ids].sum() == len(
        text.replace("<|endoftext|>", "").replace("<|pad|>", "").encode()
    )


def test_special_tokens_have_none(byte_level: Tokenizer) -> None:
    assert list(bytes_of_tokens(byte_level)[:2]) == [0, 0]


def test_pieces_of_sentencepiece() -> None:
    vocabulary = {"<unk>": 0, "▁the": 1, "<0x0A>": 2, "é": 3, "▁": 4, "東京": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.add_special_tokens(["<unk>"])
    assert list(bytes_of_tokens(tokenizer)) == [0, 4, 1, 2, 1, 6]


def test_only_what_the_loss_sums_counts() -> None:
    counts = np.array([0, 3, 5], dtype=np.int64)
    labels = np.array([[1, 2, 0, -100], [2, 1, 1, 2]], dtype=np.int64)
    assert labelled_bytes(labels, counts) == 5 + 0 + 3 + 3 + 5


def test_a_uniform_guess_among_bytes_costs_eight_bits() -> None:
    assert bits_per_byte(100 * math.log(256), 100) == pytest.approx(8)
    assert bits_per_byte(1.0, 0) is None
    assert perplexity(math.log(256)) == pytest.approx(256)
    assert perplexity(1e6) is None
