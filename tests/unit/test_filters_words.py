"""Words: spaCy's tokens, remembered per chunk."""

from typing import Any

import pytest
import spacy
from hypothesis import given, settings, strategies

from pipelines.filters import gopher_repetition
from pipelines.filters.words import HASH_BASE, WordTable, token_hash, word_table, words

TEXTS = [
    "Don't can't won't cannot, gonna; it's the dog's (really!) e.g. U.S. a.m. Mr. O'Neil's 10km $5.50 US$7",
    "see https://example.com/a_b?c=d#e, mail joe@example.com or 1,000.50 - 3-4% well-known and/or x=y",
    "\u201cquoted\u201d \u2018single\u2019 ... \u2026 \u4f60\u597d\u3002 caf\u00e9! \u00bfqu\u00e9?",
    ":) <3 C++ 22): (==) %''.join(g",
    "a\x1cb\u00a0c\u2003d \t\n\n e",
    "",
]


@pytest.fixture(scope="module")
def english() -> Any:
    return spacy.blank("en")


def expected(english: Any, text: str) -> list[str]:
    return [token.text for chunk in text.split() for token in english.tokenizer(chunk)]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_spacys(english: Any, text: str) -> None:
    assert words(text) == expected(english, text)
    analysed = word_table().analyse(text)
    assert analysed.lengths.tolist() == list(map(len, words(text)))
    assert analysed.joined == "".join(words(text))


@settings(max_examples=60, deadline=None)
@given(strategies.text(max_size=60))
def test_any_text_has_spacys_tokens(text: str) -> None:
    assert words(text) == expected(word_table()._nlp, text)


def test_what_is_remembered_changes_nothing() -> None:
    small = WordTable(cache_chunks=2)
    for text in TEXTS * 2:
        assert small.words(text) == word_table().words(text)


def test_endless_chunks_end() -> None:
    assert len(words(")" * 20_000)) == 20_000
    assert "".join(words("ab" * 5_000)) == "ab" * 5_000


@given(strategies.text(max_size=20), strategies.text(max_size=20))
def test_hashes_compose(first: str, second: str) -> None:
    composed = token_hash(first) * pow(HASH_BASE, len(second), 1 << 64) + token_hash(second)
    assert token_hash(first + second) == composed % (1 << 64)


def plain_duplicate_characters(tokens: list[str], n: int) -> int:
    """The walk as the reference describes it, word by word."""
    seen: set[str] = set()
    characters = position = 0
    while position + n <= len(tokens):
        ngram = "".join(tokens[position : position + n])
        if ngram in seen:
            characters += len(ngram)
            position += n
        else:
            seen.add(ngram)
            position += 1
    return characters


@settings(max_examples=150, deadline=None)
@given(strategies.lists(strategies.sampled_from(["a", "b", "ab", "ba", "c", "d"]), max_size=60))
def test_ngrams_like_the_plain_walk(tokens: list[str]) -> None:
    analysed = word_table().analyse(" ".join(tokens))
    own = words(" ".join(tokens))
    sizes = gopher_repetition.DUPLICATE_N
    assert gopher_repetition.duplicate_ngram_characters(analysed, sizes) == {
        n: plain_duplicate_characters(own, n) for n in sizes
    }
    for n in gopher_repetition.TOP_N:
        ngrams = [" ".join(own[i : i + n]) for i in range(len(own) - n + 1)]
        top = max(ngrams, key=ngrams.count, default=None)
        plain = None if top is None else len(top) * ngrams.count(top)
        assert gopher_repetition.top_ngram_characters(analysed, n) == plain
