"""One tiny case per reason of deduplicated_documents."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.dedup import representatives
from pipelines.dedup.duplicate_files import REPRESENTATIVE_SCHEMA
from pipelines.dedup.paragraph_files import REPEATED_SCHEMA, repeated_path
from pipelines.dedup.paragraphs import paragraphs
from pipelines.dedup.representatives import REASONS, SegmentDuplicates, Settings, load_side_input, score
from pipelines.judging import Scored, judge
from pipelines.schema import DOCUMENT_SCHEMA, DUPLICATE_SCHEMA

LICENCE = "Permission is hereby granted, free of charge."
TEXTS = {
    "head": "The text that is kept.",
    "cut": f"One.\n\n{LICENCE}\n\nTwo.",
    "emptied": f"{LICENCE}\n***\n",
}


def duplicate(doc_id: str, kind: str, similarity: float, corpus: str = "c") -> dict[str, Any]:
    return {
        "doc_id": doc_id,
        "segment": "00000",
        "representative_id": "first",
        "representative_segment": "00001",
        "representative_corpus": corpus,
        "kind": kind,
        "similarity": similarity,
        "cluster_size": 3,
    }


DUPLICATES = [duplicate("copy", "exact", 1.0), duplicate("like", "near", 0.9, "books")]


def side(lost: list[dict[str, Any]] | None = None) -> SegmentDuplicates:
    return SegmentDuplicates(
        pa.Table.from_pylist(DUPLICATES),
        pa.Table.from_pylist([{"doc_id": "head", "cluster_size": 5}], REPRESENTATIVE_SCHEMA),
        pa.Table.from_pylist(lost or [], REPEATED_SCHEMA),
        0.72,
        "c",
    )


def lost_by(doc_id: str, *lines: int) -> dict[str, Any]:
    found = paragraphs(TEXTS[doc_id])
    hashes = dict(zip(found.lines.tolist(), found.hashes.tolist(), strict=True))
    return {"doc_id": doc_id, "lines": list(lines), "hashes": [hashes[line] for line in lines]}


def batch_of(*ids: str) -> pa.RecordBatch:
    rows = [{"doc_id": doc_id, "text": TEXTS.get(doc_id, "text")} for doc_id in ids]
    return pa.RecordBatch.from_pylist(rows, schema=DOCUMENT_SCHEMA)


def judged(known: SegmentDuplicates, *ids: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = score(batch_of(*ids), Settings(), known)
    kept, verdict = judge(representatives, Scored(rows, pa.nulls(rows.num_rows, pa.string())), Settings())
    return kept.to_pylist(), verdict.to_pylist()


def test_every_reason_and_the_kept() -> None:
    known = side([lost_by("cut", 2), lost_by("emptied", 0)])
    kept, verdict = judged(known, "head", "copy", "alone", "like", "cut", "emptied")
    reasons = [row["reason"] for row in verdict]
    assert reasons == [None, "exact_duplicate", None, "near_duplicate", None, "only_repeated_paragraphs"]
    assert set(reasons) - {None} == set(REASONS)
    assert (verdict[1]["score"], verdict[1]["threshold"], verdict[1]["detail"]) == (1.0, 1.0, "first")
    assert (verdict[3]["score"], verdict[3]["threshold"]) == (0.9, 0.72)
    assert verdict[3]["detail"] == "first in corpus books"
    assert (verdict[5]["score"], verdict[5]["threshold"], verdict[5]["detail"]) == (1.0, None, None)
    assert [row["text"] for row in kept] == ["The text that is kept.", "text", "One.\n\nTwo."]
    assert [row["cluster_id"] for row in kept] == ["head", "alone", "cut"]
    assert [row["cluster_size"] for row in kept] == [5, 1, 1]
    assert [row["repeated_paragraphs"] for row in kept] == [0, 0, 1]
    assert [row["repeated_characters"] for row in kept] == [0, 0, len(LICENCE)]


def test_the_numbers_of_the_report() -> None:
    rows = score(batch_of("head", "cut"), Settings(), side([lost_by("cut", 0, 2)]))
    assert representatives.tally(rows) == {
        "repeated_paragraphs": 2,
        "repeated_characters": len("One.") + len(LICENCE),
        "documents_with_repeated_paragraphs": 1,
        "representatives": 1,
    }


def test_a_duplicate_is_not_cut_as_well() -> None:
    known = side([{"doc_id": "copy", "lines": [0], "hashes": [1]}])
    assert judged(known, "copy")[1][0]["reason"] == "exact_duplicate"


def test_a_text_that_was_made_anew_is_not_cut_blindly() -> None:
    known = side([lost_by("cut", 2) | {"doc_id": "head", "lines": [0]}])
    with pytest.raises(MissingDataError, match=r"document head is not .* run c --through duplicate_clusters"):
        score(batch_of("head"), Settings(), known)


def test_clusters_that_name_no_corpus() -> None:
    known = side()
    old = SegmentDuplicates(
        known.duplicates.drop_columns(["representative_corpus"]), known.representatives, known.paragraphs, 0.7, "c"
    )
    assert [row["detail"] for row in judged(old, "like", "alone")[1]] == ["first", None]


def test_a_batch_of_no_rows_and_a_segment_without_duplicates() -> None:
    nothing = SegmentDuplicates(
        DUPLICATE_SCHEMA.empty_table(), REPRESENTATIVE_SCHEMA.empty_table(), REPEATED_SCHEMA.empty_table(), 0.7, "c"
    )
    for ids in ((), ("a",)):
        kept, verdict = judged(nothing, *ids)
        assert [row["reason"] for row in verdict] == [None] * len(ids)
        assert [row["cluster_id"] for row in kept] == list(ids)


def test_load_side_input_reads_its_own_segment_only(tmp_path) -> None:
    layout = Layout(str(tmp_path))
    with pytest.raises(MissingDataError, match="duplicate_clusters c is not materialized"):
        load_side_input(layout, Partition("c", "00000"))
    folder = layout.partition_dir("duplicate_clusters", Partition("c"))
    layout.fs.makedirs(f"{folder}/_repeated_paragraphs")
    pq.write_table(pa.Table.from_pylist(DUPLICATES), f"{folder}/part-00000.parquet")
    pq.write_table(pa.Table.from_pylist([lost_by("cut", 0)], REPEATED_SCHEMA), repeated_path(folder, 1))
    report = {"segments": ["00000", "00001"], "signature_settings": {"bands": 14, "rows": 8}}
    report["settings"] = {"verified_jaccard": 0}
    layout.write_json(f"{folder}/report.json", report)
    first, second = (load_side_input(layout, Partition("c", name)) for name in ("00000", "00001"))
    assert (first.duplicates.num_rows, first.paragraphs.num_rows) == (2, 0)
    assert (second.duplicates.num_rows, second.paragraphs.num_rows) == (0, 1)
    assert first.near_threshold == pytest.approx(0.719, abs=1e-3)
    layout.write_json(f"{folder}/report.json", report | {"settings": {"verified_jaccard": 0.8}})
    assert load_side_input(layout, Partition("c", "00000")).near_threshold == 0.8
    with pytest.raises(MissingDataError, match="does not cover segment 00002"):
        load_side_input(layout, Partition("c", "00002"))
