"""Bytes of model states by the rules that papers and handbooks give; what our engine takes is training/peak.py.

In mixed precision a parameter takes 2 bytes of weight, 2 of gradient and 12 of optimizer: fp32 master weight and
Adam's two moments (Rajbhandari et al. 2020, ZeRO, section 3.1); in fp32 4, 4 and 8. ZeRO stage 1 shards the last over
the GPUs, stage 2 the gradients too, stage 3 (and FSDP) all of them.
"""

from dataclasses import dataclass
from typing import Literal

from training.sizes import ModelSizes

Precision = Literal["fp32", "bf16", "fp16"]
Optimizer = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]

FP32_BYTES_PER_PARAMETER = 20  # rule of thumb with AdamW: 4 weights, 8 optimizer, 4 gradients, 4 activations
NF4_BITS = 4.127  # 4 bits, 8-bit constants per 64 weights, fp32 ones per 256 of those (Dettmers et al. 2023)
GIGABYTE = 1e9
SCALE_BYTES = (
    2 * 4 / 256
)  # per parameter in 8 bits: an fp32 scale for 256 elements of each moment (Dettmers et al. 2022)
# Both of Adam's moments, per parameter.
MOMENT_BYTES: dict[Optimizer, float] = {
    "adamw": 8,
    "adamw_8bit": 2 + SCALE_BYTES,
    "paged_adamw": 8,
    "paged_adamw_8bit": 2 + SCALE_BYTES,
}


@dataclass(frozen=True)
class StateBytes:
    """Bytes per parameter, or of all of them."""

    weights: float
    gradients: float
    master_weights: float
    optimizer: float  # Adam's two moments

    @property
    def total(self) -> float:
        """All four."""
        return self.weights + self.gradients + self.master_weights + self.optimizer


STATES: dict[Precision, StateBytes] = {
    "fp32": StateBytes(4, 4, 0, 8),
    "bf16": StateBytes(2, 2, 4, 8),
    "fp16": StateBytes(2, 2, 4, 8),
}


def state_bytes(
    parameters: float, *, gpus: int, zero_stage: int, precision: Precision, optimizer: Optimizer = "adamw"
) -> StateBytes:
    """Bytes of model states on each GPU by the ZeRO paper; stage 0 is DDP, stage 3 is also FSDP's full sharding.

    Pages of a paged optimizer count as if they were on the GPU.
    """
    per = STATES[precision]
    return StateBytes(
        weights=parameters * per.weights / (gpus if zero_stage >= 3 else 1),
        gradients=parameters * per.gradients / (gpus if zero_stage >= 2 else 1),
        master_weights=parameters * per.master_weights / (gpus if zero_stage >= 1 else 1),
        optimizer=parameters * MOMENT_BYTES[optimizer] / (gpus if zero_stage >= 1 else 1),
    )


def fp32_rule_bytes(parameters: float) -> float:
    """All of fp32 training with AdamW on one GPU by the rule of thumb: 20 bytes a parameter."""
    return FP32_BYTES_PER_PARAMETER * parameters


def lora_parameters(sizes: ModelSizes, rank: int) -> int:
    """Trainable parameters of LoRA on all seven linear layers of each block: rank · (inputs + outputs) each."""
    h, kv = sizes.hidden, sizes.kv_width
    shapes = ((h, h), (h, kv), (h, kv), (h, h), (h, sizes.ffn), (h, sizes.ffn), (sizes.ffn, h))
    return sizes.layers * rank * sum(inputs + outputs for inputs, outputs in shapes)


def adapter_bytes(parameters: float, adapter: float, precision: Precision, *, is_4bit: bool) -> StateBytes:
    """States of LoRA on one GPU: frozen weights, in 4 bits for QLoRA, and full states of the adapter alone.

    The adapter is trained in fp32, as training/finetune.py does.
    """
    frozen = parameters * (NF4_BITS / 8 if is_4bit else STATES[precision].weights)
    own = STATES["fp32"]
    return StateBytes(frozen + adapter * own.weights, adapter * own.gradients, 0.0, adapter * own.optimizer)
