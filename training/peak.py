"""Memory per GPU of our engine at each moment of a step, and so at its highest. All in bytes, by formula.

A step is at its highest in one of three moments. "loss": every layer's activations, a chunk of logits, and gradients
only of earlier micro-batches. "backward": the first layer to go back, and the buffers that gradients travel in; or
the last, when all gradients are there. "step": no activations, but the optimizer's copy of the gradients.

What an engine holds beyond the paper's 16 bytes, from DeepSpeed's and torch's sources, and confirmed by measuring:
    ddp      fp32 copies of the gradients during the step (where the arithmetic has 16 bits)
    zero1    whole gradients until the end of the backward pass; between micro-batches those and the bucket; during the
             step a flat copy of this rank's gradients, and an fp32 one
    zero2    this rank's gradients, twice while a later micro-batch goes back; the step as zero1
    zero3    gradients and a bucket at all times; gathered weights up to 1e9 elements on more than one GPU
    fsdp2    fp32 weights, moments and gradients, sharded; embedding and output layer gathered whole, layers one ahead;
             with accumulation, whole gradients in fp32, since they are reduced at the last micro-batch only
    In fp32 DeepSpeed's sharded optimizers keep a copy of their weights as well.

Pages of a paged optimizer are no memory of torch's allocator: the GPU holds them while there is room, so they are
counted on the host, which must have room for all. bitsandbytes' 8-bit step on a CPU works in fp32 copies of a tensor.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

from training.activations import (
    item_bytes,
    layer_backward_bytes_per_token,
    layer_bytes_per_token,
    loss_chunk_bytes,
    norm_bytes_per_token,
)
from training.memory import GIGABYTE, MOMENT_BYTES, SCALE_BYTES, Optimizer, Precision
from training.sizes import ModelSizes, parameter_count

Strategy = Literal["single", "ddp", "zero1", "zero2", "zero3", "fsdp2"]
STRATEGIES: tuple[Strategy, ...] = ("single", "ddp", "zero1", "zero2", "zero3", "fsdp2")

BUCKET = 50_000_000  # elements per communication, as training/engine.py has it; a test keeps them equal
LIVE_PARAMETERS = 1_000_000_000  # DeepSpeed's stage3_max_live_parameters, max_reuse_distance and sub_group_size
WORKSPACE = 64 << 20  # cuBLAS: 32 MiB on Hopper, once for the forward and once for the backward thread
QUANTISED_STEP_BYTES = 20  # bitsandbytes on a CPU, per element: moments, gradient, denominator and its root in fp32
BATCH_BYTES = 24  # per token: ids, labels and positions in int64


@dataclass(frozen=True)
class Shape:
    """A run, as far as memory is concerned."""

    sizes: ModelSizes
    vocabulary: int
    sequence_length: int
    micro_batch_size: int
    accumulation: int = 1
    precision: Precision = "bf16"
    strategy: Strategy = "zero1"
    optimizer: Optimizer = "adamw"
    gpus: int = 1
    is_offloaded: bool = False
    is_checkpointed: bool = False
    is_compiled: bool = False
    has_mask: bool = False  # sdpa: documents are kept apart by a mask
    is_on_gpu: bool = True
    parameters: int = 0  # 0: counted from the sizes
    bucket: int = BUCKET

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch."""
        return self.sequence_length * self.micro_batch_size

    @property
    def moment_bytes(self) -> float:
        """Of Adam's moments, per parameter, what the GPU cannot hand over to the host."""
        if not self.optimizer.startswith("paged"):
            return MOMENT_BYTES[self.optimizer]
        return SCALE_BYTES if self.optimizer == "paged_adamw_8bit" else 0.0

    @property
    def parameter_count(self) -> int:
        """Parameters of the model."""
        return self.parameters or parameter_count(self.sizes, self.vocabulary)


@dataclass(frozen=True)
class Parts:
    """What memory is taken by, in bytes."""

    weights: float = 0.0
    gradients: float = 0.0
    master_weights: float = 0.0
    optimizer: float = 0.0  # Adam's two moments
    activations: float = 0.0
    logits: float = 0.0  # logits, their gradient, and the output layer's gradient that is summed up meanwhile
    buffers: float = 0.0  # communication, gathered layers, workspaces

    @property
    def total(self) -> float:
        """All of them."""
        return sum(getattr(self, f.name) for f in fields(self))

    def gigabytes(self) -> dict[str, float]:
        """By name, in GB of 1e9 bytes."""
        return {f.name: getattr(self, f.name) / GIGABYTE for f in fields(self)}

    def plus(self, **more: float) -> "Parts":
        """Some of them raised."""
        return replace(self, **{name: getattr(self, name) + value for name, value in more.items()})


PARTS = tuple(f.name for f in fields(Parts))


@dataclass(frozen=True)
class Peak:
    """The moments of a step on one GPU, and what offloading or paging keeps in the host's memory for it."""

    moments: dict[str, Parts]
    host_bytes: float

    @property
    def moment(self) -> str:
        """The name of the highest moment."""
        return max(self.moments, key=lambda name: self.moments[name].total)

    @property
    def parts(self) -> Parts:
        """What is alive then."""
        return self.moments[self.moment]

    @property
    def total(self) -> float:
        """Bytes at the highest moment."""
        return self.parts.total

    @property
    def highest(self) -> Parts:
        """Each part at its own highest; these do not coincide, so they add up to more than the peak."""
        return Parts(**{name: max(getattr(parts, name) for parts in self.moments.values()) for name in PARTS})


def predict_peak(shape: Shape) -> Peak:
    """The memory of one rank of `shape`, as torch's allocator counts it: a CUDA context of about 0.5 GB is besides."""
    sizes, w, tokens = shape.sizes, item_bytes(shape.precision), shape.tokens
    saved = tokens * layer_bytes_per_token(
        sizes,
        precision=shape.precision,
        sequence_length=shape.sequence_length,
        is_compiled=shape.is_compiled,
        has_mask=shape.has_mask,
    )
    hidden = tokens * w * sizes.hidden
    kept = (hidden if shape.is_checkpointed else saved) * sizes.layers + BATCH_BYTES * tokens
    if shape.has_mask:
        kept += tokens * shape.sequence_length  # the mask itself, one byte an entry
    last_norm = tokens * norm_bytes_per_token(sizes.hidden, shape.precision)
    going_back = tokens * layer_backward_bytes_per_token(sizes, shape.precision)
    recomputed = saved - hidden if shape.is_checkpointed else 0.0
    head = shape.vocabulary * sizes.hidden
    chunk = loss_chunk_bytes(tokens, shape.vocabulary, shape.precision, is_on_gpu=shape.is_on_gpu)

    held = _held(shape)
    carried = _carried(shape) if shape.accumulation > 1 else Parts()
    base = held.plus(**{name: getattr(carried, name) for name in PARTS})
    layer = _layer_parameters(shape)
    moments = {
        "loss": base.plus(activations=kept + last_norm, logits=chunk + 4 * head + hidden),
        "backward": _going_back(shape, base, layer).plus(
            activations=kept + recomputed + going_back, logits=w * head, gradients=w * layer
        ),
        "end of backward": _at_the_end(shape, base).plus(
            activations=kept / sizes.layers + recomputed + going_back, logits=w * head
        ),
        "step": held.plus(gradients=_step_gradients(shape), buffers=_step_buffers(shape)),
    }
    return Peak(moments, _host_bytes(shape))


def _held(shape: Shape) -> Parts:
    """What is there at all times."""
    n, w, p = shape.gpus, item_bytes(shape.precision), shape.parameter_count
    moments = shape.moment_bytes
    is_16_bit, strategy = shape.precision != "fp32", shape.strategy
    workspace = float(WORKSPACE if shape.is_on_gpu else 0)
    if strategy in ("single", "ddp"):
        master = 4.0 * p if is_16_bit else 0.0
        return Parts(weights=w * p, master_weights=master, optimizer=moments * p, buffers=workspace)
    if strategy == "fsdp2":
        gathered = w * (p - shape.sizes.layers * _layer_parameters(shape))
        if is_16_bit:
            return Parts(weights=gathered, master_weights=4 * p / n, optimizer=moments * p / n, buffers=workspace)
        return Parts(weights=gathered + 4 * p / n, optimizer=moments * p / n, buffers=workspace)
    on_device = 0.0 if shape.is_offloaded else p / n
    held = Parts(weights=w * p, master_weights=4 * on_device, optimizer=moments * on_device, buffers=workspace)
    if strategy == "zero3":
        gathered = w * min(p, LIVE_PARAMETERS) if n > 1 else 0.0
        held = replace(held, weights=w * p / n, gradients=0.0 if shape.is_offloaded else w * p / n)
        held = held.plus(buffers=gathered + w * _bucket(shape))
    return held


def _bucket(shape: Shape) -> float:
    return float(min(shape.bucket, shape.parameter_count))


def _layer_parameters(shape: Shape) -> float:
    """Parameters of one decoder layer."""
    return (parameter_count(shape.sizes, 0) - shape.sizes.hidden) / shape.sizes.layers


def _carried(shape: Shape) -> Parts:
    """What earlier micro-batches of the step left behind."""
    n, w, p = shape.gpus, item_bytes(shape.precision), shape.parameter_count
    match shape.strategy:
        case "zero1":
            return Parts(gradients=w * p, buffers=w * _bucket(shape))
        case "zero2":
            return Parts() if shape.is_offloaded else Parts(gradients=w * p / n)
        case "zero3":
            return Parts()
        case "fsdp2":
            return Parts(gradients=4.0 * p)
        case _:
            return Parts(gradients=w * p)


def _going_back(shape: Shape, base: Parts, layer: float) -> Parts:
    """The buffers that gradients travel in while layers go back."""
    w = item_bytes(shape.precision)
    match shape.strategy:
        case "zero1" if shape.accumulation == 1:
            return base.plus(buffers=w * _bucket(shape))
        case "zero2":
            return base.plus(buffers=w * _bucket(shape), gradients=w * shape.parameter_count / shape.gpus)
        case "fsdp2":  # this layer and the one ahead gathered, gradients in fp32 on their way
            return base.plus(buffers=2 * w * layer + 2 * 4 * layer)
        case _:
            return base


def _at_the_end(shape: Shape, base: Parts) -> Parts:
    """All gradients are there."""
    n, w, p = shape.gpus, item_bytes(shape.precision), shape.parameter_count
    if shape.accumulation > 1 and shape.strategy != "zero2":
        whole = 0.0  # they are carried already
    elif shape.strategy in ("single", "ddp", "zero1"):
        whole = w * p
    elif shape.strategy == "fsdp2":
        whole = 4 * p / n
    else:
        whole = w * p / n if shape.strategy == "zero2" and not shape.is_offloaded else 0.0
    end = base.plus(gradients=whole)
    if shape.strategy == "zero1":  # this rank's share is copied out of the whole ones
        return end.plus(gradients=0.0 if shape.is_offloaded else w * p / n).plus(
            buffers=w * _bucket(shape) if shape.accumulation == 1 else 0.0
        )
    if shape.strategy == "zero2":
        return end.plus(buffers=w * _bucket(shape))
    if shape.strategy == "fsdp2":
        return end.plus(buffers=4 * (p - shape.sizes.layers * _layer_parameters(shape)))
    return end


def _step_gradients(shape: Shape) -> float:
    """Gradients as the optimizer reads them, in fp32, and what they were made from."""
    n, w, p = shape.gpus, item_bytes(shape.precision), shape.parameter_count
    if shape.is_offloaded:
        return 0.0
    match shape.strategy:
        case "zero1" | "zero2":
            flat = w * p / n
            return 2 * flat + (4 * p / n if w == 2 else 0.0)
        case "zero3":
            return 4.0 * min(p / n, LIVE_PARAMETERS)
        case "fsdp2":
            return 4 * p / n
        case _:
            return w * p + (4.0 * p if w == 2 else 0.0)


def _step_buffers(shape: Shape) -> float:
    """What the optimizer works in, a tensor at a time: only bitsandbytes' 8 bits on a CPU take some."""
    if shape.is_on_gpu or not shape.optimizer.endswith("8bit"):
        return 0.0
    is_flat = shape.strategy in ("zero1", "zero2", "zero3")  # a partition is one tensor; else the embedding is largest
    elements = shape.parameter_count if is_flat else shape.vocabulary * shape.sizes.hidden
    return QUANTISED_STEP_BYTES * elements / (1 if shape.strategy in ("single", "ddp") else shape.gpus)


def _host_bytes(shape: Shape) -> float:
    """Offloaded: fp32 weights, moments and gradients of this rank's share, and a copy to send back; or its pages."""
    if not shape.is_offloaded:
        is_sharded = shape.strategy not in ("single", "ddp")
        pages = MOMENT_BYTES[shape.optimizer] - shape.moment_bytes
        return pages * shape.parameter_count / (shape.gpus if is_sharded else 1)
    return (4 + 8 + 4 + item_bytes(shape.precision)) * shape.parameter_count / shape.gpus
