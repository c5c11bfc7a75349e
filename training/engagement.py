"""Proof of what is engaged: engine class, sharding, precision and kernels, measured on every rank after start-up.

What is asked for and what runs are compared before the first step; the measure goes into the run's report.
"""

from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from training.arguments import PretrainSettings
from training.attention import FLASH2, FLASH4
from training.optimizers import CLASSES, SMALLEST_QUANTISED
from training.place import Place
from training.runs import EngagementError

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Engagement:
    """What is really engaged, as measured."""

    engine_class: str
    backend: str
    strategy: str
    zero_stage: int
    zero_optimizer: str
    is_offloaded: bool
    world_size: int
    device: str
    dtype: str  # of the weights that compute
    master_dtype: str  # of the weights that the optimizer moves
    optimizer: str
    moment_dtypes: tuple[str, ...]  # of the optimizer's moments; none where its first step makes them
    moment_bytes: int  # of rank 0's moments, scales of 8-bit ones included
    attention: str
    loss_kernel: str
    compiled_layers: int
    parameters: int
    trainable_parameters: int
    elements_per_rank: tuple[int, ...]  # optimizer elements (fp32 master weights) that each rank holds
    gradients_sharded: bool
    weights_sharded: bool
    threads_per_rank: int

    def to_plain(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


def measure_engagement(engine: Any, settings: PretrainSettings, place: Place) -> Engagement:
    """Measure what `engine` runs, on all ranks, and compare it with `settings`.

    Raises:
        EngagementError: it is something else.
    """
    optimizer, objective = engine.optimizer, engine.module
    first = next(iter(objective.parameters()))
    is_fsdp = isinstance(first, DTensor)
    is_zero3 = hasattr(first, "ds_tensor")
    held = held_by_this_rank(optimizer)
    gathered: list[int | None] = [None] * place.world_size
    distributed.all_gather_object(gathered, sum(t.numel() for t in held))
    parameters = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in objective.parameters()]
    stage = 0 if is_fsdp else int(engine.zero_optimization_stage())
    found = Engagement(
        engine_class=type(engine).__name__,
        backend=place.backend,
        strategy="fsdp2" if is_fsdp else f"zero{stage}" if stage else "ddp" if place.world_size > 1 else "single",
        zero_stage=stage,
        zero_optimizer=type(optimizer).__name__,
        is_offloaded=place.device.type != "cpu" and all(t.device.type == "cpu" for t in held),
        world_size=distributed.get_world_size() if is_fsdp else int(engine.dp_world_size),
        device=place.device.type,
        # With fully_shard the module holds the master weights, and computes in what its policy says.
        dtype=_computed_in(objective) if is_fsdp else _name(first.dtype),
        master_dtype=_name(held[0].dtype),
        optimizer=type(innermost(optimizer)).__name__,
        **_moments(innermost(optimizer)),
        attention=str(objective.model.config._attn_implementation),
        loss_kernel=objective.loss_kernel,
        compiled_layers=sum(getattr(layer, "_compiled_call_impl", None) is not None for layer in objective.layers),
        parameters=sum(n for n, _ in parameters),
        trainable_parameters=sum(n for n, is_trainable in parameters if is_trainable),
        elements_per_rank=tuple(cast(list[int], gathered)),
        # ZeRO-3 has no flag for gradients: they follow the weights' partitions.
        gradients_sharded=bool(getattr(optimizer, "partition_gradients", False)) or is_zero3 or is_fsdp,
        weights_sharded=is_zero3 or is_fsdp,
        threads_per_rank=torch.get_num_threads(),
    )
    _compare(found, settings)
    return found


def _compare(found: Engagement, settings: PretrainSettings) -> None:
    strategy, is_fsdp = settings.strategy, settings.strategy == "fsdp2"
    if strategy == "ddp" and settings.ranks == 1:
        strategy = "single"  # one replica is both
    checks = {
        "engine": (found.engine_class, "ShardedEngine" if is_fsdp else "DeepSpeedEngine"),
        "strategy": (found.strategy, strategy),
        "world size": (found.world_size, settings.ranks),
        "dtype": (found.dtype, _DTYPES[settings.precision]),
        "master weights": (found.master_dtype, "float32"),
        "optimizer": (found.optimizer, CLASSES[settings.optimizer]),
        "gradients sharded": (found.gradients_sharded, strategy in ("zero2", "zero3", "fsdp2")),
        "weights sharded": (found.weights_sharded, strategy in ("zero3", "fsdp2")),
    }
    if found.device != "cpu":
        checks["offload"] = (found.is_offloaded, settings.offload)
    if settings.attention != "auto":
        runs = {"sdpa": ("sdpa",), "flash2": (FLASH2,), "flash4": (FLASH4,), "varlen": (FLASH2, FLASH4)}
        is_engaged = found.attention in runs[settings.attention]
        checks["attention"] = (settings.attention if is_engaged else found.attention, settings.attention)
    if settings.compile:
        checks["compiled"] = (found.compiled_layers > 0, True)
    if found.moment_dtypes:
        asked = "uint8" if settings.optimizer.endswith("8bit") else "float32"
        checks["moments in"] = (", ".join(found.moment_dtypes), asked)
    for name, (is_, asked) in checks.items():
        if is_ != asked:
            raise EngagementError(f"asked for {name} {asked}, but {is_} is engaged: the run is stopped")
    # Shards are padded to equal length, so each may exceed its share by a little; a replica exceeds it by far.
    is_sharded = strategy not in ("single", "ddp")
    share = found.trainable_parameters / (settings.ranks if is_sharded else 1)
    slack = 0.05 * share + 4096
    for rank, elements in enumerate(found.elements_per_rank):
        if abs(elements - share) > slack:
            raise EngagementError(
                f"asked for {strategy} over {settings.ranks} ranks, {share:,.0f} elements each, but rank {rank} "
                f"holds {elements:,}: the run is stopped"
            )


def _moments(optimizer: Any) -> dict[str, Any]:
    """What moments of a size that may be quantised are held in, and the bytes of all; the maps of codes are shared."""
    held = [(name, t) for state in optimizer.state.values() for name, t in state.items() if torch.is_tensor(t)]
    held = [(name, _local(t)) for name, t in held if name != "step" and not name.startswith("qmap")]
    large = {_name(t.dtype) for name, t in held if not name.startswith("absmax") and t.numel() >= SMALLEST_QUANTISED}
    return {"moment_dtypes": tuple(sorted(large)), "moment_bytes": sum(t.nbytes for _, t in held)}


def held_by_this_rank(optimizer: Any) -> list[torch.Tensor]:
    """The tensors that this rank's optimizer moves: its shard where they are sharded, everything where not."""
    if hasattr(optimizer, "fp32_groups"):  # fp16 without ZeRO
        return [tensor for group in optimizer.fp32_groups for tensor in group]
    for name in ("single_partition_of_fp32_groups", "fp32_partitioned_groups_flat", "fp32_groups_flat_partition"):
        if hasattr(optimizer, name):  # ZeRO 1 and 2; ZeRO 3; the bf16 optimizer without ZeRO
            return [tensor for tensor in getattr(optimizer, name) if tensor is not None]
    held = [p for group in optimizer.param_groups for p in group["params"]]
    return [_local(p) for p in held]


def _local(tensor: torch.Tensor) -> torch.Tensor:
    return cast(Any, tensor).to_local() if isinstance(tensor, DTensor) else tensor


def innermost(optimizer: Any) -> Any:
    """The torch optimizer beneath DeepSpeed's wrappers."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def _computed_in(module: Any) -> str:
    policy = module._get_fsdp_state()._mp_policy
    return _name(policy.param_dtype or torch.float32)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
