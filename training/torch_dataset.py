"""The loader as torch knows one: an iterable data set whose batches come in the same order from any number of workers.

    dataset = BatchDataset(Loader(layout), global_batch_size=256)
    for batch in DataLoader(dataset, batch_size=None, num_workers=2): ...

Worker w of k makes the steps w, w + k, w + 2k, …, and torch's DataLoader takes them in turn. Workers are seldom
worth it: making a batch costs less than handing it to another process.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch.utils.data import IterableDataset, get_worker_info

from training.loader import Loader

if TYPE_CHECKING:
    import torch


class BatchDataset(IterableDataset["dict[str, torch.Tensor]"]):
    """Batches as dictionaries of tensors; give it to a DataLoader with `batch_size=None`.

    Args:
        loader: whose rank decides which rows of each batch come.
        global_batch_size: sequences in each batch, all ranks together.
        first_step: where to begin, as from `Loader.step_of(state, global_batch_size)`.
        stop_step: the step before which to end; None: never.
        is_narrow: only `tokens`, uint16 or uint32 as they are stored, in place of `input_ids`, `labels` and
            `position_ids` as int64.
    """

    def __init__(
        self,
        loader: Loader,
        global_batch_size: int,
        *,
        first_step: int = 0,
        stop_step: int | None = None,
        is_narrow: bool = False,
    ) -> None:
        super().__init__()
        self.loader, self.global_batch_size = loader, global_batch_size
        self.first_step, self.stop_step, self.is_narrow = first_step, stop_step, is_narrow

    def __iter__(self) -> "Iterator[dict[str, torch.Tensor]]":
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        first = self.first_step + number
        for batch in self.loader.batches(first, self.stop_step, self.global_batch_size, every=workers):
            yield {"tokens": batch.tensor()} if self.is_narrow else batch.to_torch()
