"""A classifier of good and bad documents: trained here, equal however documents are cut, and what its limits mean."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.decisions import first_failure
from pipelines.filters import classifier
from pipelines.filters.classifier import COLUMNS, ClassifierSettings, cleaned, rules, score, threshold_of
from pipelines.filters.classifier_training import STAGE, Settings, roc_auc, run

GOOD = "The canal was dug in the century before, and its locks still lift boats of eighty tonnes. "
BAD = "BUY NOW cheap watches !!! click here free shipping best price discount "
ASSET = "language_filtered_documents"


def write(layout: Layout, corpus: str, texts: list[str], parts: int, *, is_reversed: bool = False) -> None:
    """A committed segment of `texts`, in so many parts."""
    rows = [{"doc_id": f"{corpus}-{i}", "text": text} for i, text in enumerate(texts)]
    rows = rows[::-1] if is_reversed else rows
    folder = layout.partition_dir(ASSET, Partition(corpus, "00000"))
    layout.fs.makedirs(folder, exist_ok=True)
    for part in range(parts):
        pq.write_table(pa.Table.from_pylist(rows[part::parts]), f"{folder}/part-{part:05}.parquet")
    layout.write_json(f"{folder}/report.json", {"fingerprint": f"{corpus} {parts}"})


def corpora(root: Path, parts: int = 1, *, is_reversed: bool = False) -> Layout:
    layout = Layout(root)
    write(layout, "books", [f"{GOOD}Chapter {i}." for i in range(60)], parts, is_reversed=is_reversed)
    write(layout, "crawl", [f"{BAD}{i} __label__good </s> !" for i in range(80)], parts, is_reversed=is_reversed)
    return layout


CHOSEN = Settings(good=("books",), bad=("crawl",), hash_buckets=1_000, dimensions=8, fewest_updates=5_000)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(corpora(tmp_path_factory.mktemp("home")), CHOSEN, Reporter())


def texts(*values: str | None) -> pa.RecordBatch:
    return pa.record_batch([pa.array(values, pa.string())], names=["text"])


def test_it_tells_held_out_documents_apart(trained: dict[str, Any]) -> None:
    assert trained["epochs"] == 47  # 5,000 updates with 108 documents
    assert trained["measures"] == {"accuracy": 1.0, "roc_auc": 1.0}
    assert trained["documents"] == {"good": 60, "bad": 60, "held_out": 12}
    assert Path(trained["classifier_path"]).parent.name == trained["version"]


def test_a_low_score_rejects(trained: dict[str, Any]) -> None:
    chosen = ClassifierSettings(classifier_path=trained["classifier_path"], classifier_threshold=0.5)
    scored = score(texts(GOOD, BAD, "", None), chosen)
    assert first_failure(scored, rules(chosen)).column("reason").to_pylist() == [
        None,
        "classifier.low_score",
        None,
        None,
    ]
    assert scored.column("classifier_score").null_count == 2
    assert classifier.files(chosen) == (
        trained["classifier_path"],
        str(Path(trained["classifier_path"]).with_name("percentiles.json")),
    )


def test_the_same_documents_give_the_same_bytes_however_they_are_cut(trained: dict[str, Any], tmp_path: Path) -> None:
    again = run(corpora(tmp_path, 3, is_reversed=True), CHOSEN, Reporter())
    assert again["version"] == trained["version"]
    assert again["fingerprint"] != trained["fingerprint"]


def test_a_second_run_chooses_the_first_again(tmp_path: Path) -> None:
    layout = corpora(tmp_path)
    first = run(layout, CHOSEN, Reporter())
    assert run(layout, CHOSEN, Reporter())["is_reused"]
    latest = layout.latest(layout.join(STAGE))
    assert latest is not None
    assert latest[0] == first["version"]


def test_a_large_model_is_quantised_and_still_scores(tmp_path: Path, trained: dict[str, Any]) -> None:
    # Of 5,000 buckets in 8 float32 each, 160 kB: quantising takes time with the buckets.
    small = dataclasses.replace(CHOSEN, hash_buckets=5_000, max_model_mb=0.1)
    report = run(corpora(tmp_path), small, Reporter())
    assert report["is_quantised"]
    assert report["bytes"] < 100_000
    good, bad = (
        score(texts(GOOD, BAD), ClassifierSettings(report["classifier_path"])).column("classifier_score").to_pylist()
    )
    assert good > bad


def test_a_share_to_keep_is_read_from_the_percentiles(tmp_path: Path, trained: dict[str, Any]) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(Path(trained["classifier_path"]).read_bytes())
    (tmp_path / "percentiles.json").write_text(json.dumps({"bad_scores": [i / 1000 for i in range(1001)]}))
    assert threshold_of(str(model), 0.1) == pytest.approx(0.9)
    (rule,) = rules(ClassifierSettings(str(model), classifier_keep_top=0.25))
    assert rule.threshold == pytest.approx(0.75)


def test_not_configured_is_null_and_no_rows_have_the_column(trained: dict[str, Any]) -> None:
    assert score(texts("text"), ClassifierSettings()).column("classifier_score").to_pylist() == [None]
    assert rules(ClassifierSettings()) == ()
    empty = score(texts(), ClassifierSettings(trained["classifier_path"]))
    assert [empty.schema.field(name).type for name in COLUMNS] == list(COLUMNS.values())


def test_text_cannot_name_a_label_or_end_its_line() -> None:
    assert cleaned("A\n\tB __label__good __LABEL__bad </s> c") == "a b good bad c"


def test_roc_auc_is_the_share_of_pairs_in_order() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.9])
    assert roc_auc(scores, np.array([False, False, True, True])) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("content", [None, b"nonsense", b""], ids=["missing", "garbage", "empty"])
def test_a_bad_model_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="classifier_path is") as error:
        score(texts("text"), ClassifierSettings(str(path)))
    assert "\n" not in str(error.value)


def test_a_share_without_percentiles_is_one_line(tmp_path: Path) -> None:
    for content in (None, "{}", '{"bad_scores": [2, 1]}', "[]"):
        if content is not None:
            (tmp_path / "percentiles.json").write_text(content)
        with pytest.raises(SettingsError, match="classifier_keep_top needs"):
            threshold_of(str(tmp_path / "model.bin"), 0.1)


def test_missing_and_tiny_corpora_are_one_line(tmp_path: Path) -> None:
    layout = corpora(tmp_path)
    write(layout, "tiny", ["one"], 1)
    with pytest.raises(SettingsError, match="name corpora as `good` and as `bad`"):
        run(layout, Settings(), Reporter())
    with pytest.raises(MissingDataError, match="of papers, which quality_classifier has as good"):
        run(layout, Settings(good=("papers",), bad=("crawl",)), Reporter())
    with pytest.raises(MissingDataError, match="the good corpora of quality_classifier have 1 documents"):
        run(layout, Settings(good=("tiny",), bad=("crawl",)), Reporter())


def test_a_model_of_other_labels_is_taken_by_its_label(tmp_path: Path) -> None:
    import fasttext

    lines = ["__label__hq the river rises in the hills", "__label__cc buy now click here free"] * 50
    (tmp_path / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    model = fasttext.train_supervised(str(tmp_path / "train.txt"), thread=1, epoch=20, verbose=0, dim=4)
    model.save_model(str(tmp_path / "m.bin"))
    path = str(tmp_path / "m.bin")
    batch = pa.record_batch({"text": ["the river rises in the hills", "buy now click here free"]})
    scored = classifier.score(batch, ClassifierSettings(classifier_path=path, classifier_label="hq"))
    good, bad = scored.column("classifier_score").to_pylist()
    assert good > 0.9 > 0.1 > bad
    with pytest.raises(SettingsError, match=r"labels cc, hq.*classifier_label"):
        classifier.score(batch, ClassifierSettings(classifier_path=path))
