"""Settings of a corpus's own: chosen when it is registered, stored with it, and in force before the settings file."""

import json
from pathlib import Path

import pytest

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout
from pipelines.crawl.corpora import add_corpus, list_corpora, load_corpus
from pipelines.recipes import built_in, load_recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    crawl = tmp_path / "crawl"
    crawl.mkdir()
    (crawl / "a.txt").write_text("A text.\n")
    return crawl


def test_every_built_in_recipe_fits_the_stages() -> None:
    assert {"code", "documents"} <= set(built_in())
    for name in built_in():
        recipe = load_recipe(name)
        assert recipe is not None
        assert recipe.name == name
        assert recipe.sections


def test_a_recipe_is_stored_with_the_registration(layout: Layout, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("language_filtered_documents:\n  languages: [de]\n")
    corpus = add_corpus(layout, "books", [str(folder)], recipe=str(file))
    file.unlink()
    loaded = load_corpus(layout, "books")
    assert loaded == corpus
    assert loaded.recipe is not None
    assert (loaded.recipe.name, loaded.recipe.of("language_filtered_documents")) == ("mine", {"languages": ["de"]})
    assert loaded.recipe.of("quality_filtered_documents") == {}


def test_the_same_files_keep_their_recipe_change_it_or_lose_it(layout: Layout, folder: Path) -> None:
    add_corpus(layout, "books", [str(folder)], recipe="documents")
    names = []
    for recipe in (None, "code", "none"):
        add_corpus(layout, "books", [str(folder)], recipe=recipe)
        stored = load_corpus(layout, "books").recipe
        names.append(stored.name if stored else None)
    assert names == ["documents", "code", None]


def test_an_older_registration_still_loads(layout: Layout, folder: Path) -> None:
    add_corpus(layout, "books", [str(folder)])
    path = Path(layout.corpus_path("books"))
    value = json.loads(path.read_text())
    del value["recipe"]
    path.write_text(json.dumps(value))
    assert [corpus.recipe for corpus in list_corpora(layout)] == [None]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("quality_filtered_documents: {min_word: 3}", "section quality_filtered_documents: unknown setting 'min_word'"),
        ("tokenizer: {vocabulary_size: 300}", "section 'tokenizer' can't be set for one corpus"),
        ("quality: {min_words: 3}", "unknown section 'quality'"),
        ("a: [", "is not valid YAML"),
        ("# nothing yet\n", "mine.yaml says nothing"),
        ("clean_documents: {}\nclean_documents: {}\n", "'clean_documents' is given twice, in lines 1 and 2"),
    ],
    ids=["setting", "section", "name", "yaml", "empty", "twice"],
)
def test_a_wrong_recipe_is_one_line_and_nothing_registered(
    layout: Layout, folder: Path, tmp_path: Path, content: str, line: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError) as caught:
        add_corpus(layout, "books", [str(folder)], recipe=str(file))
    assert line in str(caught.value)
    assert list_corpora(layout) == []


def test_an_unknown_recipe_names_those_there_are(layout: Layout, folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"--recipe cod is neither .* code, documents"):
        add_corpus(layout, "books", [str(folder)], recipe="cod")
