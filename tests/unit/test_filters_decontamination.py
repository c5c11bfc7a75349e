"""Evaluation sets in documents: 13 words in a row, whole short items, the set that is named."""

import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from pipelines.decisions import first_failure
from pipelines.filters.decontamination import COLUMNS, DecontaminationSettings, details, rules, score
from pipelines.filters.evaluation_sets import load_index, split_words

QUESTION = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
SHORT = "The quick brown fox jumps over the lazy dog"  # 9 words
TINY = "Paris is in France"


def texts(*values: str | None) -> pa.RecordBatch:
    return pa.record_batch([pa.array(values, pa.string())], names=["text"])


def a_set(path: Path, *items: object) -> str:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return str(path)


@pytest.fixture
def chosen(tmp_path: Path) -> DecontaminationSettings:
    path = a_set(tmp_path / "maths.jsonl", {"question": QUESTION, "id": 7}, {"question": SHORT}, {"choices": [TINY]})
    return DecontaminationSettings(evaluation_sets={"maths": path})


def found(batch: pa.RecordBatch, chosen: DecontaminationSettings) -> list[tuple[int | None, str | None]]:
    scored = score(batch, chosen)
    return list(zip(*(scored.column(name).to_pylist() for name in COLUMNS), strict=True))


def test_a_piece_of_thirteen_words_rejects_and_names_the_set(chosen: DecontaminationSettings) -> None:
    planted = "Homework: " + " ".join(QUESTION.upper().replace(",", " -- ").split()[:14]) + " THE END"
    scored = score(texts(planted), chosen)
    verdict = first_failure(scored, rules(chosen)).to_pylist()[0]
    assert (verdict["reason"], verdict["score"], verdict["threshold"]) == ("contaminated", 1.0, 1.0)
    assert details(scored, chosen) == ["evaluation set maths"]


def test_counts_places_and_takes_no_twelve_words(chosen: DecontaminationSettings) -> None:
    words = QUESTION.split()
    assert found(texts(QUESTION, " ".join(words[:12]), None, ""), chosen) == [
        (len(words) - 12, "maths"),
        (0, None),
        (0, None),
        (0, None),
    ]


def test_a_short_item_counts_as_a_whole_and_a_shorter_one_is_ignored(chosen: DecontaminationSettings) -> None:
    assert found(texts(f"So: {SHORT}!", SHORT[:-4], TINY), chosen) == [(1, "maths"), (0, None), (0, None)]
    index = load_index(chosen.evaluation_sets, (), 13, 8)
    assert (index.items, index.ignored_items) == (3, 1)


def test_a_window_never_spans_two_documents(chosen: DecontaminationSettings) -> None:
    words = QUESTION.split()
    assert found(texts(" ".join(words[:10]), " ".join(words[10:])), chosen) == [(0, None), (0, None)]


def test_long_texts_among_short_ones_keep_their_rows(chosen: DecontaminationSettings) -> None:
    long = "water under the bridge " * 60_000
    rows = texts("x", long + QUESTION, None, long, QUESTION, "y")
    assert [name for _, name in found(rows, chosen)] == [None, "maths", None, None, "maths", None]


def test_ties_go_to_the_first_name_and_most_places_win(tmp_path: Path) -> None:
    both = a_set(tmp_path / "a.jsonl", {"q": QUESTION})
    more = a_set(tmp_path / "c.jsonl", {"q": QUESTION}, {"q": SHORT})
    sets = DecontaminationSettings(evaluation_sets={"b": both, "a": both, "c": more})
    places = len(QUESTION.split()) - 12
    assert found(texts(QUESTION, QUESTION + " " + SHORT), sets) == [(3 * places, "a"), (3 * places + 1, "c")]


def test_every_kind_of_file_and_chosen_fields(tmp_path: Path) -> None:
    lines = tmp_path / "t.txt"
    lines.write_text(f"{QUESTION}\n\n{SHORT}\n")
    packed = tmp_path / "p.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps({"q": QUESTION, "a": SHORT}).encode()))
    table = tmp_path / "x.parquet"
    pq.write_table(pa.table({"q": [QUESTION], "a": [[SHORT]], "n": [1]}), table)
    for path in (lines, packed, table):
        assert load_index({"s": str(path)}, (), 13, 8).items == 2
    for path in (packed, table):
        only = DecontaminationSettings(evaluation_sets={"s": str(path)}, evaluation_fields=("a",))
        assert found(texts(QUESTION, SHORT), only) == [(0, None), (1, "s")]


def test_scripts_without_spaces_are_looked_for_by_character(tmp_path: Path) -> None:
    item = "小明有三個蘋果他吃了一個還剩幾個"
    path = a_set(tmp_path / "z.jsonl", {"q": item})
    chosen = DecontaminationSettings(evaluation_sets={"z": path})
    assert found(texts(f"題目：{item}？", item[:12]), chosen) == [(len(item) - 12, "z"), (0, None)]


def test_nothing_configured_is_null_and_no_rows_have_the_columns(chosen: DecontaminationSettings) -> None:
    assert found(texts(QUESTION), DecontaminationSettings()) == [(None, None)]
    empty = score(texts(), chosen)
    assert [empty.schema.field(name).type for name in COLUMNS] == list(COLUMNS.values())


words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=30)


@given(st.lists(words, min_size=1, max_size=4), st.lists(words, max_size=4))
@settings(max_examples=60, deadline=None)
def test_equals_a_search_word_by_word(tmp_path_factory: pytest.TempPathFactory, items: list, documents: list) -> None:
    path = tmp_path_factory.mktemp("set") / "s.jsonl"
    index = load_index({"s": a_set(path, *({"q": " ".join(item)} for item in items), {"q": "x y"})}, (), 4, 2)
    grams = {tuple(item[i : i + 4]) for item in items for i in range(len(item) - 3)}
    grams |= {tuple(item) for item in items if 2 <= len(item) < 4}
    expected = [sum(tuple(d[i : i + n]) in grams for n in (2, 3, 4) for i in range(len(d) - n + 1)) for d in documents]
    counts = index.find(pa.array([" ".join(d) for d in documents], pa.string()))
    assert [c.total() for c in counts] == expected


@given(st.lists(st.text(max_size=40), max_size=5))
@settings(max_examples=80, deadline=None)
def test_words_come_with_the_row_they_are_from(values: list[str]) -> None:
    clean = [value.encode("utf-8", "ignore").decode() for value in values]
    split, rows = split_words(pa.array(clean, pa.string()))
    assert len(split) == len(rows)
    assert sorted(rows.tolist()) == rows.tolist()
    assert all(re.fullmatch(r"[^\W_]+|.*[^\x00-\x7f].*", word, re.DOTALL) for word in split.to_pylist())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.jsonl", None, "No such file"),
        ("bad.jsonl", b"{nonsense\n", "line 1 is not JSON"),
        ("deep.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("cut.jsonl.gz", gzip.compress(b'{"q": "a b c"}\n' * 1000)[:-10], "can't be read"),
        ("bad.parquet", b"nonsense", "can't be read"),
        ("latin.txt", b"caf\xe9", "can't be read"),
        ("empty.jsonl", b'{"n": 1}\n', "holds no text"),
        ("short.jsonl", b'{"q": "What is it"}\n{"q": ""}\n', "its longest text has 3 words, and those of fewer than 8"),
    ],
    ids=["missing", "not-json", "deep", "cut", "not-parquet", "not-utf8", "no-text", "short"],
)
def test_a_bad_set_is_one_line(name: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=says) as error:
        score(texts("text"), DecontaminationSettings(evaluation_sets={"mine": str(path)}))
    assert "evaluation set mine" in str(error.value)
    assert "\n" not in str(error.value)


def test_one_set_of_short_items_is_found_among_others(chosen: DecontaminationSettings, tmp_path: Path) -> None:
    capitals = a_set(tmp_path / "capitals.jsonl", {"question": TINY})
    both = DecontaminationSettings(evaluation_sets={**chosen.evaluation_sets, "capitals": capitals})
    with pytest.raises(SettingsError, match=r"evaluation set capitals: .* lower min_evaluation_words"):
        score(texts("text"), both)


@pytest.mark.shared
def test_gsm8k_is_found_in_a_page_and_nowhere_else(shared_data: Path) -> None:
    path = shared_data / "instructions" / "gsm8k_train.jsonl.gz"
    chosen = DecontaminationSettings(evaluation_sets={"gsm8k": str(path)})
    with gzip.open(path, "rt") as file:
        question = json.loads(file.readline())["question"]
    page = "An unrelated page about locks and canals. " * 50
    assert found(texts(page, page + question + page), chosen)[0] == (0, None)
    assert found(texts(page + question + page), chosen)[0][1] == "gsm8k"
