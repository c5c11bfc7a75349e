"""From WARC files to documents."""

from typing import Any

import dagster as dg

from assets.partitions import document_partitions
from assets.resources import Workers, stage_asset
from assets.takedowns import TAKEDOWNS

takedowns = dg.AssetSpec(
    TAKEDOWNS,
    description=(
        "The patterns of takedowns.yaml that mean documents of a segment. Observed, not materialized: it changes when "
        "a pattern is added or removed that means one of them (`gristmill takedown`), and then what is made of the "
        "segment is stale."
    ),
    group_name="crawl",
    kinds={"yaml"},
    partitions_def=document_partitions,
)


@stage_asset(
    partitions_def=document_partitions,
    deps=[dg.AssetDep(TAKEDOWNS)],
    kinds={"spark", "parquet"},
)
def extracted_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """Pages of a crawl as documents: the main text of each page with its URL, WARC file and byte offset.

    Navigation, menus and scripts are left out. A record that can't be read becomes one quarantine row with a
    `broken_…` reason; its neighbours are not harmed.
    """
    return workers.run_stage(context)
