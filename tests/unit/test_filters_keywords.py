"""Word lists: what counts as a hit, in which language, and what a bad list says."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from pipelines.decisions import first_failure
from pipelines.filters import keywords
from pipelines.filters.keywords import COLUMNS, LONGEST_TERM, KeywordSettings, compile_terms, count_terms, rules, score


def batch(*rows: tuple[str | None, str | None]) -> pa.RecordBatch:
    texts, languages = zip(*rows, strict=True) if rows else ((), ())
    return pa.record_batch([pa.array(texts, pa.string()), pa.array(languages, pa.string())], names=["text", "language"])


def reasons(rows: pa.RecordBatch, chosen: KeywordSettings) -> list[str | None]:
    return first_failure(score(rows, chosen), rules(chosen)).column("reason").to_pylist()


@pytest.fixture
def words(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text("# for adults\nRude\nvery rude  # two words\nstraße\nc#\n", encoding="utf-8")
    return str(path)


def test_an_explicit_word_rejects_in_its_language_only(words: str) -> None:
    chosen = KeywordSettings(explicit_words={"en": words})
    assert reasons(batch(("That was RUDE.", "en"), ("That was RUDE.", "de"), ("crude rudeness", "en")), chosen) == [
        "keywords.explicit",
        None,
        None,
    ]


def test_a_star_is_for_all_other_languages(words: str, tmp_path: Path) -> None:
    polite = tmp_path / "polite.txt"
    polite.write_text("nothing")
    chosen = KeywordSettings(explicit_words={"*": words, "en": str(polite)})
    rows = batch(("rude", "en"), ("rude", "fr"), ("rude", None))
    assert reasons(rows, chosen) == [None, "keywords.explicit", "keywords.explicit"]


def test_shipped_boilerplate_rejects_a_notice_and_keeps_an_article() -> None:
    chosen = KeywordSettings(boilerplate_phrases={"en": keywords.SHIPPED})
    notice = "We use cookies. Accept all cookies or manage\ncookies. Privacy policy. All rights reserved."
    article = "The reef was charted in 1802. " * 20 + "All rights reserved."
    assert reasons(batch((notice, "en"), (article, "en")), chosen) == ["keywords.boilerplate", None]
    assert keywords.files(chosen)[0].endswith("boilerplate_en.txt")


def test_a_share_limit_holds_where_hits_are_allowed(words: str) -> None:
    chosen = KeywordSettings(explicit_words={"en": words}, max_explicit_hits=5, max_explicit_share=0.3)
    assert reasons(batch(("rude rude me", "en"), ("rude " + "x" * 100, "en")), chosen) == ["keywords.explicit", None]


def test_nothing_configured_is_null_and_no_rows_have_the_columns() -> None:
    scored = score(batch(("rude", "en")), KeywordSettings())
    assert {name: scored.column(name).to_pylist() for name in COLUMNS} == {name: [None] for name in COLUMNS}
    empty = score(batch(), KeywordSettings(boilerplate_phrases={"en": keywords.SHIPPED}))
    assert [empty.schema.field(name).type for name in COLUMNS] == list(COLUMNS.values())


def test_longest_term_wins_and_case_folds(words: str) -> None:
    pattern = keywords.load_terms(words, "en", "explicit_words")
    assert pattern.findall("very \n rude strasse rude") == ["very \n rude", "strasse", "rude"]
    assert pattern.findall("c c# cc#") == ["c#"]
    assert count_terms(pattern, "STRASSE Straße") == (2, 14 / 15)


def test_languages_without_spaces_match_inside() -> None:
    assert compile_terms({"餅乾"}, is_unspaced=True).findall("本站使用餅乾以改善") == ["餅乾"]
    assert compile_terms({"cookie"}).findall("supercookie") == []


def test_a_list_that_nests_as_deep_as_terms_may_be_long() -> None:
    pattern = compile_terms({"a" * n for n in range(1, LONGEST_TERM + 1)})
    assert pattern.findall("a" * LONGEST_TERM + " aa") == ["a" * LONGEST_TERM, "aa"]


@given(st.sets(st.text("ab .+(", min_size=1, max_size=6).map(str.strip).filter(lambda t: t and "  " not in t)))
@settings(max_examples=60, deadline=None)
def test_every_term_is_found_by_its_own_list(terms: set[str]) -> None:
    if terms:
        pattern = compile_terms(terms)
        assert all(pattern.fullmatch(term) for term in terms)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"\xff\xfe\x00", "utf-8"),
        (b"# nothing here\n\n", "holds no term"),
        (b"x" * 101, "line 1 has 101 characters"),
    ],
    ids=["missing", "not-utf8", "empty", "long"],
)
def test_a_bad_list_is_one_line(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=says) as error:
        score(batch(("text", "en")), KeywordSettings(explicit_words={"en": str(path)}))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
