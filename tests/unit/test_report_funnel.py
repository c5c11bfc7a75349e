"""The funnel, its plots and its page, over reports written by hand."""

from typing import Any

import pytest

from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout, Partition
from pipelines.crawl.corpora import add_corpus
from pipelines.report.corpus_report import personal_data, token_counts, write_corpus_report
from pipelines.report.funnel import compute_funnel
from pipelines.report.plots import funnel_plot, language_plot, loss_plot

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def corpus(layout: Layout, tmp_path: Any) -> str:
    """Two registered segments with nothing done yet."""
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    for name in ("a.txt", "b.txt"):
        (crawl / name).write_text(f"A text called {name}.\n")
    add_corpus(layout, "books", [str(crawl)], segments=2)
    return "books"


def commit(layout: Layout, stage: str, segment: str, rows_in: int, rejected: dict[str, int], **more: Any) -> None:
    report = {
        "rows_in": rows_in,
        "rows_kept": rows_in - sum(rejected.values()),
        "rows_rejected": rejected,
        "tally": {},
        "text_bytes_in": 10 * rows_in,
        "text_bytes_out": 9 * rows_in,
        "bytes": 5 * rows_in,
        "cpu_seconds": 0.5,
        "fingerprint": f"{stage}-{segment}",
        "inputs": {},
    } | more
    layout.write_json(f"{layout.partition_dir(stage, Partition('books', segment))}/report.json", report)


def test_nothing_is_done_yet(layout: Layout, corpus: str) -> None:
    funnel = compute_funnel(layout, corpus)
    assert funnel.documents_read == funnel.documents_kept == 0
    assert all(row.segments_missing == ("00000", "00001") for row in funnel.stages)
    assert funnel_plot(funnel).startswith(PNG_MAGIC)


def test_segments_add_up(layout: Layout, corpus: str) -> None:
    commit(layout, "extracted_documents", "00000", 10, {"broken_gzip": 1})
    commit(layout, "extracted_documents", "00001", 20, {"empty_text": 3, "broken_gzip": 1})
    row = compute_funnel(layout, corpus).stage("extracted_documents")
    assert (row.documents_in, row.documents_kept, row.documents_rejected) == (30, 25, 5)
    assert list(row.reasons.items()) == [("empty_text", 3), ("broken_gzip", 2)]
    assert row.is_balanced
    assert row.is_complete
    assert row.text_bytes_kept == 270


def test_a_partial_chain_says_what_is_missing(layout: Layout, corpus: str) -> None:
    commit(layout, "extracted_documents", "00001", 20, {})
    funnel = compute_funnel(layout, corpus)
    assert funnel.stage("extracted_documents").segments_missing == ("00000",)
    assert not funnel.stage("extracted_documents").is_complete
    assert funnel.documents_kept == 20


def test_a_segment_made_from_other_crawl_files_is_out_of_date(layout: Layout, corpus: str) -> None:
    commit(layout, "extracted_documents", "00000", 10, {}, inputs={"file gone.warc.gz": "old"})
    assert compute_funnel(layout, corpus).stage("extracted_documents").segments_stale == ("00000",)


def test_a_segment_made_from_replaced_input_is_out_of_date(layout: Layout, corpus: str) -> None:
    commit(layout, "extracted_documents", "00000", 10, {}, fingerprint="new")
    commit(layout, "language_filtered_documents", "00000", 10, {}, inputs={"extracted_documents": "old"})
    commit(layout, "extracted_documents", "00001", 10, {}, fingerprint="same")
    commit(layout, "language_filtered_documents", "00001", 10, {}, inputs={"extracted_documents": "same"})
    assert compute_funnel(layout, corpus).stage("language_filtered_documents").segments_stale == ("00000",)


def test_sums_that_do_not_add_up_are_told(layout: Layout, corpus: str) -> None:
    commit(layout, "extracted_documents", "00000", 10, {}, rows_kept=9)
    funnel = compute_funnel(layout, corpus)
    assert not funnel.stage("extracted_documents").is_balanced
    assert funnel.to_plain()["stages"][0]["is_balanced"] is False


def test_only_some_segments(layout: Layout, corpus: str) -> None:
    commit(layout, "extracted_documents", "00000", 10, {})
    commit(layout, "extracted_documents", "00001", 20, {})
    assert compute_funnel(layout, corpus, ["00001"]).documents_read == 20


def test_an_unknown_corpus_is_the_users_to_mend(layout: Layout) -> None:
    with pytest.raises(CorpusError, match="gristmill corpus add"):
        compute_funnel(layout, "nowhere")


def test_the_page_escapes_what_comes_from_outside(layout: Layout, corpus: str) -> None:
    commit(layout, "extracted_documents", "00000", 10, {"<script>alert(1)</script>": 2})
    report = write_corpus_report(layout)
    page = layout.fs.cat_file(layout.join("corpus_report", "index.html")).decode()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert "data:image/png;base64," in page
    assert report["corpora"][0]["funnel"]["documents_kept"] == 8
    assert layout.read_json(layout.join("corpus_report", "report.json")) is not None


def test_a_page_without_any_corpus(layout: Layout) -> None:
    assert write_corpus_report(layout)["corpora"] == []


def test_personal_data_and_tokens(layout: Layout, corpus: str) -> None:
    commit(
        layout, "clean_documents", "00000", 5, {}, tally={"pii_email_address": 3, "pii_iban_code": 0, "pii_total": 3}
    )
    commit(layout, "token_shards", "00000", 5, {})
    folder = layout.partition_dir("token_shards", Partition("books", "00000"))
    splits = {"train": {"sequences": 4, "tokens": 1024}, "heldout": {"sequences": 1, "tokens": 256}}
    layout.write_json(f"{folder}/manifest.json", {"splits": splits})
    funnel = compute_funnel(layout, corpus)
    assert personal_data(funnel) == {"email_address": 3}
    assert token_counts(layout, funnel) == [
        {"split": "train", "sequences": 4, "tokens": 1024},
        {"split": "heldout", "sequences": 1, "tokens": 256},
    ]


def test_plots_are_pictures() -> None:
    assert language_plot({}, "none").startswith(PNG_MAGIC)
    assert language_plot({f"l{i}": i for i in range(40)}, "many").startswith(PNG_MAGIC)
    assert loss_plot([], [], "empty").startswith(PNG_MAGIC)
    assert loss_plot([(0, 5.0), (10, 4.0)], [(10, 4.2)], "two").startswith(PNG_MAGIC)
