"""The published figures that a plan is made of, reproduced."""

import pytest

from gristmill.core.errors import SettingsError
from training.arguments import PlanSettings
from training.chinchilla import TABLE, approach1_tokens, optimal_tokens, training_flops
from training.memory import STATES, fp32_rule_bytes, state_bytes
from training.plan import as_plain, describe, make_plan, memory_rows
from training.plan_table import memory_plot, plan_table
from training.sizes import PRESETS, parameter_count


@pytest.mark.parametrize(("billions", "weights", "everything"), [(7, 28, 140), (13, 52, 260), (70, 280, 1400)])
def test_fp32_with_adamw_takes_20_bytes_a_parameter(billions: float, weights: float, everything: float) -> None:
    assert STATES["fp32"].weights * billions == weights
    assert fp32_rule_bytes(billions * 1e9) / 1e9 == everything


@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_mixed_precision_7_5_billion_on_64_gpus(stage: int, gigabytes: float) -> None:
    """Rajbhandari et al. 2020, figure 1."""
    found = state_bytes(7.5e9, gpus=64, zero_stage=stage, precision="bf16").total / 1e9
    assert round(found, 1) == gigabytes


def test_ten_billion_in_fp16_is_160_gigabytes() -> None:
    """20 of weights, 20 of gradients, 120 of fp32 Adam, its master weights among them."""
    found = state_bytes(10e9, gpus=1, zero_stage=0, precision="fp16")
    assert (found.weights, found.gradients, found.master_weights + found.optimizer) == (20e9, 20e9, 120e9)
    assert found.total == 160e9


def test_the_rule_counts_moments_in_8_bits() -> None:
    """2 + 2 + 4 bytes, and two codes with their scales: 10.03 in place of 16 (Dettmers et al. 2022)."""
    found = state_bytes(1e9, gpus=1, zero_stage=0, precision="bf16", optimizer="adamw_8bit")
    assert found.total / 1e9 == pytest.approx(10.03125)


def test_a_plan_of_another_optimizer_offloads_none_of_it() -> None:
    names = [
        row.method for row in memory_rows(PlanSettings(vocabulary=100, sequence_length=8, optimizer="adamw_8bit"), 9)
    ]
    assert names[:4] == ["DDP adamw_8bit", "ZeRO-1 adamw_8bit", "ZeRO-1 offload", "ZeRO-2 adamw_8bit"]


def test_approach_1_goes_through_the_papers_rows() -> None:
    for row in TABLE:
        assert approach1_tokens(row.parameters) == pytest.approx(row.tokens)
    assert 205.1e9 < approach1_tokens(30e9) < 1.5e12
    assert approach1_tokens(50e6) == pytest.approx(20 * 50e6, rel=0.1)
    plan = make_plan(PlanSettings(parameters=67e9, tokens_rule="approach1", gpus=64, strategy="zero3"))
    assert (plan.tokens, plan.tokens_twenty) == (pytest.approx(1.5e12), pytest.approx(1.34e12))


def test_chinchilla_table_is_the_papers() -> None:
    assert len(TABLE) == 9
    for row in TABLE:
        assert row.tokens / optimal_tokens(row.parameters) == pytest.approx(1, abs=0.16)
    # 6 N D comes near the table's FLOPs in all rows but that of 1 T, whose figure the paper gives at 1.27e26.
    for row in TABLE:
        assert training_flops(row.parameters, row.tokens) == pytest.approx(row.flops, rel=0.08)


@pytest.mark.parametrize(
    ("model", "vocabulary", "published"),
    [
        ("llama2-7b", 32_000, 6_738_415_616),
        ("llama2-13b", 32_000, 13_015_864_320),
        ("llama2-70b", 32_000, 68_976_648_192),
        ("llama3-8b", 128_256, 8_030_261_248),
        ("tinyllama-1.1b", 32_000, 1_100_048_384),
    ],
)
def test_parameter_counts_are_the_published_ones(model: str, vocabulary: int, published: int) -> None:
    assert parameter_count(PRESETS[model], vocabulary) == published


def test_hours_follow_from_flops_and_utilisation() -> None:
    settings = PlanSettings(parameters=1e9, tokens=20e9, gpu="h100", gpus=8, mfu=0.5, price_per_gpu_hour=2.0)
    plan = make_plan(settings)
    assert plan.flops == 1.2e20
    assert plan.hours == pytest.approx(1.2e20 / (8 * 989e12 * 0.5) / 3600)
    assert plan.cost == pytest.approx(plan.gpu_hours * 2.0)


def test_smallest_change_makes_it_fit() -> None:
    plan = make_plan(PlanSettings(model="llama2-7b", gpus=8, strategy="ddp"))
    assert not plan.is_fitting
    assert plan.smallest_change == "strategy ddp -> zero1"
    assert make_plan(PlanSettings(model="llama2-7b", gpus=8)).smallest_change == ""


def test_a_smaller_micro_batch_comes_before_other_changes() -> None:
    plan = make_plan(PlanSettings(model="tinyllama-1.1b", gpu="a100-80gb", gpus=1, micro_batch_size=32))
    assert plan.smallest_change == "micro_batch_size 32 -> 16"


def test_a_model_too_large_for_full_training_is_sent_to_adapters() -> None:
    settings = PlanSettings(model="llama2-70b", gpu="a100-80gb", gpus=1)
    assert make_plan(settings).advice[-1].endswith("QLoRA")


def test_each_method_takes_less_than_the_one_before() -> None:
    rows = {
        r.method: r for r in memory_rows(PlanSettings(model="llama2-7b", vocabulary=32_000, sequence_length=64), 72)
    }
    rules = [rows[name].rule_gb for name in ("DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3")]
    assert rules == sorted(rules, reverse=True)
    peaks = [rows[name].peak_gb for name in ("DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3")]
    assert peaks == sorted(peaks, reverse=True)
    for name in ("ZeRO-1", "ZeRO-2", "ZeRO-3"):
        assert rows[f"{name} offload"].peak_gb < rows[name].peak_gb
        assert rows[f"{name} offload"].host_gb > 0
    assert rows["QLoRA"].peak_gb < rows["LoRA"].peak_gb


def test_a_gpu_without_bf16_is_one_clear_line() -> None:
    with pytest.raises(SettingsError, match="v100 has no bf16: set precision to fp16"):
        make_plan(PlanSettings(gpu="v100"))
    assert {row.precision for row in make_plan(PlanSettings(gpu="v100", precision="fp16")).precisions} == {
        "fp32",
        "fp16",
    }


def test_the_table_and_the_picture() -> None:
    plan = make_plan(PlanSettings(model="llama2-7b", price_per_gpu_hour=2.0))
    text = plan_table(plan)
    for piece in ("master weights", "| ZeRO-3 offload |", "| QLoRA |", "| bf16, recomputed |", "| 1e+13 | 1.3e+28 |"):
        assert piece in text
    rows = as_plain(plan)["memory"]
    picture = memory_plot(rows, plan.usable_gb, "memory")
    assert picture.startswith(b"\x89PNG")
    assert memory_plot(rows, plan.usable_gb, "memory") == picture


def test_an_unknown_gpu_is_one_clear_line() -> None:
    with pytest.raises(SettingsError, match="choose one of"):
        make_plan(PlanSettings(gpu="abacus"))


def test_the_description_says_whether_it_fits() -> None:
    assert "fits" in describe(make_plan(PlanSettings()))[-1]
