"""FSDP2: weights, gradients and optimizer sharded by torch's `fully_shard`, behind the few methods the loop calls.

Zhao et al. 2023, arXiv 2304.11277. The sharded weights are the fp32 master weights; with bf16, layers compute in a
copy that is gathered for them and dropped after.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from training.arguments import PretrainSettings
from training.model import weight_decay_groups
from training.optimizers import optimizer_over
from training.place import Place


class ShardedEngine:
    """The part of DeepSpeed's engine that the loop uses, over a fully sharded module."""

    def __init__(self, module: nn.Module, optimizer: Any, settings: PretrainSettings) -> None:
        self.module, self.optimizer = module, optimizer
        self._clip, self._accumulation = settings.gradient_clip, settings.accumulation
        self._backwards = 0
        self._norm = 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """The module's forward pass."""
        return cast(Tensor, self.module(*args, **kwargs))

    def is_gradient_accumulation_boundary(self) -> bool:
        """Whether the next `step` moves the weights."""
        return self._backwards % self._accumulation == 0

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of one micro-batch; divided by their number, as DeepSpeed does."""
        self._backwards += 1
        cast(Any, self.module).set_requires_gradient_sync(self.is_gradient_accumulation_boundary())
        (loss / self._accumulation).backward()

    def step(self) -> None:
        """Clip and move the weights, once all micro-batches of the step are in."""
        if not self.is_gradient_accumulation_boundary():
            return
        limit = self._clip or float("inf")
        norm = cast(Any, nn.utils.clip_grad_norm_(self.module.parameters(), limit))
        self._norm = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def get_global_grad_norm(self) -> float:
        """The norm of the last step's gradient, before clipping."""
        return self._norm

    def train(self, mode: bool = True) -> None:
        """Training mode."""
        self.module.train(mode)

    def eval(self) -> None:
        """Evaluation mode."""
        self.module.eval()


class LocalOptimizer:
    """An optimizer that knows no DTensor, over the local tensors of this rank's shards."""

    def __init__(self, module: nn.Module, settings: PretrainSettings) -> None:
        self.shards: dict[nn.Parameter, Tensor] = {}  # local tensor of each parameter; none where the shard is empty
        groups = weight_decay_groups(module, settings.weight_decay)
        for group in groups:
            self.shards |= {p: local for p in group["params"] if (local := _local(p)).numel()}
            group["params"] = [self.shards[p] for p in group["params"] if p in self.shards]
        self.optimizer: torch.optim.Optimizer = optimizer_over(groups, settings, is_fused=False)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the optimizer beneath."""
        return self.optimizer.param_groups

    def step(self) -> None:
        """Move the shards by their gradients."""
        for parameter, local in self.shards.items():
            local.data = _local(parameter)
            local.grad = None if parameter.grad is None else cast(Any, parameter.grad).to_local()
        self.optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, of the parameters too."""
        for parameter, local in self.shards.items():
            parameter.grad = local.grad = None


def _local(parameter: Any) -> Tensor:
    return cast(Tensor, parameter.detach().to_local())


def shard(module: nn.Module, layers: list[nn.Module], settings: PretrainSettings, place: Place) -> nn.Module:
    """Shard `module` over all ranks, each of `layers` by itself, so that one layer at a time is whole."""
    mesh = init_device_mesh(place.device.type, (place.world_size,))
    dtype = torch.bfloat16 if settings.precision == "bf16" else None
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32 if dtype else None)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    sharded = cast(nn.Module, fully_shard(module, mesh=mesh, mp_policy=policy))
    register_fsdp_forward_method(sharded, "generate")
    return sharded
