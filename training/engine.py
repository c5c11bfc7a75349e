"""DeepSpeed, driven directly, with proof of what is engaged.

Asked for through transformers' Trainer, DeepSpeed on a CPU silently ran plain data parallelism. So nothing is
believed here: engine class, ZeRO stage, world size and the elements each rank really holds are measured after
start-up, compared with what was asked, and written into the run's report.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import distributed

from gristmill.core.errors import EnvironmentProblemError
from training.arguments import PretrainSettings
from training.launch import RENDEZVOUS_VARIABLE
from training.model import weight_decay_groups
from training.runs import EngagementError

MAXIMUM_BUCKET = 50_000_000  # elements per communication; DeepSpeed's 5e8 would allocate 2 GB twice on a CPU


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


@dataclass(frozen=True)
class Engagement:
    """What is really engaged, as measured."""

    engine_class: str
    backend: str
    zero_stage: int
    zero_optimizer: str
    world_size: int
    device: str
    dtype: str
    optimizer: str
    attention: str
    parameters: int
    trainable_parameters: int
    elements_per_rank: tuple[int, ...]  # optimizer elements (fp32 master weights) that each rank holds
    gradients_sharded: bool
    weights_sharded: bool
    threads_per_rank: int

    def to_plain(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


def _deepspeed() -> Any:
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

    Raises:
        EnvironmentProblemError: there are fewer GPUs than ranks.
    """
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    has_gpu = torch.cuda.is_available()
    if has_gpu and torch.cuda.device_count() < world_size:
        raise EnvironmentProblemError(
            f"ranks is {world_size} and this machine has {torch.cuda.device_count()} GPUs: set ranks to that number"
        )
    device = torch.device("cuda", rank) if has_gpu else torch.device("cpu")
    if has_gpu:
        torch.cuda.set_device(device)
    backend = "nccl" if has_gpu else "gloo"
    _deepspeed().init_distributed(
        dist_backend=backend,
        init_method=f"file://{os.environ[RENDEZVOUS_VARIABLE]}",
        rank=rank,
        world_size=world_size,
        verbose=False,
    )
    try:
        yield Place(rank, world_size, device, distributed.get_backend())
    finally:
        distributed.destroy_process_group()


def deepspeed_config(settings: PretrainSettings, parameters: int) -> dict[str, Any]:
    """DeepSpeed's own configuration for our settings."""
    bucket = min(MAXIMUM_BUCKET, max(1, parameters))
    zero: dict[str, Any] = {"stage": settings.zero_stage, "reduce_bucket_size": bucket}
    if settings.zero_stage in (1, 2):
        zero |= {"allgather_bucket_size": bucket, "overlap_comm": False, "contiguous_gradients": True}
    if settings.zero_stage == 3:
        zero |= {
            "overlap_comm": False,
            "stage3_prefetch_bucket_size": bucket,
            "stage3_param_persistence_threshold": 0,  # else small tensors stay whole on every rank
        }
    return {
        "train_batch_size": settings.global_batch_size,
        "train_micro_batch_size_per_gpu": settings.micro_batch,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_clipping": settings.gradient_clip,
        "zero_optimization": zero,
        "bf16": {"enabled": settings.precision == "bf16"},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1 << 30,
    }


def start_engine(model: Any, settings: PretrainSettings, place: Place) -> Any:
    """Wrap `model` in a DeepSpeed engine with torch's AdamW (DeepSpeed's CPU Adam needs a compiler)."""
    if settings.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.to(place.device)
    optimizer = torch.optim.AdamW(
        weight_decay_groups(model, settings.weight_decay),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
    )
    parameters = sum(p.numel() for p in model.parameters())
    engine, *_ = _deepspeed().initialize(
        model=model, optimizer=optimizer, config=deepspeed_config(settings, parameters), dist_init_required=False
    )
    return engine


def measure_engagement(engine: Any, settings: PretrainSettings, place: Place) -> Engagement:
    """Measure what `engine` runs, on all ranks, and compare it with `settings`.

    Raises:
        EngagementError: it is something else.
    """
    optimizer = engine.optimizer
    mine = sum(p.numel() for p in _held_by_this_rank(optimizer))
    gathered: list[int | None] = [None] * place.world_size
    distributed.all_gather_object(gathered, mine)
    parameters = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in engine.module.parameters()]
    is_partitioned = hasattr(next(engine.module.parameters()), "ds_tensor")
    found = Engagement(
        engine_class=type(engine).__name__,
        backend=place.backend,
        zero_stage=int(engine.zero_optimization_stage()),
        zero_optimizer=type(optimizer).__name__,
        world_size=int(engine.dp_world_size),
        device=place.device.type,
        dtype=str(next(engine.module.parameters()).dtype).removeprefix("torch."),
        optimizer=type(_innermost(optimizer)).__name__,
        attention=str(engine.module.config._attn_implementation),
        parameters=sum(n for n, _ in parameters),
        trainable_parameters=sum(n for n, is_trainable in parameters if is_trainable),
        elements_per_rank=tuple(cast(list[int], gathered)),
        # ZeRO-3 has no flag for gradients: they follow the weights' partitions.
        gradients_sharded=bool(getattr(optimizer, "partition_gradients", False)) or is_partitioned,
        weights_sharded=is_partitioned,
        threads_per_rank=torch.get_num_threads(),
    )
    _compare(found, settings)
    return found


def _compare(found: Engagement, settings: PretrainSettings) -> None:
    stage = settings.zero_stage
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[settings.precision]
    checks = {
        "engine": (found.engine_class, "DeepSpeedEngine"),
        "ZeRO stage": (found.zero_stage, stage),
        "world size": (found.world_size, settings.ranks),
        "dtype": (found.dtype, dtype),
        "attention": (found.attention, "sdpa"),
        "gradients sharded": (found.gradients_sharded, stage >= 2),
        "weights sharded": (found.weights_sharded, stage == 3),
    }
    for name, (is_, asked) in checks.items():
        if is_ != asked:
            raise EngagementError(f"asked for {name} {asked}, but {is_} is engaged: the run is stopped")
    # Shards are padded to equal length, so each may exceed its share by a little; a replica exceeds it by far.
    share = found.trainable_parameters / (settings.ranks if stage else 1)
    slack = 0.05 * share + 4096
    for rank, elements in enumerate(found.elements_per_rank):
        if abs(elements - share) > slack:
            raise EngagementError(
                f"asked for ZeRO-{stage} over {settings.ranks} ranks, {share:,.0f} elements each, but rank {rank} "
                f"holds {elements:,}: the run is stopped"
            )


def _held_by_this_rank(optimizer: Any) -> list[torch.Tensor]:
    """The tensors that this rank's optimizer updates: its shard under ZeRO, everything without."""
    for name in ("single_partition_of_fp32_groups", "fp32_partitioned_groups_flat", "fp32_groups_flat_partition"):
        if hasattr(optimizer, name):  # ZeRO 1 and 2; ZeRO 3; the bf16 optimizer without ZeRO
            return [tensor for tensor in getattr(optimizer, name) if tensor is not None]
    return [p for group in optimizer.param_groups for p in group["params"]]


def _innermost(optimizer: Any) -> Any:
    while hasattr(optimizer, "optimizer"):  # DeepSpeed wraps torch's
        optimizer = optimizer.optimizer
    return optimizer


def sum_over_ranks(place: Place, *values: float) -> list[float]:
    """Each value added up over all ranks, in float64."""
    if place.world_size == 1:
        return [float(value) for value in values]
    tensor = torch.tensor(values, dtype=torch.float64, device=place.device)
    distributed.all_reduce(tensor)
    return cast(list[float], tensor.tolist())


def set_learning_rate(engine: Any, rate: float) -> None:
    """The rate of the next step, in every parameter group."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate


def save_model(engine: Any, place: Place, folder: Path) -> None:
    """Write the weights in Hugging Face format (safetensors) from rank 0; every rank must call it."""
    model = engine.module
    parameters = list(model.parameters())
    is_sharded = hasattr(parameters[0], "ds_tensor")
    gather = _deepspeed().zero.GatheredParameters(parameters) if is_sharded else contextlib.nullcontext()
    with gather:
        if place.is_first:
            state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
            if model.config.tie_word_embeddings:
                state.pop("lm_head.weight", None)  # it is the embedding; safetensors refuses shared memory
            model.save_pretrained(folder, state_dict=state)
    distributed.barrier()
