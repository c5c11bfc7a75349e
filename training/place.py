"""This process among the ranks: meeting the others, and adding numbers up over all of them."""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import distributed

from gristmill.core.errors import EnvironmentProblemError
from training.launch import RENDEZVOUS_VARIABLE


@dataclass(frozen=True)
class Place:
    """This process among the ranks."""

    rank: int
    world_size: int
    device: torch.device
    backend: str

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files and reports."""
        return self.rank == 0


def deepspeed() -> Any:
    """Import DeepSpeed without the op it would compile for minutes, or die over without a compiler."""
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.WARNING)
    if not torch.cuda.is_available():
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


@contextlib.contextmanager
def join_ranks() -> Iterator[Place]:
    """Meet the other ranks, as the environment the launcher made says; leaves them at the end.

    On one machine they meet over a file; ranks of several machines over MASTER_ADDR and MASTER_PORT, as under
    torchrun and DeepSpeed's launcher.

    Raises:
        EnvironmentProblemError: there are fewer GPUs than ranks on this machine.
    """
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_rank, local_size = int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    has_gpu = torch.cuda.is_available()
    if has_gpu and torch.cuda.device_count() < max(local_size, local_rank + 1):
        raise EnvironmentProblemError(
            f"{max(local_size, local_rank + 1)} ranks on this machine and it has {torch.cuda.device_count()} GPUs: "
            "set ranks to that number"
        )
    device = torch.device("cuda", local_rank) if has_gpu else torch.device("cpu")
    if has_gpu:
        torch.cuda.set_device(device)
    rendezvous = os.environ.get(RENDEZVOUS_VARIABLE)
    deepspeed().init_distributed(
        dist_backend="nccl" if has_gpu else "gloo",
        init_method=f"file://{rendezvous}" if rendezvous else "env://",
        rank=rank,
        world_size=world_size,
        verbose=False,
    )
    try:
        yield Place(rank, world_size, device, distributed.get_backend())
    finally:
        distributed.destroy_process_group()


def sum_over_ranks(place: Place, *values: float) -> list[float]:
    """Each value added up over all ranks, in float64."""
    if place.world_size == 1:
        return [float(value) for value in values]
    tensor = torch.tensor(values, dtype=torch.float64, device=place.device)
    distributed.all_reduce(tensor)
    return cast(list[float], tensor.tolist())
