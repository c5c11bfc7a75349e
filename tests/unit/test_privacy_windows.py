"""Windows: what is read from a pattern holds for its matches, and windows lose none of them."""

import re

import pytest
from hypothesis import example, given, settings, strategies

from pipelines.privacy import windows_phone
from pipelines.privacy.pattern_detectors import plan_of
from pipelines.privacy.windows_slab import Slab, Trigger
from pipelines.privacy.windows_traits import traits_of

FLAGS = 8 | 16  # MULTILINE and DOTALL, as Presidio has them
IGNORECASE = 2
PATTERNS = [
    *(r"\b\d{3}-\d{4}\b", r"[a-f]{3,}\d?", r"(?<!\d)\d{2}[ .]?\d{2}(?!\d)", r"(?:ab|b)\s{1,3}\d", r"x(\d)\1{2}"),
    *(r"(?=\d)[0-9a-c]{4}(?<=c)", r"a{2}|\d{2}\.\d", r"(?>ab?)\d", r"\w+@\w+(?:\.\w+)+", r"(?:\d\.){2,4}", r"b[^\d]\d"),
    *(r"^\d{2}$", r"\B1\B", r"(a)?b1", r"[^\0-9]a", r"\S1\S", r"1.2", r"[\u0100-\u017f]\d", r"k\d", r"[a-z]{14}"),
    *(r"a:b|::\d", r"(?i:K)1", r"\d{2}(?:x|(?:y|zz)){0,2}\d", r"a\Z", r"\bsk1[a-c]{2,}\b", r"[ab]{2,}?[ -]1"),
]


@settings(max_examples=150, deadline=None)
@example(pattern=r"[\u0100-\u017f]\d", ignores_case=False, texts=["\u017f0"])
@given(
    strategies.sampled_from(PATTERNS),
    strategies.booleans(),
    strategies.lists(strategies.text("ab c0123.-:@x\nkK\u017f\u212a\u0661\0", max_size=30), min_size=1, max_size=4),
)
def test_windows_lose_no_match(pattern: str, ignores_case: bool, texts: list[str]) -> None:
    import regex

    plan = plan_of(pattern, FLAGS | (IGNORECASE if ignores_case else 0), 0.5)
    slab = Slab(texts)
    expected = [
        (start + match.start(), start + match.end(), match.group())
        for start, text in zip(slab.starts.tolist(), texts, strict=True)
        for match in regex.finditer(pattern, text, plan.expression.flags)
    ]
    assert sorted(plan.pieces(slab)) == sorted(expected)


@pytest.mark.parametrize(
    ("pattern", "trigger"),
    [
        (r"\b\d{3}-\d{2}-\d{4}\b", Trigger("digit", 9)),
        (r"\bghp_[A-Za-z0-9]{36}\b", Trigger("token", 26)),
        (r"\w+@\w+", Trigger("literal", literals=("@",))),
        (r"-----BEGIN KEY-----\s", Trigger("literal", literals=("-----BEGIN KEY-----",))),
        (r"(?:cat|dog)s", Trigger("literal", literals=("cat", "dog"))),
        (r"[^a]\d{9}", None),
        (r"^\d{9}", None),
        (r"\d{9}\s*x", None),
        (r"\p{L}\d{9}", None),
        (r"(?:ab\d{9}){e<2}", None),
    ],
    ids=str,
)
def test_triggers(pattern: str, trigger: Trigger | None) -> None:
    assert plan_of(pattern, FLAGS, 0.5).trigger == trigger


def test_what_holds_for_every_match() -> None:
    traits = traits_of(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?:/\d\d?)?\b", ignores_case=True)
    assert traits
    assert (traits.longest, traits.reach, traits.digits, traits.dots) == (18, 2, 4, 3)
    assert not traits.has_blank
    assert traits.is_joinable
    assert traits_of(r"a{1,2}(", ignores_case=True) is None


def test_the_phone_class_holds_all_that_phonenumbers_matches() -> None:
    from phonenumbers import phonenumbermatcher

    pattern: str = phonenumbermatcher._PATTERN.pattern
    characters = set(re.sub(r"\\d|\\t|\{\d+,\d*\}|\(\?:", "", pattern)) - set("\\{}|?*^$")
    missing = {c for c in characters if not re.match(windows_phone.PHONE_CLASS, c, re.IGNORECASE)}
    assert not missing
    for first, last in re.findall(r"([^\\\]\[])-([^\\\]\[])", pattern):
        between = map(chr, range(ord(first), ord(last) + 1))
        assert all(re.match(windows_phone.PHONE_CLASS, c, re.IGNORECASE) for c in between), (first, last)


def test_an_endless_chunk_is_cut() -> None:
    windows = Slab(["x" * 10_000 + "@" + "y" * 10_000]).chunked(Trigger("literal", literals=("@",)), 1)
    [(first, last)] = windows.cores
    assert last - first < 2_000
    assert windows.text.count("@") == 1
