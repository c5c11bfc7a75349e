"""The order of documents as bytes, what a part sends on, and files that don't depend on how rows arrive."""

import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import MissingDataError
from pipelines.dedup.paragraph_files import Source, paragraph_rows, repeated_path, standings, write_files
from pipelines.dedup.paragraphs import paragraphs
from pipelines.schema import DOCUMENT_SCHEMA, DUPLICATE_SCHEMA, SIGNATURE_SCHEMA

ROWS = st.fixed_dictionaries(
    {
        "doc_id": st.text("ab", max_size=3),
        "quality": st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, 1.0, -1.0])),
        "fetched_at": st.one_of(st.none(), st.datetimes(datetime.datetime(1960, 1, 1), datetime.datetime(2100, 1, 1))),
        "content_hash": st.binary(min_size=16, max_size=16),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), ROWS), max_size=12))
def test_bytes_are_in_the_order_of_representatives(rows: list[tuple[int, dict[str, Any]]]) -> None:
    def order(preference: int, row: dict[str, Any]) -> tuple[Any, ...]:
        quality = row["quality"] if row["quality"] is not None and row["quality"] == row["quality"] else 0.0
        fetched = row["fetched_at"] or datetime.datetime.max
        return preference, -quality, fetched, row["content_hash"], row["doc_id"]

    keyed = [
        (standings(pa.Table.from_pylist([row], SIGNATURE_SCHEMA), preference)[0], order(preference, row))
        for preference, row in rows
    ]
    by_bytes, by_rule = sorted(keyed), sorted(keyed, key=lambda pair: pair[1])
    assert [rule for _, rule in by_bytes] == [rule for _, rule in by_rule]


def part(folder: Path, texts: dict[str, str], gone: list[str]) -> Source:
    rows = [{"doc_id": doc_id, "text": text} for doc_id, text in texts.items()]
    pq.write_table(pa.Table.from_pylist(rows, DOCUMENT_SCHEMA), folder / "texts.parquet")
    signed = [
        {"doc_id": doc_id, "quality": float(len(text)), "content_hash": doc_id.encode() * 16}
        for doc_id, text in texts.items()
        if doc_id != "u"
    ]
    pq.write_table(pa.Table.from_pylist(signed, SIGNATURE_SCHEMA), folder / "signatures.parquet")
    pq.write_table(pa.Table.from_pylist([{"doc_id": d} for d in gone], DUPLICATE_SCHEMA), folder / "gone.parquet")
    paths = (str(folder / f"{name}.parquet") for name in ("texts", "signatures", "gone"))
    return Source(*paths, segment=3, preference=0)


def test_a_part_settles_what_it_can(tmp_path: Path) -> None:
    texts = {"a": "same\nmine", "b": "same\nSame!\nand more of it", "d": "same", "u": "same"}
    source = part(tmp_path, texts, ["d"])
    (batch,) = paragraph_rows(str(tmp_path), source, 7, 0)
    rows = [row | {"doc_id": row["standing"][34:].decode()} for row in batch.to_pylist()]
    same = int(paragraphs("same").hashes[0])
    assert [(r["doc_id"], r["line"], r["is_settled"]) for r in rows if r["hash"] == same] == [
        ("b", 0, False),  # the best of the two
        ("b", 1, True),
        ("a", 0, True),
    ]
    assert {r["doc_id"] for r in rows} == {"a", "b"}  # neither a duplicate nor what was never signed
    assert {(r["part"], r["segment"]) for r in rows} == {(7, 3)}


def test_a_part_without_any(tmp_path: Path) -> None:
    assert list(paragraph_rows(str(tmp_path), part(tmp_path, {}, []), 0, 0)) == []
    assert list(paragraph_rows(str(tmp_path), part(tmp_path, {"a": "***"}, []), 0, 0)) == []
    damaged = part(tmp_path, {"a": "text"}, [])
    (tmp_path / "texts.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingDataError, match=r"texts\.parquet can't be read"):
        list(paragraph_rows(str(tmp_path), damaged, 0, 0))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_the_same_bytes_however_the_rows_arrive(tmp_path_factory, cuts: list[int]) -> None:
    count = sum(cuts)
    rows = pa.record_batch(
        {
            "segment": pa.array([index * 2 // count for index in range(count)], pa.int32()),
            "doc_id": [f"{index // 3:04d}" for index in range(count)],
            "line": pa.array(range(count), pa.int32()),
            "hash": pa.array([index * 7 for index in range(count)], pa.int64()),
        }
    )
    borders = [0]
    for cut in cuts:
        borders.append(borders[-1] + cut)
    pieces = [rows.slice(start, end - start) for start, end in pairwise(borders)]
    folders = [tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cut")]
    found: list[list[dict[str, Any]]] = []
    for folder, batches in zip(folders, ([rows], pieces), strict=True):
        (folder / "_repeated_paragraphs").mkdir()
        found.append(list(write_files(str(folder), str(folder), ["s0", "s1"], batches)))
    assert found[0] == found[1]
    assert sum(file["number"] for file in found[0]) == count
    table = pq.read_table(repeated_path(str(folders[1]), 0)).to_pylist()
    assert all(len(row["lines"]) == len(row["hashes"]) for row in table)
    assert [row["doc_id"] for row in table] == sorted({row["doc_id"] for row in table})
