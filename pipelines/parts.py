"""One part file in, one kept part and one quarantine part out: what a map stage does inside a task."""

import contextlib
import hashlib
import json
import posixpath
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import Any, Self, cast

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import build
from pipelines.commit import unfinished_name
from pipelines.decisions import verdicts
from pipelines.schema import QUARANTINE_SCHEMA
from pipelines.stages import stage

BATCH_ROWS = 512
ROW_GROUP_BYTES = 32 << 20  # keeps a writer's memory flat whatever the size of a part
_HEARTBEAT_SECONDS = 2.0


@dataclass(frozen=True)
class PartTask:
    """One part of one partition through one stage; travels to a Spark worker as JSON."""

    stage: str
    root: str
    corpus: str
    segment: str
    source: str  # path of the input part or crawl file
    part: str  # name of the output part, without folder
    folder: str  # the attempt's temporary folder
    settings: dict[str, Any]

    def to_json(self) -> str:
        """The task as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a task back."""
        return cls(**json.loads(text))

    @property
    def layout(self) -> Layout:
        """The layout the task reads and writes."""
        return Layout(self.root)

    @property
    def partition(self) -> Partition:
        """The partition the part belongs to."""
        return Partition(self.corpus, self.segment)


@dataclass
class PartResult:
    """What became of one part; adds up to the partition's report."""

    part: str
    rows_in: int = 0
    rows_kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter[str])
    tally: Counter[str] = field(default_factory=Counter[str])
    files: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    text_bytes_in: int = 0
    text_bytes_out: int = 0
    cpu_seconds: float = 0.0


class PartWriter:
    """Writes record batches to one zstd Parquet file: renamed when whole, byte-equal for equal rows."""

    def __init__(self, layout: Layout, path: str) -> None:
        self._layout, self._path = layout, path
        self._unfinished = unfinished_name(path)
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; a batch of no rows still settles the schema."""
        if self._schema is None:
            self._schema = batch.schema
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self.flush()

    def close(self) -> dict[str, Any] | None:
        """Finish the file; returns its name, rows, bytes and sha256, or None if nothing was ever written."""
        if self._schema is None:
            return None
        self.flush()
        assert self._writer is not None
        self._writer.close()
        fs = self._layout.fs
        digest = hashlib.sha256()
        size = 0
        with fs.open(self._unfinished, "rb") as file:
            while block := cast(bytes, file.read(1 << 20)):
                digest.update(block)
                size += len(block)
        fs.mv(self._unfinished, self._path)
        return {
            "name": posixpath.basename(self._path),
            "rows": self.rows,
            "bytes": size,
            "sha256": digest.hexdigest(),
        }

    def flush(self) -> None:
        """End the row group here."""
        assert self._schema is not None
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._unfinished, self._schema, filesystem=self._layout.fs, compression="zstd"
            )
        # One chunk: page borders in the file must not depend on how rows arrived.
        table = pa.Table.from_batches(self._pending, self._schema).combine_chunks()
        if table.num_rows:
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self._pending, self._pending_bytes = [], 0


def read_part(task: PartTask) -> Iterator[pa.RecordBatch]:
    """The batches of a Parquet part; at least one, so that an empty part still has a schema."""
    layout = task.layout
    with layout.fs.open(task.source, "rb") as file:
        parquet = pq.ParquetFile(file)
        is_empty = True
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            is_empty = False
            yield batch
        if is_empty:
            yield pa.RecordBatch.from_pylist([], schema=parquet.schema_arrow)


def run_part(task: PartTask) -> PartResult:
    """Read, score, decide, write: the whole of a map stage for one part."""
    module = stage(task.stage).load()
    settings = build(module.Settings, task.settings, f"settings of {task.stage}")
    layout = task.layout
    started = time.process_time()
    result = PartResult(task.part)
    kept_writer = PartWriter(layout, posixpath.join(task.folder, "output", task.part))
    quarantine_writer = PartWriter(layout, posixpath.join(task.folder, "quarantine", task.part))
    side = (module.load_side_input(layout, task.partition),) if hasattr(module, "load_side_input") else ()
    source = module.read(task, settings, result.tally) if hasattr(module, "read") else read_part(task)
    heartbeat = Heartbeat(layout, task)
    for batch in source:
        result.rows_in += batch.num_rows
        result.text_bytes_in += _text_bytes(batch)
        for scored, verdict in _judge(module, batch, settings, side):
            keep = verdict.column("reason").is_null()
            kept = _without_scratch(scored.filter(keep))
            kept_writer.write(kept)
            quarantine_writer.write(_quarantine_rows(task.stage, scored, verdict))
            result.rows_kept += kept.num_rows
            result.text_bytes_out += _text_bytes(kept)
            result.rejected.update(r for r in verdict.column("reason").to_pylist() if r is not None)
            if hasattr(module, "tally"):
                result.tally.update(module.tally(kept))
        heartbeat.beat(result.rows_in)
    for writer, kind in ((kept_writer, "kept"), (quarantine_writer, "quarantine")):
        written = writer.close()
        if written is not None:
            result.files.append(written | {"kind": kind})
    result.cpu_seconds = time.process_time() - started
    heartbeat.done(result.rows_in)
    return result


def _judge(
    module: ModuleType, batch: pa.RecordBatch, settings: Any, side: tuple[Any, ...]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Score and decide a batch; if that raises, row by row, so that only the culprit is lost.

    A row that raises by itself is rejected as `broken_row`; its neighbours go their way.
    """
    try:
        scored = module.score(batch, settings, *side)
        yield scored, module.decide(scored, settings)
    except (MemoryError, OSError):
        raise  # the machine's trouble, not the row's
    except Exception:
        if batch.num_rows == 0:
            raise
        # The scored schema, so that every slice fits the part's file, comes from a batch of no rows.
        empty = module.score(batch.slice(0, 0), settings, *side)
        for row in range(batch.num_rows):
            single = batch.slice(row, 1)
            try:
                scored = module.score(single, settings, *side)
                yield scored, module.decide(scored, settings)
            except Exception as error:
                yield (
                    _null_row(single, empty.schema),
                    verdicts(["broken_row"], details=[type(error).__name__]),
                )


def _null_row(row: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`row` as if scored, without a signal: it must fit the file, whose kept part it never reaches."""
    columns = [
        row.column(f.name)
        if f.name in row.schema.names and row.schema.field(f.name).type == f.type
        else pa.nulls(1, f.type)
        for f in schema
    ]
    return pa.record_batch(columns, schema=schema)


def _quarantine_rows(stage_name: str, scored: pa.RecordBatch, verdict: pa.RecordBatch) -> pa.RecordBatch:
    is_rejected = verdict.column("reason").is_valid()
    rows, why = scored.filter(is_rejected), verdict.filter(is_rejected)
    columns = [
        pa.array([stage_name] * rows.num_rows, pa.string())
        if f.name == "stage"
        else (why if f.name in why.schema.names else rows).column(f.name).cast(f.type)
        for f in QUARANTINE_SCHEMA
    ]
    return pa.record_batch(columns, schema=QUARANTINE_SCHEMA)


def _without_scratch(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.select([name for name in batch.schema.names if not name.startswith("_")])


def _text_bytes(batch: pa.RecordBatch) -> int:
    if "text" not in batch.schema.names:
        return 0
    import pyarrow.compute as pc

    return int(cast(Any, pc).sum(cast(Any, pc).binary_length(batch.column("text"))).as_py() or 0)


class Heartbeat:
    """Tells the driver how far a task is, through a tiny file in the attempt's folder."""

    def __init__(self, layout: Layout, task: PartTask) -> None:
        self._layout, self._last = layout, time.monotonic()
        self._path = posixpath.join(task.folder, "progress", task.part)

    def beat(self, rows: int) -> None:
        """Say that `rows` rows were read, at most every two seconds."""
        if time.monotonic() - self._last >= _HEARTBEAT_SECONDS:
            self._last = time.monotonic()
            self._write(str(rows))

    def done(self, rows: int) -> None:
        """Say that the part is finished with `rows` rows."""
        self._write(f"{rows} done")

    def _write(self, text: str) -> None:
        # Makes no folder: an attempt that was stopped takes its own away, and a task must not bring it back.
        with contextlib.suppress(FileNotFoundError):
            self._layout.fs.pipe_file(self._path, text.encode())


def read_heartbeats(layout: Layout, folder: str) -> tuple[int, int]:
    """Rows read and parts finished so far below an attempt's folder; (0, 0) when the attempt has ended."""
    rows = done = 0
    try:
        for path in layout.parts(posixpath.join(folder, "progress"), suffix=""):
            words = cast(bytes, layout.fs.cat_file(path)).split()
            if words and not path.endswith(".tmp"):
                rows += int(words[0])
                done += len(words) > 1
    except (OSError, ValueError):
        return 0, 0
    return rows, done
