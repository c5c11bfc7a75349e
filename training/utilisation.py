"""What the hardware gives of its peak: model FLOPs utilisation (Chowdhery et al. 2022, appendix B), and memory."""

import resource
import sys

from training.hardware import GPUS, Gpu

# What torch.cuda.get_device_name() says, and the row of training/hardware.py. The cards of these names with a slot
# instead of a socket have lower peaks (H100 PCIe 756 TFLOP/s, H100 NVL and H200 NVL 835) and no row there.
_DEVICES = (
    ("H200", "h200"),
    ("H100", "h100"),
    ("A100", "a100-80gb"),  # both sizes have the same peak
    ("L40S", "l40s"),
    ("RTX 4090", "rtx4090"),
    ("A10G", "a10g"),
    ("V100", "v100"),
    ("T4", "t4"),
)
_WITH_SLOT = ("H100 PCIe", "H100 NVL", "H200 NVL")


def gpu_of_device(device_name: str) -> Gpu | None:
    """The GPU that torch calls `device_name`; None where its peak is not known."""
    words = device_name.replace("-", " ").split()
    if any(name in device_name for name in _WITH_SLOT):
        return None
    for mark, name in _DEVICES:
        if mark in words or (" " in mark and mark in device_name):
            return GPUS[name]
    return None


def peak_flops(device_name: str, precision: str) -> float | None:
    """Dense peak FLOP/s of one device in the arithmetic of `precision` (fp32, bf16, fp16); None where not known."""
    gpu = gpu_of_device(device_name)
    if gpu is None:
        return None
    return 1e12 * (gpu.fp32_tflops if precision == "fp32" else gpu.bf16_tflops)


def flops_per_token(parameters: int, layers: int, hidden: int, sequence_length: int) -> float:
    """Of a forward and a backward pass: 6N for the weights, 12·L·H·T for attention over the whole sequence.

    Recomputed activations do not count: they are no use to the model.
    """
    return 6.0 * parameters + 12.0 * layers * hidden * sequence_length


def peak_memory_bytes() -> int:
    """Most memory that this process has held so far: of its GPU as torch allocated it, else of the process (RSS)."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
