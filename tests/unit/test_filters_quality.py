"""Quality rules: one text per reason, and any text at all."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies

from pipelines.filters import classifier, decontamination, keywords, perplexity, quality
from pipelines.filters.quality import COLUMNS, REASONS, Settings

PROSE = (
    "The old miller walked to the river before dawn, for he wanted to see whether the flood had reached the wheel.\n"
    "Nobody in the village had slept, and most of them stood on the bridge with lanterns that hardly gave any light.\n"
    "He asked a boy what the water had done; the boy said it had taken two boats, a fence and somebody's best hen.\n"
    "By noon the sun was out again, and people began to laugh about things which had frightened them at midnight.\n"
    "What the miller found below the wheel he told no one but his daughter, and she has kept it to herself."
)
_TREES = "alder birch cedar elder fir gorse hazel ivy juniper kale larch maple nettle oak pine quince rowan"
LETTERS = _TREES.split()


def shares_off(**kept: Any) -> Settings:
    """Settings in which no repetition limit rejects but those given."""
    off = {name: 1.0 for name in vars(Settings()) if name.startswith(("max_top_", "max_duplicate_"))}
    return replace(Settings(), **(off | kept))


def spaced_repeats(n: int) -> str:
    """A run of n words twice, with other words between and around."""
    return " ".join([*LETTERS[:n], "stone", *LETTERS[:n], *LETTERS[10:]])


GOOD = Settings()
UNEDITED = replace(GOOD, is_editing_lines=False)
TEXTS: dict[str, tuple[str, Settings]] = {
    "gopher_repetition.empty": ("", GOOD),
    "gopher_repetition.duplicate_paragraphs": ("a b\n\na b\n\n" + PROSE, GOOD),
    "gopher_repetition.duplicate_paragraph_characters": (
        f"x\n\ny\n\nz\n\nw\n\n{PROSE}\n\n{PROSE}",
        GOOD,
    ),
    "gopher_repetition.duplicate_lines": ("a b\na b\na b\na b\n" + PROSE, GOOD),
    "gopher_repetition.duplicate_line_characters": ("\n".join([PROSE, *LETTERS, PROSE]), GOOD),
    "gopher_repetition.top_2_gram": ("to be " * 20, GOOD),
    "gopher_repetition.top_3_gram": ("to be seen " * 20, shares_off(max_top_3_gram=0.18)),
    "gopher_repetition.top_4_gram": ("to be seen here " * 20, shares_off(max_top_4_gram=0.16)),
    **{
        f"gopher_repetition.duplicate_{n}_grams": (
            spaced_repeats(n),
            shares_off(**{f"max_duplicate_{n}_grams": 0.10}),
        )
        for n in range(5, 11)
    },
    "gopher_quality.too_few_words": ("The cat sat with the dog and that was all.", shares_off()),
    "gopher_quality.too_many_words": (PROSE, replace(GOOD, max_words=60)),
    "gopher_quality.short_words": (" ".join(f"{a}{b}" for a in "abcdefgh" for b in "stuvwxyz"), GOOD),
    "gopher_quality.long_words": (" ".join(f"{a}{b}" * 4 for a in LETTERS[:6] for b in LETTERS[6:]), GOOD),
    "gopher_quality.hashes": (PROSE.replace(" the ", " #the #"), replace(GOOD, max_hashes=0.05)),
    "gopher_quality.ellipses": (PROSE.replace(" the ", " ... the … ").replace(",", "..."), GOOD),
    "gopher_quality.bullet_lines": ("\n".join(f"- {line}" for line in PROSE.split("\n")), GOOD),
    "gopher_quality.ellipsis_lines": ("\n".join(f"{line}…" for line in PROSE.split("\n")), GOOD),
    "gopher_quality.alphabetic_words": (PROSE + " " + " ".join(str(n) for n in range(1000, 1060)), GOOD),
    "gopher_quality.stop_words": (" ".join(f"{a}{b}" for a in "abcdefgh" for b in LETTERS[:8]), GOOD),
    "c4.lorem_ipsum": (PROSE.replace("the wheel", "lorem Ipsum"), GOOD),
    "c4.curly_bracket": (f"{PROSE} {{", GOOD),
    "c4.too_few_sentences": (PROSE.replace(".", ",").replace("\n", " "), GOOD),
    "fineweb.empty": (" \n\t\n ", replace(GOOD, families=("fineweb",))),
    "fineweb.punctuated_lines": (PROSE.replace(".\n", " \n").removesuffix("."), shares_off(min_sentences=0)),
    "fineweb.short_lines": (
        "\n".join(["Yes.", "No.", "Well, well.", *LETTERS, PROSE]),
        replace(UNEDITED, families=("fineweb",)),
    ),
    "fineweb.duplicate_line_characters": (f"{PROSE}\nIt was so.\nAnd again now.\nIt was so.", GOOD),
    "fineweb.line_breaks": (
        "\n".join(f"So {word}." for word in LETTERS),
        replace(UNEDITED, max_short_lines=1.0, families=("fineweb",)),
    ),
}


def batch_of(*texts: str | None) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.large_string())})


CONFIGURED = (perplexity, classifier, keywords, decontamination)  # families that have tests of their own


def test_every_reason_has_a_text() -> None:
    assert set(TEXTS) == set(REASONS) - {reason for family in CONFIGURED for reason in family.REASONS}


@pytest.mark.parametrize("reason", TEXTS)
def test_a_text_for_every_reason(reason: str) -> None:
    text, given_settings = TEXTS[reason]
    scored = quality.score(batch_of(text), given_settings)
    verdict = quality.decide(scored, given_settings).to_pylist()[0]
    assert verdict["reason"] == reason
    assert verdict["score"] is not None
    assert verdict["threshold"] is not None
    assert verdict["failed_rules"].count(reason) == 1


def test_prose_is_kept_with_every_signal() -> None:
    scored = quality.score(batch_of(PROSE), GOOD)
    assert quality.decide(scored, GOOD).column("reason").to_pylist() == [None]
    assert quality.decide(scored, GOOD).column("failed_rules").to_pylist() == [[]]
    unconfigured = {name for family in CONFIGURED for name in family.COLUMNS}
    assert all(scored.column(name).null_count == (name in unconfigured) for name in COLUMNS)
    assert {name: scored.schema.field(name).type for name in COLUMNS} == COLUMNS


def test_another_limit_is_decided_without_the_text() -> None:
    scored = quality.score(batch_of(PROSE), GOOD)
    columns = [name for name in scored.schema.names if name != "text"]
    verdict = quality.decide(scored.select(columns), replace(GOOD, min_words=500)).to_pylist()[0]
    assert (verdict["reason"], verdict["threshold"]) == ("gopher_quality.too_few_words", 500)


def test_a_family_switched_off_does_not_decide_but_is_recorded() -> None:
    only_fineweb = replace(GOOD, families=("fineweb",))
    scored = quality.score(batch_of("The cat sat on the mat with two of the dogs."), only_fineweb)
    assert quality.decide(scored, only_fineweb).column("reason").to_pylist() == [None]
    assert "gopher_quality.too_few_words" in quality.decide(scored, only_fineweb).column("failed_rules").to_pylist()[0]


def test_the_detail_names_the_other_failures() -> None:
    verdict = quality.decide(quality.score(batch_of("menu"), GOOD), GOOD).to_pylist()[0]
    assert verdict["detail"].startswith("also fails gopher_quality.")


def test_a_share_equal_to_its_limit_is_kept() -> None:
    # 3 of 10 lines repeat; 0.3 stored as float32 is a little above 0.3.
    lines = [*"abcdefg", "a", "b", "c"]
    scored = quality.score(batch_of("\n".join(lines)), GOOD)
    assert "gopher_repetition.duplicate_lines" not in quality.decide(scored, GOOD).column("failed_rules").to_pylist()[0]


def test_no_rows() -> None:
    scored = quality.score(batch_of(), GOOD)
    assert scored.schema == quality.score(batch_of(PROSE), GOOD).schema
    assert quality.decide(scored, GOOD).num_rows == 0


def test_unknown_family() -> None:
    with pytest.raises(ValueError, match="families has 'c5'"):
        Settings(families=("c5",))  # pyright: ignore[reportArgumentType]


@settings(max_examples=60, deadline=None)
@given(strategies.lists(strategies.one_of(strategies.none(), strategies.text(max_size=400)), max_size=5))
def test_any_text_goes_through(texts: list[str | None]) -> None:
    scored = quality.score(batch_of(*texts), GOOD)
    assert scored.num_rows == quality.decide(scored, GOOD).num_rows == len(texts)
