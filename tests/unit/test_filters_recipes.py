"""The recipes of published data sets: they load, and give the reference's verdicts (datatrove 0.10.1)."""

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.core.settings import build
from pipelines.filters import quality
from pipelines.filters.quality import Settings
from pipelines.recipes import load_recipe

_OUR_NAMES = {
    "dup_para_frac": "duplicate_paragraphs",
    "dup_para_char_frac": "duplicate_paragraph_characters",
    "dup_line_frac": "duplicate_lines",
    "dup_line_char_frac": "duplicate_line_characters",
    "gopher_short_doc": "too_few_words",
    "gopher_long_doc": "too_many_words",
    "gopher_below_avg_threshold": "short_words",
    "gopher_above_avg_threshold": "long_words",
    "gopher_too_many_hashes": "hashes",
    "gopher_too_many_ellipsis": "ellipses",
    "gopher_too_many_bullets": "bullet_lines",
    "gopher_too_many_end_ellipsis": "ellipsis_lines",
    "gopher_below_alpha_threshold": "alphabetic_words",
    "gopher_enough_stop_words": "stop_words",
    "line_punct_ratio": "punctuated_lines",
    "short_line_ratio": "short_lines",
    "char_dup_ratio": "duplicate_line_characters",
    "list_ratio": "line_breaks",
} | {f"duplicated_{n}_n_grams": f"duplicate_{n}_grams" for n in range(5, 11)}


def recipe_settings(name: str) -> Settings:
    recipe = load_recipe(name)
    assert recipe is not None
    return build(Settings, recipe.of("quality_filtered_documents"), name)


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> list[dict[str, Any]]:
    with gzip.open(shared_data / "golden" / "datatrove-0.10.1.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array([row["text"] for row in rows], pa.large_string())})


def reference(row: dict[str, Any], filter_name: str, family: str) -> str | None:
    is_kept, why = row["verdict"][filter_name]
    return None if is_kept else f"{family}.{_OUR_NAMES.get(why, why)}"


@pytest.mark.parametrize("name", ["gopher", "c4", "fineweb", "refinedweb"])
def test_recipe_loads(name: str) -> None:
    assert recipe_settings(name).families
    if name == "fineweb":
        assert recipe_settings(name) == Settings()


@pytest.mark.shared
def test_gopher(golden: list[dict[str, Any]]) -> None:
    for name in ("gopher", "refinedweb"):
        chosen = recipe_settings(name)
        reasons = quality.decide(quality.score(batch_of(golden), chosen), chosen).column("reason").to_pylist()
        assert reasons == [
            reference(row, "gopher_rep", "gopher_repetition") or reference(row, "gopher_quality", "gopher_quality")
            for row in golden
        ]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "filter_name"), [("c4", "c4_default"), ("fineweb", "c4_fineweb")])
def test_c4_verdicts_and_text(golden: list[dict[str, Any]], name: str, filter_name: str) -> None:
    chosen = replace(recipe_settings(name), families=("c4",))
    scored = quality.score(batch_of(golden), chosen)
    verdict = quality.decide(scored, chosen)
    assert verdict.column("reason").to_pylist() == [reference(row, filter_name, "c4") for row in golden]
    texts = quality.edit(scored, chosen).column("text").to_pylist()
    for row, text in zip(golden, texts, strict=True):
        expected = row["c4_text_sha1"].get(filter_name)  # of kept documents
        assert expected in (None, hashlib.sha1(text.encode()).hexdigest())


@pytest.mark.shared
def test_fineweb_in_its_order(golden: list[dict[str, Any]]) -> None:
    chosen = recipe_settings("fineweb")
    scored = quality.score(batch_of(golden), chosen)
    reasons = quality.decide(scored, chosen).column("reason").to_pylist()
    before = [
        reference(row, "gopher_rep", "gopher_repetition")
        or reference(row, "gopher_quality", "gopher_quality")
        or reference(row, "c4_fineweb", "c4")
        for row in golden
    ]
    assert [why if why and not why.startswith("fineweb") else None for why in reasons] == before
    # FineWeb's verdicts in the file are on the original text: they hold where C4 changes nothing,
    # and everywhere when C4 is not to edit.
    edited = quality.edit(scored, chosen).column("text").to_pylist()
    for row, why, earlier, text in zip(golden, reasons, before, edited, strict=True):
        if earlier is None and text == row["text"]:
            assert why == reference(row, "fineweb", "fineweb")
    alone = replace(chosen, families=("fineweb",), is_editing_lines=False)
    verdict = quality.decide(quality.score(batch_of(golden), alone), alone)
    assert verdict.column("reason").to_pylist() == [reference(row, "fineweb", "fineweb") for row in golden]
