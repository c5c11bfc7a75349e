"""Settings of the training side, the learning rate, and that none of it imports torch."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout
from training.arguments import LoraSettings, PretrainSettings, QloraSettings
from training.learning_rate import learning_rate
from training.pretrain import step_count
from training.worker import resolve_settings


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"steps": 10, "tokens": 10}, "steps or tokens"),
        ({"global_batch_size": 5, "ranks": 2}, "does not divide over 2 ranks"),
        ({"global_batch_size": 8, "micro_batch_size": 3}, "micro_batch_size"),
        ({"strategy": "single", "ranks": 2}, "strategy"),
        ({"strategy": "fsdp2", "offload": True}, "offload goes with zero1"),
        ({"strategy": "zero1", "offload": True, "optimizer": "adamw_8bit"}, "offload goes with optimizer adamw"),
        ({"hidden": 100, "heads": 3}, "not a multiple of heads"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"spike_factor": 0.5}, "spike_factor"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(given: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PretrainSettings(**given)  # pyright: ignore[reportArgumentType]


def test_an_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="tiny, small"):
        PretrainSettings(model="huge")


def test_accumulation_follows_from_batch_ranks_and_micro_batch() -> None:
    found = PretrainSettings(global_batch_size=32, ranks=2, micro_batch_size=4)
    assert (found.sequences_per_rank, found.accumulation) == (16, 4)


def test_steps_follow_from_tokens_or_parameters() -> None:
    assert step_count(PretrainSettings(steps=7), 1000, 256) == 7
    assert step_count(PretrainSettings(steps=0, tokens=16 * 256 * 3 + 1, global_batch_size=16), 1000, 256) == 4
    assert step_count(PretrainSettings(steps=0, global_batch_size=16), 16 * 256, 256) == 20  # 20 tokens a parameter


def test_qlora_refuses_what_lora_refuses() -> None:
    for cls in (LoraSettings, QloraSettings):
        with pytest.raises(ValueError, match="rank"):
            cls(rank=0)


@pytest.mark.parametrize("overrides", ["{", "[]", '{"stepz": 1}', '{"steps": "many"}'])
def test_malformed_overrides_are_one_clear_line(overrides: str, layout: Layout) -> None:
    with pytest.raises(SettingsError):
        resolve_settings(PretrainSettings, "pretrained_model", layout, None, overrides)


@settings(max_examples=50, deadline=None)
@given(steps=st.integers(1, 500), warmup=st.integers(0, 600), ratio=st.floats(0, 1))
def test_the_learning_rate_stays_between_nothing_and_its_peak(steps: int, warmup: int, ratio: float) -> None:
    rates = [learning_rate(s, steps=steps, warmup=warmup, peak=1.0, min_ratio=ratio) for s in range(1, steps + 1)]
    assert all(0 < rate <= 1 + 1e-12 for rate in rates[:-1])
    assert rates[:warmup] == sorted(rates[:warmup])
    after = rates[max(1, warmup) - 1 :]
    assert after == sorted(after, reverse=True)


def test_the_learning_rate_ends_at_its_minimum() -> None:
    assert learning_rate(100, steps=100, warmup=10, peak=2.0, min_ratio=0.1) == pytest.approx(0.2)
    assert learning_rate(10, steps=100, warmup=10, peak=2.0, min_ratio=0.1) == 2.0


def test_light_modules_do_not_import_torch() -> None:
    modules = "arguments, plan, pretrain, instructions, finetune, launch, runs"
    heavy = "('torch', 'transformers', 'dagster', 'pyspark')"
    code = f"from training import {modules}; import sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
