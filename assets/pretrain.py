"""From tokens to a pretrained model. Launched by a person, a job, or a schedule that somebody turned on."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.config import config_schema_of
from assets.resources import GPU_POOL, Workers
from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout
from gristmill.core.settings import resolve
from training.arguments import PlanSettings, PretrainSettings


@dg.asset(
    deps=["training_mixture"],
    group_name="pretrain",
    kinds={"python"},
    config_schema=config_schema_of(PlanSettings),
)
def training_plan(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """What a training run would need before it is launched: parameters, tokens, FLOPs, GPU memory, hours, cost."""
    return workers.run_training(context, "training.plan")


FITS_MEMORY = dg.AssetCheckSpec(
    "fits_memory",
    asset="pretrained_model",
    blocking=True,
    description=(
        "Asked before anything starts: the predicted peak memory of a step is no more than this machine's GPUs, or its "
        "memory where it has none, can hold; else the smallest change after which it is."
    ),
)


@dg.asset(
    deps=["training_mixture", "training_plan"],
    group_name="pretrain",
    kinds={"pytorch", "huggingface"},
    pool=GPU_POOL,
    config_schema=config_schema_of(PretrainSettings),
    check_specs=[FITS_MEMORY],
)
def pretrained_model(context: dg.AssetExecutionContext, workers: Workers) -> Iterator[Any]:
    """A language model trained from scratch on the mixture, as a Hugging Face folder with its metrics.

    A run that was stopped goes on from its last checkpoint; the same run again is not trained twice.
    """
    given: dict[str, Any] = context.op_execution_context.op_config or {}
    found = fits_memory(workers.layout, workers.settings_file, {k: v for k, v in given.items() if v is not None})
    yield found
    if not found.passed and found.severity == dg.AssetCheckSeverity.ERROR:
        raise dg.Failure(str(found.description), allow_retries=False)
    yield workers.run_training(context, "training.pretrain")


def fits_memory(layout: Layout, settings_file: str | None, given: dict[str, Any]) -> dg.AssetCheckResult:
    """Predict the memory of the run that the settings ask for, and compare it with this machine's."""
    from training.fit import fit_here

    try:
        settings = resolve(PretrainSettings, "pretrained_model", layout.root, settings_file, given)
        fit = fit_here(layout, settings)
    except GristmillError as error:
        return dg.AssetCheckResult(  # the worker says the same, and stops
            passed=False,
            check_name=FITS_MEMORY.name,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"not judged: {one_line(error)}",
        )
    if fit is None or settings.memory_check == "off":
        why = "memory_check is off" if fit is not None else "it runs on other machines"
        return dg.AssetCheckResult(passed=True, check_name=FITS_MEMORY.name, description=f"not judged: {why}")
    refuses = settings.memory_check == "refuse"
    return dg.AssetCheckResult(
        passed=fit.is_fitting,
        check_name=FITS_MEMORY.name,
        severity=dg.AssetCheckSeverity.ERROR if refuses else dg.AssetCheckSeverity.WARN,
        description=fit.line,
        metadata={
            "needed_gb": fit.needed / 1e9,
            "usable_gb": fit.usable / 1e9,
            "moment": fit.moment,
            "smallest_change": fit.change or "none",
            **{f"gb/{name}": size for name, size in fit.parts.gigabytes().items()},
        },
    )
