"""`gristmill duplicates` on a small home: what is found, what is said, and what never reaches a terminal."""

import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.cli import main
from gristmill.core.layout import Layout, Partition
from pipelines.dedup import signatures
from pipelines.dedup.duplicate_files import duplicate_path
from pipelines.dedup.normalise import normalise
from pipelines.dedup.paragraph_files import REPEATED_SCHEMA, repeated_path
from pipelines.report.duplicates import deciding_rule, find_documents
from pipelines.report.side_by_side import MAX_CHARACTERS, Pair, bounded, differing_words, side_by_side
from pipelines.schema import DOCUMENT_SCHEMA

SENTENCE = "The quick brown fox jumps over the lazy dog while seven wizards mix a jar of rather odd potion"
WORDS = SENTENCE.split()
BODY = "\n".join(" ".join(WORDS[shift:] + WORDS[:shift]) + "." for shift in range(8))
MAIL = "jane.doe@mail-server.com"
ESCAPE = "\x1b[31mred\x1b]0;title\x07"
KEPT, NEAR, COPY, ALONE, OLD, ELSEWHERE = (f"{digit}" * 32 for digit in "abcdef")
TEXTS = {
    KEPT: f"{BODY}\nWrite to {MAIL} today.\nThe end.",
    NEAR: f"{BODY}\nWrite to {MAIL} now, {ESCAPE}.",
    COPY: f"{BODY}\nWrite to {MAIL} today.\nThe end.",
    ALONE: "Nothing like it. [bold]No markup[/bold].",
    OLD: "An older version of the page.",
    ELSEWHERE: f"{BODY}\nSomething else.",
}
URLS = {
    KEPT: "https://one.example/page",
    NEAR: "https://two.example/page?email=jane@mail-server.com",
    COPY: "https://three.example/",
    ALONE: "https://four.example/versions",
    OLD: "http://four.example/versions/",
    ELSEWHERE: "https://five.example/",
}


def write(layout: Layout, partition: Partition, ids: list[str]) -> None:
    rows = [
        {
            "doc_id": doc_id,
            "url": URLS[doc_id],
            "corpus": partition.corpus,
            "text": TEXTS[doc_id],
            "fetched_at": datetime.datetime(2024, 1, 1 + list(TEXTS).index(doc_id), tzinfo=datetime.UTC),
        }
        for doc_id in ids
    ]
    batch = pa.RecordBatch.from_pylist(rows, schema=DOCUMENT_SCHEMA)
    signed = signatures.score(batch, signatures.Settings())
    for asset, table in (("quality_filtered_documents", batch), ("minhash_signatures", signed)):
        folder = layout.partition_dir(asset, partition)
        layout.fs.makedirs(folder)
        pq.write_table(pa.Table.from_batches([table]), f"{folder}/part-00000.parquet", row_group_size=1)
        layout.write_json(f"{folder}/report.json", {"fingerprint": f"{asset} {partition.key}"})


def duplicate(doc_id: str, segment: str, kind: str) -> dict[str, Any]:
    return {
        "doc_id": doc_id,
        "segment": segment,
        "representative_id": KEPT,
        "representative_segment": "00000",
        "representative_corpus": "crawl",
        "kind": kind,
        "similarity": 1.0 if kind == "exact" else 0.8,
        "cluster_size": 4,
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A corpus of two segments and another, compared with each other."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    layout = Layout(str(tmp_path))
    monkeypatch.setenv("GRISTMILL_HOME", str(tmp_path))
    write(layout, Partition("crawl", "00000"), [KEPT, ALONE, OLD])
    write(layout, Partition("crawl", "00001"), [NEAR, COPY])
    write(layout, Partition("books", "00000"), [ELSEWHERE])
    rows = {
        ("crawl", 1): [duplicate(NEAR, "00001", "near"), duplicate(COPY, "00001", "exact")],
        ("books", 0): [duplicate(ELSEWHERE, "00000", "near")],
    }
    for corpus, segments, other in (("crawl", ["00000", "00001"], "books"), ("books", ["00000"], "crawl")):
        folder = layout.partition_dir("duplicate_clusters", Partition(corpus))
        layout.fs.makedirs(f"{folder}/_repeated_paragraphs")
        for (name, index), some in rows.items():
            if name == corpus:
                pq.write_table(pa.Table.from_pylist(some), duplicate_path(folder, index))
        report = {
            "segments": segments,
            "settings": {"scope": "all", "preferred_corpora": ["crawl"]},
            "compared_with": {other: {}},
            "signature_settings": {"bands": 14, "rows": 8},
            "inputs": {f"minhash_signatures {s}": f"minhash_signatures {corpus}|{s}" for s in segments},
        }
        layout.write_json(f"{folder}/report.json", report)
    return layout


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main._exit_code(["duplicates", *arguments]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    return json.loads(said(capsys, *arguments, "--json"))


def test_a_near_duplicate_beside_its_representative(home: Layout, capsys) -> None:
    out = said(capsys, NEAR, "--width", "140")
    assert f"{NEAR} is a near duplicate of {KEPT}, which represents a cluster of 4 documents" in out
    assert "Why the representative stays and not this one: more different shingles" in out
    assert "≠  Write to <EMAIL_ADDRESS> today." in out
    assert max(map(len, out.splitlines())) <= 140


def test_a_line_of_any_length_is_shown_in_part(home: Layout, capsys) -> None:
    folder = home.partition_dir("quality_filtered_documents", Partition("crawl", "00001"))
    rows = [{"doc_id": doc_id, "text": "word " * 10_000} for doc_id in (NEAR, COPY)]
    pq.write_table(pa.Table.from_pylist(rows, DOCUMENT_SCHEMA), f"{folder}/part-00000.parquet")
    out = said(capsys, NEAR)
    assert "… 47,999 characters more" in out
    assert len(out) < 20_000


def test_what_is_personal_or_commands_the_terminal_never_reaches_it(home: Layout, capsys) -> None:
    for arguments in ((NEAR,), (NEAR, "--context", "-1"), (NEAR, "--json"), (KEPT, "--against", NEAR), (URLS[NEAR],)):
        out = said(capsys, *arguments)
        assert "jane" not in out
        assert "\x1b" not in out
        assert "<EMAIL_ADDRESS>" in out


def test_the_numbers(home: Layout, capsys) -> None:
    found = answer(capsys, NEAR)
    members = {member["doc_id"]: member for member in found["members"]}
    assert list(members) == [KEPT, NEAR, COPY, ELSEWHERE]
    assert found["size"] == 4
    assert found["warnings"] == []
    assert [members[d]["kind"] for d in (KEPT, NEAR, COPY, ELSEWHERE)] == [None, "near", "exact", "near"]
    assert [members[d]["corpus"] for d in (KEPT, ELSEWHERE)] == ["crawl", "books"]
    shingles = [{tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in map(words_of, (NEAR, KEPT))]
    assert members[KEPT]["jaccard"] == pytest.approx(len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1]))
    assert members[KEPT]["similarity"] == pytest.approx(members[KEPT]["jaccard"], abs=0.2)
    assert members[KEPT]["jaccard"] == members[COPY]["jaccard"]
    assert (members[KEPT]["is_representative"], members[NEAR]["is_asked"]) == (True, True)


def words_of(doc_id: str) -> list[str]:
    return normalise(TEXTS[doc_id]).split()


def test_the_representative_beside_its_nearest(home: Layout, capsys) -> None:
    out = said(capsys, KEPT)
    assert f"{KEPT} is kept: it represents a cluster of 4 documents" in out
    assert f"Why it stays and not {COPY}: fetched earlier: 2024-01-01T00:00:00Z against 2024-01-03T00:00:00Z" in out
    assert "The two texts have the same lines." in out


def test_a_member_of_another_corpus(home: Layout, capsys) -> None:
    out = said(capsys, ELSEWHERE)
    assert f"is a near duplicate of {KEPT} in corpus crawl" in out
    assert "corpus crawl is preferred to books (preferred_corpora)" in out


def test_another_member_can_be_chosen(home: Layout, capsys) -> None:
    assert answer(capsys, NEAR, "--against", COPY)["compared"] == COPY
    line = said(capsys, NEAR, "--against", ALONE, code=2)
    assert f"--against {ALONE}: the cluster of {NEAR} has no such other member, but {KEPT}" in line


def test_a_large_cluster_is_looked_at_in_part(home: Layout, capsys) -> None:
    out = said(capsys, NEAR, "--members", "2", "--no-diff")
    assert "… 2 more, less like the representative (--members)" in out
    assert "│" not in out


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_has_every_fact_unbroken(home: Layout, capsys, width: int) -> None:
    lines = said(capsys, NEAR, "--no-diff", "--width", str(width)).splitlines()
    assert f"near ◂ {NEAR}" in lines
    assert f"kept {KEPT}" in lines
    assert f"  {URLS[KEPT]}" in [line.rstrip() for line in lines]
    assert all(len(line) <= width and "…" not in line for line in lines)


def test_a_document_that_repeats_nothing(home: Layout, capsys) -> None:
    out = said(capsys, ALONE)
    assert f"{ALONE} repeats no document and none repeats it" in out
    assert answer(capsys, ALONE)["size"] == 1


def test_paragraphs_that_it_loses(home: Layout, capsys) -> None:
    folder = home.partition_dir("duplicate_clusters", Partition("crawl"))
    rows = [{"doc_id": ALONE, "lines": [0], "hashes": [0]}]
    pq.write_table(pa.Table.from_pylist(rows, REPEATED_SCHEMA), repeated_path(folder, 0))
    out = said(capsys, ALONE)
    assert "it loses 1 paragraph that documents before it have as well, and nothing is left" in out
    assert "emptied" in out


def test_a_beginning_and_a_url_are_enough(home: Layout, capsys) -> None:
    for asked in (NEAR[:6], "http://two.example/page?email=jane@mail-server.com"):
        assert answer(capsys, asked)["asked"]["doc_id"] == NEAR


def test_versions_of_a_url_are_listed(home: Layout, capsys) -> None:
    out = said(capsys, "https://four.example/versions")
    assert "2 documents for https://four.example/versions" in out
    assert ALONE in out
    assert OLD in out
    assert [m["doc_id"] for m in answer(capsys, "https://four.example/versions")["documents"]] == [ALONE, OLD]
    assert [m.doc_id for m in find_documents(home, ALONE, "crawl")] == [ALONE]


def test_what_is_not_there(home: Layout, capsys) -> None:
    assert "no document '1234567' in any corpus under" in said(capsys, "1234567", code=2)
    assert f"no document {KEPT!r} in corpus books" in said(capsys, KEPT, "--corpus", "books", code=2)
    line = said(capsys, KEPT, "--corpus", "other", code=2)
    assert "compared are books, crawl; for another, run `gristmill run other" in line


def test_a_document_that_was_rejected_before(home: Layout, capsys) -> None:
    folder = home.quarantine_dir("quality_filtered_documents", Partition("crawl", "00000"))
    home.fs.makedirs(folder)
    row = {"doc_id": "9" * 32, "url": "https://x.example", "stage": "quality_filtered_documents", "reason": "short"}
    pq.write_table(pa.Table.from_pylist([row]), f"{folder}/part-00000.parquet")
    line = said(capsys, "https://x.example", code=2)
    assert f"document {'9' * 32} was never compared: quality_filtered_documents rejected it as short" in line


def test_clusters_that_are_not_there_or_not_of_now(home: Layout, capsys) -> None:
    folder = home.partition_dir("duplicate_clusters", Partition("crawl"))
    report = home.read_json(f"{folder}/report.json") or {}
    home.write_json(f"{folder}/report.json", report | {"inputs": {"minhash_signatures 00001": "before"}})
    assert "the clusters are of other signatures than there are now" in said(capsys, NEAR)
    home.fs.rm(duplicate_path(home.partition_dir("duplicate_clusters", Partition("books")), 0))
    assert "4 documents were in the cluster and 3 are found now" in said(capsys, NEAR)
    home.write_json(f"{folder}/report.json", report | {"segments": ["00000"]})
    assert "was computed before segment 00001 was there" in said(capsys, NEAR, code=2)
    home.fs.rm(f"{folder}/report.json")
    assert "run `gristmill run crawl --through duplicate_clusters` first" in said(capsys, NEAR, code=2)


def test_the_rules_in_their_order(home: Layout) -> None:
    (kept,) = find_documents(home, KEPT)
    settings = {"preferred_corpora": ["books"]}
    assert deciding_rule(replace(kept, corpus="books"), kept, settings, {}).startswith("corpus books is preferred")
    assert deciding_rule(kept, replace(kept, quality=1.0), {}, {"quality": "score"}).startswith("score: higher")
    counted = deciding_rule(replace(kept, quality=1_500_001.0), replace(kept, quality=1_500_000.0), {}, {})
    assert counted == "more different shingles: 1,500,001 against 1,500,000"
    assert "an unknown time" in deciding_rule(kept, replace(kept, fetched_at=None), {}, {})
    assert "content hash" in deciding_rule(kept, replace(kept, content_hash="f"), {}, {})
    assert "lesser doc_id" in deciding_rule(kept, replace(kept, doc_id="f"), {}, {})
    assert "the same record" in deciding_rule(kept, replace(kept, segment="2"), {}, {})


def test_lines_side_by_side() -> None:
    left, right = "a\n\nb\nc\nd\ne\nf", "a\nb\nc\nD\ne\nf\ng"
    assert side_by_side(left, right, 1) == [
        Pair("skipped", count=2),
        Pair("equal", "c", "c"),
        Pair("changed", "d", "D"),
        Pair("equal", "e", "e"),
        Pair("equal", "f", "f"),
        Pair("right", None, "g"),
    ]
    assert [pair.kind for pair in side_by_side("a", "", None)] == ["left"]
    assert side_by_side("", "") == []
    assert differing_words("a b c", "a x c") == (
        [("a", False), ("b", True), ("c", False)],
        [("a", False), ("x", True), ("c", False)],
    )


def test_a_text_is_cut_between_lines_or_words() -> None:
    assert bounded("one two\nthree", 9) == "one two"
    assert bounded("one two three", 10) == "one two"
    assert bounded("x" * (MAX_CHARACTERS + 1)) == ""
