"""Records of a home that come ready-made are those that Dagster makes, and where they can't come, it makes them."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from assets import blank_records as blank
from assets.instance import open_instance
from assets.records import KeptSqliteEventLogStorage, KeptSqliteRunStorage, KeptSqliteStorage
from gristmill.core.layout import Layout

FILES = (blank.RUNS, blank.INDEX, blank.SCHEDULES)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An environment's folder that holds nothing yet."""
    folder = tmp_path / "share"
    monkeypatch.setattr(blank, "_FOLDER", folder)
    blank.blank_records.cache_clear()
    yield folder
    blank.blank_records.cache_clear()


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Tables of a file with their rows, but for when something happened."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        schema = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}
        (mode,) = connection.execute("PRAGMA journal_mode").fetchall()
    rows["secondary_indexes"] = [row[:2] for row in rows.get("secondary_indexes", [])]
    return {"schema": schema, "mode": [mode], **rows}


def opened(base: Path) -> None:
    """The storage as a command opens it, which then works."""
    storage = KeptSqliteStorage.from_local(str(base))
    assert storage.run_storage.get_run_ids() == []
    assert list(storage.event_log_storage.all_asset_keys()) == []
    assert list(storage.schedule_storage.all_instigator_state()) == []
    storage.dispose()


@pytest.mark.usefixtures("kept")
def test_ready_made_records_are_what_dagster_makes(tmp_path: Path) -> None:
    stock = DagsterSqliteStorage.from_local(str(tmp_path / "stock"))
    stock.dispose()
    opened(tmp_path / "ours")
    for name in FILES:
        assert content(tmp_path / "ours" / name) == content(tmp_path / "stock" / name)
    made = sorted(path.relative_to(tmp_path / "ours") for path in (tmp_path / "ours").rglob("*"))
    assert made == sorted(path.relative_to(tmp_path / "stock") for path in (tmp_path / "stock").rglob("*"))


@pytest.mark.usefixtures("kept")
def test_a_runs_events_begin_as_dagster_begins_them(tmp_path: Path) -> None:
    for name, storage in (
        ("stock", DagsterSqliteStorage.from_local(str(tmp_path / "stock"))),
        ("ours", KeptSqliteStorage.from_local(str(tmp_path / "ours"))),
    ):
        assert list(storage.event_log_storage.get_logs_for_run("a-run")) == []
        storage.dispose()
        assert (tmp_path / name / "history" / "runs" / "a-run.db").is_file()
    paths = [tmp_path / name / "history" / "runs" / "a-run.db" for name in ("ours", "stock")]
    assert content(paths[0]) == content(paths[1])


@pytest.mark.usefixtures("kept")
def test_ready_made_records_ask_nothing_of_alembic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blank.blank_records() is not None

    def never(*_: object) -> None:
        raise AssertionError("Alembic was asked")

    for module in ("runs.sqlite.sqlite_run_storage", "event_log.sqlite.sqlite_event_log"):
        monkeypatch.setattr(f"dagster._core.storage.{module}.check_alembic_revision", never)
    monkeypatch.setattr("dagster._core.storage.schedules.sqlite.sqlite_schedule_storage.check_alembic_revision", never)
    for _ in range(2):  # a new home, and one that is there
        opened(tmp_path / "home")


def test_the_command_line_keeps_its_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    with open_instance(Layout(str(tmp_path))) as instance:
        assert isinstance(instance.event_log_storage, KeptSqliteEventLogStorage)
        assert isinstance(instance.run_storage, KeptSqliteRunStorage)
        instance.add_dynamic_partitions("corpus", ["books"])
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as stock:  # the UI reads along
        assert stock.get_dynamic_partitions("corpus") == ["books"]
    assert not list((tmp_path / "dagster").rglob("*-wal"))


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("there", ["history", "schedules"])
def test_a_home_with_some_records_is_left_to_dagster(tmp_path: Path, there: str) -> None:
    home = tmp_path / "home"
    stock = DagsterSqliteStorage.from_local(str(home))
    stock.event_log_storage.add_dynamic_partitions("corpus", ["books"])
    stock.dispose()
    shutil.rmtree(home / ({"history", "schedules"} - {there}).pop())
    storage = KeptSqliteStorage.from_local(str(home))
    assert storage.event_log_storage.get_dynamic_partitions("corpus") == (["books"] if there == "history" else [])
    storage.dispose()
    opened(home)


@pytest.mark.usefixtures("kept")
def test_older_records_are_dagsters_to_look_at(tmp_path: Path) -> None:
    opened(tmp_path)
    folder = blank.blank_records()
    assert folder is not None
    path, made = tmp_path / blank.RUNS, folder / blank.RUNS
    assert blank.is_as_made(path, made)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '5771160a95ad'")
    assert not blank.is_as_made(path, made)
    path.write_bytes(b"no database" * 100)
    assert not blank.is_as_made(path, made)


def test_damaged_records_are_not_copied(tmp_path: Path, kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = blank.blank_records()
    assert folder is not None
    assert folder.parent == kept
    whole = (folder / blank.INDEX).read_bytes()
    for bad in (b"", whole[: len(whole) // 2], b"x" * len(whole)):
        (folder / blank.INDEX).write_bytes(bad)
        blank.blank_records.cache_clear()
        assert blank.blank_records() is None
        assert "remove the folder" in caplog.text
        opened(tmp_path / f"home-{len(bad)}")


def test_where_nothing_can_be_kept_dagster_makes_its_own(tmp_path: Path, kept: Path) -> None:
    kept.write_text("a file where the folder should be")
    assert blank.blank_records() is None
    opened(tmp_path / "home")


def test_a_full_disk_leaves_the_home_to_dagster(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blank.blank_records() is not None

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    home = tmp_path / "home"
    opened(home)
    assert sorted(path.name for path in home.iterdir()) == ["history", "schedules"]
    assert [path.name for path in kept.iterdir()] == [path.name for path in kept.iterdir() if path.name[0] != "."]


def test_several_may_open_a_new_home_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from assets.instance import open_instance; from gristmill.core.layout import Layout\n"
        "with open_instance(Layout(sys.argv[1])) as instance:\n"
        "    instance.add_dynamic_partitions('corpus', [sys.argv[2]])\n"
    )
    names = ["a", "b", "c"]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], env=environment) for name in names
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        assert sorted(instance.get_dynamic_partitions("corpus")) == names
