"""Which committed partitions still belong to their corpus."""

from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout, Partition
from pipelines.crawl.corpora import Corpus, load_corpus


def live_segments(layout: Layout, asset: str) -> list[Partition]:
    """The committed segments of `asset` that their corpus has, sorted.

    A corpus registered again with fewer segments leaves folders behind that nothing may read any more. What
    was never registered (data put there by hand) counts as it lies.
    """
    found: list[Partition] = []
    corpora: dict[str, Corpus | None] = {}
    for partition in layout.committed(asset):
        if partition.segment is None:
            continue
        if partition.corpus not in corpora:
            try:
                corpora[partition.corpus] = load_corpus(layout, partition.corpus)
            except CorpusError:
                corpora[partition.corpus] = None
        corpus = corpora[partition.corpus]
        if corpus is None or partition.segment in corpus.segments:
            found.append(partition)
    return found
