"""Batches for training: a pure function of (mixture, seed, step), the same for every number of ranks.

What a step reads is computed (training/reading.py), nothing is stored: the position of a run is its step, and
resuming costs nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout
from training.reading import Order, Reading, SequenceRef
from training.shards import Mixture, ShardRows, TokenArray, read_mixture

if TYPE_CHECKING:
    import torch

IGNORED_LABEL = -100  # what torch's cross-entropy and transformers leave out of the loss

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """One rank's rows of a global batch; each array int64 of shape (rows, sequence length)."""

    input_ids: Int64s
    labels: Int64s  # the input, padding as -100; the model shifts them by one
    position_ids: Int64s  # 0 at each row's and each document's first token: attention never crosses documents

    def to_torch(self, device: "torch.device | str" = "cpu") -> "dict[str, torch.Tensor]":
        """The batch as a transformers model takes it; on the CPU the tensors share the arrays' memory.

        No attention mask on purpose: one of all ones would undo the isolation of packed documents.
        """
        import torch

        return {name: torch.from_numpy(getattr(self, name)).to(device) for name in self.__dataclass_fields__}


class Loader:
    """Reads the mixture under a root.

    Args:
        layout: the root.
        seed: of the shuffle; None takes the mixture's.
        rank: whose rows to return.
        world_size: over how many ranks a global batch is divided.
        mixture: if it was read already.

    Raises:
        MissingDataError: no mixture, or nothing to train on in it.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        mixture: Mixture | None = None,
    ) -> None:
        if not 0 <= rank < world_size:
            raise SettingsError(f"rank {rank} is not one of {world_size} ranks: number them from 0")
        self.mixture = mixture = read_mixture(layout) if mixture is None else mixture
        self.seed = mixture.seed if seed is None else seed
        self._rank, self._world_size = rank, world_size
        self._order = Order(mixture, self.seed)
        self._train = [ShardRows(layout, mixture, shards) for shards in self._order.shards]
        self._held_out = ShardRows(layout, mixture, mixture.held_out)

    @property
    def held_out_sequences(self) -> int:
        """Sequences of the held-out split, all corpora together."""
        return len(self._held_out)

    def batch(self, step: int, global_batch_size: int) -> Batch:
        """This rank's rows of the global batch of `step` (0 is the first), global_batch_size / world_size of them."""
        first, stop = self._draws_of_rank(step, global_batch_size)
        corpus, index, _ = self._order.sequences(first, stop)
        ids = self._empty(stop - first)
        for number, rows in enumerate(self._train):
            where = np.flatnonzero(corpus == number)
            if len(where):
                rows.gather(index[where], ids, where)
        return self._batch(ids)

    def batches(self, first_step: int, stop_step: int, global_batch_size: int) -> Iterator[Batch]:
        """The batches of steps first_step…stop_step-1."""
        for step in range(first_step, stop_step):
            yield self.batch(step, global_batch_size)

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
            index = (np.arange(first, stop, dtype=np.int64) + start) % total
            ids = self._empty(stop - first)
            self._held_out.gather(index, ids, np.arange(len(index)))
            yield self._batch(ids)

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

    def _empty(self, rows: int) -> TokenArray:
        dtype: Any = np.dtype(self.mixture.dtype)
        return np.empty((rows, self.mixture.sequence_length), dtype=dtype)

    def _batch(self, ids: TokenArray) -> Batch:
        input_ids = ids.astype(np.int64)
        labels = input_ids.copy()
        labels[ids == self.mixture.pad_id] = IGNORED_LABEL
        return Batch(input_ids, labels, position_ids(ids, self.mixture.eot_id))


def position_ids(ids: TokenArray, eot_id: int) -> Int64s:
    """Positions that start again after each end-of-text token and at each row; shape of `ids`, int64."""
    rows, length = ids.shape
    starts = np.flatnonzero(ids.reshape(-1) == eot_id) + 1
    starts = np.concatenate([starts, np.arange(0, rows * length, length)])
    starts.sort()  # a document that ends with its row gives the next row's start twice: a run of no tokens
    lengths = np.diff(starts, append=rows * length)
    found = np.repeat(starts, lengths)
    np.subtract(_ramp(rows * length), found, out=found)
    return found.reshape(rows, length)


@lru_cache(maxsize=4)
def _ramp(size: int) -> Int64s:
    ramp = np.arange(size, dtype=np.int64)
    ramp.flags.writeable = False  # shared between batches
    return ramp
