"""Which documents are worth training on: language, quality."""

from typing import Any

import dagster as dg

from assets.partitions import document_partitions
from assets.resources import Workers, stage_asset


@stage_asset(
    partitions_def=document_partitions,
    deps=["extracted_documents"],
    kinds={"spark", "parquet"},
)
def language_filtered_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """Documents in a wanted language, each with the score of fastText's language identification."""
    return workers.run_stage(context)


@stage_asset(
    partitions_def=document_partitions,
    deps=["language_filtered_documents"],
    kinds={"spark", "parquet"},
)
def quality_filtered_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """Documents that read like prose: they pass Gopher's, C4's and FineWeb's rules.

    Every signal is kept as a column, so that a threshold can be judged before it is changed.
    """
    return workers.run_stage(context)


@stage_asset(
    deps=["language_filtered_documents"],
    kinds={"fasttext", "python"},
)
def quality_classifier(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """A fastText classifier that tells chosen good corpora from bad ones, named by its content.

    It judges documents once its path is the setting classifier_path of quality_filtered_documents.
    """
    return workers.run_stage(context)
