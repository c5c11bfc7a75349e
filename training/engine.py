"""The engine under the loop: DeepSpeed driven directly, or torch's fully_shard, behind the same few methods.

Asked for through transformers' Trainer, DeepSpeed on a CPU silently ran plain data parallelism. So nothing is
believed: what `start_engine` returns is measured by training/engagement.py before the first step.
"""

import contextlib
from pathlib import Path
from typing import Any, cast

import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from gristmill.core.errors import SettingsError
from training.arguments import PretrainSettings
from training.fsdp import LocalOptimizer, ShardedEngine, shard
from training.objective import Objective
from training.optimizers import make_optimizer, require_device
from training.place import Place, deepspeed
from training.quantised_states import is_of_bitsandbytes
from training.states import prepare_moments, set_optimizer_steps

MAXIMUM_BUCKET = 50_000_000  # elements per communication; DeepSpeed's 5e8 would allocate 2 GB twice on a CPU


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
    if settings.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    return {
        "train_batch_size": settings.global_batch_size,
        "train_micro_batch_size_per_gpu": settings.micro_batch,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_clipping": settings.gradient_clip,
        "zero_optimization": zero,
        "bf16": {"enabled": settings.precision == "bf16"},
        "fp16": {
            "enabled": settings.precision == "fp16",
            "loss_scale": 0,  # dynamic
            "initial_scale_power": settings.loss_scale_power,
            "loss_scale_window": settings.loss_scale_window,
            "hysteresis": 1,  # halve at the first overflow
        },
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # its CPU Adam needs a compiler
        "steps_per_print": 1 << 30,
    }


def start_engine(objective: Objective, settings: PretrainSettings, place: Place) -> Any:
    """The engine that the settings ask for around `objective`.

    Raises:
        SettingsError: this machine has no such engine or optimizer.
    """
    require_device(settings, place.device)
    if settings.precision == "fp16" and place.device.type != "cuda":
        raise SettingsError("precision fp16 needs a GPU, and here is none: choose bf16 or fp32")
    start = _start_sharded if settings.strategy == "fsdp2" else _start_deepspeed
    engine = start(objective, settings, place)
    if is_of_bitsandbytes(engine.optimizer):
        prepare_moments(engine)  # so that what they are held in is proven before the first step
    return engine


def _start_deepspeed(objective: Objective, settings: PretrainSettings, place: Place) -> Any:
    parameters = sum(p.numel() for p in objective.parameters())
    engine, *_ = deepspeed().initialize(
        model=objective,
        optimizer=make_optimizer(objective, settings, is_fused=place.device.type == "cuda" and not settings.offload),
        config=deepspeed_config(settings, parameters),
        dist_init_required=False,
    )
    set_optimizer_steps(engine, 0)  # that first step is not to count in the bias correction
    scaler: Any = getattr(engine.optimizer, "loss_scaler", None)
    if hasattr(scaler, "raise_error_at_min_scale"):
        scaler.raise_error_at_min_scale = False  # training/divergence.py says it, with the documents
    return engine


def _start_sharded(objective: Objective, settings: PretrainSettings, place: Place) -> ShardedEngine:
    if settings.precision == "fp16":
        raise SettingsError("strategy fsdp2 has no loss scaling for fp16: choose bf16, or strategy zero3")
    sharded = shard(objective, objective.layers, settings, place)
    if settings.optimizer != "adamw":
        return ShardedEngine(sharded, LocalOptimizer(sharded, settings), settings)
    optimizer = make_optimizer(sharded, settings, is_fused=place.device.type == "cuda")
    return ShardedEngine(sharded, optimizer, settings)


def set_learning_rate(engine: Any, rate: float) -> None:
    """The rate of the next step, in every parameter group."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate


def gradient_norm_before_step(engine: Any) -> float | None:
    """The norm of the whole gradient, before clipping; None where the engine measures it as it steps.

    In fp32 without ZeRO, DeepSpeed clips with torch's function and forgets what it returned.
    """
    if isinstance(engine, ShardedEngine) or not isinstance(engine.optimizer, torch.optim.Optimizer):
        return None
    gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def loss_scale(engine: Any) -> float | None:
    """The scale that fp16 losses are multiplied by now; None where there is none."""
    scale = getattr(engine.optimizer, "cur_scale", None) or getattr(engine.optimizer, "loss_scale", None)
    has_scale = getattr(engine, "fp16_enabled", None) is not None and engine.fp16_enabled()
    return float(scale) if has_scale and scale is not None else None


def skipped_steps(engine: Any) -> int:
    """Steps so far, of this process, whose fp16 gradient overflowed and moved nothing."""
    return int(getattr(engine, "skipped_steps", 0))


def save_model(engine: Any, place: Place, folder: Path) -> None:
    """Write the weights in Hugging Face format (safetensors) from rank 0; every rank must call it."""
    if hasattr(engine.module, "reshard"):  # FSDP2 leaves the outermost weights whole after a forward pass
        engine.module.reshard()
    model = engine.module.model
    parameters = list(model.parameters())
    is_zero3 = hasattr(parameters[0], "ds_tensor")
    with deepspeed().zero.GatheredParameters(parameters) if is_zero3 else contextlib.nullcontext():
        state: dict[str, torch.Tensor] = {}
        for name, tensor in model.state_dict().items():
            whole = cast(Any, tensor).full_tensor() if isinstance(tensor, DTensor) else tensor
            if place.is_first:
                state[name] = whole.detach().cpu().clone()
        if place.is_first:
            if model.config.tie_word_embeddings:
                state.pop("lm_head.weight", None)  # it is the embedding; safetensors refuses shared memory
            model.set_attn_implementation("sdpa")  # what any reader of the folder has
            model.save_pretrained(folder, state_dict=state)
    distributed.barrier()
