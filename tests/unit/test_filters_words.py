"""Words and sentences: spaCy's, remembered per chunk; and n-grams like the plain walk."""

import gzip
import importlib.metadata
import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import spacy
from hypothesis import given, settings, strategies
from spacy.lang import lex_attrs

from pipelines.filters import chunk_table, gopher_repetition, line_layout, ngrams, spacy_rules, words
from pipelines.filters.chunk_tokens import LONGEST_URL, ChunkTokenizer
from pipelines.filters.ngrams import Ngrams
from pipelines.filters.punctuation import SYMBOLS
from pipelines.filters.words import GroupWords, WordTable, word_table

TEXTS = [
    "Don't can't won't cannot, gonna; it's the dog's (really!) e.g. U.S. a.m. Mr. O'Neil's 10km $5.50 US$7 A$ 7$",
    "see https://example.com/a_b?c=d#e, mail joe@example.com or 1,000.50 - 3-4% well-known and/or x=y, 1.2.3.4:80",
    "“quoted” ‘single’ ... … …… a…… 你好。 café! ¿qué? °C. 5°C. x°F.",
    ":) <3 C++ 22): (==) %''.join(g foo-a. a.b.c. (a.), 'em ’s 's :-)) ((-: -__- ¯\\(ツ)/¯ ಠ_ಠ 8-D",
    "a\x1cb\u00a0c\u2003d \t\n\n e\x85f\u2028g",
    "😀 ok👍🏽! ♥♥ 広辞苑、第三版 مرحبا، 12кг 5км/ч 3m² 2+ 3+4 a+b",
    "def f(x: int) -> list[str]: return {'a': [1, 2]}  # ==> foo->bar, a::b; <b>x</b>&nbsp;... .... a.... --no-x",
    "IS_ALPHA ORTH xIS_ALPHA. \x00a\x00 \ufffd \ufeffBOM \u200bzero\u200b a\u0301b",
    "Hello there. How are you?  Fine! (Really.) 'Yes.' he said... \"No!\" ) . ! \n . \n\n A",
    "",
    " ",
    "  \n ",
    "... ! ?",
]
_AWKWARD = "aZß9.,:;!?()[]<>_#*&'\"`$%+-/=~@^|\\…’—°§ \t\n\u00a0你。😀कsSmkgoO3D"
awkward = strategies.text(alphabet=_AWKWARD, max_size=60)


@pytest.fixture(scope="module")
def english() -> Any:
    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    return pipeline


@pytest.fixture(scope="module")
def tokenizer() -> ChunkTokenizer:
    return ChunkTokenizer()


def spacy_words(english: Any, text: str) -> list[str]:
    return [token.text for chunk in text.split() for token in english.tokenizer(chunk)]


def spacy_sentences(english: Any, text: str) -> int:
    return sum(1 for _ in english(text).sents) or 1


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_words_and_sentences_are_spacys(english: Any, text: str) -> None:
    table = word_table()
    assert table.words(text) == spacy_words(english, text)
    assert table.count(text) == len(table.words(text))
    assert table.sentences(text) == spacy_sentences(english, text)


def test_rules_read_alone_are_spacys() -> None:
    alone, spacys = spacy_rules.rules_alone(), spacy_rules.rules_of_spacy()
    assert importlib.metadata.version("spacy").startswith(spacy_rules.CHECKED)
    assert (alone.prefixes, alone.suffixes, alone.infixes) == (spacys.prefixes, spacys.suffixes, spacys.infixes)
    assert alone.specials == spacys.specials
    assert alone.sentence_ends == spacys.sentence_ends
    assert alone.is_url.__self__ == spacys.is_url.__self__  # pyright: ignore[reportFunctionMemberAccess]
    assert not [name for name in sys.modules if name.startswith("_spacy")]


def test_punctuation_is_spacys() -> None:
    every = map(chr, range(sys.maxunicode + 1))
    assert all(spacy_rules.is_punctuation(character) == lex_attrs.is_punct(character) for character in every)
    assert spacy_rules.is_punctuation("?!") and not spacy_rules.is_punctuation("?a")


def test_another_spacy_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spacy_rules, "CHECKED", ("0.0.",))
    monkeypatch.setattr(spacy_rules, "rules_alone", None)
    assert spacy_rules.rules().specials == spacy_rules.rules_of_spacy().specials


def test_every_special_case_alone_and_amid_a_chunk(english: Any, tokenizer: ChunkTokenizer) -> None:
    for rule in english.tokenizer.rules:
        for chunk in (rule, f"({rule})", f"x-{rule}", f"{rule}.", f"7{rule},", f"{rule}{rule}"):
            if not any(map(str.isspace, chunk)):
                assert tokenizer.tokens(chunk) == [t.text for t in english.tokenizer(chunk)], chunk


@settings(max_examples=400, deadline=None)
@given(strategies.one_of(awkward, strategies.text(max_size=60)))
def test_any_text_has_spacys_words(text: str) -> None:
    english = _english()
    assert word_table().words(text) == spacy_words(english, text)


@settings(max_examples=200, deadline=None)
@given(
    strategies.lists(
        strategies.sampled_from(["So.", "so", ")", "!", "\u2026", "(a", "U.S.", " ", "\t", "\n", "a.b", "?'"])
    )
)
def test_any_text_has_spacys_sentences(pieces: list[str]) -> None:
    for text in (" ".join(pieces), "".join(pieces)):
        assert word_table().sentences(text) == spacy_sentences(_english(), text)


_cached: list[Any] = []


def _english() -> Any:
    if not _cached:
        _cached.append(spacy.blank("en"))
        _cached[0].add_pipe("sentencizer")
    return _cached[0]


def look(table: WordTable, *texts: str) -> GroupWords:
    """All of `texts` together."""
    (group,) = table.analyse(pa.array(texts, pa.large_string()))
    return group


def pieces(group: GroupWords, sizes: Any) -> list[list[str]]:
    """The words of each text, cut from the group's bytes by their sizes."""
    ends = np.cumsum(sizes).tolist()
    found = [bytes(group.text[end - size : end]).decode() for end, size in zip(ends, sizes.tolist(), strict=True)]
    return [found[first:last] for first, last in itertools.pairwise(group.first_words.tolist())]


some_text = strategies.lists(awkward, max_size=4).map("\n".join)


@settings(max_examples=150, deadline=None)
@given(strategies.lists(strategies.one_of(some_text, strategies.text(max_size=9)), min_size=1, max_size=6))
def test_numbers_of_texts(texts: list[str]) -> None:
    group = look(WordTable(("a", "so", "kg")), *texts)
    assert pieces(group, group.sizes) == [words.words(text) for text in texts]
    plain = [word for text in texts for word in words.words(text)]
    assert group.lengths.tolist() == list(map(len, plain))
    assert len(dict(zip(plain, group.hashes.tolist(), strict=True))) == len(set(group.hashes.tolist()))
    for text, found in zip(texts, group.documents, strict=True):
        plain = words.words(text)
        assert found.count == len(plain)
        assert found.alphabetic_words == sum(any(map(str.isalpha, word)) for word in plain)
        proper = [word for word in plain if not SYMBOLS.issuperset(word)]
        assert found.non_symbol_words == len(proper)
        assert found.non_symbol_characters == sum(map(len, proper))
        assert found.marked_words == len({"a", "so", "kg"}.intersection(plain))
        lines = text.splitlines()
        assert found.line_chunks.tolist() == [len(line.split()) for line in lines]
        assert found.line_words.tolist() == [word_table().count(line) for line in lines]
        assert found.line_sentences.tolist() == [word_table().sentences(line.strip()) for line in lines]


@pytest.mark.parametrize("code", [9, 10, 11, 13, 28, 31, 0x85, 0xA0, 0x1680, 0x2003, 0x2028, 0x2029, 0x202F, 0x3000])
def test_every_kind_of_whitespace(code: int) -> None:
    space = chr(code)
    texts = [f"a{space}b.", f"{space}", "", f"\n{space}\nc.{space}D", f"e\r{space}", "\n", f"\xa9{space}\xe9", "\r"]
    group = look(WordTable(), *texts)
    for text, found in zip(texts, group.documents, strict=True):
        assert found.line_chunks.tolist() == [len(line.split()) for line in text.splitlines()]
        assert found.line_sentences.tolist() == [word_table().sentences(line.strip()) for line in text.splitlines()]


def test_no_whitespace_is_forgotten() -> None:
    spaces = [character for character in map(chr, range(sys.maxunicode + 1)) if character.isspace()]
    assert set(line_layout._SPACES) == set(spaces)
    breaks = {c for c in map(chr, range(sys.maxunicode + 1)) if len(f"a{c}b".splitlines()) > 1}
    assert breaks == line_layout._BREAKS


def test_groups_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pa.array([None, *TEXTS, None, *TEXTS], pa.large_string())
    (whole,) = word_table().analyse(texts)
    monkeypatch.setattr(words, "GROUP_BYTES", 150)
    several = list(word_table().analyse(texts.slice(3)))
    assert len(several) > 2
    assert [repr(d) for group in several for d in group.documents] == [repr(d) for d in whole.documents[3:]]
    runs = [run for group in several for run in gopher_repetition.runs(group)]
    assert runs == gopher_repetition.runs(whole)[3:]
    assert list(word_table().analyse(texts.slice(0, 0))) == []


def test_more_marked_words_than_a_number_has_bits() -> None:
    marked = tuple(f"w{n}" for n in range(150))
    (found,) = look(WordTable(marked), "w1, w70! w140 (w149) w150 w1").documents
    assert found.marked_words == 4


def test_what_is_remembered_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "BLOCK_CHUNKS", 3)
    small = WordTable(("cannot", "e"), cache_chunks=2)
    for text in TEXTS * 2:
        ours, theirs = look(small, text), look(WordTable(("cannot", "e")), text)
        assert ours.lengths.tolist() == theirs.lengths.tolist()
        assert ours.hashes.tolist() == theirs.hashes.tolist()
        assert repr(ours.documents) == repr(theirs.documents)
        assert small.sentences(text) == word_table().sentences(text)


def test_the_table_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "BLOCK_CHUNKS", 100)
    table = WordTable(cache_chunks=200)
    (found,) = look(table, " ".join(f"chunk{n}" for n in range(5_000))).documents
    assert found.count == 5_000
    assert len(table._chunks) <= 300
    monkeypatch.setattr(chunk_table, "CACHE_CHARACTERS", 1_000)
    look(table, "x" * 5_000)
    assert table.count("short") == 1
    assert table._chunks.characters == len("short")


def calls_of(work: Callable[[], object]) -> int:
    """Function calls, Python's and C's, that `work` makes."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


ENDLESS: dict[str, Callable[[int], str]] = {
    "no whitespace": lambda n: "a" * n,
    "one pair of words": lambda n: "a b " * (n // 4),
    "distinct chunks": lambda n: " ".join(f"{i}x" for i in range(n // 6)),
    "closing brackets": lambda n: ")" * n,
    "dots": lambda n: "." * n,
    "dots and letters": lambda n: "a." * (n // 2),
    "emoticons": lambda n: ":)" * (n // 2),
    "quotes": lambda n: "'\"" * (n // 2),
    "hyphens": lambda n: "a-" * (n // 2),
    "colons and an at": lambda n: "a:" * (n // 2) + "@b.c",
    "url": lambda n: "https://example.com/" + "a/" * (n // 2),
    "lines": lambda n: "\n" * n,
    "spaces": lambda n: "a.  b\t" * (n // 6),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_work_grows_with_the_length(kind: str) -> None:
    def calls(n: int) -> int:
        table, text = WordTable(), ENDLESS[kind](n)
        return calls_of(lambda: (gopher_repetition.runs(look(table, text)), table.sentences(text)))

    assert calls(40_000) <= 2.2 * calls(20_000) + 1_000


def test_endless_chunks_end() -> None:
    table = word_table()
    assert table.count(")" * 20_000) == 20_000
    assert table.count("ab" * 50_000) == 1
    assert "".join(table.words("a:b@c.d/" * LONGEST_URL)) == "a:b@c.d/" * LONGEST_URL


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


def plain_top_characters(tokens: list[str], n: int) -> int | None:
    ngrams = [" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    top = max(ngrams, key=ngrams.count, default=None)
    return None if top is None else len(top) * ngrams.count(top)


_TOKENS = ["a", "b", "ab", "ba", "c", "d", "longer", "word", "longerword"]


@settings(max_examples=300, deadline=None)
@given(strategies.lists(strategies.sampled_from(_TOKENS), max_size=80))
def test_ngrams_like_the_plain_walk(tokens: list[str]) -> None:
    table = word_table()
    texts = [" ".join(tokens), "b ab a " * len(tokens), "", " ".join(tokens[::2])]
    found = Ngrams(look(table, *texts))
    own = list(map(table.words, texts))
    duplicates = found.duplicate_characters(gopher_repetition.DUPLICATE_N)
    assert duplicates == {n: [plain_duplicate_characters(o, n) for o in own] for n in gopher_repetition.DUPLICATE_N}
    sizes = gopher_repetition.TOP_N
    assert found.top_characters(sizes) == {n: [plain_top_characters(tokens, n) for tokens in own] for n in sizes}


def test_keys_that_share_their_buckets_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    group = look(word_table(), *TEXTS, " ".join(TEXTS * 3))
    by_buckets = gopher_repetition.runs(group)
    monkeypatch.setattr(ngrams, "_buckets", lambda keys, *_: np.zeros(len(keys), np.int64))
    assert gopher_repetition.runs(group) == by_buckets


@pytest.mark.parametrize("long", [0, 8, 256])
def test_ngrams_of_one_hash_are_told_apart_by_their_bytes(monkeypatch: pytest.MonkeyPatch, long: int) -> None:
    monkeypatch.setattr(ngrams, "_LONG", long)
    wide = " ".join("x" * 300 + str(i % 7) for i in range(40))
    group = look(word_table(), *TEXTS, " ".join(TEXTS * 3), wide)
    duplicates = Ngrams(group).duplicate_characters(gopher_repetition.DUPLICATE_N)
    alike = Ngrams(replace(group, hashes=np.zeros_like(group.hashes)))
    assert alike.duplicate_characters(gopher_repetition.DUPLICATE_N) == duplicates
    own = [word_table().words(text) for text in (*TEXTS, " ".join(TEXTS * 3), wide)]
    assert duplicates == {n: [plain_duplicate_characters(o, n) for o in own] for n in gopher_repetition.DUPLICATE_N}


@pytest.mark.shared
def test_golden_counts_and_ngrams(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gzip.open(shared_data / "golden" / "datatrove-0.10.1.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    monkeypatch.setattr(words, "GROUP_BYTES", 1 << 30)
    table = word_table()
    assert [table.count(row["text"]) for row in rows] == [row["n_words"] for row in rows]
    assert [table.sentences(row["text"]) for row in rows] == [row["n_sents"] for row in rows]
    texts = [row["text"] for row in rows[::8]]
    found, own = Ngrams(look(table, *texts)), list(map(table.words, texts))
    duplicates = found.duplicate_characters(gopher_repetition.DUPLICATE_N)
    assert duplicates == {n: [plain_duplicate_characters(o, n) for o in own] for n in gopher_repetition.DUPLICATE_N}


@pytest.mark.shared
def test_every_chunk_of_real_text(shared_data: Path, english: Any, tokenizer: ChunkTokenizer) -> None:
    with gzip.open(shared_data / "golden" / "datatrove-0.10.1.jsonl.gz", "rt", encoding="utf-8") as file:
        chunks = sorted({chunk for line in file for chunk in json.loads(line)["text"].split()})
    differing = [c for c in chunks if tokenizer.tokens(c) != [t.text for t in english.tokenizer(c)]]
    assert differing == []
