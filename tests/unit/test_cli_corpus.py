"""What `gristmill corpus add` says: numbers with their nouns, and what another recipe will cost."""

from pathlib import Path

import pytest
from signals_corpus import LANGUAGE, QUALITY, register, run_stage, texts, write_extracted
from typer.testing import CliRunner

from gristmill.cli import corpus
from gristmill.cli.main import app
from gristmill.core.layout import Layout


@pytest.fixture(autouse=True)
def _no_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions are offered to Dagster elsewhere."""
    monkeypatch.setattr(corpus, "offer_partitions", lambda *_: None)


def add(layout: Layout, *arguments: str) -> str:
    printed = CliRunner().invoke(app, ["corpus", "add", *arguments, "--home", layout.root])
    assert printed.exit_code == 0, printed.output
    return " ".join(printed.output.split())


def test_one_is_one(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.\n")
    said = add(layout, "books", str(tmp_path / "a.txt"), "--segments", "2")
    assert "books: 1 file, 11 B, 1 segment " in said
    assert "2 segments were asked for; a file is the least that a segment can have" in said
    (tmp_path / "b.txt").write_text("Some more text.\n")
    both = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
    assert "more: 2 files, 27 B, 2 segments " in add(layout, "more", *both, "--segments", "2")
    assert "asked for" not in add(layout, "books", str(tmp_path / "a.txt"))


def test_another_recipe_says_what_is_done_again(layout: Layout, tmp_path: Path) -> None:
    register(layout, tmp_path / "crawl")
    again = ("toy", str(tmp_path / "crawl"), "--recipe")
    said = add(layout, *again, "gopher")
    assert "recipe: was none, is gopher" in said
    assert "again" not in said, "nothing has been run yet"
    write_extracted(layout, [texts(5)])
    for name in (LANGUAGE, QUALITY):
        run_stage(layout, name)
    said = add(layout, *again, "documents")
    assert "recipe: was gopher, is documents" in said
    assert "language_filtered_documents will be decided again from its signals, and what is made of it: thr" in said
    assert "quality_filtered_documents will be decided again from its signals" in said
    said = add(layout, *again, "none")
    assert "recipe: was documents, is none" in said
    assert "quality_filtered_documents will be decided again from its signals, and what is made of it: " in said
    assert "is_editing_lines" in said
    assert "recipe" not in add(layout, *again[:2])


def test_a_recipe_file_whose_content_changed(layout: Layout, tmp_path: Path) -> None:
    register(layout, tmp_path / "crawl")
    ours = tmp_path / "ours.yaml"
    for threshold in (0.5, 0.6):
        ours.write_text(f"language_filtered_documents: {{threshold: {threshold}}}\n")
        said = add(layout, "toy", str(tmp_path / "crawl"), "--recipe", str(ours))
    assert "recipe: was ours, is ours of other content" in said
    write_extracted(layout, [texts(5)])
    run_stage(layout, LANGUAGE, {"threshold": 0.6})
    ours.write_text("language_filtered_documents: {prefix_characters: 500}\n")
    said = add(layout, "toy", str(tmp_path / "crawl"), "--recipe", str(ours))
    assert "language_filtered_documents will be run again, and what is made of it: threshold, prefix_characters" in said
