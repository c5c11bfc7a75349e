"""What a tokenizer is trained on: weights of corpora, hostile documents, and texts that must come back."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokens_data import SilentReporter, story, train, write_documents

from gristmill.core.layout import Layout
from gristmill.core.settings import build
from pipelines.tokens import tokenizer
from pipelines.tokens.mixture_file import parse_corpora
from pipelines.tokens.sample_weights import asked_weights, quotas, shortfalls
from pipelines.tokens.vocabulary import SPECIAL_TOKENS, Encoder


def test_a_sample_is_divided_by_weights_and_else_by_text() -> None:
    assert {c: q.share for c, q in quotas(100, {"a": 300, "b": 100}, {}).items()} == {"a": 0.25, "b": 0.25}
    asked = quotas(100, {"a": 300, "b": 100, "c": 7}, {"a": 1, "b": 3})
    assert {c: (q.asked, q.share) for c, q in asked.items()} == {"a": (25, 25 / 300), "b": (75, 0.75), "c": (0, 0)}
    assert shortfalls(asked) == []


def test_too_little_text_for_a_weight_is_said_with_the_sample_that_would_do() -> None:
    (line,) = shortfalls(quotas(100e6, {"books": 30_000_000, "web": 10**9}, {"books": 3, "web": 1}))
    assert line == (
        "books has 30 MB of text, its weight asks for 75: all of it is taken, 54.5% of the sample instead of 75.0%; "
        "a sample_mb of 40 would keep the weights"
    )
    assert "take it out" in shortfalls(quotas(1e6, {"empty": 0, "web": 10**9}, {"empty": 3, "web": 1}))[0]


@pytest.mark.parametrize(
    ("corpora", "expected"),
    [
        ({}, {"a": 0.75, "b": 0.25}),
        ({"a": 1, "b": 3}, {"a": 0.5, "b": 0.5}),
        ({"a": {"proportion": 0.9}, "b": {}}, {"a": 0.9, "b": 0.1}),
        ({"a": {"proportion": 0.9}}, {"a": 0.9}),
        ({"a": 0, "*": 2}, {"b": 1.0}),
        ({"a": {"buckets": {"x": {"proportion": 0.2}, "y": {"proportion": 0.2}}}, "*": {}}, {"a": 0.4, "b": 0.6}),
    ],
)
def test_weights_that_a_mixture_asks_for(corpora: dict[str, Any], expected: dict[str, float]) -> None:
    assert asked_weights(parse_corpora(corpora), {"a": 300, "b": 100}) == pytest.approx(expected)


def test_corpora_give_what_their_weights_ask(layout: Layout) -> None:
    for corpus in ("a", "b", "c"):
        write_documents(layout, corpus, "00000", [[story(i) for i in range(400)]])
    given = {"vocabulary_size": 320, "sample_mb": 0.1, "compare_with": []}
    settings_of = {"corpora": {"a": 3, "b": 1}}
    found = tokenizer.run(layout, build(tokenizer.Settings, given | settings_of, "settings"), SilentReporter())
    assert {c: v["bytes_asked"] for c, v in found["sample"]["corpora"].items()} == {"a": 75_000, "b": 25_000}
    assert 0.6 < found["sample"]["corpora"]["a"]["proportion"] < 0.9
    # the same from the settings of the mixture
    Path(layout.root, "settings.yaml").write_text(
        "training_mixture: {corpora: {a: {proportion: 0.75}, b: {proportion: 0.25}}}\n"
    )
    asked = build(tokenizer.Settings, given | {"weights_from_mixture": True}, "settings")
    again = tokenizer.run(layout, asked, SilentReporter())
    assert again["version"] == found["version"] and again["weights"] == {"a": 0.75, "b": 0.25}
    # other wishes are another tokenizer
    Path(layout.root, "settings.yaml").write_text("training_mixture: {corpora: {c: {}}}\n")
    other = tokenizer.run(layout, asked, SilentReporter())
    assert other["fingerprint"] != again["fingerprint"]
    assert other["sample"]["corpora"]["a"]["documents"] == 0 < other["sample"]["corpora"]["c"]["documents"]


def test_a_corpus_of_three_documents_is_enough_and_said_to_be_short(layout: Layout) -> None:
    write_documents(layout, "few", "00000", [[story(i) for i in range(3)]])
    write_documents(layout, "many", "00000", [[story(i) for i in range(300)]])
    reporter = SilentReporter()
    asked = tokenizer.Settings(vocabulary_size=320, sample_mb=0.05, compare_with=(), corpora={"few": 1, "many": 1})
    report = tokenizer.run(layout, asked, reporter)
    assert report["sample"]["corpora"]["few"]["documents"] == 3
    assert report["warnings"] == reporter.warnings and "few has 0.00" in reporter.warnings[0]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"corpora": {"a": 0}}, "corpora: a has weight 0"),
        ({"corpora": {"a": 1}, "weights_from_mixture": True}, "give one of the two"),
        ({"digits": 4}, "digits is 4"),
        ({"pattern": "gpt2"}, "choose one of cl100k, o200k"),
        ({"reserved_tokens": -1}, "reserved_tokens is -1"),
        ({"heldout_fraction": 1}, "heldout_fraction is 1"),
        ({"vocabulary_size": 300, "reserved_tokens": 100}, "give at least 362"),
    ],
)
def test_wrong_settings_are_one_line(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(Exception, match=line) as caught:
        build(tokenizer.Settings, wrong, "settings of tokenizer")
    assert "\n" not in str(caught.value)


def test_hostile_documents_do_not_make_the_vocabulary(layout: Layout) -> None:
    hostile = ["q" * 2_000_000, " " * 2_000_000, "\0" * 500_000, "<|endoftext|><|user|>" * 5000, "=" * 500_000 + "\n"]
    write_documents(layout, "c", "00000", [[story(i) for i in range(300)] + hostile])
    report = train(layout, vocabulary_size=1000, document_mb=0.5)
    assert report["sample"]["bytes"] < 300 * 500 + 5 * 500_000
    from tokenizers import Tokenizer

    path = Path(layout.tokenizer_dir(report["version"]), "tokenizer.json")
    vocabulary = Tokenizer.from_file(str(path)).get_vocab()
    assert max(map(len, vocabulary)) <= 128
    assert {t for t in vocabulary if re.search(r"<\|\w", t)} == set(SPECIAL_TOKENS)
    encoder = Encoder.load(layout, report["version"])
    for text, ids in zip(hostile, encoder.encode(hostile), strict=True):
        assert encoder.decode(ids) == text and min(ids) >= len(SPECIAL_TOKENS)


def test_half_a_character_can_not_come_from_a_document_and_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        pa.array(["\ud800"])
    from pipelines.tokens.vocabulary import new_tokenizer

    with pytest.raises(TypeError):
        Encoder(new_tokenizer()).encode(["a\ud800b"])


ADVERSARIAL = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(
            ["\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "e\u0301\u0323", "\u202e"]
        ),
        st.sampled_from(
            ["\r\n", "\n\r", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\ufeff", "\0", "\x7f", "\uffff"]
        ),
        st.sampled_from([*SPECIAL_TOKENS, "<|reserved_0|>", "<|", "|>", "'s", "'S", "Ġ", "Ċ", "Ã©"]),
        st.builds(
            lambda c, n: c * n, st.sampled_from(["a", " ", "\n", "=", "中", "\u0301", "9"]), st.integers(0, 2000)
        ),
    ),
    max_size=12,
).map("".join)
_ENCODERS: list[Encoder] = []


@pytest.fixture(autouse=True, scope="module")
def _encoders(tmp_path_factory: pytest.TempPathFactory) -> None:
    layout = Layout(tmp_path_factory.mktemp("tokenizers"))
    write_documents(layout, "c", "00000", [[story(i) for i in range(100)]])
    for pattern in ("cl100k", "o200k"):
        version = train(layout, vocabulary_size=500, pattern=pattern, reserved_tokens=4)["version"]
        _ENCODERS.append(Encoder.load(layout, version))


@settings(max_examples=150, deadline=None)
@given(ADVERSARIAL, st.integers(0, 1))
def test_adversarial_text_comes_back_byte_for_byte(text: str, which: int) -> None:
    encoder = _ENCODERS[which]
    (ids,) = encoder.encode([text])
    assert encoder.decode(ids).encode() == text.encode()
    assert all(i >= 10 for i in ids)
