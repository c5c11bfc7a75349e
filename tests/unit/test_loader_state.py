"""The same batches however a run is divided, interrupted or served: ranks, resumption, few files, a remote root."""

import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.shard_files import EOT_ID, make_root, make_sparse_root, write_mixture, write_shard
from gristmill.core.errors import EnvironmentProblemError, MissingDataError, SettingsError
from gristmill.core.layout import Layout
from training.batch import Batch, position_ids
from training.loader import Loader
from training.shard_cache import CACHE_SIZE_VARIABLE, CACHE_VARIABLE, ShardCache
from training.shard_rows import ShardRows
from training.shards import read_mixture

BATCH = 24  # divides over 1, 2, 3, 4 and 8
SOURCES = {"a": [40, 1, 33], "b/common": [20], "b/rare": [7]}
DRAWS = {"a": 148, "b/common": 20, "b/rare": 21}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_root(tmp_path_factory.mktemp("loader"), SOURCES, length=16, draws=DRAWS)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("read_ahead", [0, 3])
def test_the_global_batch_is_the_same_for_every_world_size(root: Layout, world_size: int, read_ahead: int) -> None:
    whole = Loader(root)
    ranks = [Loader(root, rank=r, world_size=world_size, read_ahead=read_ahead) for r in range(world_size)]
    for step in [*range(30), 7, 10**9]:
        joined = np.concatenate([rank.batch(step, BATCH).tokens for rank in ranks])
        assert np.array_equal(joined, whole.batch(step, BATCH).tokens)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_interruptions_leave_no_trace(root: Layout, data: st.DataObject) -> None:
    """A run cut anywhere, each piece on another number of ranks, with batches of another size."""
    straight = np.concatenate([b.tokens for b in Loader(root).batches(0, 20, BATCH)])
    state, read = Loader(root).state(0, BATCH), []
    while (done := state["sequences"]) < len(straight):
        world = data.draw(st.sampled_from([1, 2, 3, 4, 8]))
        size = data.draw(st.sampled_from([s for s in (24, 48) if done % s == 0]))
        streams = [Loader(root, rank=r, world_size=world).stream(size, state=state) for r in range(world)]
        for _ in range(data.draw(st.integers(1, 9))):
            read += [next(stream).tokens for stream in streams]
        state = pickle.loads(pickle.dumps(streams[0].state()))
    assert np.array_equal(np.concatenate(read)[: len(straight)], straight)


def test_a_state_of_something_else_is_refused(root: Layout, tmp_path: Path) -> None:
    loader = Loader(root)
    state = loader.stream(BATCH).state() | {"sequences": 240}
    assert loader.step_of(state, 24) == 10
    assert loader.step_of(state, 48) == 5
    with pytest.raises(SettingsError, match="no whole number of batches of 32"):
        loader.step_of(state, 32)
    with pytest.raises(SettingsError, match="taken with seed 0, this loader has 5"):
        Loader(root, seed=5).stream(BATCH, state=state)
    other = make_root(tmp_path / "other", SOURCES, length=16, draws=DRAWS | {"a": 149})
    with pytest.raises(SettingsError, match="another mixture"):
        Loader(other).stream(BATCH, state=state)
    same = make_root(tmp_path / "same", SOURCES, length=16, draws=DRAWS)
    assert Loader(same).stream(BATCH, state=state).step == 10
    with pytest.raises(SettingsError, match="no state of a loader"):
        loader.stream(BATCH, state={"step": 1})


def test_one_sequence_is_a_corpus(tmp_path: Path) -> None:
    loader = Loader(make_root(tmp_path, {"a": [1]}, length=8), world_size=8)
    assert all((b.tokens == loader.batch(0, 8).tokens).all() for b in loader.batches(0, 600, 8))


def test_few_files_are_open_whatever_the_number_of_shards(tmp_path: Path) -> None:
    layout = make_root(tmp_path, {"a": [2] * 60}, length=8)
    mixture = read_mixture(layout)
    few, many = (ShardRows(layout, mixture, mixture.of("a", "train"), most_open=n) for n in (3, 60))
    random = np.random.default_rng(0)
    for _ in range(20):
        shards, rows = (part.tolist() for part in few.locate(random.integers(0, 120, 10)))
        few.advise(shards, rows)
        assert np.array_equal(few.read(shards, rows), many.read(shards, rows))
        assert len(few._maps) <= 3  # pyright: ignore[reportPrivateUsage]


def test_what_happens_to_files_between_steps(tmp_path: Path) -> None:
    """Removed or replaced while mapped: the old content stays. Cut off or replaced before it is opened: refused."""
    layout = make_root(tmp_path, {"a": [30]}, length=8)
    mixture = read_mixture(layout)
    path = Path(layout.join(mixture.shards[0].path))
    loader, expected = Loader(layout), Loader(layout).batch(1, 8).tokens
    loader.batch(0, 8)
    whole = path.read_bytes()
    path.unlink()
    assert np.array_equal(loader.batch(1, 8).tokens, expected)
    with pytest.raises(MissingDataError, match="is not there"):
        Loader(layout).batch(1, 8)
    path.write_bytes(whole[:-20])
    with pytest.raises(MissingDataError, match="can't be read"):
        Loader(layout).batch(1, 8)
    path.write_bytes(b"")
    with pytest.raises(MissingDataError, match="can't be read"):
        Loader(layout).batch(1, 8)
    write_shard(path, np.zeros((31, 8), np.uint16))
    with pytest.raises(MissingDataError, match="31 rows, the mixture says 30"):
        Loader(layout).batch(1, 8)


def test_a_loader_goes_to_another_process(root: Layout) -> None:
    loader = Loader(root)
    expected = loader.batch(3, BATCH).tokens
    assert np.array_equal(pickle.loads(pickle.dumps(loader)).batch(3, BATCH).tokens, expected)


def test_ten_billion_tokens_are_opened_lazily(tmp_path: Path) -> None:
    layout = make_sparse_root(tmp_path, {"a": [15_000] * 3, "b": [15_000]}, length=2048)
    loader = Loader(layout)
    assert (loader.batch(10**7, 16).tokens == EOT_ID).all()
    assert sum(f.stat().st_blocks for f in tmp_path.rglob("*.arrow")) * 512 < 1e6


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.data())
def test_boundaries_are_where_positions_begin_again(rows: int, length: int, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, 3), min_size=rows * length, max_size=rows * length))
    batch = Batch(np.array(ids, np.uint16).reshape(rows, length), eot_id=0, pad_id=1)
    boundaries, longest = batch.cu_seqlens()
    begins = np.flatnonzero(batch.position_ids.reshape(-1) == 0)
    assert boundaries.dtype == np.int32
    assert boundaries.tolist() == [*begins.tolist(), rows * length]
    assert longest == np.diff(boundaries).max()
    assert np.array_equal(position_ids(batch[1:].tokens, 0), batch.position_ids[1:])


@pytest.fixture
def remote(root: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    layout = Layout("memory://loader-state")
    layout.fs.put(root.root, layout.base, recursive=True)
    yield layout
    layout.fs.rm(layout.base, recursive=True)


def test_a_remote_root_gives_the_same_batches(root: Layout, remote: Layout, tmp_path: Path) -> None:
    here, there = Loader(root), Loader(remote)
    for step in range(10):
        assert np.array_equal(there.batch(step, BATCH).tokens, here.batch(step, BATCH).tokens)
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == 5


def test_a_bounded_cache_lets_the_oldest_go(
    root: Layout, remote: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sorted(Path(root.join(s.path)).stat().st_size for s in read_mixture(root).shards)
    limit = sizes[-1] + sizes[-2]
    monkeypatch.setenv(CACHE_SIZE_VARIABLE, str(limit / 1e9))
    here, there = Loader(root), Loader(remote, read_ahead=0)
    for step in range(10):
        assert np.array_equal(there.batch(step, BATCH).tokens, here.batch(step, BATCH).tokens)
        assert sum(f.stat().st_size for f in (tmp_path / "cache").glob("*.arrow")) <= limit
    monkeypatch.setenv(CACHE_SIZE_VARIABLE, "lots")
    with pytest.raises(SettingsError, match="GRISTMILL_CACHE_GB is 'lots'"):
        Loader(remote)


@pytest.mark.parametrize("damage", [lambda whole: whole[:-7], lambda whole: b"\0" * len(whole)], ids=["cut", "zeros"])
def test_a_damaged_cache_file_is_fetched_again(remote: Layout, tmp_path: Path, damage) -> None:
    expected = Loader(remote).batch(2, BATCH).tokens
    for cached in (tmp_path / "cache").glob("*.arrow"):
        cached.write_bytes(damage(cached.read_bytes()))
    assert np.array_equal(Loader(remote).batch(2, BATCH).tokens, expected)


def test_ranks_of_one_machine_fetch_a_shard_once(remote: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    shard, fetched = read_mixture(remote).shards[0], []
    cache = ShardCache(remote)
    fetch = cache._fetch  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(cache, "_fetch", lambda *given: (fetched.append(given), fetch(*given)))
    ranks = [threading.Thread(target=cache.path, args=(shard.path, shard.sha256)) for _ in range(8)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert len(fetched) == 1


def test_a_cache_that_cannot_be_written_is_named(
    remote: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(EnvironmentProblemError, match="GRISTMILL_CACHE"):
        Loader(remote).batch(0, BATCH)


def test_a_compressed_shard_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    layout = make_root(tmp_path, {"a": [400]}, length=64)
    path = Path(layout.join(read_mixture(layout).shards[0].path))
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_batch(table.to_batches()[0])
    with pytest.raises(MissingDataError, match="compressed"):
        Loader(layout).batch(0, 8)


def test_a_shard_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shard.arrow"
    digest = write_shard(path, np.zeros((4, 8), np.uint16), tokenizer_version="other")
    layout = write_mixture(tmp_path, {"a": [(path, 4, digest)]}, {"a": 4}, length=8)
    with pytest.raises(MissingDataError, match="written with tokenizer other"):
        Loader(layout).batch(0, 4)


def test_reading_needs_neither_torch_nor_arrow_files() -> None:
    program = "import sys, training.reading, training.loader; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
