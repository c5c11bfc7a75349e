"""Which documents repeat others, and which of them stays."""

from typing import Any

import dagster as dg

from assets.compared import COMPARED
from assets.partitions import by_corpus, corpus_partitions, document_partitions
from assets.resources import Workers, stage_asset


@stage_asset(
    partitions_def=document_partitions,
    deps=["quality_filtered_documents"],
    kinds={"spark", "parquet"},
)
def minhash_signatures(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """A content hash and a MinHash signature per document: equal hashes are copies, alike signatures near-copies."""
    return workers.run_stage(context)


compared_corpora = dg.AssetSpec(
    COMPARED,
    description=(
        "All signatures that the clusters of a corpus depend on: its own and, with `scope: all`, those of every other "
        "corpus. Observed, not materialized: it changes when one of them is added, made again with other content, or "
        "removed."
    ),
    group_name="dedup",
    kinds={"python"},
    partitions_def=corpus_partitions,
)


@stage_asset(
    partitions_def=corpus_partitions,
    deps=[dg.AssetDep("minhash_signatures", partition_mapping=by_corpus), dg.AssetDep(COMPARED)],
    kinds={"spark", "parquet"},
)
def duplicate_clusters(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """Every duplicate of a corpus and the representative it repeats, found across all its segments at once.

    With `scope: all` across all corpora: then another corpus that changes makes this one stale.
    """
    return workers.run_stage(context)


@stage_asset(
    partitions_def=document_partitions,
    deps=["quality_filtered_documents", dg.AssetDep("duplicate_clusters", partition_mapping=by_corpus)],
    kinds={"spark", "parquet"},
)
def deduplicated_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """One document of every cluster of duplicates, its representative, and all documents that repeat nothing."""
    return workers.run_stage(context)
