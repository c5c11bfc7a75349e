"""C4's rules: like a plain rewrite that asks line by line, for any text; and what `edit` leaves."""

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pytest
import spacy
from hypothesis import given, settings, strategies

from pipelines.filters import quality
from pipelines.filters.quality import Settings

GOOD = replace(Settings(), families=("c4",))
PUNCTUATED = replace(GOOD, is_requiring_terminal_punctuation=True)
LINES = [
    "A line with enough words. And another one.",
    "Somebody said [1] that it was so.[12] Nobody [citation needed] asked [edit] why.",
    "two words",
    "no end to this line",
    "It ends in dots...",
    "Enable JavaScript to read this.",
    "java[1]script is here.",
    "We value it: read our privacy [edit]policy today.",
    "THIS SITE USES COOKIES to follow you.",
    "Lorem ipsum dolor sit amet.",
    "a { b } c",
    "our cookie policy { is long",
    "lorem ipsum and javascript here",
    "w" * 1001 + " is too long.",
    "[1] [2] [3]",
    "[1] Well.  [2] Then.  ) ! [3]",
    "  odd \t spacing.  ) here.\u00a0Now  ! so.\u3000)",
    '"Quoted," he said. "Yes."',
    "",
    "   ",
    "U.S. and e.g. this. And :) that.",
    "\u4f60\u597d \u3002 \u4e16 \u754c",
    "\u212aelvin says use coo\u212aies daily",
    "What? Really! No. Yes? Ok.",
]


@lru_cache(maxsize=1)
def english() -> Any:
    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    return pipeline


def plain(text: str, is_punctuated: bool) -> tuple[str | None, str]:
    """Reason and text by the reference's description, line after line."""
    sentences = 0
    kept: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        words = line.split()
        if any(len(word) > 1000 for word in words):
            continue
        line = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        if is_punctuated and (line.endswith("...") or not line.endswith((".", "?", "!", '"', "'"))):
            continue
        if len(words) < 3:
            continue
        if "lorem ipsum" in line.lower():
            return "c4.lorem_ipsum", text
        if "javascript" in line.lower():
            continue
        if "{" in line:
            return "c4.curly_bracket", text
        if any(phrase in line.lower() for phrase in GOOD.policy_phrases):
            continue
        sentences += sum(1 for _ in english()(line).sents) or 1
        kept.append(line)
    if sentences < 5:
        return "c4.too_few_sentences", text
    return None, "\n".join(kept).strip()


def batch_of(*texts: str | None) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.large_string())})


def ours(text: str, given_settings: Settings) -> tuple[str | None, str]:
    scored = quality.score(batch_of(text), given_settings)
    reason = quality.decide(scored, given_settings).column("reason").to_pylist()[0]
    edited = quality.edit(scored, given_settings).column("text").to_pylist()[0]
    without_scratch = scored.select([n for n in scored.schema.names if not n.startswith("_")])
    assert quality.edit(without_scratch, given_settings).column("text").to_pylist()[0] == edited
    return reason, text if reason else edited


@settings(max_examples=300, deadline=None)
@given(
    strategies.lists(strategies.one_of(strategies.sampled_from(LINES), strategies.text(max_size=30)), max_size=10),
    strategies.sampled_from(["\n", "\n\n", "\r\n", "\u2028", " \n ", "\x1c"]),
    strategies.booleans(),
)
def test_any_text_as_the_plain_rewrite_has_it(lines: list[str], ending: str, is_punctuated: bool) -> None:
    text = ending.join(lines)
    assert ours(text, PUNCTUATED if is_punctuated else GOOD) == plain(text, is_punctuated)


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_each_line_between_sentences(line: str) -> None:
    around = "One is here. Two is here. Three is here. Four is here. Five is here."
    for text in (f"{around}\n{line}\n{around}", f"{line}\n{line}", f"{line}\na {{ b }} c\nlorem ipsum amet\n{around}"):
        assert ours(text, GOOD) == plain(text, False)
        assert ours(text, PUNCTUATED) == plain(text, True)


def test_each_dropped_line_is_counted_by_its_first_rule() -> None:
    text = "\n".join(LINES)
    row = quality.score(batch_of(text), PUNCTUATED).to_pylist()[0]
    drops = {
        name: row[f"c4_{name}_lines"] for name in ("long_word", "unpunctuated", "few_word", "javascript", "policy")
    }
    assert drops == {"long_word": 1, "unpunctuated": 13, "few_word": 0, "javascript": 2, "policy": 2}
    assert row["c4_lines"] == len(LINES) == row["c4_kept_lines"] + sum(drops.values())
    assert row["c4_edited_lines"] == 1


def test_limits_of_the_document_rules_are_decided_again() -> None:
    text = "Lorem ipsum dolor sit amet.\n" * 2 + "a { b } c\n" + "Well, it is so. " * 6
    scored = quality.score(batch_of(text), GOOD)
    columns = scored.select([name for name in scored.schema.names if name.startswith("c4_")])
    for changed, reason in (
        ({}, "c4.lorem_ipsum"),
        ({"max_lorem_ipsum_lines": 2}, "c4.curly_bracket"),
        ({"max_lorem_ipsum_lines": 2, "max_curly_bracket_lines": 1}, None),
        ({"max_lorem_ipsum_lines": 2, "max_curly_bracket_lines": 1, "min_sentences": 50}, "c4.too_few_sentences"),
    ):
        alone = pa.record_batch(
            {name: columns[name] if name in columns.schema.names else pa.nulls(1, type_) for name, type_ in _types()}
        )
        assert quality.decide(alone, replace(GOOD, **changed)).column("reason").to_pylist() == [reason]


def _types() -> list[tuple[str, pa.DataType]]:
    return list(quality.COLUMNS.items())


def test_text_stays_where_c4_does_not_decide_or_may_not_edit() -> None:
    text = "Kept as it is.\ntwo words\n"
    for given_settings in (replace(GOOD, families=("fineweb",)), replace(GOOD, is_editing_lines=False)):
        assert quality.edit(quality.score(batch_of(text), given_settings), given_settings)["text"].to_pylist() == [text]
    assert quality.edit(quality.score(batch_of(text, None), GOOD), GOOD)["text"].to_pylist() == ["Kept as it is.", None]


def test_fineweb_is_judged_on_the_text_that_is_kept() -> None:
    text = "\n".join(["A full line that ends a sentence well.", *["menu"] * 9])
    scored = quality.score(batch_of(text), GOOD)
    signals = scored.to_pylist()[0]
    assert (signals["fineweb_edited_lines"], signals["fineweb_lines"]) == (1, 10)
    assert (signals["fineweb_edited_line_breaks"], signals["fineweb_punctuated_lines"]) == (0.0, pytest.approx(0.1))
    assert signals["text"] == text
    failed = {
        families: quality.decide(scored, replace(GOOD, families=families)).column("failed_rules").to_pylist()[0]
        for families in (("c4", "fineweb"), ("fineweb",))
    }
    assert "fineweb.short_lines" in failed["fineweb",]
    assert "fineweb.short_lines" not in failed["c4", "fineweb"]
