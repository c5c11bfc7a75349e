"""From a pretrained model to one that answers: instruction data and adapters."""

from typing import Any

import dagster as dg

from assets.config import config_schema_of
from assets.resources import GPU_POOL, Workers
from training.arguments import InstructionSettings, LoraSettings, QloraSettings


@dg.asset(
    deps=["tokenizer"],
    group_name="finetune",
    kinds={"parquet", "python"},
    config_schema=config_schema_of(InstructionSettings),
)
def instruction_dataset(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """Questions and answers as chat examples in tokens, with the mask that says which of them are learned."""
    return workers.run_training(context, "training.instructions")


@dg.asset(
    deps=["pretrained_model", "instruction_dataset"],
    group_name="finetune",
    kinds={"pytorch", "huggingface"},
    pool=GPU_POOL,
    config_schema=config_schema_of(LoraSettings),
)
def lora_adapter(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """Small low-rank matrices (LoRA) trained on the instructions beside the frozen pretrained model."""
    return workers.run_training(context, "training.finetune", "--method", "lora")


@dg.asset(
    deps=["pretrained_model", "instruction_dataset"],
    group_name="finetune",
    kinds={"pytorch", "huggingface"},
    pool=GPU_POOL,
    config_schema=config_schema_of(QloraSettings),
)
def qlora_adapter(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """A LoRA adapter trained while the pretrained model is held in 4 bits (NF4): a quarter of the memory."""
    return workers.run_training(context, "training.finetune", "--method", "qlora")
