"""token_shards: whole segments, from Parquet to Arrow and back to the text."""

import errno
import json
import os
import posixpath
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokens_data import doc_id, mix, pack, story, train, write_documents

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout, Partition
from pipelines.parts import PartTask
from pipelines.tokens.shards import Settings, pack_segment, verify_manifest
from pipelines.tokens.unpack import document_text
from pipelines.tokens.vocabulary import Encoder
from training.loader import Loader


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


@pytest.mark.parametrize("packing", ["concatenate", "best_fit"])
def test_spans_give_every_text_back_byte_for_byte(layout: Layout, packing: str) -> None:
    """By a reader of its own, which knows of the shards only what is documented; more in test_tokens_roundtrip."""
    texts = [*(story(i, 1 + i * 7 % 90) for i in range(80)), "", "<|endoftext|><|pad|>", "e\u0301\u200d\U0001f468 \x00"]
    partition = write_documents(layout, "c", "00000", [texts[:30], texts[30:]])
    train(layout)
    result = pack(layout, partition, shard_mb=0.0005, heldout_fraction=0.3, packing=packing)
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


def test_the_manifest_says_how_the_shards_were_made(layout: Layout) -> None:
    partition = _packed(layout, packing="best_fit", window_mb=0.01)
    manifest = layout.read_json(posixpath.join(layout.partition_dir("token_shards", partition), "manifest.json"))
    assert manifest is not None
    assert manifest["packing"] == manifest["settings"]["packing"] == "best_fit"
    train_split = manifest["splits"]["train"]
    rows = train_split["sequences"] * manifest["sequence_length"]
    assert train_split["padding"] == rows - train_split["tokens"]
    assert train_split["documents"] + manifest["splits"]["heldout"]["documents"] == 300
    assert 0 < train_split["documents_cut"] <= 300
    assert {s["bucket"] for s in train_split["shards"]} == {""}


def test_best_fit_cuts_fewer_documents(layout: Layout) -> None:
    partition = write_documents(layout, "c", "00000", [[story(i, 3 + i % 40) for i in range(400)]])
    train(layout)
    counts = {
        packing: pack(layout, partition, packing=packing, sequence_length=128, heldout_fraction=0.0).tally
        for packing in ("concatenate", "best_fit")
    }
    assert counts["best_fit"]["tokens_train"] == counts["concatenate"]["tokens_train"]
    assert counts["best_fit"]["documents_cut_train"] < counts["concatenate"]["documents_cut_train"] / 2
    assert counts["best_fit"]["padding_train"] < 0.03 * counts["best_fit"]["tokens_train"]


def test_many_empty_documents(layout: Layout) -> None:
    partition = write_documents(layout, "c", "00000", [[story(0), *[""] * 20_000, story(1)]])
    train(layout)
    for packing in ("concatenate", "best_fit"):
        result = pack(layout, partition, packing=packing, sequence_length=512, window_mb=0.5)
        assert sum(result.tally[f"documents_{split}"] for split in ("train", "heldout")) == 20_002
        assert verify_manifest(layout, partition, is_deep=True) == []


def test_a_vocabulary_above_65536_takes_four_bytes(layout: Layout) -> None:
    _packed(layout, 20)
    version, _ = layout.latest(layout.join("tokenizer")) or ("", {})
    path = Path(layout.tokenizer_dir(version)) / "tokenizer.json"
    made = json.loads(path.read_text())
    vocabulary = made["model"]["vocab"]
    made["model"]["vocab"] = {token: i + (70_000 if i > 300 else 0) for token, i in vocabulary.items()}
    made["model"]["vocab"] |= {f"filler {i}": i for i in range(len(vocabulary), 70_301)}
    path.write_text(json.dumps(made))
    partition = write_documents(layout, "c", "00000", [[story(i) for i in range(20)]])
    pack(layout, partition)
    folder = layout.partition_dir("token_shards", partition)
    with pa.memory_map(f"{folder}/shard-train-00000.arrow") as file:
        column = pa.ipc.open_file(file).get_batch(0).column("input_ids")
    assert column.type == pa.list_(pa.uint32(), 32)
    assert max(column.values.to_pylist()) > 1 << 16
    assert document_text(layout, partition, doc_id("c00000", 3)) == story(3)
    assert verify_manifest(layout, partition, is_deep=True) == []


def test_the_dtype_follows_the_vocabulary() -> None:
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

    spans = folder / "spans-train-00000.parquet"
    whole_spans, table = spans.read_bytes(), pq.read_table(spans)
    spans.write_bytes(whole_spans[:-20])
    assert "can't be read" in verify_manifest(layout, partition)[0]
    for column, change, said in (
        ("start", 1, "overlap|no row"),
        ("length", -1, "covers"),
        ("sequence", 100_000, "no row"),
    ):
        values = table.column(column).to_pylist()
        values[3] += change
        field = table.schema.field(column)
        pq.write_table(table.set_column(table.schema.names.index(column), field, pa.array(values, field.type)), spans)
        assert any(re.search(said, line) for line in verify_manifest(layout, partition)), column
    pq.write_table(table.drop_columns(["doc_id"]), spans)
    assert "not the columns of spans" in verify_manifest(layout, partition)[0]
    spans.write_bytes(whole_spans)
    assert verify_manifest(layout, partition, is_deep=True) == []

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


@pytest.mark.parametrize(
    "wrong", [{"sequence_length": 1}, {"heldout_fraction": 1.0}, {"shard_mb": 0.0}, {"window_mb": -1.0}]
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)  # pyright: ignore[reportArgumentType]


def _task(layout: Layout, partition: Partition, folder: str, **packing: Any) -> PartTask:
    source = layout.partition_dir("clean_documents", partition)
    settings = {"sequence_length": 32, "shard_mb": 0.02} | packing
    return PartTask("token_shards", layout.root, partition.corpus, "00000", source, "segment", folder, settings)


_PACK = """
import json, resource, sys
from pipelines.parts import PartTask
from pipelines.tokens.shards import pack_segment
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    pack_segment(PartTask.from_json(sys.argv[1]))
except OSError as error:
    print(error.strerror)
"""


def test_killed_in_the_middle_and_run_again_gives_the_same_bytes(layout: Layout, tmp_path: Path) -> None:
    partition = _packed(layout, 3000)
    whole = pack_segment(_task(layout, partition, str(tmp_path / "whole"))).files
    task = _task(layout, partition, str(tmp_path / "killed"))
    child = subprocess.Popen([sys.executable, "-c", _PACK, task.to_json()])
    while not list((tmp_path / "killed").rglob("shard-*.arrow*")) and child.poll() is None:
        time.sleep(0.001)
    child.kill()
    assert child.wait() != 0  # it was not done
    assert pack_segment(task).files == whole
    for file in whole:
        one, other = (tmp_path / name / "output" / file["name"] for name in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()


def test_a_full_disk_is_an_error_of_the_system_with_its_name(layout: Layout, tmp_path: Path) -> None:
    partition = _packed(layout, 300)
    task = _task(layout, partition, str(tmp_path / "full"), shard_mb=1.0)
    command = [sys.executable, "-c", _PACK, task.to_json(), "4096"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == os.strerror(errno.EFBIG)
    assert not list((tmp_path / "full").rglob("shard-*.arrow"))


def test_an_object_store_holds_the_same_bytes(layout: Layout) -> None:
    partition = _packed(layout, 100)
    local = pack_segment(_task(layout, partition, layout.join(".tmp", "one"))).files
    remote = Layout("memory://bucket/root")
    for asset in ("clean_documents", "tokenizer"):
        remote.fs.put(layout.join(asset), remote.join(asset), recursive=True)
    stored = pack_segment(_task(remote, partition, remote.join(".tmp", "one")))
    assert stored.files == local
    remote.fs.mv(remote.join(".tmp", "one", "output"), remote.partition_dir("token_shards", partition), recursive=True)
    remote.write_json(posixpath.join(remote.partition_dir("token_shards", partition), "report.json"), {})
    assert verify_manifest(remote, partition, is_deep=True) == []
    assert document_text(remote, partition, doc_id("c00000", 42)) == story(42)
    remote.fs.rm(remote.base, recursive=True)


def test_shards_of_another_tokenizer_are_refused(layout: Layout) -> None:
    partition = _packed(layout)
    mix(layout)
    first = layout.latest(layout.join("tokenizer"))
    train(layout, vocabulary_size=340)
    second = layout.latest(layout.join("tokenizer"))
    assert first is not None
    assert second is not None
    with pytest.raises(SettingsError, match=rf"c\|00000 were made with tokenizer {first[0]}, in force is {second[0]}"):
        mix(layout)
    pack(layout, partition)  # the mixture still names the shards of before
    with pytest.raises(MissingDataError, match=f"written with tokenizer {second[0]}, the mixture is for {first[0]}"):
        Loader(layout).batch(0, 4)
    mix(layout)
    assert Loader(layout).batch(0, 4).input_ids.shape == (4, 32)
