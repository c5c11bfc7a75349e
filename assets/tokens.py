"""From documents to the sequences of tokens that a model reads."""

import dagster as dg

from assets.partitions import document_partitions
from assets.resources import Workers, stage_options


@dg.asset(
    deps=["clean_documents"],
    kinds={"huggingface"},
    **stage_options("tokenizer"),
)
def tokenizer(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """A byte-level BPE tokenizer trained on all clean documents, in Hugging Face format.

    Another tokenizer means other token shards for every corpus: train one when the mix of corpora has changed.
    """
    return workers.run_stage(context)


@dg.asset(
    partitions_def=document_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["clean_documents", "tokenizer"],
    kinds={"spark", "arrow"},
    **stage_options("token_shards"),
)
def token_shards(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """Documents as tokens, packed to sequences of one length, with the spans that lead back to each document."""
    return workers.run_stage(context)


@dg.asset(
    deps=["token_shards"],
    kinds={"arrow", "python"},
    **stage_options("training_mixture"),
)
def training_mixture(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[None]:
    """Which shards a model reads, in which proportion and how many times over."""
    return workers.run_stage(context)
