"""Peaks by the name of the device, and the formula of model FLOPs utilisation."""

import pytest

from training.utilisation import flops_per_token, gpu_of_device, peak_flops, peak_memory_bytes


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA A10G", "a10g"),
        ("Tesla V100-SXM2-32GB", "v100"),
        ("Tesla T4", "t4"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA T400", None),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_devices(device: str, name: str | None) -> None:
    found = gpu_of_device(device)
    assert (found.name if found else None) == name


def test_peaks() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3", "bf16") == 989e12
    assert peak_flops("NVIDIA H100 80GB HBM3", "fp32") == 67e12
    assert peak_flops("a card", "bf16") is None


def test_flops_of_a_token() -> None:
    assert flops_per_token(1_000_000, 2, 64, 128) == 6e6 + 12 * 2 * 64 * 128


@pytest.mark.torch
def test_memory_is_measured() -> None:
    assert peak_memory_bytes() > 1 << 20
