"""Predicted peak memory of our engine, against what an H200 showed, and what is made of it."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.cli.main import app
from training.activations import CHUNK_LOGITS
from training.arguments import PretrainSettings
from training.fit import DoesNotFitError, Fit, judge, smallest_change
from training.machine import Machine, this_machine, visible
from training.memory import MOMENT_BYTES, Optimizer
from training.peak import BUCKET, STRATEGIES, Shape, Strategy, predict_peak
from training.sizes import ModelSizes

REPOSITORY = Path(__file__).resolve().parents[2]
GIBIBYTE = 1 << 30
A = ModelSizes(layers=24, hidden=1024, heads=16, kv_heads=16, ffn=2816, is_tied=False)  # 0.374 B with 32,000 tokens
B = ModelSizes(layers=22, hidden=2048, heads=32, kv_heads=4, ffn=5632, is_tied=False)  # 1.10 B
H200 = Machine(gpu="NVIDIA H200", gpu_bytes=(150_754_820_096,), host_bytes=256 * GIBIBYTE)
CPU = Machine(gpu="", gpu_bytes=(), host_bytes=24 * GIBIBYTE)


@pytest.mark.parametrize(
    ("sizes", "micro_batch", "accumulation", "measured"),
    [(A, 32, 1, 56.3), (A, 32, 4, 57.7), (B, 16, 1, 56.9), (B, 16, 4, 59.7)],
    ids=["0.37b", "0.37b accumulated", "1.1b", "1.1b accumulated"],
)
def test_peaks_that_an_h200_showed(sizes: ModelSizes, micro_batch: int, accumulation: int, measured: float) -> None:
    """ZeRO-1, bf16, compiled layers, 2,048 tokens, on 2026-11-22 with buckets of 5e8 elements; GiB."""
    shape = Shape(sizes, 32_000, 2_048, micro_batch, accumulation, is_compiled=True, bucket=500_000_000)
    assert predict_peak(shape).total / GIBIBYTE == pytest.approx(measured, rel=0.01)


def test_constants_are_those_of_the_engine() -> None:
    """Those modules import torch, which a plan does not."""
    engine = (REPOSITORY / "training" / "engine.py").read_text(encoding="utf-8")
    loss = (REPOSITORY / "training" / "fused_loss.py").read_text(encoding="utf-8")
    found = re.search(r"^MAXIMUM_BUCKET = ([\d_]+)", engine, re.MULTILINE)
    assert found
    assert int(found[1].replace("_", "")) == BUCKET
    assert re.search(r"^CHUNK_LOGITS = 1 << 28\b", loss, re.MULTILINE)
    assert CHUNK_LOGITS == 1 << 28


shapes = st.builds(
    Shape,
    sizes=st.sampled_from([A, B]),
    vocabulary=st.sampled_from([4_096, 32_000, 128_000]),
    sequence_length=st.sampled_from([128, 2_048]),
    micro_batch_size=st.integers(1, 32),
    accumulation=st.sampled_from([1, 4]),
    precision=st.sampled_from(["fp32", "bf16"]),
    strategy=st.sampled_from(STRATEGIES[1:]),
    gpus=st.sampled_from([1, 2, 8]),
    is_compiled=st.booleans(),
    is_checkpointed=st.booleans(),
    optimizer=st.sampled_from(list(MOMENT_BYTES)),
)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_moments_by_optimizer(strategy: Strategy) -> None:
    """Bytes per parameter of one GPU's share, and of the host's: 2 codes and 8 bytes of scales per block of 256."""
    gpus = 1 if strategy == "single" else 4
    share = 1 if strategy in ("single", "ddp") else 4
    rows: tuple[tuple[Optimizer, float, float], ...] = (
        ("adamw", 8, 0),
        ("adamw_8bit", 2 + 8 / 256, 0),
        ("paged_adamw", 0, 8),
        ("paged_adamw_8bit", 8 / 256, 2),
    )
    for optimizer, on_gpu, on_host in rows:
        shape = Shape(B, 32_000, 2_048, 1, strategy=strategy, gpus=gpus, optimizer=optimizer)
        peak, parameters = predict_peak(shape), shape.parameter_count
        assert peak.highest.optimizer == pytest.approx(on_gpu * parameters / share)
        assert peak.host_bytes == pytest.approx(on_host * parameters / share)


def test_pages_need_room_on_the_host() -> None:
    small_host = Machine(H200.gpu, H200.gpu_bytes, 32 * GIBIBYTE)
    fit = verdict(small_host, model="llama2-7b", global_batch_size=1, optimizer="paged_adamw")
    assert not fit.is_fitting
    assert "pages of the optimizer" in fit.line
    assert verdict(small_host, model="llama2-7b", global_batch_size=1, optimizer="paged_adamw_8bit").is_fitting


def test_8_bits_on_a_cpu_work_in_fp32_copies() -> None:
    shape = Shape(A, 32_000, 128, 1, precision="fp32", optimizer="adamw_8bit", is_on_gpu=False)
    assert predict_peak(shape).moments["step"].buffers >= 20 * shape.parameter_count


@given(shape=shapes, share=st.floats(0.2, 1.2))
@settings(max_examples=60, deadline=None)
def test_a_proposed_change_fits(shape: Shape, share: float) -> None:
    """What is proposed is never what already holds, and settings are named as they are spelt."""
    usable = predict_peak(shape).total * share
    for name, before, after in smallest_change(shape, usable):
        assert name in PretrainSettings.__dataclass_fields__
        assert before != after


@given(shape=shapes)
@settings(max_examples=60, deadline=None)
def test_parts_are_no_less_than_nothing_and_the_peak_is_their_sum(shape: Shape) -> None:
    peak = predict_peak(shape)
    assert all(value >= 0 for parts in peak.moments.values() for value in vars(parts).values())
    assert peak.total == max(parts.total for parts in peak.moments.values()) <= peak.highest.total


def run_settings(**given: object) -> PretrainSettings:
    common: dict[str, object] = {"model": "tinyllama-1.1b", "precision": "bf16", "compile": True, "steps": 1}
    return PretrainSettings(**(common | given))  # type: ignore[arg-type]


def verdict(machine: Machine, **given: object) -> Fit:
    return judge(run_settings(**given), 32_000, 2_048, machine)


def test_a_run_that_fits_this_gpu() -> None:
    fit = verdict(H200, global_batch_size=16)
    assert fit.is_fitting
    assert "NVIDIA H200" in fit.line


def test_a_run_that_does_not_fit_is_told_the_smallest_change() -> None:
    assert verdict(H200, global_batch_size=64).change == "micro_batch_size 64 -> 32"
    assert verdict(H200, model="llama2-7b", global_batch_size=1).change == "optimizer adamw -> adamw_8bit"
    assert verdict(H200, model="llama2-13b", global_batch_size=1).change == "offload false -> true"
    eight = Machine(H200.gpu, H200.gpu_bytes * 8, H200.host_bytes)
    assert (
        "strategy ddp -> zero"
        in verdict(eight, model="llama2-13b", global_batch_size=8, ranks=8, strategy="ddp").change
    )
    assert "no setting of ours helps" in verdict(H200, model="llama2-70b", global_batch_size=1).line


def test_host_memory_counts_where_there_is_no_gpu_and_where_it_holds_the_optimizer() -> None:
    assert not verdict(CPU, global_batch_size=1, precision="fp32", compile=False).is_fitting
    assert verdict(CPU, model="tiny", global_batch_size=8, precision="fp32", compile=False, ranks=2).is_fitting
    small_host = Machine(H200.gpu, H200.gpu_bytes, 64 * GIBIBYTE)
    fit = verdict(small_host, model="llama2-13b", global_batch_size=1, offload=True)
    assert not fit.is_fitting
    assert "offload puts the optimizer" in fit.line


def test_gpus_that_cuda_may_use() -> None:
    listed = "0, GPU-aa, NVIDIA H200, 143771\n1, GPU-bb, NVIDIA H200, 143771\nnonsense\n2, GPU-cc, X, [N/A]\n"
    assert [name for name, _ in visible(listed, None)] == ["NVIDIA H200"] * 2
    assert visible(listed, "1") == [("NVIDIA H200", 143771 << 20)]
    assert visible(listed, "GPU-b,7,0") == [("NVIDIA H200", 143771 << 20)]
    assert visible(listed, "") == []


def test_this_machine_has_memory() -> None:
    assert this_machine().host_bytes > 1 << 28


def test_the_error_says_the_way_out() -> None:
    assert issubclass(DoesNotFitError, Exception)
    line = verdict(H200, global_batch_size=64).line
    assert line.startswith("it does not fit: predicted peak ")
    assert "smallest change: micro_batch_size 64 -> 32" in line


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--params", "1.1e9", "--gpu", "h100", "--gpus", "8", "--home", str(tmp_path)]
    app([*words, "--json"], standalone_mode=False)
    made = json.loads(capsys.readouterr().out)
    assert made["model"] == "tinyllama-1.1b"
    assert made["tokens"] == pytest.approx(22e9)
    assert len(made["chinchilla_table"]) == 9
    app([*words, "--strategy", "zero2", "--offload", "--price", "2", "--tokens", "1e9"], standalone_mode=False)
    shown = capsys.readouterr().out
    for piece in ("ZeRO-2 offload in bf16 fits", "cost", "master weights", "QLoRA", "2.162e+14"):
        assert piece in shown
    app([*words, "--optimizer", "adamw_8bit"], standalone_mode=False)
    assert "ZeRO-1 adamw_8bit in bf16 fits" in capsys.readouterr().out
