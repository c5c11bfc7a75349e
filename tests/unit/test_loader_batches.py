"""Batches over real shards: the same for every number of ranks, each sequence once per epoch, masks right."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokens_data import make_corpora, mix, pack, write_documents

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout, Partition
from training.loader import IGNORED_LABEL, Loader
from training.shard_cache import CACHE_VARIABLE
from training.shard_rows import ShardRows
from training.shards import read_mixture

BATCH = 12


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("loader"))
    make_corpora(layout, {"a": 60, "b": 30})
    mix(layout)
    return layout


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_the_global_batch_is_the_same_for_any_number_of_ranks(packed: Layout, world_size: int) -> None:
    ranks = [Loader(packed, rank=rank, world_size=world_size) for rank in range(world_size)]
    whole = Loader(packed)
    for step in (0, 5, 1000):
        for name in ("input_ids", "labels", "position_ids"):
            parts = [getattr(rank.batch(step, BATCH), name) for rank in ranks]
            assert all(len(part) == BATCH // world_size for part in parts)
            assert np.array_equal(np.concatenate(parts), getattr(whole.batch(step, BATCH), name))


def test_each_sequence_is_read_once_per_epoch(packed: Layout) -> None:
    loader = Loader(packed)
    total = loader.mixture.sequences
    orders = []
    for epoch in range(2):
        refs = [loader.sequences_of_step(epoch * total + step, 1)[0] for step in range(total)]
        assert {ref.epoch for ref in refs} == {epoch}
        seen = Counter((ref.path, ref.row) for ref in refs)
        assert set(seen.values()) == {1}
        assert len(seen) == total == sum(s.sequences for s in loader.mixture.shards if s.split == "train")
        orders.append([(ref.path, ref.row) for ref in refs])
    assert orders[0] != orders[1]


def test_a_step_can_be_traced_to_the_rows_it_read(packed: Layout) -> None:
    loader = Loader(packed)
    batch = loader.batch(3, BATCH)
    for row, ref in zip(batch.input_ids, loader.sequences_of_step(3, BATCH), strict=True):
        with pa.memory_map(packed.join(ref.path)) as file:
            stored = pa.ipc.open_file(file).read_all().column("input_ids")[ref.row].as_py()
        assert row.tolist() == stored
        assert f"corpus={ref.corpus}/" in ref.path


def test_a_batch_depends_on_seed_and_step_alone(packed: Layout) -> None:
    straight, jumped = Loader(packed), Loader(packed)
    for _ in straight.batches(0, 40, BATCH):
        pass
    assert np.array_equal(straight.batch(40, BATCH).input_ids, jumped.batch(40, BATCH).input_ids)
    assert not np.array_equal(Loader(packed, seed=9).batch(40, BATCH).input_ids, jumped.batch(40, BATCH).input_ids)


def test_padding_is_masked_and_nothing_else(packed: Layout) -> None:
    loader = Loader(packed)
    pad = loader.mixture.pad_id
    batch = loader.batch(0, loader.mixture.sequences)
    assert (batch.input_ids == pad).any()
    assert np.array_equal(batch.labels == IGNORED_LABEL, batch.input_ids == pad)
    kept = batch.labels != IGNORED_LABEL
    assert np.array_equal(batch.labels[kept], batch.input_ids[kept])
    assert (batch.labels != IGNORED_LABEL).any(axis=1).all()
    assert kept.sum() == sum(c.tokens for c in loader.mixture.corpora)


def test_asked_proportions_are_what_is_read(packed: Layout, tmp_path: Path) -> None:
    layout = Layout(shutil.copytree(packed.root, tmp_path / "copy"))
    mix(layout, corpora={"a": {}, "b": {"proportion": 0.7}})
    loader = Loader(layout)
    for window in range(5):
        names = Counter(ref.corpus for ref in loader.sequences_of_step(window, 100))
        assert abs(names["b"] - 70) <= 2
    only_b = mix(layout, corpora={"b": {}})
    assert [c["corpus"] for c in only_b["corpora"]] == ["b"]
    assert {ref.corpus for ref in Loader(layout).sequences_of_step(0, 50)} == {"b"}


@pytest.mark.parametrize("world_size", [1, 2])
def test_held_out_batches_cover_the_split_evenly(packed: Layout, world_size: int) -> None:
    ranks = [Loader(packed, rank=rank, world_size=world_size) for rank in range(world_size)]
    total = ranks[0].held_out_sequences
    assert total > 4
    batches = [list(rank.held_out_batches(4)) for rank in ranks]
    assert {len(b) for b in batches} == {-(-total // 4)}
    rows = np.concatenate([np.concatenate([b[i].input_ids for b in batches]) for i in range(len(batches[0]))])
    mixture = read_mixture(packed)
    held = ShardRows(packed, mixture, [s for s in mixture.shards if s.split == "heldout"])
    stored = np.concatenate([held.open(i) for i in range(len(held.shards))])
    assert np.array_equal(rows[:total], stored)
    assert np.array_equal(rows[total:], stored[: len(rows) - total])
    assert len(list(ranks[0].held_out_batches(4, limit=4))) == 1


def test_shards_are_mapped_not_copied(packed: Layout) -> None:
    mixture = read_mixture(packed)
    rows = ShardRows(packed, mixture, mixture.of("a", "train")).open(0)
    assert rows.dtype == np.uint16
    assert not rows.flags.owndata
    assert not rows.flags.writeable


def test_a_remote_root_is_read_through_a_cache(packed: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    remote = Layout("memory://loader-test")
    remote.fs.put(packed.root, remote.base, recursive=True)
    try:
        ours = Loader(remote).batch(0, BATCH)
        assert np.array_equal(ours.input_ids, Loader(packed).batch(0, BATCH).input_ids)
        assert list((tmp_path / "cache").glob("*.arrow"))
        assert not list((tmp_path / "cache").glob("*.tmp"))
        shutil.rmtree(tmp_path / "cache")
        for shard in read_mixture(remote).shards:
            remote.fs.pipe_file(remote.join(shard.path), b"other bytes")
        with pytest.raises(MissingDataError, match="has sha256"):
            Loader(remote).batch(0, BATCH)
        deadline = time.monotonic() + 10  # shards asked for ahead are still being fetched by threads
        while list((tmp_path / "cache").glob("*.tmp")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert {f.suffix for f in (tmp_path / "cache").iterdir()} <= {".lock"}
    finally:
        remote.fs.rm(remote.base, recursive=True)


def test_errors_name_the_way_out(packed: Layout, layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="--through training_mixture"):
        Loader(layout)
    with pytest.raises(SettingsError, match="does not divide over 5 ranks"):
        Loader(packed, world_size=5).batch(0, BATCH)
    with pytest.raises(SettingsError, match="rank 2 is not one of 2"):
        Loader(packed, rank=2, world_size=2)
    with pytest.raises(SettingsError, match="step -1"):
        Loader(packed).batch(-1, BATCH)

    damaged = Layout(shutil.copytree(packed.root, tmp_path / "copy"))
    path = damaged.join(read_mixture(damaged).of("a", "train")[0].path)
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[:100])
    with pytest.raises(MissingDataError, match="can't be read"):
        Loader(damaged).batch(0, 200)
    Path(path).unlink()
    with pytest.raises(MissingDataError, match="is not there"):
        Loader(damaged).batch(0, 200)
    write_documents(damaged, "a", "00000", [["only one document now"]])
    pack(damaged, Partition("a", "00000"), heldout_fraction=0.0)
    with pytest.raises(MissingDataError, match="rows, the mixture says"):
        Loader(damaged).batch(0, 200)
    pack(damaged, Partition("a", "00000"), heldout_fraction=0.0, sequence_length=16)
    with pytest.raises(MissingDataError, match=r"holds fixed_size_list.*not fixed_size_list"):
        Loader(damaged).batch(0, 200)
    damaged.write_json(damaged.join("training_mixture", "mixture.json"), {"corpora": []})
    with pytest.raises(MissingDataError, match="is not a mixture"):
        Loader(damaged)


def test_the_loader_needs_no_torch() -> None:
    program = "import sys, training.loader; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
