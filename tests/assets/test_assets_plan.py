"""The plan in the UI, and the check that refuses a run before it starts."""

import dataclasses
import json

import dagster as dg
import pytest

from assets.metadata import report_metadata
from assets.pretrain import fits_memory, pretrained_model
from assets.resources import Workers
from gristmill.core.layout import Layout
from training import fit
from training.arguments import PlanSettings
from training.machine import Machine
from training.plan import as_plain, make_plan
from training.plan_table import plan_table

SMALL = Machine(gpu="", gpu_bytes=(), host_bytes=4 << 30)


@pytest.fixture
def layout(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A root whose runs have a vocabulary of 32,000 and 2,048 tokens, on a machine of 4 GiB."""
    monkeypatch.setattr(fit, "fit_here", lambda _layout, settings: fit.judge(settings, 32_000, 2_048, SMALL))
    return Layout(str(tmp_path_factory.mktemp("root")))


def test_a_run_that_does_not_fit_fails_the_check_with_the_way_out(layout: Layout) -> None:
    found = fits_memory(layout, None, {"model": "tinyllama-1.1b"})
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "does not fit" in str(found.description)
    assert fits_memory(layout, None, {"model": "tiny", "global_batch_size": 1}).passed
    warned = fits_memory(layout, None, {"model": "tinyllama-1.1b", "memory_check": "warn"})
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert fits_memory(layout, None, {"model": "tinyllama-1.1b", "memory_check": "off"}).passed


def test_the_refused_run_starts_nothing_and_the_check_is_recorded(layout: Layout) -> None:
    with dg.instance_for_test() as instance:
        result = dg.materialize(
            [pretrained_model, dg.AssetSpec("training_mixture"), dg.AssetSpec("training_plan")],
            instance=instance,
            resources={"workers": Workers(root=layout.root)},
            run_config={"ops": {"pretrained_model": {"config": {"model": "tinyllama-1.1b"}}}},
            selection=[pretrained_model],
            raise_on_error=False,
        )
    assert not result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed) == ("fits_memory", False)
    assert not result.get_asset_materialization_events()


def test_a_run_that_cannot_be_judged_is_left_to_its_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = fits_memory(Layout(str(tmp_path_factory.mktemp("empty"))), None, {})
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "not judged" in str(found.description)


def test_the_plan_is_a_table_and_a_picture() -> None:
    plan = make_plan(PlanSettings(model="llama2-7b"))
    report = {"asset": "training_plan", "settings": {}, "plan": as_plain(plan), "table": plan_table(plan)}
    shown = report_metadata(json.loads(json.dumps(report, default=dataclasses.asdict)), "folder")
    assert "| ZeRO-3 offload |" in str(shown["table"].value)
    assert str(shown["memory"].value).startswith("![memory per GPU](data:image/png;base64,")
    assert shown["peak_gb/ZeRO-2"] > 0
