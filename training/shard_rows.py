"""Token shards as memory-mapped rows: nothing is read before a sequence is asked for.

A shard is an Arrow IPC file with one column `input_ids`, a fixed-size list of uint16 or uint32; its pages come
from the operating system's cache as they are, without decoding. Where in the file the column lies is asked of
Arrow once; opening it again (a bounded number is open) costs a few system calls.

Gristmill never changes a shard in place: stages write beside and rename, so that what is mapped stays what it
was. A program that cuts off a file which is mapped kills its readers with SIGBUS, as of any mapped file; what is
shorter than it should be when it is opened is refused with one line.
"""

import mmap
import os
import resource
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from operator import getitem
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout
from training.shard_cache import ShardCache
from training.shards import Mixture, Shard

_REMAKE = "run `gristmill run CORPUS --through training_mixture` again"
_FETCHERS = 8  # shards fetched side by side from a remote root, ahead of the batches that need them
_OPEN_SHARE = 2  # at most one part in two of the files that the process may have open

TokenArray = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Column:
    """Where the tokens lie in a shard's file, and what file that was."""

    offset: int
    size: int
    changed: int
    inode: int


class ShardRows:
    """The rows of several shards, numbered through in order; files are opened when first touched.

    Args:
        layout: the root.
        mixture: what tokens the shards must hold.
        shards: in the order of their rows.
        most_open: files open at a time; None takes half of what the process may (`ulimit -n`).
    """

    def __init__(
        self, layout: Layout, mixture: Mixture, shards: Sequence[Shard], *, most_open: int | None = None
    ) -> None:
        self._layout, self._mixture = layout, mixture
        self.shards = tuple(shards)
        self.dtype = np.dtype(mixture.dtype)
        counts = np.array([s.sequences for s in self.shards], dtype=np.int64)
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        if most_open is None:
            most_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _OPEN_SHARE
        self._most_open = max(most_open, 1)
        self._columns: dict[int, _Column] = {}
        self._cache = None if layout.is_local else ShardCache(layout)
        self._let_go()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def is_remote(self) -> bool:
        """Whether shards come from another machine, through the cache."""
        return self._cache is not None

    def __getstate__(self) -> dict[str, Any]:
        """Maps and threads stay in their process: a worker opens its own."""
        left = ("_rows", "_maps", "_opened", "_fetching", "_pool")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._let_go()

    def locate(self, indices: Int64s) -> tuple[Int64s, Int64s]:
        """Shard number and row in it, for each sequence number; int64 both, shape as given."""
        shard = np.searchsorted(self._ends, indices, side="right").astype(np.int64)
        return shard, indices - self._starts[shard]

    def read(self, shards: Sequence[int], rows: Sequence[int]) -> TokenArray:
        """A copy of the rows given by shard number and row; shape (rows, sequence length).

        Raises:
            MissingDataError: a file is missing, damaged, or of another tokenizer or length.
        """
        try:
            # One allocation and one copy; a bytearray, so that torch may take it as it is.
            joined = bytearray().join(map(cast(Any, getitem), map(self._rows.__getitem__, shards), rows))
        except KeyError:
            return self._read_few(shards, rows)
        return np.frombuffer(joined, self.dtype).reshape(len(shards), self._mixture.sequence_length)

    def advise(self, shards: Sequence[int], rows: Sequence[int]) -> None:
        """Ask for rows that will be read: the kernel begins with the disk, threads begin with what is remote."""
        row_bytes = self._mixture.sequence_length * self.dtype.itemsize
        for number, row in zip(shards, rows, strict=True):
            if number not in self._rows:
                shard = self.shards[number]
                if self._cache is not None and not self._cache.has(shard.sha256):
                    self._fetch_ahead(number, shard)
                    continue
                self.open(number)
            mapped = self._maps[number]
            begin = self._columns[number].offset + row * row_bytes
            page = begin // mmap.PAGESIZE * mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, page, begin + row_bytes - page)

    def open(self, number: int) -> TokenArray:
        """Shard `number` as a read-only array of shape (sequences, sequence length), without a copy.

        Raises:
            MissingDataError: the file is missing, damaged, or of another tokenizer or length.
        """
        shard = self.shards[number]
        waiting = self._fetching.pop(number, None)
        if waiting is not None:
            waiting.result()  # raises what went wrong
        for attempt in (1, 2, 3):
            path = self._path(shard)
            try:
                return self._open(number, path)
            except FileNotFoundError:
                # From a bounded cache another process may have evicted it since; in place, it is gone.
                if self._cache is None or attempt == 3:
                    raise MissingDataError(f"shard {path} of the mixture is not there: {_REMAKE}") from None
            except (pa.ArrowInvalid, OSError, ValueError) as error:
                problem = " ".join(str(error).split())
                raise MissingDataError(f"shard {path} can't be read ({problem}): {_REMAKE}") from None
        raise AssertionError("unreachable")

    def _let_go(self) -> None:
        self._rows: dict[int, TokenArray] = {}
        self._maps: dict[int, mmap.mmap] = {}
        self._opened: deque[int] = deque()
        self._fetching: dict[int, Future[Path]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def _path(self, shard: Shard) -> Path:
        """Where the shard can be mapped: in place, or in the cache when the root is not a local folder."""
        if self._cache is None:
            return Path(self._layout.join(shard.path))
        return self._cache.path(shard.path, shard.sha256)

    def _open(self, number: int, path: Path) -> TokenArray:
        column = self._columns.get(number)
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if column is None or (column.size, column.changed, column.inode) != (
                facts.st_size,
                facts.st_mtime_ns,
                facts.st_ino,
            ):
                offset = self._find_column(self.shards[number], path)
                column = _Column(offset, facts.st_size, facts.st_mtime_ns, facts.st_ino)
            mapped = mmap.mmap(file.fileno(), facts.st_size, prot=mmap.PROT_READ)
        # Rows are wanted in no order: what lies around one would be read for nothing.
        mapped.madvise(mmap.MADV_RANDOM)
        count = self.shards[number].sequences * self._mixture.sequence_length
        flat = np.frombuffer(mapped, self.dtype, count, column.offset)
        rows = flat.reshape(-1, self._mixture.sequence_length)
        if number not in self._rows:
            # First in, first out: with shuffled reads as good as any order, and free.
            if len(self._opened) >= self._most_open:
                oldest = self._opened.popleft()
                del self._rows[oldest], self._maps[oldest]  # unmapped when its last row is let go
            self._opened.append(number)
        self._columns[number], self._maps[number], self._rows[number] = column, mapped, rows
        return rows

    def _find_column(self, shard: Shard, path: Path) -> int:
        """Byte offset of the tokens in the file, which Arrow has checked to hold what the mixture says."""
        mixture = self._mixture
        with pa.memory_map(str(path), "r") as source:
            reader = pa.ipc.open_file(source)
            if reader.num_record_batches != 1:
                raise MissingDataError(f"{path} has {reader.num_record_batches} record batches, not 1: {_REMAKE}")
            batch = reader.get_batch(0)
            facts = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
            expected = pa.list_(pa.from_numpy_dtype(self.dtype), mixture.sequence_length)
            if facts.get("tokenizer_version") != mixture.tokenizer_version:
                raise MissingDataError(
                    f"shard {path} was written with tokenizer {facts.get('tokenizer_version')}, the mixture is for "
                    f"{mixture.tokenizer_version}: {_REMAKE}"
                )
            if batch.schema.names != ["input_ids"] or batch.schema.field(0).type != expected:
                raise MissingDataError(f"shard {path} holds {batch.schema.field(0).type}, not {expected}: {_REMAKE}")
            if batch.num_rows != shard.sequences:
                raise MissingDataError(
                    f"shard {path} has {batch.num_rows} rows, the mixture says {shard.sequences}: {_REMAKE}"
                )
            tokens = cast(Any, batch.column(0)).values.buffers()[1]
            source.seek(0)
            whole = source.read_buffer()
            offset = 0 if tokens is None else tokens.address - whole.address
            needed = shard.sequences * mixture.sequence_length * self.dtype.itemsize
            if not 0 <= offset <= whole.size - needed:
                raise MissingDataError(f"shard {path} is compressed, which can't be mapped: {_REMAKE}")
            return offset

    def _read_few(self, shards: Sequence[int], rows: Sequence[int]) -> TokenArray:
        """As `read`, where files have to be opened: none is relied on to stay open until the last is."""
        shape = (len(shards), self._mixture.sequence_length)
        out: TokenArray = np.empty(shape, dtype=cast(Any, self.dtype))
        for place, (number, row) in enumerate(zip(shards, rows, strict=True)):
            out[place] = (self._rows[number] if number in self._rows else self.open(number))[row]
        return out

    def _fetch_ahead(self, number: int, shard: Shard) -> None:
        if number in self._fetching:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="gristmill-shards")
        self._fetching[number] = self._pool.submit(self._path, shard)
