"""What is the same content, and with which corpora one is compared."""

from pathlib import Path
from typing import Any

import pytest

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.contents import content_version
from pipelines.dedup.cluster_inputs import inputs_of, numbered
from pipelines.dedup.clusters import Settings, notes
from pipelines.dedup.scope import Scope, compared_version, compared_with, signed_corpora
from pipelines.fingerprint import fingerprint
from pipelines.stages import stage
from pipelines.worker import run_stage

SIGNATURES = "minhash_signatures"


def report(content: str, fingerprint: str = "f", **settings: Any) -> dict[str, Any]:
    file = {"name": "part-00000.parquet", "rows": 3, "bytes": 9, "kind": "kept", "sha256": content}
    return {"fingerprint": fingerprint, "files": [file], "settings": settings}


def sign(layout: Layout, key: str, *given: str, **settings: Any) -> None:
    folder = layout.partition_dir(SIGNATURES, Partition.parse(key))
    layout.write_json(f"{folder}/report.json", report(*given, **settings))


def test_content_is_bytes_and_not_how_they_came_about() -> None:
    assert content_version("clean_documents", report("a", "f")) == content_version("clean_documents", report("a", "g"))
    assert content_version("clean_documents", report("a")) != content_version("clean_documents", report("b"))
    assert content_version("clean_documents", report("a")) == content_version("clean_documents", report("a", bands=7))
    assert content_version(SIGNATURES, report("a")) != content_version(SIGNATURES, report("a", bands=7))
    several = {"files": [{"name": name, "sha256": name} for name in "ab"]}
    turned = {"files": several["files"][::-1]}
    assert content_version("clean_documents", several) == content_version("clean_documents", turned)
    assert content_version("x", {"fingerprint": "f"}) != content_version("x", {"fingerprint": "g"})


def test_only_corpora_that_are_signed_alike_are_compared(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    for key, bands in (
        ("books|00000", 14),
        ("news|00000", 14),
        ("news|00001", 14),
        ("wiki|00000", 14),
        ("wiki|00001", 7),
    ):
        sign(layout, key, key, bands=bands)
    signed = signed_corpora(layout)
    assert {name: sorted(segments) for name, segments in compared_with(layout, "books", "all", signed).items()} == {
        "news": ["00000", "00001"]
    }
    assert compared_with(layout, "books", "corpus") == {}
    assert sorted(compared_with(layout, "new", "all")) == ["books", "news", "wiki"]


@pytest.mark.parametrize(
    ("theirs", "is_compared"),
    [
        ({"scheme": "gristmill", "bands": None, "seed": None}, True),
        ({"bands": 14, "rows": 8, "seed": 1, "shingle_words": 5}, True),
        ({}, True),
        ({"quality": None}, True),
        ({"bands": 7}, False),
        ({"scheme": "datasketch"}, False),
        ({"quality": "educational_value"}, False),
    ],
)
def test_settings_that_say_the_same_are_the_same(tmp_path: Path, theirs: dict[str, Any], is_compared: bool) -> None:
    layout = Layout(str(tmp_path))
    sign(layout, "books|00000", "a", bands=14, rows=None)
    sign(layout, "news|00000", "b", **theirs)
    assert ("news" in compared_with(layout, "books", "all")) == is_compared
    inputs = inputs_of(layout, "books", "all")
    assert (inputs.reports.keys() == {"books", "news"}) == is_compared
    assert (set(inputs.not_compared) == {"news"}) != is_compared
    states = {inputs_of(layout, corpus, "all").state_path(layout, Settings(), "code") for corpus in inputs.reports}
    assert len(states) == 1, "one state for all that are compared"
    sign(layout, "books|00001", "c", **theirs)
    if not is_compared:
        with pytest.raises(MissingDataError, match="segments 00000 and 00001 of books"):
            inputs_of(layout, "books", "corpus")
    else:
        assert len(inputs_of(layout, "books", "corpus").own) == 2


@pytest.mark.parametrize(("scope", "is_other"), [("all", True), ("corpus", False)])
def test_another_corpus_counts_only_in_scope(tmp_path: Path, scope: Scope, is_other: bool) -> None:
    layout = Layout(str(tmp_path))
    sign(layout, "books|00000", "a")
    sign(layout, "news|00000", "b")
    before = compared_version(layout, "books", scope)
    sign(layout, "news|00000", "b", "made again")
    assert compared_version(layout, "books", scope) == before
    sign(layout, "news|00000", "c")
    assert (compared_version(layout, "books", scope) != before) == is_other
    sign(layout, "news|00000", "b")
    sign(layout, "books|00000", "d")
    assert compared_version(layout, "books", scope) != before


def test_zero_turns_verification_off_and_nonsense_is_refused() -> None:
    assert Settings().verified_jaccard == 0.7
    assert Settings(verified_jaccard=0).verified_jaccard == 0
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="give a number from 0"):
            Settings(verified_jaccard=wrong)


def test_notes_name_what_is_not_compared_and_who_is_no_corpus(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    sign(layout, "books|00000", "a", bands=14)
    sign(layout, "news|00000", "b", bands=7)
    said = notes(layout, Partition("books"), Settings(scope="all", preferred_corpora=("news", "boks")))
    assert said == [
        "note: duplicate_clusters books: not compared with news: signed with other settings than books (segment 00000)",
        "note: duplicate_clusters books: preferred_corpora names boks, which is no registered corpus",
    ]
    assert notes(layout, Partition("books"), Settings()) == []


def test_notes_are_said_where_the_committed_clusters_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_PIPES_CONTEXT", raising=False)
    layout, books, given = Layout(str(tmp_path)), Partition("books"), Settings(scope="all")
    sign(layout, "books|00000", "a", bands=14)
    sign(layout, "news|00000", "b", bands=7)
    row = stage("duplicate_clusters")
    mark = fingerprint(row, to_plain(given), inputs_of(layout, "books", "all").fingerprints)
    layout.write_json(f"{layout.partition_dir(row.name, books)}/report.json", {"fingerprint": mark})
    assert run_stage(row, layout, [books], lambda _: given, Reporter())["books"]["is_reused"]
    assert "note: duplicate_clusters books: not compared with news" in capsys.readouterr().err


def test_parts_that_are_not_those_of_the_report_are_refused(tmp_path: Path) -> None:
    layout, partition = Layout(str(tmp_path)), Partition("c", "00000")
    sign(layout, partition.key, "a")
    signed = layout.require_report(SIGNATURES, partition) | {"rows_kept": 3}
    folder = layout.partition_dir(SIGNATURES, partition)
    way_out = "run `gristmill run c --through minhash_signatures --force`"
    with pytest.raises(MissingDataError, match=rf"part-00000\.parquet is not there: {way_out}"):
        numbered(layout, partition, signed, 5)
    layout.write_bytes(f"{folder}/part-00000.parquet", b"")
    segment, following = numbered(layout, partition, signed, 5)
    assert (segment.ordinals, following) == ({"part-00000.parquet": 5}, 6)
    layout.write_bytes(f"{folder}/part-00001.parquet", b"")
    with pytest.raises(MissingDataError, match=rf"part-00001\.parquet is not in its report: {way_out}"):
        numbered(layout, partition, signed, 5)
