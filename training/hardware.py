"""GPUs as their makers' data sheets give them: memory and dense peak arithmetic."""

from dataclasses import dataclass

from gristmill.core.errors import SettingsError


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU."""

    name: str
    memory_gb: float  # 1e9 bytes
    bf16_tflops: float  # dense, without sparsity; fp16 where there is no bf16
    fp32_tflops: float  # of the units PyTorch uses by default for fp32 products
    has_bf16: bool = True


GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("h200", 141, 989, 67),
        Gpu("h100", 80, 989, 67),
        Gpu("a100-80gb", 80, 312, 19.5),
        Gpu("a100-40gb", 40, 312, 19.5),
        Gpu("l40s", 48, 362, 91.6),
        Gpu("rtx4090", 24, 165, 82.6),
        Gpu("a10g", 24, 70, 31.2),
        Gpu("v100", 32, 125, 15.7, has_bf16=False),
        Gpu("t4", 16, 65, 8.1, has_bf16=False),
    )
}


def gpu_named(name: str) -> Gpu:
    """Look a GPU up.

    Raises:
        SettingsError: it is not in the table.
    """
    try:
        return GPUS[name]
    except KeyError:
        raise SettingsError(
            f"gpu {name!r} is not known; choose one of {', '.join(GPUS)}, "
            "or the nearest with gpu_memory_gb and gpu_tflops set"
        ) from None
