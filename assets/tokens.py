"""From documents to the sequences of tokens that a model reads."""

from typing import Any

import dagster as dg

from assets.partitions import document_partitions
from assets.resources import Workers, stage_asset


@stage_asset(
    deps=["clean_documents"],
    kinds={"huggingface"},
)
def tokenizer(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """A byte-level BPE tokenizer trained on a sample of the clean documents, in Hugging Face format.

    The sample is the same whatever the order of segments; each corpus gives what its weight asks for. Documents that
    are held out say how tight the tokenizer is in each language, beside cl100k, o200k and Tekken.
    Another tokenizer means other token shards for every corpus: train one when the mix of corpora has changed.
    """
    return workers.run_stage(context)


@stage_asset(
    partitions_def=document_partitions,
    deps=["clean_documents", "tokenizer"],
    kinds={"spark", "arrow"},
)
def token_shards(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """Documents as tokens, packed to sequences of one length, with the spans that lead back to each document."""
    return workers.run_stage(context)


@stage_asset(
    deps=["token_shards"],
    kinds={"arrow", "python"},
)
def training_mixture(context: dg.AssetExecutionContext, workers: Workers) -> dg.MaterializeResult[Any]:
    """Which shards a model reads, in which proportion and how many times over."""
    return workers.run_stage(context)
