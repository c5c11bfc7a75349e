"""The recipes of published data sets: they load, and give the reference's verdicts (datatrove 0.10.1)."""

import base64
import gzip
import hashlib
import json
import random
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


def verdicts_of(name: str, *texts: str) -> list[str | None]:
    """What a recipe's quality stage says of texts: the reason, None for kept."""
    chosen = recipe_settings(name)
    scored = quality.score(batch_of([{"text": text} for text in texts]), chosen)
    return quality.decide(scored, chosen).column("reason").to_pylist()


def test_code_is_kept_and_what_only_looks_like_it_is_not() -> None:
    ours = Path(quality.__file__).read_text(encoding="utf-8")
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text(encoding="utf-8")
    c_like = """#include <stdio.h>

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        printf("%d: %s\\n", i, argv[i]);
    }
    return 0;
}
"""
    settings = "server:\n  - host: 127.0.0.1\n    port: 8080\n  - host: 127.0.0.2\n    port: 8081\nlog: {level: info}\n"
    assert verdicts_of("code", ours, makefile, c_like, settings) == [None] * 4
    assert set(verdicts_of("fineweb", makefile, c_like, settings)).isdisjoint({None}), "which is why there is a recipe"

    data = random.Random(1).randbytes(30_000)
    encoded, dump = base64.encodebytes(data).decode(), "\n".join(data[at : at + 32].hex() for at in range(0, 9_600, 32))
    generated = "static const int zero = 0 ; /* generated */\n" * 300
    assert verdicts_of("code", encoded, dump, table_of_numbers(), generated, "x = 1\n") == [
        "gopher_quality.long_words",
        "gopher_quality.long_words",
        "gopher_quality.alphabetic_words",
        "gopher_repetition.duplicate_lines",
        "gopher_quality.too_few_words",
    ]


def test_documents_are_kept_and_scraps_are_not() -> None:
    order = random.Random(5)
    words = ["the", "of", "and", "to", "that", "had"] * 5
    words += [
        "".join(order.choices(("ri", "ver", "ma", "len", "to", "ska"), k=order.randint(1, 4))) for _ in range(300)
    ]

    def prose(sentences: int) -> str:
        return " ".join(" ".join(order.choices(words, k=14)).capitalize() + "." for _ in range(sentences))

    novel = "\n\n".join(prose(12) for _ in range(700))
    contents = "\n".join(f"Chapter {n}: {prose(1)[:40]} ....." for n in range(20))
    play = "\n".join(f"{order.choice(['HAMLET.', 'OPHELIA.', 'HORATIO.'])}\n{prose(1)}" for _ in range(60))
    paper = "\n".join(f"{prose(1)} x_{n} = {n} + {order.randrange(99)} ({n})" for n in range(40))
    manual = "\n".join((contents, *(prose(2) for _ in range(30))))
    kept = [novel, manual, play, paper]
    assert len(novel.split()) > 100_000
    assert verdicts_of("documents", *kept) == [None] * 4
    assert verdicts_of("gopher", novel) == ["gopher_quality.too_many_words"]
    assert verdicts_of("gopher", play)[0] == "gopher_repetition.duplicate_lines"
    assert verdicts_of("documents", prose(3), f"{prose(1)}\n" * 30, table_of_numbers()) == [
        "gopher_quality.too_few_words",
        "gopher_repetition.duplicate_lines",
        "gopher_quality.alphabetic_words",
    ]


def table_of_numbers() -> str:
    """Numbers in lines, none like another."""
    order = random.Random(2)
    return "\n".join(" ".join(str(order.randrange(100, 99_999)) for _ in range(9)) for _ in range(40))
