"""The checks fail when they should, and the counting does not believe a report."""

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.checks import (
    documents_are_there,
    loss_fell,
    loss_is_finite,
    losses_of,
    manifests_match,
    reloads,
    rows_add_up,
)
from assets.counts import balance, rows_of
from assets.duplicate_checks import all_are_kept
from assets.personal_data_checks import nothing_drifted, nothing_is_left
from assets.resources import Workers, newest
from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.report.personal_data_rates import Settings
from pipelines.stages import stage

CELL = Partition("books", "00000")


def rows(layout: Layout, folder: str, *counts: int) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for index, count in enumerate(counts):
        pq.write_table(pa.table({"doc_id": ["x"] * count}), f"{folder}/part-{index:05d}.parquet")


def committed(layout: Layout, name: str, partition: Partition, rows_in: int, kept: int, rejected: int) -> None:
    folder = layout.partition_dir(name, partition)
    rows(layout, folder, kept)
    rows(layout, layout.quarantine_dir(name, partition), rejected)
    layout.write_json(f"{folder}/report.json", {"rows_in": rows_in, "rows_kept": kept})


def test_rows_are_counted_in_the_files(layout: Layout) -> None:
    rows(layout, layout.join("a"), 3, 0, 4)
    assert rows_of(layout, layout.join("a")) == 7
    assert rows_of(layout, layout.join("nothing")) == 0


def test_a_row_too_few_or_too_many_is_seen_whatever_the_report_says(layout: Layout) -> None:
    name = "language_filtered_documents"
    rows(layout, layout.partition_dir("extracted_documents", CELL), 5)
    committed(layout, name, CELL, rows_in=5, kept=3, rejected=2)
    assert rows_add_up(layout, name, [CELL]).passed
    for kept in (2, 4):
        committed(layout, name, CELL, rows_in=kept + 2, kept=kept, rejected=2)
        result = rows_add_up(layout, name, [CELL])
        assert not result.passed
        assert f"5 in ≠ {kept} + 2: if files were removed or changed" in str(result.description)
        assert f"run `gristmill run {CELL.corpus} --through {name} --force`" in str(result.description)
    assert balance(layout, stage(name), CELL).rows_in == 5


def test_a_part_that_was_cut_is_named_with_the_way_out(layout: Layout) -> None:
    name = "language_filtered_documents"
    rows(layout, layout.partition_dir("extracted_documents", CELL), 5)
    committed(layout, name, CELL, rows_in=5, kept=3, rejected=2)
    path = Path(layout.parts(layout.partition_dir(name, CELL))[0])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MissingDataError, match=f"{path.name} can't be read .* --through {name} --force"):
        rows_add_up(layout, name, [CELL])


def test_documents_exist(layout: Layout) -> None:
    name = "extracted_documents"
    committed(layout, name, CELL, rows_in=4, kept=0, rejected=4)
    rejected = documents_are_there(layout, name, [CELL])
    assert (rejected.passed, rejected.severity) == (False, dg.AssetCheckSeverity.WARN)
    committed(layout, name, CELL, rows_in=0, kept=0, rejected=0)
    empty = documents_are_there(layout, name, [CELL])
    assert (empty.passed, empty.severity) == (False, dg.AssetCheckSeverity.ERROR)
    committed(layout, name, Partition("books", "00001"), rows_in=1, kept=1, rejected=0)
    assert documents_are_there(layout, name, [CELL]).passed
    assert documents_are_there(layout, name, []).passed


def test_a_partition_without_a_manifest_does_not_match(layout: Layout) -> None:
    result = manifests_match(layout, "token_shards", [CELL])
    assert not result.passed
    assert "manifest.json is missing" in str(result.description)
    assert manifests_match(layout, "token_shards", []).passed


@pytest.mark.parametrize(
    ("first", "last", "is_finite", "has_fallen"),
    [(5.0, 3.0, True, True), (5.0, 5.0, True, False), (5.0, None, False, False), (5.0, float("nan"), False, False)],
)
def test_losses(layout: Layout, first: float, last: float | None, is_finite: bool, has_fallen: bool) -> None:
    report = {"created_at": "2026", "loss_first": first, "loss_last": last}
    layout.write_json(f"{layout.model_dir('pretrained_model', 'abc')}/report.json", report)
    workers = Workers(root=layout.root)
    assert [bool(check(workers).passed) for check in (loss_is_finite, loss_fell)] == [is_finite, has_fallen]
    assert newest(workers.layout, "pretrained_model")[1].keys() >= report.keys()


def test_no_loss_at_all_is_not_finite(layout: Layout) -> None:
    assert losses_of({}) == {}
    layout.write_json(f"{layout.model_dir('pretrained_model', 'abc')}/report.json", {"created_at": "2026"})
    assert not loss_is_finite(Workers(root=layout.root)).passed
    with pytest.raises(dg.Failure, match="lora_adapter is not there"):
        newest(layout, "lora_adapter")


def test_an_adapter_must_come_back_as_it_was() -> None:
    assert reloads({"heldout_loss_last": 2.0, "heldout_loss_reloaded": 2.0001}).passed
    assert not reloads({"heldout_loss_last": 2.0, "heldout_loss_reloaded": 2.1}).passed
    assert not reloads({"heldout_loss_last": 2.0}).passed


def clean(layout: Layout, partition: Partition, texts: list[str], **tally: int) -> None:
    folder = Path(layout.partition_dir("clean_documents", partition))
    folder.mkdir(parents=True)
    ids = [f"{index:032x}" for index in range(len(texts))]
    pq.write_table(pa.table({"doc_id": ids, "text": texts}), folder / "part-00000.parquet")
    report = {"rows_kept": len(texts), "settings": {}, "tally": tally}
    layout.write_json(str(folder / "report.json"), report)


def test_what_was_left_in_is_counted_and_never_shown(layout: Layout) -> None:
    clean(layout, CELL, ["Write to <EMAIL_ADDRESS>.", "Nothing here."])
    assert nothing_is_left(layout, [CELL], Settings()).passed
    leaking = Partition("books", "00001")
    clean(layout, leaking, ["Nothing.", "Write to jane.roe@example.org or john@example.org today."])
    result = nothing_is_left(layout, [CELL, leaking], Settings())
    assert not result.passed
    assert "2 EMAIL_ADDRESS left among 4 documents that were read again, such as in 000" in str(result.description)
    assert "run `gristmill run books --through clean_documents --force`" in str(result.description)
    assert result.metadata["left/email_address"].value == 2  # type: ignore[index]
    assert "example.org" not in str(result)


def test_a_segment_with_far_more_of_a_type_warns(layout: Layout) -> None:
    cells = [Partition("books", f"{index:05d}") for index in range(5)]
    for index, cell in enumerate(cells):
        clean(layout, cell, ["text"] * 100, pii_email_address=200 if index == 4 else 10, pii_total=0)
    result = nothing_drifted(layout, cells, Settings())
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert str(result.description).startswith(
        "books|00004: email_address 2,000.0 per 1,000 documents, usual are 100.0: look at its documents"
    )
    assert result.metadata["highest_per_1000/email_address"].value == 2000  # type: ignore[index]
    assert nothing_drifted(layout, cells[:4], Settings()).passed


def clusters(layout: Layout, corpus: str, *rows: tuple[str, str, str]) -> None:
    """Duplicates of `corpus` as (doc_id, corpus and id of the representative)."""
    folder = Path(layout.partition_dir("duplicate_clusters", Partition(corpus)))
    folder.mkdir(parents=True, exist_ok=True)
    names = ("doc_id", "representative_corpus", "representative_id")
    columns = {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(names)}
    pq.write_table(pa.table(columns), folder / "part-00000.parquet")
    layout.write_json(str(folder / "report.json"), {"settings": {"scope": "all"}})


def test_what_stands_for_a_duplicate_elsewhere_is_not_rejected_there(layout: Layout) -> None:
    books, news = Partition("books"), Partition("news")
    clusters(layout, "books", ("b1", "books", "b2"))
    clusters(layout, "news", ("n1", "books", "b2"), ("n2", "news", "n3"), ("n4", "gone", "g1"))
    result = all_are_kept(layout, [books, news])
    assert result.passed
    assert result.metadata["representatives_elsewhere"].value == 2  # type: ignore[index]
    clusters(layout, "books", ("b2", "news", "n1"))
    result = all_are_kept(layout, [news])
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 documents of books, such as b2, stand for duplicates in news and are rejected" in str(result.description)
    assert "preferred_corpora" in str(result.description)
