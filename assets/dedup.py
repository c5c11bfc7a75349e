"""Which documents repeat others, and which of them stays."""

import dagster as dg

from assets.partitions import by_corpus, corpus_partitions, document_partitions
from assets.resources import Workers, stage_options


@dg.asset(
    partitions_def=document_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["quality_filtered_documents"],
    kinds={"spark", "parquet"},
    **stage_options("minhash_signatures"),
)
def minhash_signatures(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """A content hash and a MinHash signature per document: equal hashes are copies, alike signatures near-copies."""
    return workers.run_stage(context)


@dg.asset(
    partitions_def=corpus_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[dg.AssetDep("minhash_signatures", partition_mapping=by_corpus)],
    kinds={"spark", "parquet"},
    **stage_options("duplicate_clusters"),
)
def duplicate_clusters(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """Every duplicate of a corpus and the representative it repeats, found across all its segments at once."""
    return workers.run_stage(context)


@dg.asset(
    partitions_def=document_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["quality_filtered_documents", dg.AssetDep("duplicate_clusters", partition_mapping=by_corpus)],
    kinds={"spark", "parquet"},
    **stage_options("deduplicated_documents"),
)
def deduplicated_documents(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """One document of every cluster of duplicates, its representative, and all documents that repeat nothing."""
    return workers.run_stage(context)
