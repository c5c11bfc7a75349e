"""What must not be in a document that is trained on."""

from typing import Any

import dagster as dg

from assets.partitions import document_partitions
from assets.resources import Workers, stage_asset


@stage_asset(
    partitions_def=document_partitions,
    deps=["deduplicated_documents"],
    kinds={"spark", "parquet"},
)
def clean_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """Documents ready to train on: e-mail addresses, phone numbers and the like are replaced by placeholders."""
    return workers.run_stage(context)
