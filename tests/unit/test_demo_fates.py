import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from gristmill.demo.fates import Rejection, evaluate, is_right, read_manifest, word_overlap
from pipelines.schema import QUARANTINE_SCHEMA

PARTITION = Partition("demo", "00000")


def page(offset, **facts):
    row = {"warc_file": "a.warc.gz", "warc_offset": offset, "fate": "kept", "stage": None, "stages": [], "reasons": []}
    return row | {"cluster": None, "pii": [], "main_text": "one two three"} | facts


def goes(offset, stages, reasons):
    return page(offset, fate="rejected", stage=stages[0], stages=stages, reasons=reasons)


def write(layout, asset, kept, rejected):
    folder, quarantine = layout.partition_dir(asset, PARTITION), layout.quarantine_dir(asset, PARTITION)
    for path in (folder, quarantine):
        layout.fs.makedirs(path)
    pq.write_table(pa.Table.from_pylist(kept), f"{folder}/part-0.parquet")
    rows = [{"warc_file": "sub/a.warc.gz", "warc_offset": o, "stage": asset, "reason": r} for o, r in rejected]
    pq.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), f"{quarantine}/part-0.parquet")
    layout.write_json(f"{folder}/report.json", {})


def documents(*offsets, text="one two three", **columns):
    return [{"warc_file": "sub/a.warc.gz", "warc_offset": o, "text": text} | columns for o in offsets]


@pytest.fixture
def manifest(tmp_path):
    extraction, language, quality = "extracted_documents", "language_filtered_documents", "quality_filtered_documents"
    pages = [
        page(1),
        page(2, pii=[{"type": "EMAIL_ADDRESS", "value": "a@b.org"}, {"type": "IP_ADDRESS", "value": "9.8.7.6"}]),
        goes(3, [extraction], ["broken_"]),
        goes(4, [language], []),
        goes(5, [quality, language], ["gopher_", "language"]),
        *(page(o, fate="one of cluster", stage="deduplicated_documents", cluster=7) for o in (6, 7, 8)),
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(p) + "\n" for p in pages))
    return path


def by_stage(layout, manifest):
    return {s.stage: s for s in evaluate(layout, "demo", manifest)}


def test_scores_count_what_is_right_wrong_and_missed(tmp_path, manifest):
    layout = Layout(tmp_path / "home")
    write(layout, "extracted_documents", documents(1, 2, 4, 5, 6, 7, 8), [(3, "broken_gzip"), (99, "broken_gzip")])
    write(layout, "language_filtered_documents", [], [(5, "language_score"), (1, "language")])
    write(layout, "quality_filtered_documents", [], [])
    write(layout, "deduplicated_documents", [], [(6, "exact_duplicate"), (7, "near_duplicate"), (8, "near_duplicate")])
    counts = {"pii_email_address": 1, "pii_ip_address": 0, "pii_total": 2}
    write(layout, "clean_documents", documents(2, text="mail <EMAIL>, from 9.8.7.6", **counts), [])
    scores = by_stage(layout, manifest)
    found = {name: (s.expected, s.found, s.true_positive) for name, s in scores.items()}
    assert found == {
        "extracted_documents: text": (5, 5, 5),
        "extracted_documents": (1, 2, 1),  # a row of no page of ours is wrong
        "extracted_documents: broken records": (1, 2, 1),
        "extracted_documents: opted out": (0, 0, 0),
        "language_filtered_documents": (2, 2, 1),  # page 5 may go here; page 4 should have; page 1 should not
        "quality_filtered_documents": (0, 0, 0),
        "deduplicated_documents": (2, 3, 2),  # the third left the cluster with nobody
        "clean_documents: personal data": (2, 2, 1),
        "clean_documents: pages kept": (3, 1, 1),
    }
    assert scores["language_filtered_documents"].precision == 0.5
    assert scores["extracted_documents: opted out"].recall is None
    assert scores["deduplicated_documents"].note == "0 of 1 clusters with one kept"


def test_only_what_is_materialized_is_scored(tmp_path, manifest):
    layout = Layout(tmp_path / "home")
    with pytest.raises(MissingDataError, match="gristmill run demo"):
        evaluate(layout, "demo", manifest)
    write(layout, "extracted_documents", documents(1, text="one two four four"), [])
    scores = by_stage(layout, manifest)
    assert [name.partition(":")[0] for name in scores] == ["extracted_documents"] * 4
    assert scores["extracted_documents: text"].precision == 0.5


def test_a_reason_counts_as_well_as_the_stage():
    row = goes(1, ["extracted_documents"], ["broken_"])
    assert is_right(row, Rejection("extracted_documents", "broken_gzip"))
    assert not is_right(row, Rejection("extracted_documents", "empty"))
    assert not is_right(row, Rejection("quality_filtered_documents", "broken_gzip"))
    assert not is_right(page(1), Rejection("extracted_documents", "empty"))
    assert not is_right(None, Rejection("extracted_documents", "empty"))


def test_words_are_counted_with_repetition():
    assert word_overlap("a b b c", "A b c d") == (0.75, 0.75)
    assert word_overlap("", "a") == (0.0, 0.0)


def test_a_manifest_that_is_none_is_said_in_one_line(tmp_path):
    with pytest.raises(MissingDataError, match="make the demo web again"):
        read_manifest(tmp_path / "missing.jsonl")
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(MissingDataError):
        read_manifest(tmp_path / "bad.jsonl")
