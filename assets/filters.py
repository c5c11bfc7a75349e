"""Which documents are worth training on, and what must not be in them: language, quality, privacy."""

import dagster as dg

from assets.partitions import document_partitions
from assets.resources import Workers, stage_options


@dg.asset(
    partitions_def=document_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["extracted_documents"],
    kinds={"spark", "parquet"},
    **stage_options("language_filtered_documents"),
)
def language_filtered_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """Documents in a wanted language, each with the score of fastText's language identification."""
    return workers.run_stage(context)


@dg.asset(
    partitions_def=document_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["language_filtered_documents"],
    kinds={"spark", "parquet"},
    **stage_options("quality_filtered_documents"),
)
def quality_filtered_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """Documents that read like prose: they pass the Gopher and FineWeb rules on words, symbols and repetition.

    Every signal is kept as a column, so that a threshold can be judged before it is changed.
    """
    return workers.run_stage(context)


@dg.asset(
    partitions_def=document_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["deduplicated_documents"],
    kinds={"spark", "parquet"},
    **stage_options("clean_documents"),
)
def clean_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """Documents ready to train on: e-mail addresses, phone numbers and the like are replaced by placeholders."""
    return workers.run_stage(context)
