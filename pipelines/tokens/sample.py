"""The text a tokenizer is trained on: a share of the documents chosen by their ids, streamed."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import cast

import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading
from pipelines.segments import live_segments

_BATCH_ROWS = 256
# A run of characters without a space longer than this is a line of base64, a URL or unspaced script. As one
# pre-token it would make every merge in it cost its length, so training sees it in pieces.
_LONGEST_RUN = 128
_LONG_RUN = re.compile(rf"(\S{{{_LONGEST_RUN}}})(?=\S)")


def hash_fraction(purpose: str, doc_id: str) -> float:
    """A number in [0, 1) that depends on the document alone, and is independent between purposes."""
    digest = hashlib.blake2b(f"{purpose}:{doc_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)


def documents(layout: Layout, folder: str) -> Iterator[tuple[list[str], list[str]]]:
    """Batches of (doc_ids, texts) of the Parquet parts in a segment's folder, in the order they lie."""
    for path in layout.parts(folder):
        with reading(path), layout.fs.open(path, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=_BATCH_ROWS, columns=["doc_id", "text"]):
                ids = cast(list[str], batch.column("doc_id").to_pylist())
                texts = cast(list[str | None], batch.column("text").to_pylist())
                yield ids, [text or "" for text in texts]


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


class Sample:
    """Iterates over the texts to train on and counts them; each pass gives the same texts.

    Args:
        layout: the root.
        partitions: what to draw from; their order changes the order of texts only.
        share: of the documents, 0 to 1.
    """

    def __init__(self, layout: Layout, partitions: Sequence[Partition], share: float) -> None:
        self._layout, self._partitions, self._share = layout, partitions, share
        self.documents = 0
        self.bytes = 0

    def __iter__(self) -> Iterator[str]:
        for text in self.texts():
            self.documents += 1
            self.bytes += len(text.encode())
            yield _LONG_RUN.sub(r"\1\n", text)

    def texts(self) -> Iterator[str]:
        """The chosen texts as they are."""
        for partition in self._partitions:
            for ids, texts in documents(self._layout, self._layout.partition_dir("clean_documents", partition)):
                for doc_id, text in zip(ids, texts, strict=True):
                    if self._share >= 1 or hash_fraction("tokenizer", doc_id) < self._share:
                        yield text
