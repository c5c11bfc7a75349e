"""The text a tokenizer is trained on: of each corpus a share of the documents, chosen by their ids, streamed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading
from pipelines.segments import live_segments
from pipelines.tokens.document_hash import hash_fraction
from pipelines.tokens.pretokenization import short_runs
from pipelines.tokens.tokenizer_heldout import HeldoutDocuments

_BATCH_ROWS = 256


def _batches(layout: Layout, folder: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for path in layout.parts(folder):
        with reading(path), layout.fs.open(path, "rb") as file:
            yield from pq.ParquetFile(cast(Any, file)).iter_batches(batch_size=_BATCH_ROWS, columns=list(columns))


def choose_partitions(layout: Layout, corpora: Sequence[str]) -> list[Partition]:
    """The committed segments of clean_documents of `corpora` (all where none is named), sorted.

    Raises:
        MissingDataError: nothing is committed, or nothing of a corpus that is named.
    """
    committed = live_segments(layout, "clean_documents")
    if not committed:
        raise MissingDataError(
            f"no clean_documents under {layout.root}: run `gristmill run CORPUS --through clean_documents` first"
        )
    for corpus in corpora:
        if corpus not in {p.corpus for p in committed}:
            raise MissingDataError(
                f"no clean_documents of {corpus}, which the settings of tokenizer name: "
                f"run `gristmill run {corpus} --through clean_documents` first, or take it out of `corpora`"
            )
    return [p for p in committed if not corpora or p.corpus in corpora]


@dataclass
class Drawn:
    """What a sample holds of one corpus."""

    documents: int = 0
    bytes: int = 0


class Sample:
    """Iterates over the texts to train on, counts them, and keeps documents aside to measure on.

    Which documents are drawn depends on their ids, their corpus's share and nothing else: not on the order of
    segments, and not on what other documents there are.

    Args:
        layout: the root.
        partitions: what to draw from; their order changes the order of texts only.
        shares: corpus to the share of its documents, 0 to 1.
        document_bytes: of a longer document, about so many bytes are taken from its beginning.
        heldout: what is kept aside; its documents are never drawn.
        familiar: some of the drawn documents, for languages that have none aside.
    """

    def __init__(
        self,
        layout: Layout,
        partitions: Sequence[Partition],
        shares: Mapping[str, float],
        document_bytes: int,
        heldout: HeldoutDocuments,
        familiar: HeldoutDocuments,
    ) -> None:
        self._layout, self._partitions, self._shares = layout, partitions, shares
        self._document_bytes = document_bytes
        self.heldout, self.familiar = heldout, familiar
        self.drawn = {corpus: Drawn() for corpus in shares}

    @property
    def documents(self) -> int:
        """Drawn so far."""
        return sum(drawn.documents for drawn in self.drawn.values())

    @property
    def bytes(self) -> int:
        """Drawn so far."""
        return sum(drawn.bytes for drawn in self.drawn.values())

    def __iter__(self) -> Iterator[list[str]]:
        """Each drawn text, in pieces that have no long run (`short_runs`)."""
        for partition in self._partitions:
            share, drawn = self._shares[partition.corpus], self.drawn[partition.corpus]
            folder = self._layout.partition_dir("clean_documents", partition)
            for batch in _batches(self._layout, folder, ("doc_id", "text", "language")):
                for row in cast(list[dict[str, str | None]], batch.to_pylist()):
                    doc_id, text = row["doc_id"] or "", row["text"] or ""
                    is_heldout = self.heldout.wants(doc_id)
                    if not is_heldout and share < 1 and hash_fraction("tokenizer", doc_id) >= share:
                        continue
                    text, size = _beginning(text, self._document_bytes)
                    kept = self.heldout if is_heldout else self.familiar
                    kept.add(doc_id, row.get("language") or "", text, size)
                    if is_heldout:
                        continue
                    drawn.documents += 1
                    drawn.bytes += size
                    yield list(short_runs(text))


def _beginning(text: str, most: int) -> tuple[str, int]:
    """The text, or the first `most` bytes of it in whole characters, and how many bytes that is."""
    data = text.encode()
    if len(data) <= most:
        return text, len(data)
    text = data[:most].decode(errors="ignore")
    return text, len(text.encode())
