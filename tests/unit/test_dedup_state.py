"""What clustering remembers: versions that hold, that are read, that are gone, and two runs at once."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.dedup.band_index import IndexFile
from pipelines.dedup.cluster_slice import Copy, copy_file
from pipelines.dedup.cluster_state import Segment, State, StateFolder, remove_unused_states
from pipelines.dedup.state_damage import is_of_state, reading_state


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "home"))


def path_of(layout: Layout, name: str = "s") -> str:
    return f"{layout.cluster_states_dir('c')}/{name}"


def add(folder: StateFolder, key: str) -> dict[str, Segment]:
    """Bring a segment in, as the job does: files first."""
    place = Path(folder.folder, "index")
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{key.replace('|', '-')}.parquet"
    path.write_bytes(b"keys")
    index = (IndexFile(folder.relative(str(path)), 4),)
    return dict(folder.state.segments) | {key: Segment(f"mark {key}", 3, {"part-00000.parquet": 0}, index)}


def versions(layout: Layout) -> set[str]:
    return {path.parent.name for path in Path(path_of(layout)).glob("*/report.json")}


def test_a_version_holds_what_the_one_before_held(layout: Layout) -> None:
    for number, key in enumerate(("c|a", "c|b", "c|d")):
        with StateFolder(layout, path_of(layout)) as folder:
            assert len(folder.state.segments) == number
            folder.commit(add(folder, key), number + 1)
    with StateFolder(layout, path_of(layout)) as folder:
        assert folder.state.segments["c|a"] == Segment(
            "mark c|a", 3, {"part-00000.parquet": 0}, folder.state.segments["c|a"].index
        )
        assert folder.state.next_ordinal == 3
        assert all(Path(folder.full(path)).exists() for s in folder.state.segments.values() for path in s.paths)
    assert len(versions(layout)) == 1, "manifests that nothing reads are gone, files that are read are not"
    assert list(Path(path_of(layout)).rglob("lease.json")) == []


def test_a_run_that_fails_leaves_nothing(layout: Layout) -> None:
    with pytest.raises(ValueError, match="why"), StateFolder(layout, path_of(layout)) as folder:
        add(folder, "c|a")
        raise ValueError("why")
    assert not Path(path_of(layout)).exists()
    with StateFolder(layout, path_of(layout)) as folder:
        assert folder.state == State()
    assert not Path(path_of(layout)).exists()


def test_of_two_runs_at_once_the_last_holds_and_both_are_whole(layout: Layout) -> None:
    with StateFolder(layout, path_of(layout)) as folder:
        folder.commit(add(folder, "c|a"), 1)
    first, second = StateFolder(layout, path_of(layout)), StateFolder(layout, path_of(layout))
    with first, second:
        read = [first.full(path) for path in first.state.segments["c|a"].paths]
        first.commit(add(first, "c|b"), 2)
        assert all(Path(path).exists() for path in read), "the second still reads it"
        second.commit(add(second, "c|d"), 2)
        for run in (first, second):
            assert all(Path(run.full(p)).exists() for s in run.state.segments.values() for p in s.paths)
    with StateFolder(layout, path_of(layout)) as folder:
        assert sorted(folder.state.segments) == ["c|a", "c|d"]
        folder.commit(folder.state.segments, 2)
    left = {path.name for path in Path(path_of(layout)).rglob("*.parquet")}
    assert left == {"c-a.parquet", "c-d.parquet"}


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_writes_is_not(layout: Layout) -> None:
    killed = StateFolder(layout, path_of(layout))
    killed.__enter__()
    add(killed, "c|x")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lease = Path(killed.folder, "lease.json")
    lease.write_text(lease.read_text().replace(f'"process": {os.getpid()}', f'"process": {ended.pid}'))
    living = StateFolder(layout, path_of(layout))
    living.__enter__()
    add(living, "c|y")
    with StateFolder(layout, path_of(layout)) as folder:
        folder.commit(add(folder, "c|a"), 1)
    assert not Path(killed.folder).exists()
    assert Path(living.folder, "index").exists()
    living.__exit__(None, None, None)


DAMAGED = {
    "current.json": ["", "[]", "{}", '{"version": 3}', '{"version": "../.."}'],
    "report.json": ["", '{"format": 1}', '{"format": 1, "segments": [], "next_ordinal": 0, "version": "v"}'],
    "lease.json": ["", "{}", "[]", '{"host": "elsewhere"}', '{"host": "elsewhere", "since": "never", "reads": [1]}'],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in DAMAGED.items() for text in texts])
def test_small_files_that_are_damaged_are_as_if_not_there(layout: Layout, name: str, text: str) -> None:
    with StateFolder(layout, path_of(layout)) as folder:
        folder.commit(add(folder, "c|a"), 1)
    version, path = Path(folder.folder), Path(path_of(layout))
    if name == "lease.json":
        version = path / "20200101T000000-killed"
        version.mkdir()
    (path / name if name == "current.json" else version / name).write_text(text)
    with StateFolder(layout, path_of(layout)) as folder:
        assert len(folder.state.segments) == (name == "lease.json")
        folder.commit(add(folder, "c|b"), 2)
    remove_unused_states(layout, path_of(layout, "other"), "c")
    assert not path.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"ordinals": None},
        {"ordinals": {"part": "x"}},
        {"index": [{"path": 3, "keys": 1}]},
        {"index": [{"odd": 3}]},
        {"files": [{"kind": "kept"}]},
        {"files": [3]},
        {"members": 7},
    ],
    ids=str,
)
def test_a_manifest_of_wrong_types_is_no_state(layout: Layout, wrong: dict[str, Any]) -> None:
    with StateFolder(layout, path_of(layout)) as folder:
        folder.commit(add(folder, "c|a"), 1)
    manifest = Path(folder.folder, "report.json")
    value = json.loads(manifest.read_text())
    value["segments"]["c|a"] |= wrong
    manifest.write_text(json.dumps(value))
    with StateFolder(layout, path_of(layout)) as folder:
        assert folder.state == State()


def test_damage_names_the_state_and_is_known_again(layout: Layout) -> None:
    path = f"{path_of(layout)}/20200101T000000-v/index/000000-00000.parquet"
    layout.write_bytes(path, b"PAR1")
    with pytest.raises(MissingDataError) as raised, reading_state(path):
        pq.read_table(path)
    assert f"remove the folder {path_of(layout)}, which" in str(raised.value)
    assert is_of_state(RuntimeError(f"Job aborted\nMissingDataError: {raised.value}"))
    assert not is_of_state(MissingDataError("another"))


def test_what_is_committed_is_what_the_state_describes(layout: Layout) -> None:
    source, target = f"{path_of(layout)}/v/clusters/a.parquet", layout.join("out.parquet")
    layout.write_bytes(source, b"twelve bytes")
    right = Copy(layout.root, source, target, 12, hashlib.sha256(b"twelve bytes").hexdigest())
    copy_file(right)
    assert Path(target).read_bytes() == b"twelve bytes"
    for wrong in (b"Twelve bytes", b"twelve", b""):
        layout.write_bytes(source, wrong)
        with pytest.raises(MissingDataError, match=r"clusters/a\.parquet has .* remove the folder .*/s, which"):
            copy_file(right)
    Path(source).unlink()
    with pytest.raises(MissingDataError, match="it is not there"):
        copy_file(right)


def test_states_of_the_scope_that_was_left_are_removed(layout: Layout) -> None:
    alone, together = path_of(layout), f"{layout.cluster_states_dir(None)}/s"
    for path in (alone, together):
        with StateFolder(layout, path) as folder:
            folder.commit(add(folder, "c|a"), 1)
    remove_unused_states(layout, together, "c")
    assert not Path(layout.cluster_states_dir("c")).exists()
    assert Path(together).exists()


@pytest.mark.parametrize("harm", ["file", "manifest", "format", "all"])
def test_a_state_with_anything_missing_is_no_state(layout: Layout, harm: str) -> None:
    with StateFolder(layout, path_of(layout)) as folder:
        folder.commit(add(folder, "c|a"), 1)
    (manifest,) = Path(path_of(layout)).glob("*/report.json")
    if harm == "file":
        next(Path(path_of(layout)).rglob("*.parquet")).unlink()
    elif harm == "format":
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 0'))
    elif harm == "manifest":
        manifest.unlink()
    else:
        layout.fs.rm(path_of(layout), recursive=True)
    with StateFolder(layout, path_of(layout)) as folder:
        assert folder.state == State()


def test_made_anew_it_starts_empty(layout: Layout) -> None:
    with StateFolder(layout, path_of(layout)) as folder:
        folder.commit(add(folder, "c|a"), 1)
    with StateFolder(layout, path_of(layout), is_anew=True) as folder:
        assert folder.state == State()
        folder.commit(add(folder, "c|b"), 1)
    with StateFolder(layout, path_of(layout)) as folder:
        assert list(folder.state.segments) == ["c|b"]


def test_states_of_settings_that_nothing_was_made_with_are_removed(layout: Layout) -> None:
    for name in ("old", "used", "now"):
        with StateFolder(layout, path_of(layout, name)) as folder:
            folder.commit(add(folder, "c|a"), 1)
    report = {"state": "cluster_state/corpus=c/used"}
    layout.write_json(f"{layout.partition_dir('duplicate_clusters', Partition('c'))}/report.json", report)
    with StateFolder(layout, path_of(layout, "busy")):
        remove_unused_states(layout, path_of(layout, "now"), "c")
        left = {Path(path).name for path in layout.parts(layout.cluster_states_dir("c"), suffix="")}
    assert left == {"used", "now", "busy"}
