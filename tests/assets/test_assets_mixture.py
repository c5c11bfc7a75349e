"""The checks of training_mixture and what the UI shows of it, on a mixture of hand-made shards."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.metadata import report_metadata
from assets.mixture_checks import matches_shards, repeats_little
from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.tokens import mixture


def write_segment(layout: Layout, corpus: str, sequences: int) -> Path:
    """A committed segment of token_shards; its files have the right sizes, and nobody looks further."""
    folder = Path(layout.partition_dir("token_shards", Partition(corpus, "00000")))
    folder.mkdir(parents=True)
    splits: dict[str, Any] = {}
    for split, rows in (("train", sequences), ("heldout", 1)):
        names = (f"shard-{split}-00000.arrow", f"spans-{split}-00000.parquet")
        for name in names:
            (folder / name).write_bytes(b"x" * 64 * rows)
        files = [{"name": name, "bytes": 64 * rows, "sha256": f"{corpus}{split}"} for name in names]
        shard = {**files[0], "sequences": rows, "tokens": 32 * rows, "spans": {**files[1], "rows": rows}}
        splits[split] = {"shards": [shard], "sequences": rows, "tokens": 32 * rows}
    facts = {"tokenizer_version": "t", "sequence_length": 32, "dtype": "uint16", "eot_id": 0, "pad_id": 1}
    layout.write_json(str(folder / "manifest.json"), {"format_version": 1, **facts, "splits": splits})
    layout.write_json(str(folder / "report.json"), {"fingerprint": f"{corpus} {sequences}"})
    return folder


@pytest.fixture
def mixed(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "home")
    write_segment(layout, "a", 100)
    write_segment(layout, "b", 10)
    mixture.run(layout, mixture.Settings(corpora={"a": {}, "b": {"epochs": 5}}), Reporter())
    return layout


def edit(layout: Layout, change: Any) -> None:
    path = layout.join("training_mixture", "mixture.json")
    found = layout.read_json(path)
    assert found is not None
    change(found)
    layout.write_json(path, found)


def test_what_adds_up_passes(mixed: Layout) -> None:
    found = matches_shards(mixed)
    assert found.passed
    assert found.description == "2 sources add up, 4 shards are there"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda m: m["corpora"][0].update(proportion=0.5), "the proportions add up to"),
        (lambda m: m["corpora"][0].update(token_proportion=0.5), "the token_proportions add up to"),
        (lambda m: m["corpora"][1].update(draws=7), "the draws add up to 107, the pass has 150 sequences"),
        (lambda m: m["corpora"][1].update(sequences=11), "b has 11 sequences, its shards hold 10"),
        (lambda m: m["shards"][0].update(sha256="other"), "is not there as the mixture has it"),
        (lambda m: m.pop("sequences_per_pass"), "no mixture of this version"),
    ],
)
def test_what_does_not_add_up_fails(mixed: Layout, change: Any, line: str) -> None:
    edit(mixed, change)
    found = matches_shards(mixed)
    assert not found.passed
    assert line in (found.description or "")


def test_shards_that_changed_since_fail(mixed: Layout) -> None:
    folder = Path(mixed.partition_dir("token_shards", Partition("b", "00000")))
    edit(mixed, lambda m: m["shards"].pop(0))
    assert "is new since the mixture was made" in (matches_shards(mixed).description or "")
    (folder / "shard-train-00000.arrow").write_bytes(b"short")
    from assets.mixture_checks import mixture_matches_shards
    from assets.resources import Workers

    found = mixture_matches_shards(workers=Workers(root=mixed.root))
    assert isinstance(found, dg.AssetCheckResult)
    assert not found.passed
    assert "shard-train-00000.arrow, 5 bytes" in (found.description or "")


def test_repetition_is_a_warning(mixed: Layout) -> None:
    found = repeats_little(mixed)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert (found.description or "").startswith("b 5 times in one pass, above 4")
    mixture.run(mixed, mixture.Settings(corpora={"a": {}, "b": {"epochs": 4}}), Reporter())
    assert repeats_little(mixed).passed


def test_the_ui_shows_the_table_and_a_picture(mixed: Layout) -> None:
    report = mixed.read_json(mixed.join("training_mixture", "report.json"))
    assert report is not None
    found = report_metadata(report, "folder")
    assert "| b | 33.33% | 5.00 | 320 | 1,600 | 50 | 640 B |" in found["table"].value
    assert found["mixture"].value.startswith("![mixture](data:image/png;base64,")
    assert found["epochs/b"] == 5
    assert found["sequences_per_pass"] == 150
    assert "b is read 5 times" in found["warnings"].value
    json.dumps(report)
