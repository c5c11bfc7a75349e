"""The whole training state of any engine, parameter by parameter: fp32 weight and AdamW's two moments.

However an engine shards its state, and in however many bits it holds moments, here a parameter is whole, under its name
in the model. So a checkpoint belongs
to no engine: one written by ZeRO-2 on two ranks goes on with ZeRO-3 on one, or with FSDP2.
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from training.engagement import held_by_this_rank, innermost
from training.place import deepspeed
from training.quantised_states import MomentWriter, is_of_bitsandbytes, make_state, piece_of, read_moment

MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's names for them
State = dict[str, Tensor]  # "weight" and MOMENTS, fp32, shape of the parameter


def parameters_of(engine: Any) -> list[tuple[str, Any]]:
    """Name in the model, and parameter; one that two layers share comes once."""
    if hasattr(engine.module, "reshard"):  # FSDP2 leaves the outermost weights whole after a forward pass
        engine.module.reshard()
    return list(engine.module.model.named_parameters())


def read_states(engine: Any) -> Iterator[tuple[str, State]]:
    """Each parameter's state, whole; every rank must take all of them, in this order."""
    prepare_moments(engine)
    for name, parameter in parameters_of(engine):
        yield name, {key: _read(engine.optimizer, parameter, key) for key in ("weight", *MOMENTS)}


def write_states(engine: Any, state_of: Callable[[str], State]) -> None:
    """Put every parameter's whole state back in, on the engine's device; every rank must call it.

    Args:
        engine: any of ours.
        state_of: the state of a parameter, by its name in the model; asked for one after another.
    """
    prepare_moments(engine)
    writer = MomentWriter() if is_of_bitsandbytes(engine.optimizer) else None
    for name, parameter in parameters_of(engine):
        _write_state(engine, writer, parameter, state_of(name))


def _write_state(engine: Any, writer: MomentWriter | None, parameter: Any, state: State) -> None:
    for key in ("weight", *MOMENTS):
        if writer is None or key == "weight":
            _write(engine.optimizer, parameter, key, state[key])
        else:
            _write_piece(engine.optimizer, writer, parameter, key, state[key])
    if hasattr(parameter, "ds_tensor"):
        with deepspeed().zero.GatheredParameters([parameter], modifier_rank=0):
            parameter.data.copy_(state["weight"])
    elif not isinstance(parameter, DTensor):
        parameter.data.copy_(state["weight"])


def optimizer_steps(engine: Any) -> int:
    """How often AdamW has moved the weights, for its bias correction."""
    counts = [int(state["step"]) for state in innermost(engine.optimizer).state.values() if "step" in state]
    return max(counts, default=0)


def set_optimizer_steps(engine: Any, steps: int) -> None:
    """Set what `optimizer_steps` returns."""
    for state in innermost(engine.optimizer).state.values():
        if isinstance(state.get("step"), int):  # bitsandbytes
            state["step"] = steps
        elif "step" in state:
            state["step"].fill_(float(steps))


def prepare_moments(engine: Any) -> None:
    """Make AdamW's moments, zero, where there are none yet, as its first step would."""
    optimizer = innermost(engine.optimizer)
    held = engine.optimizer.param_groups if isinstance(engine.optimizer, torch.optim.Optimizer) else None
    tensors = [p for g in held for p in g["params"]] if held else held_by_this_rank(engine.optimizer)
    if is_of_bitsandbytes(optimizer):
        for tensor in tensors:
            if not optimizer.state[tensor]:
                make_state(optimizer, tensor)
        return
    is_fused = bool(optimizer.defaults.get("fused"))
    for tensor in tensors:
        state = optimizer.state[tensor]
        if "step" not in state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=tensor.device if is_fused else "cpu")
            for key in MOMENTS:
                state[key] = torch.zeros_like(tensor, memory_format=torch.preserve_format)
    wrapper: Any = engine.optimizer
    if hasattr(wrapper, "_lazy_init_hp_params_optimizer_state"):
        # DeepSpeed 0.19 does this after the first group's first step, when the other groups have no moments yet.
        wrapper._hp_optimizer_states_linked = False
        wrapper._lazy_init_hp_params_optimizer_state()


def _read(optimizer: Any, parameter: Any, key: str) -> Tensor:
    if key != "weight" and is_of_bitsandbytes(optimizer):
        return read_moment(optimizer, parameter, key)
    if hasattr(parameter, "ds_tensor"):
        return cast(Tensor, optimizer.get_full_hp_param(parameter, None if key == "weight" else key))
    if hasattr(parameter, "_hp_mapping"):
        return cast(Tensor, parameter.get_full_hp_param(None if key == "weight" else key))
    tensor = _local(optimizer, parameter, key)
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _write(optimizer: Any, parameter: Any, key: str, value: Tensor) -> None:
    if hasattr(parameter, "ds_tensor"):
        _write_partition(optimizer, parameter, None if key == "weight" else key, value)
    elif hasattr(parameter, "_hp_mapping"):
        parameter.set_full_hp_param(value, None if key == "weight" else key)
    else:
        tensor = _local(optimizer, parameter, key)
        if isinstance(tensor, DTensor):
            value = distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements)
        tensor.data.copy_(value)


def _write_piece(optimizer: Any, writer: MomentWriter, parameter: Any, key: str, value: Tensor) -> None:
    """This rank's part of a moment, to bitsandbytes."""
    start, piece = 0, piece_of(optimizer, parameter)
    if isinstance(parameter, DTensor):  # every rank, since the first sends the others theirs
        value = distribute_tensor(value, parameter.device_mesh, parameter.placements).to_local()
    elif hasattr(parameter, "ds_tensor") and piece is not None:
        start = piece.count * optimizer._get_param_partition_rank(parameter)
    elif hasattr(parameter, "_hp_mapping") and piece is not None:
        start = parameter._hp_mapping.lp_fragment_address.start
    if piece is None:
        return
    part = value.flatten()[start : start + piece.count]
    writer.write(piece, key, torch.nn.functional.pad(part, (0, piece.count - part.numel())))  # ZeRO-3 pads


def _write_partition(optimizer: Any, parameter: Any, key: str | None, value: Tensor) -> None:
    """ZeRO-3's own setter, for a parameter whose last partition is padded."""
    rest = -value.numel() % optimizer.partition_count
    flat = torch.nn.functional.pad(value.flatten(), (0, rest))
    partition, _ = optimizer._get_fp32_opt_state_partition(parameter, release_swap_buffers=False, optim_state_key=key)
    rank = optimizer._get_param_partition_rank(parameter)
    partition.data.copy_(flat.narrow(0, partition.numel() * rank, partition.numel()))


def _local(optimizer: Any, parameter: Any, key: str) -> Any:
    """Where no engine has a map of its own: the master weights of FP16_UnfusedOptimizer, else the parameter itself."""
    if hasattr(optimizer, "fp32_groups"):  # fp16 without ZeRO
        pairs = zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True)
        masters = [m for halves, wholes in pairs for h, m in zip(halves, wholes, strict=True) if h is parameter]
        return masters[0] if key == "weight" else innermost(optimizer).state[masters[0]][key]
    return parameter if key == "weight" else optimizer.state[parameter][key]
