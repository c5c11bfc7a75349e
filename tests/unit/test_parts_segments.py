"""Segments that a corpus no longer has are read by nothing."""

from pathlib import Path

from gristmill.core.layout import REPORT_NAME, Layout, Partition
from pipelines.crawl.corpora import add_corpus
from pipelines.segments import live_segments
from pipelines.tokens.sample import choose_partitions


def test_a_corpus_registered_again_with_fewer_segments_leaves_nothing_behind(layout: Layout, tmp_path: Path) -> None:
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    for name in "abc":
        (crawl / f"{name}.txt").write_text("some text\n")
    add_corpus(layout, "books", [str(crawl)], segments=3)
    for corpus, segment in [("books", "00000"), ("books", "00001"), ("books", "00002"), ("byhand", "00007")]:
        folder = layout.partition_dir("clean_documents", Partition(corpus, segment))
        layout.write_json(f"{folder}/{REPORT_NAME}", {"fingerprint": segment})
    assert [p.key for p in live_segments(layout, "clean_documents")] == [
        "books|00000",
        "books|00001",
        "books|00002",
        "byhand|00007",
    ]
    add_corpus(layout, "books", [str(crawl)], segments=1, is_replacing=True)
    assert [p.key for p in live_segments(layout, "clean_documents")] == ["books|00000", "byhand|00007"]
    assert [p.key for p in choose_partitions(layout, ["books"])] == ["books|00000"]
