"""Buckets: each training document in the shards of the bucket that its column says."""

import posixpath
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokens_data import doc_id, pack, story, train, write_documents

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import build, read_settings_file
from pipelines.tokens.buckets import Buckets
from pipelines.tokens.files import verify_manifest
from pipelines.tokens.shards import Settings
from pipelines.tokens.unpack import document_spans, document_text

SIZES = {"unique": {"below": 2}, "few": {"from": 2, "below": 10}, "many": {"from": 10}}


def with_column(layout: Layout, partition: Partition, name: str, values: list[Any]) -> None:
    """Add a column to the documents of a segment of one part."""
    path = Path(layout.partition_dir("clean_documents", partition)) / "part-00000.parquet"
    pq.write_table(pq.ParquetFile(path).read().append_column(name, pa.array(values)), path)


def entries(layout: Layout, partition: Partition) -> list[dict[str, Any]]:
    manifest = layout.read_json(posixpath.join(layout.partition_dir("token_shards", partition), "manifest.json"))
    assert manifest is not None
    return manifest["splits"]["train"]["shards"]


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_each_bucket_has_shards_of_its_own(layout: Layout, packing: str) -> None:
    partition = write_documents(layout, "c", "00000", [[story(i) for i in range(200)]])
    train(layout)
    whole = pack(layout, partition, packing=packing)
    sizes = [None if i % 50 == 7 else 1 + (i * i) % 14 for i in range(200)]
    with_column(layout, partition, "cluster_size", sizes)
    result = pack(layout, partition, packing=packing, bucket_by="cluster_size", buckets=SIZES, shard_mb=0.003)
    assert verify_manifest(layout, partition, is_deep=True) == []
    assert {e["bucket"] for e in entries(layout, partition)} == {"unique", "few", "many", "other"}
    assert all(e["name"].startswith(f"shard-train-{e['bucket']}-000") for e in entries(layout, partition))
    for key in ("documents_train", "tokens_train", "documents_heldout", "tokens_heldout", "sequences_heldout"):
        assert result.tally[key] == whole.tally[key]
    for number, size in enumerate(sizes):
        spans = document_spans(layout, partition, doc_id("c00000", number))
        expected = "other" if size is None else "unique" if size < 2 else "few" if size < 10 else "many"
        assert {s.bucket for s in spans} == {"" if spans[0].split == "heldout" else expected}
        assert document_text(layout, partition, doc_id("c00000", number)) == story(number)
    assert (
        result.files
        == pack(layout, partition, packing=packing, bucket_by="cluster_size", buckets=SIZES, shard_mb=0.003).files
    )


def test_by_values(layout: Layout) -> None:
    partition = write_documents(layout, "c", "00000", [[story(i) for i in range(40)]])
    train(layout)
    with_column(layout, partition, "perplexity_bucket", ["head", "middle", "tail", "strange"] * 10)
    buckets = {"good": {"values": ["head", "middle"]}, "rest": {"values": ["tail"]}}
    pack(layout, partition, bucket_by="perplexity_bucket", buckets=buckets, heldout_fraction=0.0)
    assert [e["bucket"] for e in entries(layout, partition)] == ["good", "rest", "other"]
    shutil.rmtree(layout.partition_dir("token_shards", partition))


@pytest.mark.parametrize(
    ("column", "values", "buckets", "said"),
    [
        ("cluster_sise", [1] * 4, SIZES, "part-00000.parquet does not have"),
        ("kind", ["a"] * 4, SIZES, "need numbers"),
        ("kind", ["a"] * 4, {"x": {"values": [3]}}, "never 3"),
        ("kind", [[1]] * 4, {"x": {"values": [3]}}, "name a column of text"),
    ],
)
def test_documents_that_cannot_be_sorted(
    layout: Layout, column: str, values: list[Any], buckets: dict[str, Any], said: str
) -> None:
    partition = write_documents(layout, "c", "00000", [[story(i) for i in range(4)]])
    train(layout)
    with_column(layout, partition, "kind", values)
    with pytest.raises(SettingsError, match=said):
        pack(layout, partition, bucket_by=column, buckets=buckets)


@pytest.mark.parametrize(
    ("buckets", "said"),
    [
        ({"a/b": {"below": 1}}, "can't name a bucket"),
        ({"other": {"below": 1}}, "can't name a bucket"),
        ({"a": {}}, "give it values"),
        ({"a": {"to": 3}}, "give it values"),
        ({"a": {"values": [1], "below": 3}}, "give it values"),
        ({"a": {"values": []}}, "give a list"),
        ({"a": {"values": "head"}}, "give a list"),
        ({"a": {"values": [[1]]}}, "is no text"),
        ({"a": {"values": ["x"]}, "b": {"values": ["x"]}}, "both take 'x'"),
        ({"a": {"below": 3}, "b": {"from": 2}}, "both take 2"),
        ({"a": {"from": 3, "below": 3}}, "which no value is"),
        ({"a": {"from": "3"}}, "give a number"),
        ({}, "go together"),
    ],
)
def test_settings_that_say_nothing_sensible(buckets: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        build(Settings, {"bucket_by": "cluster_size", "buckets": buckets}, "settings of token_shards")


def test_as_a_settings_file_has_them(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        "token_shards:\n  bucket_by: cluster_size\n  buckets:\n"
        "    unique: {below: 2}\n    many: {from: 2}\n    odd: {values: [7]}\n"
    )
    settings = build(Settings, read_settings_file(path)["token_shards"], "x")
    buckets = Buckets(settings.bucket_by, settings.buckets)
    assert [buckets.of(v) for v in (1, 2, 7, 1.5, None, float("nan"))] == [
        "unique", "many", "odd", "unique", "other", "other"
    ]  # fmt: skip
    assert buckets.names == ("unique", "many", "odd", "other")
    assert Buckets("", {}).of(3) == ""
