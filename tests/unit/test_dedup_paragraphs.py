"""What a paragraph is, and a text without some of them."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dedup.paragraphs import hashes_of, normalised, paragraphs, without

LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["", " ", "The end.", "the END", "***", "Price: 10", "Price: 99", "Ünder", "under", "\t", "\r"]
        ),
        st.text(max_size=12),
    ),
    max_size=12,
)
TEXTS = LINES.map("\n".join)


def said(text: str) -> list[int]:
    return paragraphs(text).hashes.tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The END.", "the end"),
        ("Page 1 of 20", "page 3 of 45"),
        ("“Café”, he said…", "cafe he said"),
        ("a  \t b", "a b"),
        ("Цена: 5 ₽", "цена 7 ₽"),
        ("soft\u00adhyphen", "softhyphen"),
        ("٣ x", "4 x"),
    ],
    ids=["case", "digits", "punctuation", "white space", "Cyrillic", "invisible", "other digits"],
)
def test_what_counts_as_the_same(one: str, other: str) -> None:
    assert said(one) == said(other)
    assert len(said(one)) == 1


@pytest.mark.parametrize(("one", "other"), [("ab", "a b"), ("कि", "क"), ("C 10", "C 100"), ("a+b", "ab")])
def test_what_does_not(one: str, other: str) -> None:
    assert said(one) != said(other)


def test_the_hash_is_the_first_eight_bytes_of_sha1() -> None:
    expected = int.from_bytes(hashlib.sha1(b"the end").digest()[:8], "little", signed=True)
    assert said("The end!") == [expected]


def test_blank_lines_and_rules_are_no_paragraphs() -> None:
    found = paragraphs("one\n\n-----\n=====\n \ntwo\n")
    assert found.lines.tolist() == [0, 5]


def test_short_paragraphs_are_left_alone_by_their_normalised_length() -> None:
    assert paragraphs("}\nReturn.\n  a longer line  ", 7).lines.tolist() == [2]
    assert paragraphs("a longer line", 13).lines.tolist() == [0]
    assert paragraphs("a longer line!!!", 14).lines.tolist() == []


@pytest.mark.parametrize(
    ("text", "lines", "left"),
    [
        ("a\n\nb\n\nc", [2], "a\n\nc"),
        ("a\nb\nc\n", [1], "a\nc\n"),
        ("a\n\nb", [2], "a"),
        ("a\n\nb\n", [2], "a\n"),
        ("a\n\n\nb\n\nc", [0], "b\n\nc"),
        ("\n\na\nb", [2], "\n\nb"),
        ("a\n", [0], ""),
        ("a", [], "a"),
        ("a\r\n\r\nb\r\n", [0], "b\r\n"),
    ],
)
def test_the_blank_lines_after_a_paragraph_go_with_it(text: str, lines: list[int], left: str) -> None:
    assert without(text, lines) == left


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_nothing_removed_leaves_every_byte(text: str) -> None:
    assert without(text, []) == text


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.randoms(use_true_random=False))
def test_what_is_removed_is_gone_and_nothing_else(text: str, order) -> None:
    before = paragraphs(text)
    gone = {value for value in before.hashes.tolist() if order.random() < 0.5}
    lines = [n for n, value in zip(before.lines.tolist(), before.hashes.tolist(), strict=True) if value in gone]
    left = without(text, lines)
    assert said(left) == [value for value in before.hashes.tolist() if value not in gone]
    assert without(left, []) == left
    kept = [line for line in text.split("\n") if line.strip()]
    assert all(line in kept for line in left.split("\n") if line.strip())
    assert hashes_of(text, lines) == dict(zip(lines, [v for v in before.hashes.tolist() if v in gone], strict=True))


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_a_line_says_the_same_in_any_text(texts: list[str]) -> None:
    # A text of ASCII takes a shorter way, and neighbours must not change what a line says.
    whole = "\n".join([*texts, "é"])
    assert len(normalised(whole).split("\n")) == whole.count("\n") + 1
    assert said(whole)[:-1] == [value for text in texts for value in said(text)]


def test_a_line_that_is_not_there_has_no_hash() -> None:
    assert hashes_of("a", [0, 7, -1]) == {0: said("a")[0]}
