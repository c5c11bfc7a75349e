"""Memory per GPU: model states under DDP and ZeRO-1, 2, 3, adapters, and activations. All in bytes, by formula.

States (Rajbhandari et al. 2020, ZeRO): in mixed precision a parameter takes 2 bytes of weight, 2 of gradient and
12 of optimizer (fp32 master, momentum, variance); in fp32, 4 of weight, 4 of gradient and 8 of optimizer.
Activations (Korthikanti et al. 2022, "Reducing Activation Recomputation"): 34 bytes per token, layer and unit of
width in 16 bits where the attention matrix is never stored (flash or memory-efficient attention), 2 with full
recomputation; the logits come on top. Sums are estimates: kernels and allocators add their own.
"""

from dataclasses import dataclass
from typing import Literal

from training.sizes import ModelSizes

Precision = Literal["mixed", "fp32"]

FP32_BYTES_PER_PARAMETER = 20  # rule of thumb with AdamW: 4 weights, 8 optimizer, 4 gradients, 4 activations
ACTIVATION_BYTES = 34  # per token, layer and unit of width, 16 bits
RECOMPUTED_BYTES = 2  # only each layer's input is kept
LOGIT_BYTES = 8  # per token and vocabulary entry: fp32 logits and their gradient
NF4_BITS = 4.127  # 4 bits, 8-bit constants per 64 weights, fp32 ones per 256 of those (Dettmers et al. 2023)
GIGABYTE = 1e9


@dataclass(frozen=True)
class StateBytes:
    """Bytes per parameter."""

    weights: float
    gradients: float
    optimizer: float

    @property
    def total(self) -> float:
        """All three."""
        return self.weights + self.gradients + self.optimizer


STATES: dict[Precision, StateBytes] = {"mixed": StateBytes(2, 2, 12), "fp32": StateBytes(4, 4, 8)}


def state_bytes(parameters: float, *, gpus: int, zero_stage: int, precision: Precision) -> float:
    """Bytes of model states on each GPU; stage 0 is DDP, stage 3 is also what FSDP's full sharding holds."""
    per = STATES[precision]
    weights = per.weights / (gpus if zero_stage >= 3 else 1)
    gradients = per.gradients / (gpus if zero_stage >= 2 else 1)
    optimizer = per.optimizer / (gpus if zero_stage >= 1 else 1)
    return parameters * (weights + gradients + optimizer)


def fp32_rule_bytes(parameters: float) -> float:
    """All of fp32 training with AdamW on one GPU by the rule of thumb: 20 bytes a parameter."""
    return FP32_BYTES_PER_PARAMETER * parameters


def activation_bytes(
    sizes: ModelSizes,
    *,
    vocabulary: int,
    sequence_length: int,
    micro_batch: int,
    precision: Precision,
    is_checkpointed: bool,
) -> float:
    """Bytes of activations of one forward pass, kept for the backward pass, logits included."""
    width = 1 if precision == "mixed" else 2
    tokens = sequence_length * micro_batch
    layer = ACTIVATION_BYTES * tokens * sizes.hidden * width
    # With recomputation one layer's activations are alive at a time, besides every layer's input.
    inputs = RECOMPUTED_BYTES * tokens * sizes.hidden * width * sizes.layers
    kept = inputs + layer if is_checkpointed else layer * sizes.layers
    return kept + LOGIT_BYTES * tokens * vocabulary


def lora_parameters(sizes: ModelSizes, rank: int) -> int:
    """Trainable parameters of LoRA on all seven linear layers of each block: rank · (inputs + outputs) each."""
    h, kv = sizes.hidden, sizes.hidden // sizes.heads * sizes.kv_heads
    shapes = ((h, h), (h, kv), (h, kv), (h, h), (h, sizes.ffn), (h, sizes.ffn), (sizes.ffn, h))
    return sizes.layers * rank * sum(inputs + outputs for inputs, outputs in shapes)


def lora_bytes(parameters: float, adapter: float, precision: Precision) -> float:
    """States of LoRA on one GPU: frozen weights, and full states of the adapter alone."""
    return STATES[precision].weights * parameters + STATES[precision].total * adapter


def qlora_bytes(parameters: float, adapter: float, precision: Precision) -> float:
    """States of QLoRA on one GPU: frozen weights in 4 bits, and full states of the adapter alone."""
    return NF4_BITS / 8 * parameters + STATES[precision].total * adapter
