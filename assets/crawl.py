"""From WARC files to documents."""

import dagster as dg

from assets.partitions import document_partitions
from assets.resources import Workers, stage_options


@dg.asset(
    partitions_def=document_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"spark", "parquet"},
    **stage_options("extracted_documents"),
)
def extracted_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """Pages of a crawl as documents: the main text of each page with its URL, WARC file and byte offset.

    Navigation, menus and scripts are left out. A record that can't be read becomes one quarantine row with a
    `broken_…` reason; its neighbours are not harmed.
    """
    return workers.run_stage(context)
