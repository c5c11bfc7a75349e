"""Batches for training: a pure function of (mixture, seed, step), the same for every number of ranks and workers.

What a step reads is computed (training/reading.py), nothing is stored: the position of a run is its step, and
resuming costs nothing. Rows come from memory-mapped shards (training/shard_rows.py); where they come from a disk or
a remote store and not from the page cache, those of the next steps are asked for ahead.
"""

import resource
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout
from training.batch import IGNORED_LABEL, Batch, TokenArray, position_ids
from training.reading import Order, Reading, SequenceRef
from training.shard_rows import ShardRows
from training.shards import Mixture, read_mixture

__all__ = ["IGNORED_LABEL", "Batch", "BatchStream", "Loader", "position_ids"]

# Steps whose rows are asked for before they are needed. On a cold disk a batch of 16 was waited for 0.5 ms, 2.3 ms
# without; 2 steps gave 0.6 ms, 64 no better than 8 (2026-11-22, docs/benchmarks.md).
READ_AHEAD = 8
_MOST_AHEAD = 1024  # rows asked for ahead, but for one batch at least: a disk has enough to do with them
# Asking costs more than reading what is cached, so it is done only after the kernel has counted reads from the disk
# (major page faults of this thread; another's cost us a few asks), and for so many steps: then a batch that is read
# without shows whether the disk is still in use.
_ASKS = 256
_PLANNED = 4096  # draws planned at a time: numpy's overhead is shared by many batches
# Rows read at once for a reader who goes from step to step, 0.5 MB of 2,048 tokens: Python's overhead is shared by some
# batches. More gave nothing more (2026-11-22).
_TOGETHER = 128
_KNOWN_PLANS = 4  # of them kept: those of this step, of the steps ahead, and of the seam between two


@dataclass(frozen=True)
class _Together:
    """The rows of some steps of one reader, read at once."""

    reader: tuple[int, int]  # batch size, every how many steps
    first_step: int
    tokens: TokenArray  # of `steps` batches one after another
    steps: int

    def of(self, step: int, reader: tuple[int, int]) -> TokenArray | None:
        """The rows of `step`, where they are among these; a view."""
        number, rest = divmod(step - self.first_step, reader[1])
        if rest or reader != self.reader or not 0 <= number < self.steps:
            return None
        rows = len(self.tokens) // self.steps
        return self.tokens[number * rows : (number + 1) * rows]


class Loader:
    """Reads the mixture under a root.

    Args:
        layout: the root.
        seed: of the shuffle; None takes the mixture's.
        rank: whose rows to return.
        world_size: over how many ranks a global batch is divided.
        mixture: if it was read already.
        read_ahead: how many steps ahead rows are asked for; 0: none.

    Raises:
        MissingDataError: no mixture, or nothing to train on in it.
        SettingsError: there is no such rank.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        mixture: Mixture | None = None,
        read_ahead: int = READ_AHEAD,
    ) -> None:
        if not 0 <= rank < world_size:
            raise SettingsError(f"rank {rank} is not one of {world_size} ranks: number them from 0")
        self.mixture = mixture = read_mixture(layout) if mixture is None else mixture
        self.seed = mixture.seed if seed is None else seed
        self._rank, self._world_size, self._read_ahead = rank, world_size, read_ahead
        self._order = Order(mixture, self.seed)
        # The sources' sequences numbered through, so that a sequence is one number.
        self._train = ShardRows(layout, mixture, [s for shards in self._order.shards for s in shards])
        counts = np.array([share.sequences for share in self._order.sources], dtype=np.int64)
        self._offsets = np.cumsum(counts) - counts
        self._held_out = ShardRows(layout, mixture, mixture.held_out)
        self._plans: OrderedDict[int, tuple[list[int], list[int]]] = OrderedDict()
        self._together: _Together | None = None
        self._due = ((0, 1), -1)  # the step that whoever read last would read next
        self._asks_left, self._disk_reads = 0, resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
        self._asked = (0, 1, 0), 0  # who reads (batch size, every how many steps, from which), asked up to which step

    @property
    def held_out_sequences(self) -> int:
        """Sequences of the held-out split, all corpora together."""
        return len(self._held_out)

    @property
    def fingerprint(self) -> str:
        """Of all that decides which tokens come in which order; 32 hex digits."""
        return self._order.fingerprint

    def batch(self, step: int, global_batch_size: int) -> Batch:
        """This rank's rows of the global batch of `step` (0 is the first), global_batch_size / world_size of them."""
        return self._read(step, global_batch_size, 1)

    def batches(
        self, first_step: int, stop_step: int | None, global_batch_size: int, *, every: int = 1
    ) -> Iterator[Batch]:
        """The batches of steps first_step…stop_step-1 (None: without end), or of each `every`-th of them."""
        step = first_step
        while stop_step is None or step < stop_step:
            yield self._read(step, global_batch_size, every)
            step += every

    def stream(self, global_batch_size: int, *, state: Mapping[str, Any] | None = None) -> "BatchStream":
        """All batches from the first step, or from where `state` was taken, on any number of ranks or workers.

        Raises:
            SettingsError: the state is of another mixture, seed or order, or lies inside a batch of this size.
        """
        return BatchStream(self, global_batch_size, 0 if state is None else self.step_of(state, global_batch_size))

    def state(self, step: int, global_batch_size: int) -> dict[str, Any]:
        """The position before `step`, to keep in a checkpoint: a few integers and the fingerprint they hold for."""
        return {"sequences": step * global_batch_size, "seed": self.seed, "fingerprint": self.fingerprint}

    def step_of(self, state: Mapping[str, Any], global_batch_size: int) -> int:
        """The step that a run goes on with after `state`, where the batches may have another size since.

        Raises:
            SettingsError: as `stream`.
        """
        try:
            sequences, seed, mark = int(state["sequences"]), int(state["seed"]), str(state["fingerprint"])
        except (KeyError, TypeError, ValueError) as error:
            raise SettingsError(f"this is no state of a loader ({type(error).__name__}: {error})") from None
        if seed != self.seed:
            raise SettingsError(f"the state was taken with seed {seed}, this loader has {self.seed}: give that one")
        if mark != self.fingerprint:
            raise SettingsError(
                f"the state was taken on another mixture (order {mark[:12]}, here {self.fingerprint[:12]}): shards or "
                "proportions changed since, and going on would repeat some sequences and skip others; train anew, or "
                "bring back the mixture of that run"
            )
        step, rest = divmod(sequences, global_batch_size)
        if rest or sequences < 0:
            raise SettingsError(
                f"the state lies after {sequences:,} sequences, which is no whole number of batches of "
                f"{global_batch_size}: go on with a divisor of it"
            )
        return step

    def sequences_of_step(self, step: int, global_batch_size: int) -> list[SequenceRef]:
        """Where every sequence of the whole global batch of `step` lies, in the order of the ranks."""
        return Reading(self.mixture, self.seed, global_batch_size).sequences(step)

    def held_out_batches(self, global_batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """This rank's rows of the held-out sequences, in their order, at most `limit` sequences in all ranks.

        Every rank gets as many batches of as many rows: where the last one would be short, it is filled up
        with the first sequences again. Nothing is yielded where there is no held-out sequence.
        """
        total = len(self._held_out) if limit is None else min(limit, len(self._held_out))
        for start in range(0, total, global_batch_size):
            first, stop = self._draws_of_rank(0, global_batch_size)
            shard, row = self._held_out.locate((np.arange(first, stop, dtype=np.int64) + start) % total)
            yield self._batch(self._held_out, shard.tolist(), row.tolist())

    def _draws_of_rank(self, step: int, global_batch_size: int) -> tuple[int, int]:
        if step < 0:
            raise SettingsError(f"step {step} does not exist: steps are counted from 0")
        if global_batch_size < 1 or global_batch_size % self._world_size:
            raise SettingsError(
                f"global_batch_size {global_batch_size} does not divide over {self._world_size} ranks: "
                "give a multiple of their number"
            )
        rows = global_batch_size // self._world_size
        first = step * global_batch_size + self._rank * rows
        return first, first + rows

    def _batch(self, rows: ShardRows, shards: list[int], numbers: list[int]) -> Batch:
        return Batch(rows.read(shards, numbers), self.mixture.eot_id, self.mixture.pad_id)

    def _read(self, step: int, global_batch_size: int, every: int) -> Batch:
        """The batch of `step`, by a reader who goes on with every `every`-th step."""
        reader = (global_batch_size, every)
        tokens = None if self._together is None else self._together.of(step, reader)
        if tokens is None:
            is_next, is_asking = self._due == (reader, step), self._asks_left > 0 or self._train.is_remote
            rows = max(global_batch_size // self._world_size, 1)
            steps = max(1, _TOGETHER // rows) if is_next and not is_asking else 1
            self._together = self._read_together(reader, step, steps)
            tokens = self._together.of(step, reader)
            assert tokens is not None
        self._due = (reader, step + every)
        return Batch(tokens, self.mixture.eot_id, self.mixture.pad_id)

    def _read_together(self, reader: tuple[int, int], step: int, steps: int) -> _Together:
        """This rank's rows of some steps, and whether the disk was needed for them."""
        global_batch_size, every = reader
        shards: list[int] = []
        rows: list[int] = []
        if every == 1 and self._world_size == 1:  # they lie together
            first, _ = self._draws_of_rank(step, global_batch_size)
            shards, rows = self._planned(first, first + steps * global_batch_size)
        else:
            for number in range(step, step + steps * every, every):
                more_shards, more_rows = self._planned(*self._draws_of_rank(number, global_batch_size))
                shards, rows = shards + more_shards, rows + more_rows
        if self._read_ahead and (self._asks_left or self._train.is_remote):
            self._asks_left -= self._asks_left > 0
            self._ask_ahead(step, global_batch_size, every)
        found = _Together(reader, step, self._train.read(shards, rows), steps)
        if self._read_ahead:
            disk_reads = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
            if disk_reads > self._disk_reads:
                self._asks_left, self._disk_reads = _ASKS, disk_reads
        return found

    def _ask_ahead(self, step: int, global_batch_size: int, every: int) -> None:
        """Ask for this rank's rows of this step and the coming ones, as far as they were not asked for yet."""
        rows = global_batch_size // self._world_size
        until = step + every * max(1, min(self._read_ahead, _MOST_AHEAD // rows))
        reader, asked = self._asked
        if reader != (global_batch_size, every, step % every) or not step <= asked <= until:
            asked = step - every  # the first call, or a jump
        while asked < until:
            asked += every
            self._train.advise(*self._planned(*self._draws_of_rank(asked, global_batch_size)))
        self._asked = (global_batch_size, every, step % every), asked

    def _planned(self, first: int, stop: int) -> tuple[list[int], list[int]]:
        """Shard numbers and rows of draws first…stop-1."""
        block, offset = divmod(first, _PLANNED)
        shards, rows = self._plan(block)
        if offset + stop - first <= _PLANNED:
            return shards[offset : offset + stop - first], rows[offset : offset + stop - first]
        shards, rows = shards[offset:], rows[offset:]
        while len(shards) < stop - first:
            block += 1
            more_shards, more_rows = self._plan(block)
            missing = stop - first - len(shards)
            shards, rows = shards + more_shards[:missing], rows + more_rows[:missing]
        return shards, rows

    def _plan(self, block: int) -> tuple[list[int], list[int]]:
        known = self._plans.get(block)
        if known is None:
            source, index, _ = self._order.sequences(block * _PLANNED, (block + 1) * _PLANNED)
            shard, row = self._train.locate(self._offsets[source] + index)
            known = self._plans[block] = shard.tolist(), row.tolist()
            if len(self._plans) > _KNOWN_PLANS:
                self._plans.popitem(last=False)
        return known


class BatchStream(Iterator[Batch]):
    """The batches of a loader from one step on, without end; `state()` is where it stands."""

    def __init__(self, loader: Loader, global_batch_size: int, step: int = 0) -> None:
        self.loader, self.global_batch_size, self.step = loader, global_batch_size, step

    def __next__(self) -> Batch:
        batch = self.loader.batch(self.step, self.global_batch_size)
        self.step += 1
        return batch

    def state(self) -> dict[str, Any]:
        """The position before the next batch, for `Loader.stream`."""
        return self.loader.state(self.step, self.global_batch_size)
