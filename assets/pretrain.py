"""From tokens to a pretrained model. Launched by a person, a job, or a schedule that somebody turned on."""

from typing import Any

import dagster as dg

from assets.config import config_schema_of
from assets.resources import GPU_POOL, Workers
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


@dg.asset(
    deps=["training_mixture", "training_plan"],
    group_name="pretrain",
    kinds={"pytorch", "huggingface"},
    pool=GPU_POOL,
    config_schema=config_schema_of(PretrainSettings),
)
def pretrained_model(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """A language model trained from scratch on the mixture, as a Hugging Face folder with its metrics.

    A run that was stopped goes on from its last checkpoint; the same run again is not trained twice.
    """
    return workers.run_training(context, "training.pretrain")
