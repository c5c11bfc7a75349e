"""Is there personal data left? Committed documents are read once more, as whoever gets them would read them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pyarrow.parquet as pq

from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import build
from pipelines.damage import reading
from pipelines.privacy.anonymise import without_stand_ins
from pipelines.privacy.recognizers import engine
from pipelines.privacy.redaction import Settings, recognizer_settings
from pipelines.redacted_urls import redacted

ASSET = "clean_documents"
DOCUMENTS = 1_000  # if one document in 300 had leftovers, a sample of so many would miss them all once in 28 times
_ADDRESSES = ("url", "canonical_url")
_TEXTS = ("text", "title")
ADDRESS_ENTITY = "URL"  # under which what is left in an address is counted
_LISTED = 20


@dataclass(frozen=True)
class Residue:
    """What a second look found; it holds no personal data itself."""

    documents: int  # looked at
    found: dict[str, int]  # entity to findings, most frequent first; empty when nothing is left
    doc_ids: tuple[str, ...]  # of documents with findings, sorted, at most 20

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.found


def rescan(layout: Layout, partitions: Iterable[Partition], documents: int = DOCUMENTS) -> Residue:
    """Look for personal data in a sample of the committed `clean_documents`.

    The sample is the same on every machine: the documents whose id has the lowest hash. Each partition is read with
    the settings in its own report. Stand-ins of ours, and in mode `fake` all that is reserved for nobody, count as
    nothing. Names are not looked for again: a language model finds other ones in every other text, and stand-ins too.

    Args:
        layout: where the data lies.
        partitions: committed partitions of `clean_documents`.
        documents: to look at, over all partitions.

    Raises:
        MissingDataError: a partition is not committed, or a part can't be read.
    """
    chosen = sorted(partitions, key=lambda partition: partition.key)
    sample = _sample(layout, chosen, documents)
    found: Counter[str] = Counter()
    leaking: list[str] = []
    looked_at = 0
    for partition in chosen:
        report = layout.require_report(ASSET, partition)
        settings = build(Settings, report["settings"], f"settings of {ASSET} {partition.key}")
        recognizers = engine(recognizer_settings(settings))
        for row in _rows(layout, partition, sample):
            looked_at += 1
            texts = [without_stand_ins(row[name], settings.mode) for name in _TEXTS if row.get(name)]
            entities = [span.entity for spans in recognizers.find(texts) for span in spans]
            entities += [ADDRESS_ENTITY for name in _ADDRESSES if row.get(name) and redacted(row[name]) != row[name]]
            found.update(entities)
            if entities:
                leaking.append(row["doc_id"])
    most_first = dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
    return Residue(looked_at, most_first, tuple(sorted(leaking)[:_LISTED]))


def _sample(layout: Layout, partitions: Iterable[Partition], size: int) -> frozenset[str]:
    """The ids of `size` documents: those with the lowest hashes, whatever lies where."""
    lowest: list[tuple[bytes, str]] = []
    for partition in partitions:
        for path in layout.parts(layout.partition_dir(ASSET, partition)):
            with reading(path), layout.fs.open(path, "rb") as file:
                ids = pq.ParquetFile(cast(Any, file)).read(columns=["doc_id"]).column("doc_id").to_pylist()
            lowest = sorted({*lowest, *((_rank(doc_id), doc_id) for doc_id in ids)})[:size]
    return frozenset(doc_id for _, doc_id in lowest)


def _rank(doc_id: str) -> bytes:
    return hashlib.blake2b(doc_id.encode(), digest_size=8, person=b"residue").digest()


def _rows(layout: Layout, partition: Partition, sample: frozenset[str]) -> Iterator[dict[str, Any]]:
    for path in layout.parts(layout.partition_dir(ASSET, partition)):
        with reading(path), layout.fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(cast(Any, file))
            wanted = [name for name in ("doc_id", *_TEXTS, *_ADDRESSES) if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(512, columns=wanted):
                ids = batch.column("doc_id").to_pylist()
                for row in (i for i, doc_id in enumerate(ids) if doc_id in sample):
                    yield batch.slice(row, 1).to_pylist()[0]
