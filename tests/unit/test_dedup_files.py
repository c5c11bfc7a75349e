"""Duplicate files whose bytes don't depend on how rows arrive, nor on what was written before."""

import hashlib
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.layout import Layout
from pipelines.dedup import duplicate_files
from pipelines.dedup.duplicate_files import DECISIONS, REPRESENTATIVE, SINGLE, SegmentFiles, similarity, write_decisions
from pipelines.dedup.membership import read_membership
from pipelines.schema import DUPLICATE_SCHEMA

SEGMENTS = [SegmentFiles("c", f"s{index}") for index in range(3)]


def packed(*signatures: list[int]) -> pa.Array:
    """Signatures as the column holds them."""
    return pa.array([np.array(s, "<u4").tobytes() for s in signatures], pa.binary())


def test_similarity_is_the_share_of_equal_values() -> None:
    left, right = packed([1, 2, 3, 4], [1, 2, 9, 4]), packed([1, 2, 3, 4], [1, 2, 3, 4])
    assert similarity(left, right).tolist() == [1.0, 0.75]
    assert similarity(left, right, value_bytes=8).tolist() == [1.0, 0.5]
    assert len(similarity(packed(), packed())) == 0


def decisions(count: int, kinds: tuple[str, ...] = ("exact", REPRESENTATIVE, "near")) -> pa.Table:
    """Rows over three segments, sorted by (place, doc_id)."""
    rows = [
        {
            "place": index * 3 // count,
            "doc_id": hashlib.sha256(str(index).encode()).hexdigest(),
            "node": index,
            "root": 0,
            "cluster_size": max(count, 2),
            "kind": kinds[index % len(kinds)],
            "similarity": 0.5,
            "representative_id": "r",
            "representative_place": 1,
        }
        for index in range(count)
    ]
    return pa.Table.from_pylist(rows, DECISIONS).sort_by([("place", "ascending"), ("doc_id", "ascending")])


def written(folder: str, rows: list[pa.RecordBatch], segments: list[SegmentFiles] = SEGMENTS) -> list[dict]:
    return list(write_decisions(folder, folder, segments, rows))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_the_same_bytes_however_the_rows_arrive(tmp_path_factory, cuts: list[int]) -> None:
    rows = decisions(sum(cuts))
    folders = [str(tmp_path_factory.mktemp(name)) for name in ("whole", "cut")]
    pieces = [
        rows.slice(a, b - a).combine_chunks().to_batches()[0] for a, b in pairwise(np.cumsum([0, *cuts]).tolist())
    ]
    whole, cut = (written(*given) for given in zip(folders, (rows.to_batches(), pieces), strict=True))
    facts = ("kind", "place", "rows", "sha256", "number")
    assert [[file[name] for name in facts] for file in whole] == [[file[name] for name in facts] for file in cut]
    assert sum(file["rows"] for file in cut if file["kind"] == "members") == sum(cuts)


def test_files_of_each_segment(tmp_path) -> None:
    files = written(str(tmp_path), decisions(9).to_batches())
    assert [(file["place"], file["kind"], file["rows"], file["number"]) for file in files] == [
        (place, kind, rows, number)
        for place in range(3)
        for kind, rows, number in (("kept", 2, 1), ("representatives", 1, 9), ("members", 3, 0))
    ]
    kept = pq.read_table(files[3]["path"])
    assert kept.schema == DUPLICATE_SCHEMA
    (row,) = [row for row in kept.to_pylist() if row["kind"] == "near"]
    assert (row["segment"], row["representative_segment"], row["representative_corpus"]) == ("s1", "s1", "c")
    assert row["cluster_id"] == row["representative_id"] == "r"
    node, root = read_membership(Layout(str(tmp_path)), files[5]["path"])
    assert (sorted(node.tolist()), set(root.tolist())) == ([3, 4, 5], {0})


@pytest.mark.parametrize("group", [1 << 16, 7])
def test_what_new_decisions_do_not_speak_of_is_taken_over(tmp_path, monkeypatch, group: int) -> None:
    monkeypatch.setattr(duplicate_files, "ROWS_PER_GROUP", group)
    all_rows = decisions(120)
    of_two = all_rows.filter(pa.compute.equal(all_rows.column("place"), 2))
    for name in ("before", "after", "once"):
        (tmp_path / name).mkdir()
    before = written(str(tmp_path / "before"), of_two.to_batches())
    paths = {file["kind"]: file["path"] for file in before}
    known = [*SEGMENTS[:2], SegmentFiles("c", "s2", paths["kept"], paths["representatives"], paths["members"])]
    changed = of_two.slice(0, 25).to_pylist()
    for row in changed:
        row["kind"] = SINGLE if row["kind"] == "near" else row["kind"]
        row["cluster_size"] = 1 if row["kind"] == SINGLE else 77
    news = pa.Table.from_pylist(changed, DECISIONS)
    after = written(str(tmp_path / "after"), news.to_batches(), known)
    once = written(str(tmp_path / "once"), pa.concat_tables([news, of_two.slice(25)]).to_batches())
    assert [(file["kind"], file["sha256"], file["rows"]) for file in after] == [
        (file["kind"], file["sha256"], file["rows"]) for file in once
    ]
    assert after[1]["number"] == 120


def test_a_segment_that_nothing_repeats_any_more_has_no_files(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    before = written(str(tmp_path), decisions(3).to_batches())
    paths = {file["kind"]: file["path"] for file in before if file["place"] == 0}
    rows = [row | {"kind": SINGLE, "cluster_size": 1} for row in decisions(3).to_pylist() if row["place"] == 0]
    known = [SegmentFiles("c", "s0", paths.get("kept"), paths.get("representatives"), paths["members"])]
    (left,) = written(str(tmp_path / "a"), pa.Table.from_pylist(rows, DECISIONS).to_batches(), known)
    assert (left["kind"], left["rows"]) == ("members", 0)
