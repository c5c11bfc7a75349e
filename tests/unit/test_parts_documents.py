"""Documents that are no pages: a folder of source files or books as a corpus, with the recipe for it."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies
from signals_corpus import LANGUAGE, PARTITION, QUALITY, run_stage

from gristmill.core.layout import Layout
from pipelines.crawl.corpora import add_corpus, load_corpus, recipe_of
from pipelines.crawl.plain_text import as_written
from pipelines.plan import plan
from pipelines.stages import stage

PROGRAM = '''"""Counts words."""

import sys


def count(path):
    words = {}
    for line in open(path):
        for word in line.split():
            words[word] = words.get(word, 0) + 1
    return words


if __name__ == "__main__":
    for word, number in sorted(count(sys.argv[1]).items()):
        print(number, word)
'''


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A small project, with what no corpus of code wants."""
    folder = tmp_path / "project"
    (folder / "lib" / ".git").mkdir(parents=True)
    (folder / "count.py").write_text(PROGRAM)
    (folder / "lib" / "count.c").write_text("int count(int n)\n{\n\treturn n + 1; /* one more than there was */\n}\n")
    (folder / "lib" / "table.js").write_text("var t=[" + ",".join(map(str, range(3000))) + "]")
    (folder / "lib" / "logo.bin").write_bytes(b"\0\1\2" * 50)
    (folder / "lib" / ".git" / "config.py").write_text("x = 1\n")
    return folder


def test_a_folder_of_source_files_is_one_part_of_documents(layout: Layout, sources: Path) -> None:
    add_corpus(layout, "toy", [str(sources)], recipe="code")
    corpus = load_corpus(layout, "toy")
    assert [file.name for file in corpus.files] == ["count.py", "lib/count.c", "lib/table.js"]
    assert {Path(skipped.path).name for skipped in corpus.skipped} == {"logo.bin", "config.py"}
    recipe = recipe_of(layout, "toy")
    assert recipe is not None
    report = run_stage(layout, "extracted_documents", recipe.of("extracted_documents"))
    assert (report["rows_in"], len(report["files"])) == (3, 1)
    part = layout.parts(layout.partition_dir("extracted_documents", PARTITION))[0]
    rows = pq.read_table(part).to_pylist()
    assert [row["warc_file"] for row in rows] == ["count.py", "lib/count.c", "lib/table.js"]
    assert rows[0]["text"] == PROGRAM.rstrip()
    assert "\n\treturn" in rows[1]["text"]
    run_stage(layout, LANGUAGE, recipe.of(LANGUAGE))
    kept = run_stage(layout, QUALITY, recipe.of(QUALITY))
    assert kept["rows_rejected"] == {"gopher_quality.too_few_words": 1}, "the table alone"
    part = layout.parts(layout.partition_dir(QUALITY, PARTITION))[0]
    assert [row["text"] for row in pq.read_table(part).to_pylist()] == [row["text"] for row in rows[:2]], "no edits"


def test_scripts_beside_crawl_files_are_left_out_unless_asked_for(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text("print('fetching')\n")
    (tmp_path / "pages.jsonl").write_text('{"text": "A page."}\n')
    corpus = add_corpus(layout, "mixed", [str(tmp_path)])
    assert [file.name for file in corpus.files] == ["pages.jsonl"]
    assert [skipped.reason for skipped in corpus.skipped] == ["a program beside crawl files; --kind text takes it"]
    assert [file.name for file in add_corpus(layout, "one", [str(tmp_path / "fetch.py")]).files] == ["fetch.py"]


def test_many_small_documents_share_parts(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.plan._FILES_OF_PART", 4)
    folder = tmp_path / "books"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.txt").write_text(f"Book number {number}.\n")
    add_corpus(layout, "toy", [str(folder)], segments=1)
    row = stage("extracted_documents")
    made = plan(layout, row, PARTITION, row.settings_class())
    assert [1 + len(task.also) for task in made.tasks] == [4, 4, 2]
    assert Counter(task.part for task in made.tasks).most_common(1)[0][1] == 1
    report = run_stage(layout, "extracted_documents")
    assert report["rows_kept"] == 10
    assert [file["rows"] for file in report["files"]] == [4, 4, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f():\n    return 1   \n\n\n\n\n\nx = 1\r\n", "def f():\n    return 1\n\n\nx = 1"),
        ("\ufeffA\0 b\x0c\n\n  verse", "A b\n\n\n  verse"),
        (" \n \n", ""),
    ],
    ids=["code", "control", "nothing"],
)
def test_text_is_kept_as_its_author_laid_it_out(text: str, expected: str) -> None:
    assert as_written(text) == expected


@settings(max_examples=60, deadline=None)
@given(strategies.text(alphabet=strategies.sampled_from("ab \t\n\r\0\x0c\u2028\ufeff"), max_size=40))
def test_any_text(text: str) -> None:
    once = as_written(text)
    assert as_written(once) == once
    assert once.split() == text.replace("\0", "").replace("\ufeff", "").split()
