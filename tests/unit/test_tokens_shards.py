"""token_shards: whole segments, from Parquet to Arrow and back to the text."""

import posixpath
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokens_data import doc_id, pack, story, train, write_documents

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.tokens.shards import Settings, verify_manifest
from pipelines.tokens.vocabulary import SPECIAL_TOKENS, Encoder

_nasty = st.one_of(
    st.text(max_size=120),
    st.sampled_from(
        ["", " ", "\n\n\n", "<|endoftext|><|pad|>", "e\u0301\u200d\U0001f468\U0001f469", "0" * 500, "\x00\ufeff"]
    ),
    st.builds("".join, st.lists(st.sampled_from([*SPECIAL_TOKENS, "word ", "中文", "\r\n"]), max_size=30)),
)


def texts_from_spans(layout: Layout, partition: Partition) -> dict[str, str]:
    """Every document's text, put together from the shards by the spans alone."""
    folder = layout.partition_dir("token_shards", partition)
    manifest = layout.read_json(posixpath.join(folder, "manifest.json"))
    assert manifest is not None
    tokenizer = Encoder.load(layout, manifest["tokenizer_version"])._tokenizer
    tokens: dict[str, list[int]] = {}
    for split in ("train", "heldout"):
        for shard in manifest["splits"][split]["shards"]:
            with pa.memory_map(posixpath.join(folder, shard["name"])) as file:
                rows = pa.ipc.open_file(file).read_all().column("input_ids").to_pylist()
            for span in pq.read_table(posixpath.join(folder, shard["spans"]["name"])).to_pylist():
                so_far = tokens.setdefault(span["doc_id"], [])
                assert span["doc_offset"] == len(so_far)
                so_far += rows[span["sequence"]][span["start"] : span["start"] + span["length"]]
    for ids in tokens.values():
        assert ids.pop() == manifest["eot_id"]
        assert not {manifest["eot_id"], manifest["pad_id"]} & set(ids)
    return {name: tokenizer.decode(ids, skip_special_tokens=False) for name, ids in tokens.items()}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.lists(_nasty, max_size=8), min_size=1, max_size=3), st.sampled_from([0.0005, 1.0]))
def test_spans_give_every_text_back_byte_for_byte(layout: Layout, parts: list[list[str]], shard_mb: float) -> None:
    if layout.latest(layout.join("tokenizer")) is None:
        write_documents(layout, "seed", "00000", [[story(i) for i in range(60)]])
        train(layout)
    partition = write_documents(layout, "c", "00000", parts)
    result = pack(layout, partition, shard_mb=shard_mb, heldout_fraction=0.3)
    texts = [text for part in parts for text in part]
    assert texts_from_spans(layout, partition) == {doc_id("c00000", i): text for i, text in enumerate(texts)}
    assert result.rows_in == result.rows_kept == len(texts)
    assert result.tally["documents_train"] + result.tally["documents_heldout"] == len(texts)
    assert verify_manifest(layout, partition, is_deep=True) == []


def _packed(layout: Layout, documents: int = 300, **packing: object) -> Partition:
    partition = write_documents(layout, "c", "00000", [[story(i) for i in range(documents)]])
    train(layout)
    pack(layout, partition, **packing)
    return partition


def test_the_same_segment_gives_the_same_bytes(layout: Layout) -> None:
    partition = _packed(layout, shard_mb=0.01)
    first, second = (pack(layout, partition, shard_mb=0.01).files for _ in range(2))
    assert first == second
    assert len([f for f in first if f["name"].startswith("shard-train")]) > 1
    assert {f["name"] for f in first} | {"report.json"} == {
        p.name for p in Path(layout.partition_dir("token_shards", partition)).iterdir()
    }


def test_an_empty_segment_has_a_manifest_and_no_shard(layout: Layout) -> None:
    _packed(layout, 50)
    for parts in ([], [[]]):
        partition = write_documents(layout, "c", "00001", parts)
        result = pack(layout, partition)
        assert [f["name"] for f in result.files] == ["manifest.json"]
        assert result.tally["sequences_train"] == result.rows_in == 0
        assert verify_manifest(layout, partition, is_deep=True) == []


def test_a_vocabulary_above_65536_takes_four_bytes() -> None:
    encoder = object.__new__(Encoder)
    encoder.vocabulary_size = 1 << 16
    assert encoder.dtype == np.uint16
    encoder.vocabulary_size += 1
    assert encoder.dtype == np.uint32


def test_the_check_sees_every_kind_of_damage(layout: Layout) -> None:
    partition = _packed(layout)
    folder = Path(layout.partition_dir("token_shards", partition))
    manifest = layout.read_json(str(folder / "manifest.json"))
    assert manifest is not None
    shard = folder / "shard-train-00000.arrow"
    whole = shard.read_bytes()

    middle = len(whole) // 2
    shard.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert verify_manifest(layout, partition) == []  # one bit in the tokens: only the hash tells
    assert "another sha256" in verify_manifest(layout, partition, is_deep=True)[0]
    shard.write_bytes(whole[:middle])
    assert "can't be read" in verify_manifest(layout, partition)[0]
    shard.unlink()
    assert "can't be read" in verify_manifest(layout, partition)[0]
    shard.write_bytes(whole)

    (folder / "shard-train-00009.arrow").write_bytes(whole)
    assert "not in manifest.json" in verify_manifest(layout, partition)[0]
    (folder / "shard-train-00009.arrow").unlink()

    manifest["splits"]["train"]["shards"][0]["sequences"] += 1
    layout.write_json(str(folder / "manifest.json"), manifest)
    assert "not the sum" in verify_manifest(layout, partition)[0]
    assert "rows, the manifest says" in verify_manifest(layout, partition)[1]
    layout.write_json(str(folder / "manifest.json"), {"splits": 3})
    assert "not a manifest" in verify_manifest(layout, partition)[0]
    (folder / "manifest.json").unlink()
    assert "missing" in verify_manifest(layout, partition)[0]


def test_without_a_tokenizer_the_error_says_so(layout: Layout) -> None:
    partition = write_documents(layout, "c", "00000", [["x"]])
    with pytest.raises(MissingDataError, match="--through tokenizer"):
        pack(layout, partition)


@pytest.mark.parametrize("wrong", [{"sequence_length": 1}, {"heldout_fraction": 1.0}, {"shard_mb": 0.0}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)  # pyright: ignore[reportArgumentType]
