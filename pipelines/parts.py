"""One part file in; a kept, a quarantine and maybe a signals part out: what a map stage does inside a task."""

import contextlib
import hashlib
import json
import platform
import posixpath
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import EnvironmentProblemError
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import build
from pipelines.commit import unfinished_name
from pipelines.damage import reading
from pipelines.judging import Scorer, judge
from pipelines.kept_memory import keep_freed_memory
from pipelines.no_pandas import without_pandas
from pipelines.redacted_urls import redacted
from pipelines.schema import QUARANTINE_SCHEMA
from pipelines.signals import Memory
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
    known: str = ""  # the signals part of a run before that measured the same way
    known_sha256: str = ""
    also: Sequence[str] = ()  # further crawl files whose documents go to the same part
    facts: dict[str, str] = field(default_factory=dict[str, str])  # of the stage, where the run was planned

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
    rows_scored: int = 0  # measured now, not recalled
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
        self._pending_bytes += sum(_bytes(column) for column in batch.columns)
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
    """The batches of a Parquet part; at least one, so that an empty part still has a schema.

    Raises:
        MissingDataError: the part can't be read; the line names it and the way out.
    """
    layout = task.layout
    with reading(task.source), layout.fs.open(task.source, "rb") as file:
        parquet = pq.ParquetFile(file)
        is_empty = True
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            is_empty = False
            yield batch
        if is_empty:
            yield pa.RecordBatch.from_pylist([], schema=parquet.schema_arrow)


def run_part(task: PartTask) -> PartResult:
    """Read, score or recall, decide, edit, write: the whole of a map stage for one part."""
    without_pandas()
    keep_freed_memory()
    module = stage(task.stage).load()
    settings = build(module.Settings, task.settings, f"settings of {task.stage}")
    if task.facts:
        _check_facts(task, module.facts(settings))
    layout = task.layout
    cpu_seconds = getattr(module, "cpu_seconds", time.process_time)
    started = cpu_seconds()
    result = PartResult(task.part)
    kept_writer, quarantine_writer, signals_writer = (
        PartWriter(layout, posixpath.join(task.folder, folder, task.part))
        for folder in ("output", "quarantine", "signals")
    )
    side = (module.load_side_input(layout, task.partition),) if hasattr(module, "load_side_input") else ()
    source = module.read(task, settings, result.tally) if hasattr(module, "read") else read_part(task)
    memory = Memory.load(layout, task.known, task.known_sha256) if task.known else None
    scorer = Scorer(module, settings, side, memory)
    heartbeat = Heartbeat(layout, task)
    for batch in source:
        result.rows_in += batch.num_rows
        result.text_bytes_in += _text_bytes(batch)
        for scored in scorer.score(batch):
            if scored.signals is not None:
                signals_writer.write(scored.signals)
            kept, verdict = judge(module, scored, settings)
            kept_writer.write(kept)
            quarantine_writer.write(quarantine_rows(task.stage, scored.rows, verdict))
            result.rows_kept += kept.num_rows
            result.text_bytes_out += _text_bytes(kept)
            result.rejected.update(r for r in verdict.column("reason").to_pylist() if r is not None)
            if hasattr(module, "tally"):
                result.tally.update(module.tally(kept))
        heartbeat.beat(result.rows_in)
    result.rows_scored = scorer.rows_scored
    for writer, kind in ((kept_writer, "kept"), (quarantine_writer, "quarantine"), (signals_writer, "signals")):
        written = writer.close()
        if written is not None:
            result.files.append(written | {"kind": kind})
    result.cpu_seconds = cpu_seconds() - started
    heartbeat.done(result.rows_in)
    return result


def _check_facts(task: PartTask, here: Mapping[str, str]) -> None:
    """Another secret or library on one machine of a cluster would go unseen, and its parts would be other ones."""
    differing = [name for name, value in task.facts.items() if here.get(name) != value]
    if differing:
        raise EnvironmentProblemError(
            f"{task.stage}: the {differing[0]} on {platform.node()} is not that of the machine that planned the run; "
            "give every machine the same"
        )


def quarantine_rows(stage_name: str, scored: pa.RecordBatch, verdict: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of `scored` that `verdict` rejects, as the quarantine has them (QUARANTINE_SCHEMA)."""
    is_rejected = verdict.column("reason").is_valid()
    rows, why = scored.filter(is_rejected), verdict.filter(is_rejected)
    columns: list[Any] = []
    for f in QUARANTINE_SCHEMA:
        source = why if f.name in why.schema.names else rows
        if f.name == "stage":
            columns.append(pa.array([stage_name] * rows.num_rows, f.type))
        elif f.name in ("url", "detail") and f.name in source.schema.names:
            said = source.column(f.name).to_pylist()  # an address that is no URI is quoted in the detail
            columns.append(pa.array([line and redacted(line) for line in said], f.type))
        elif f.name in source.schema.names:
            columns.append(source.column(f.name).cast(f.type))
        elif f.name == "failed_rules":  # a stage that asks one thing of a row
            columns.append(pa.array([[reason] for reason in why.column("reason").to_pylist()], f.type))
        else:
            columns.append(pa.nulls(rows.num_rows, f.type))
    return pa.record_batch(columns, schema=QUARANTINE_SCHEMA)


def _bytes(column: Any) -> int:
    """Size of what a column says, however its buffers came about: a row group ends at the same row every time."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return 4 * len(column) + _bytes(column.flatten())
    if kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        return 4 * len(column) + int(cast(Any, pc).sum(cast(Any, pc).binary_length(column)).as_py() or 0)
    try:
        return len(column) * kind.bit_width // 8
    except ValueError:  # a type of no fixed width, which no stage writes today
        return int(column.nbytes)


def _text_bytes(batch: pa.RecordBatch) -> int:
    if "text" not in batch.schema.names:
        return 0
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
