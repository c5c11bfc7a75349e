"""Bucket keys, packed signatures, and duplicate files whose bytes don't depend on how rows arrive."""

import hashlib
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.layout import Layout
from pipelines.dedup.buckets import SignaturePart, band_keys, bucket_rows, document_rows
from pipelines.dedup.duplicate_files import similarity, write_duplicates, write_representatives
from pipelines.schema import DUPLICATE_SCHEMA, SIGNATURE_SCHEMA


def packed(*signatures: list[int] | None) -> pa.Array:
    """Signatures as the column holds them."""
    return pa.array([None if s is None else np.array(s, "<u4").tobytes() for s in signatures], pa.binary())


SIGNATURES = packed([1, 2, 3, 4], None, [1, 2, 9, 4], [1, 2, 3, 4])


def test_band_keys_agree_where_a_band_agrees_and_only_in_the_same_band() -> None:
    keys, rows = band_keys(SIGNATURES, bands=2)
    assert rows.tolist() == [0, 0, 2, 2, 3, 3]
    assert keys[0] == keys[2] == keys[4]
    assert keys[1] == keys[5] != keys[3]
    same = packed([7, 8, 7, 8])
    assert len(set(band_keys(same, bands=2)[0])) == 2


def test_band_keys_of_nothing() -> None:
    assert band_keys(pa.nulls(3, pa.binary()), bands=2)[0] == []


def test_similarity_is_the_share_of_equal_values() -> None:
    left, right = SIGNATURES.take(pa.array([0, 2])), SIGNATURES.take(pa.array([3, 0]))
    assert similarity(left, right).tolist() == [1.0, 0.75]
    assert similarity(left, right, value_bytes=8).tolist() == [1.0, 0.5]


def test_rows_of_a_part_file(tmp_path) -> None:
    rows = [
        {"doc_id": "a", "content_hash": b"x" * 16, "signature": SIGNATURES[0].as_py(), "quality": 2.0},
        {"doc_id": "b", "content_hash": None, "signature": None, "quality": None},
        {
            "doc_id": "c",
            "content_hash": b"y" * 16,
            "signature": packed([1, 2, 5, 6])[0].as_py(),
            "quality": float("nan"),
        },
    ]
    pq.write_table(pa.Table.from_pylist(rows, SIGNATURE_SCHEMA), tmp_path / "p.parquet")
    parts = [SignaturePart("missing", 0), SignaturePart(str(tmp_path / "p.parquet"), 4)]
    buckets = pa.Table.from_batches(bucket_rows(str(tmp_path), parts, [1], 2)).to_pylist()
    first = 1 << 32
    assert sorted(row["node"] for row in buckets) == [first] * 3 + [first + 2] * 3
    assert len({row["key"] for row in buckets}) == 5
    documents = pa.Table.from_batches(document_rows(str(tmp_path), parts, [1])).to_pylist()
    assert [(row["node"], row["segment"], row["disfavour"]) for row in documents] == [
        (first, 4, -2.0),
        (first + 1, 4, 0.0),
        (first + 2, 4, 0.0),
    ]


def duplicate_rows(count: int) -> pa.Table:
    signature = np.arange(4, dtype="<u4").tobytes()
    return pa.table(
        {
            "segment": pa.array([index * 3 // count for index in range(count)], pa.int32()),
            "doc_id": [hashlib.sha256(str(index).encode()).hexdigest() for index in range(count)],
            "representative_id": ["r"] * count,
            "representative_segment": pa.array([0] * count, pa.int32()),
            "is_exact": [index % 2 == 0 for index in range(count)],
            "signature": [signature] * count,
            "representative_signature": [signature] * count,
            "cluster_size": [count + 1] * count,
        }
    )


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_the_same_bytes_however_the_rows_arrive(tmp_path_factory, cuts: list[int]) -> None:
    rows = duplicate_rows(sum(cuts))
    folders = [tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cut")]
    borders = np.concatenate([[0], np.cumsum(cuts)])
    pieces = [rows.slice(start, end - start).to_batches()[0] for start, end in pairwise(borders)]
    whole = list(write_duplicates(str(folders[0]), str(folders[0]), ["s0", "s1", "s2"], rows.to_batches()))
    cut = list(write_duplicates(str(folders[1]), str(folders[1]), ["s0", "s1", "s2"], pieces))
    assert whole == cut
    assert sum(file["rows"] for file in cut) == sum(cuts)


def test_duplicate_files_by_segment(tmp_path) -> None:
    files = list(write_duplicates(str(tmp_path), str(tmp_path), ["s0", "s1", "s2"], duplicate_rows(9).to_batches()))
    assert [(file["segment"], file["rows"], file["number"]) for file in files] == [
        ("s0", 3, 2),
        ("s1", 3, 1),
        ("s2", 3, 2),
    ]
    read = pq.read_table(tmp_path / "part-00001.parquet")
    assert read.schema == DUPLICATE_SCHEMA
    assert set(read["segment"].to_pylist()) == {"s1"}
    assert read["kind"].to_pylist() == ["near", "exact", "near"]


def test_representative_files(tmp_path) -> None:
    (tmp_path / "_representatives").mkdir()
    rows = pa.table({"segment": pa.array([0, 0, 2], pa.int32()), "doc_id": ["a", "b", "c"], "cluster_size": [2, 7, 3]})
    files = list(write_representatives(str(tmp_path), str(tmp_path), ["s0", "s1", "s2"], rows.to_batches()))
    assert [(file["segment"], file["rows"], file["number"]) for file in files] == [("s0", 2, 7), ("s2", 1, 3)]
    assert Layout(str(tmp_path)).parts(str(tmp_path)) == []
