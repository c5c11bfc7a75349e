"""Dagster's SQLite records for a process that executes runs itself: connections are kept, files come ready-made.

The stock storages make an engine and a connection for each of the 500 times that one small run reads or writes, and ask
Alembic about each file that they open: half of what recording the run costs. Files, tables and transactions are the
stock ones, so that the UI reads along; the same lock lets one thread at a time at the events.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import QueuePool

from assets.blank_records import EVENTS, INDEX, RUNS, SCHEDULES, blank_records, fill, is_as_made, start_events


class KeptSqliteEventLogStorage(SqliteEventLogStorage):
    """Keeps one connection to the index and one to the events of the run at hand."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._tables = set[str]()  # known to be there: none is ever dropped
        super().__init__(base_dir, inst_data=inst_data)

    @contextlib.contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                if not self._is_ready(shard):
                    self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _is_ready(self, shard: str) -> bool:
        """Whether the file is as Dagster would make it, which one without events can be made at once."""
        blank, path = blank_records(), Path(self.path_for_shard(shard))
        if blank is None:
            return False
        if shard == INDEX_SHARD_NAME:
            return is_as_made(path, blank / INDEX)
        start_events(path, blank)
        return is_as_made(path, blank / EVENTS)

    def _engine(self, shard: str) -> Engine:
        found = self._engines.get(shard)
        if found is not None:
            return found
        for other in self._engines.keys() - {INDEX_SHARD_NAME, shard}:
            self._engines.pop(other).dispose()
        self._engines[shard] = engine = _kept(self.conn_string_for_shard(shard), timeout=SQLITE_BUSY_TIMEOUT_SECONDS)
        return engine

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table, for which the stock one connects anew each time."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def delete_events(self, run_id: str) -> None:
        """Forget a run, whose file goes."""
        with self._db_lock:
            if run_id in self._engines:
                self._engines.pop(run_id).dispose()
        super().delete_events(run_id)

    def dispose(self) -> None:
        """Close what was kept."""
        super().dispose()
        while self._engines:
            self._engines.popitem()[1].dispose()


class KeptSqliteRunStorage(SqliteRunStorage):
    """Keeps its connection; a file that is as this Dagster makes it is opened without asking Alembic."""

    _engine: Engine | None = None

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """The records of runs in `base_dir`, made where there are none."""
        blank = blank_records()
        if blank is not None and is_as_made(Path(base_dir, RUNS.name), blank / RUNS):
            return cls(create_db_conn_string(base_dir, RUNS.stem), inst_data)
        return super().from_local(base_dir, inst_data)

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction on the kept connection, or on another while that one is in use."""
        if self._engine is None:
            self._engine = _kept(self._conn_string)
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Close what was kept."""
        super().dispose()
        if self._engine is not None:
            self._engine.dispose()


class KeptSqliteStorage(DagsterSqliteStorage):
    """The stock storage but for how its parts are opened; that of schedules, hardly asked for, is the stock one."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        home, blank = Path(base_dir), blank_records()
        if blank is not None:
            fill(home, blank)
        self.base_dir = base_dir
        self._run_storage = KeptSqliteRunStorage.from_local(str((home / RUNS).parent))
        self._event_log_storage = KeptSqliteEventLogStorage(str((home / INDEX).parent))
        schedules = home / SCHEDULES
        if blank is not None and is_as_made(schedules, blank / SCHEDULES):
            self._schedule_storage = SqliteScheduleStorage(create_db_conn_string(str(schedules.parent), schedules.stem))
        else:
            self._schedule_storage = SqliteScheduleStorage.from_local(str(schedules.parent))
        self._inst_data = inst_data
        super(DagsterSqliteStorage, self).__init__()  # its own would open all of this once more

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Any) -> Self:
        """The stock one makes the stock storage, whatever the class that is asked for it."""
        return cls.from_local(inst_data=inst_data, **config_value)


def _kept(address: str, **options: Any) -> Engine:
    # What one thread gives back another may take; no two use a connection at once.
    return create_engine(
        address,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=-1,
        connect_args={"check_same_thread": False, **options},
    )
