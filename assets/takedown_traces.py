"""Taking what was taken down out of Dagster's own records: previews of documents in the metadata of old runs.

Dagster keeps the metadata of every materialization for ever, and that of `clean_documents` shows the beginnings of five
documents. There is no way of Dagster's to change an event, so its rows are rewritten where they lie.
"""

import json
import re
from collections.abc import Collection
from typing import Any, cast

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

GONE = "taken down"
_DOC_ID = re.compile(r"[0-9a-f]{32}")
_BATCH = 500


def forget(instance: dg.DagsterInstance, doc_ids: Collection[str]) -> int:
    """Blank what is shown of documents in events of materializations; returns how many records of them were.

    Args:
        instance: of whose records; one whose storage is no SQL database is left as it is, which gives 0.
        doc_ids: of the documents.
    """
    storage = _storage(instance)
    if storage is None or not doc_ids:
        return 0
    gone = frozenset(doc_ids)
    events, keys = SqlEventLogStorageTable.c, AssetKeyTable.c
    with storage.index_connection() as connection:
        is_shown = events.asset_key.isnot(None) & events.event.contains("TableRecord")
        runs = [run for (run,) in connection.execute(sa.select(events.run_id).where(is_shown).distinct())]
        count = _blank(connection, SqlEventLogStorageTable, events.event, is_shown, gone)
        _blank(connection, AssetKeyTable, keys.last_materialization, keys.last_materialization.isnot(None), gone)
    for run_id in runs:  # SQLite has each run's events in a file of its own, too; elsewhere this finds nothing
        with storage.run_connection(run_id) as connection:
            _blank(connection, SqlEventLogStorageTable, events.event, events.event.contains("TableRecord"), gone)
    return count


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage | None:
    storage: EventLogStorage = instance.event_log_storage
    return storage if isinstance(storage, SqlEventLogStorage) else None


def _blank(connection: Any, table: Any, column: Any, where: Any, gone: frozenset[str]) -> int:
    count, last = 0, -1
    while True:
        some = sa.select(table.c.id, column).where(where & (table.c.id > last)).order_by(table.c.id).limit(_BATCH)
        rows = connection.execute(some).fetchall()
        if not rows:
            return count
        for number, event in rows:
            last = number
            if gone.isdisjoint(_DOC_ID.findall(event)):
                continue
            value = json.loads(event)
            found = _blank_records(value, gone)
            if found:
                change = sa.update(table).where(table.c.id == number).values({column.name: json.dumps(value)})
                connection.execute(change)
                count += found


def _blank_records(value: Any, gone: frozenset[str]) -> int:
    """Blank, in place, every mapping that names a document of `gone`: all its texts but the doc_id."""
    if isinstance(value, list):
        return sum(_blank_records(item, gone) for item in cast("list[Any]", value))
    if not isinstance(value, dict):
        return 0
    fields = cast("dict[str, Any]", value)
    if fields.get("doc_id") in gone:
        shown = [n for n, v in fields.items() if isinstance(v, str) and v != GONE and n not in ("doc_id", "__class__")]
        fields.update(dict.fromkeys(shown, GONE))
        return int(bool(shown))
    return sum(_blank_records(item, gone) for item in fields.values())
