"""What a person launches.

Dagster runs assets together only where they share one way of being partitioned (besides those without
partitions). The chain from crawl to model has three: corpus × segment, corpus, none. So there are two kinds
of jobs here:

* **Asset jobs**, each of one kind of partition: `filter_job`, `cluster_job`, `clean_job`, `tokenize_job`,
  `pretrain_job`, `finetune_job`, `report_job`, `classifier_job`. "Materialize" in the UI makes a range of
  partitions one run with one worker per stage; it needs the daemon (`make dev` or `dagster dev` runs it). In a
  terminal and in the foreground, the same is
      dg launch -m assets.definitions --job filter_job --partition-range 'books|00000...books|00002'
  while `dagster job backfill` makes one run of every partition.
* **Chains**, partitioned by corpus: `curate_job` (crawl to privacy) and `crawl_to_model_job` (everything). Their
  one step launches the asset jobs one after the other, as runs of their own, which is what `gristmill run`
  does too. They run from the UI, from a schedule or a sensor, and from a terminal, in the foreground or by
  the daemon:
      dg launch -m assets.definitions --job curate_job --partition books
      dagster job backfill -w workspace.yaml -j curate_job --partitions books,news --noprompt

A selection of assets across these borders can also be materialized straight from the asset graph of the UI:
Dagster makes it one backfill and keeps the order.
"""

from dataclasses import dataclass
from typing import Literal

import dagster as dg

from assets.partitions import corpus_partitions
from assets.resources import Workers

Grid = Literal["segments", "corpus", "none"]


@dataclass(frozen=True)
class Phase:
    """One asset job of the chain."""

    job: str
    grid: Grid  # what a run of it covers: the segments of a corpus, a corpus, or something that exists once
    assets: tuple[str, ...]  # in the order of the flow
    description: str


PHASES = (
    Phase(
        "filter_job",
        "segments",
        ("extracted_documents", "language_filtered_documents", "quality_filtered_documents", "minhash_signatures"),
        "Segments of a crawl to documents that are worth comparing: extraction, filters, signatures.",
    ),
    Phase(
        "cluster_job",
        "corpus",
        ("duplicate_clusters",),
        "The duplicates of whole corpora, once all their segments have signatures.",
    ),
    Phase(
        "clean_job",
        "segments",
        ("deduplicated_documents", "clean_documents"),
        "Representatives only, with personal data replaced.",
    ),
    Phase(
        "tokenize_job",
        "segments",
        ("tokenizer", "token_shards", "training_mixture"),
        "A tokenizer from all clean documents, token shards of the chosen segments, and the mixture of all shards.",
    ),
    Phase("pretrain_job", "none", ("training_plan", "pretrained_model"), "A plan, then a model trained from scratch."),
    Phase(
        "finetune_job",
        "none",
        ("instruction_dataset", "lora_adapter", "qlora_adapter"),
        "Instruction data, then both adapters of the pretrained model.",
    ),
    Phase("report_job", "none", ("corpus_report", "evaluation_report"), "The pages on corpora and on models."),
    Phase(
        "classifier_job",
        "none",
        ("quality_classifier",),
        "A classifier of good and bad documents, for the quality filter; no other job needs it to be run.",
    ),
)

asset_jobs = [dg.define_asset_job(p.job, selection=list(p.assets), description=p.description) for p in PHASES]


class ChainConfig(dg.Config):
    """How a chain is run; the settings of each asset come from the settings file."""

    is_fresh_tokenizer: bool = False


@dg.op(description="Runs the asset jobs from the crawl through clean_documents for one corpus.")
def curate(context: dg.OpExecutionContext, workers: Workers) -> None:
    """Crawl to privacy."""
    from assets.launch import run_in_step

    run_in_step(context, workers, ("clean_documents",))


@dg.op(description="Runs every asset job for one corpus: crawl to adapters and reports.")
def crawl_to_model(context: dg.OpExecutionContext, config: ChainConfig, workers: Workers) -> None:
    """Crawl to model."""
    from assets.launch import run_in_step

    run_in_step(context, workers, ("corpus_report", "evaluation_report"), is_fresh_tokenizer=config.is_fresh_tokenizer)


@dg.job(partitions_def=corpus_partitions, description="One corpus from crawl to privacy.")
def curate_job() -> None:
    """Crawl to privacy."""
    curate()


@dg.job(partitions_def=corpus_partitions, description="One (small) corpus from crawl to fine-tuned model.")
def crawl_to_model_job() -> None:
    """Everything."""
    crawl_to_model()


chains = [curate_job, crawl_to_model_job]
