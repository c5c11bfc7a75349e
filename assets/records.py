"""Dagster's SQLite records for a process that executes runs itself: connections are kept, not made for each event.

The stock event log makes an engine and a connection for each of the 450 times that one small run reads or writes; that
is a third of what recording the run costs. Files, tables and transactions are the stock ones, so that the UI reads
along; the same lock lets one thread at a time in.
"""

import contextlib
from collections.abc import Iterator

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import QueuePool


class KeptSqliteEventLogStorage(SqliteEventLogStorage):
    """Keeps one connection to the index and one to the events of the run at hand."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        super().__init__(base_dir, inst_data=inst_data)

    @contextlib.contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        found = self._engines.get(shard)
        if found is not None:
            return found
        for other in self._engines.keys() - {INDEX_SHARD_NAME, shard}:
            self._engines.pop(other).dispose()
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=QueuePool,
            pool_size=1,
            # The lock sees to it that no two threads use the connection at once.
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        self._engines[shard] = engine
        return engine

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


class KeptSqliteStorage(DagsterSqliteStorage):
    """The stock storage but for its event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data=inst_data)
        stock = self._event_log_storage
        self._event_log_storage = KeptSqliteEventLogStorage(stock._base_dir)
