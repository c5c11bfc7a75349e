"""How documents are divided: a corpus, a segment of a corpus, and the grid of both."""

from collections.abc import Iterable

import dagster as dg

from gristmill.core.layout import Layout, Partition
from pipelines.crawl.corpora import Corpus, list_corpora, load_corpus

corpus_partitions = dg.DynamicPartitionsDefinition(name="corpus")
segment_partitions = dg.DynamicPartitionsDefinition(name="segment")
document_partitions = dg.MultiPartitionsDefinition({"corpus": corpus_partitions, "segment": segment_partitions})

# A segment of a corpus needs the clusters of the whole corpus, and the clusters need all its segments.
by_corpus = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="corpus")


def register_partitions(instance: dg.DagsterInstance, corpus: Corpus) -> None:
    """Offer a registered corpus and its segments in `instance`; again changes nothing."""
    instance.add_dynamic_partitions("corpus", [corpus.name])
    instance.add_dynamic_partitions("segment", list(corpus.segments))


def unregister_partitions(instance: dg.DagsterInstance, layout: Layout, name: str) -> None:
    """Offer corpus `name` no longer, nor the segments that no other registered corpus has; again changes nothing."""
    kept = {segment for corpus in list_corpora(layout) if corpus.name != name for segment in corpus.segments}
    for segment in set(instance.get_dynamic_partitions("segment")) - kept:
        instance.delete_dynamic_partition("segment", segment)
    instance.delete_dynamic_partition("corpus", name)


def existing(layout: Layout, keys: Iterable[str]) -> tuple[list[Partition], list[Partition]]:
    """Split partition keys into those the registry knows, and cells of the grid that hold nothing.

    The grid is a cross product: a corpus with three segments also shows the fourth one of another corpus.

    Raises:
        CorpusError: a corpus is not registered.
    """
    segments: dict[str, tuple[str, ...]] = {}
    real: list[Partition] = []
    empty: list[Partition] = []
    for partition in map(Partition.parse, keys):
        known = segments.setdefault(partition.corpus, load_corpus(layout, partition.corpus).segments)
        is_real = partition.segment is None or partition.segment in known
        (real if is_real else empty).append(partition)
    return real, empty
