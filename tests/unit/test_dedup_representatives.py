"""One tiny case per reason of deduplicated_documents."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.dedup.duplicate_files import REPRESENTATIVE_SCHEMA
from pipelines.dedup.representatives import (
    REASONS,
    SegmentDuplicates,
    Settings,
    decide,
    load_side_input,
    lsh_threshold,
    score,
)
from pipelines.schema import DOCUMENT_SCHEMA, DUPLICATE_SCHEMA

DUPLICATES = [
    {"doc_id": "copy", "segment": "00000", "representative_id": "first", "representative_segment": "00001"}
    | {"kind": "exact", "similarity": 1.0, "cluster_size": 3},
    {"doc_id": "like", "segment": "00000", "representative_id": "first", "representative_segment": "00001"}
    | {"kind": "near", "similarity": 0.9, "cluster_size": 3},
]
SIDE = SegmentDuplicates(
    pa.Table.from_pylist(DUPLICATES, DUPLICATE_SCHEMA),
    pa.Table.from_pylist([{"doc_id": "head", "cluster_size": 5}], REPRESENTATIVE_SCHEMA),
    lsh_threshold(14, 8),
)


def batch_of(*ids: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"doc_id": doc_id, "text": "text"} for doc_id in ids], schema=DOCUMENT_SCHEMA)


def test_every_reason_and_the_kept() -> None:
    scored = score(batch_of("head", "copy", "alone", "like"), Settings(), SIDE)
    verdict = decide(scored, Settings()).to_pylist()
    assert [row["reason"] for row in verdict] == [None, "exact_duplicate", None, "near_duplicate"]
    assert {row["reason"] for row in verdict} - {None} == set(REASONS)
    assert (verdict[1]["score"], verdict[1]["threshold"], verdict[1]["detail"]) == (1.0, 1.0, "first")
    assert (verdict[3]["score"], verdict[3]["detail"]) == (0.9, "first")
    assert verdict[3]["threshold"] == pytest.approx(0.719, abs=1e-3)
    assert scored.column("cluster_size").to_pylist() == [5, 3, 1, 3]
    assert decide(scored, Settings()).slice(0, 1).to_pylist()[0]["threshold"] is None


def test_a_batch_of_no_rows_and_a_segment_without_duplicates() -> None:
    nothing = SegmentDuplicates(DUPLICATE_SCHEMA.empty_table(), REPRESENTATIVE_SCHEMA.empty_table(), 0.7)
    for ids in ((), ("a",)):
        scored = score(batch_of(*ids), Settings(), nothing)
        assert decide(scored, Settings()).column("reason").null_count == len(ids)


def test_load_side_input_reads_its_own_segment_only(tmp_path) -> None:
    layout = Layout(str(tmp_path))
    with pytest.raises(MissingDataError, match="duplicate_clusters c is not materialized"):
        load_side_input(layout, Partition("c", "00000"))
    folder = layout.partition_dir("duplicate_clusters", Partition("c"))
    layout.fs.makedirs(folder)
    pq.write_table(pa.Table.from_pylist(DUPLICATES, DUPLICATE_SCHEMA), f"{folder}/part-00000.parquet")
    report = {"segments": ["00000", "00001"], "signature_settings": {"bands": 14, "rows": 8}}
    layout.write_json(f"{folder}/report.json", report)
    assert load_side_input(layout, Partition("c", "00000")).duplicates.num_rows == 2
    assert load_side_input(layout, Partition("c", "00001")).duplicates.num_rows == 0
    with pytest.raises(MissingDataError, match="does not cover segment 00002"):
        load_side_input(layout, Partition("c", "00002"))
