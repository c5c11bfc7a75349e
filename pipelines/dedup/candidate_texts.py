"""The texts behind signatures, of chosen documents only, as shingle sets."""

import contextlib
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading
from pipelines.dedup.code_points import blocks
from pipelines.dedup.jaccard import ShingleSet
from pipelines.dedup.normalise import content_hash, normalised_words
from pipelines.dedup.schemes import Parameters
from pipelines.dedup.shingles import shingles_of
from pipelines.stages import stage

_READ_ROWS = 256  # texts held at a time


@dataclass(frozen=True)
class TextPart:
    """One part of documents and the part of signatures that was made of it."""

    path: str  # of documents
    signatures: str
    ordinal: int  # the upper half of its documents' nodes

    @classmethod
    def of(cls, layout: Layout, partition: Partition, signatures: str, ordinal: int) -> "TextPart":
        """The part of the same name in the same partition of what `minhash_signatures` reads."""
        folder = layout.partition_dir(stage("minhash_signatures").reads[0], partition)
        return cls(posixpath.join(folder, posixpath.basename(signatures)), signatures, ordinal)


def shingle_sets(layout: Layout, part: TextPart, rows: Sequence[int], parameters: Parameters) -> Iterator[ShingleSet]:
    """The shingle sets of some documents of a part, one after the other.

    Args:
        layout: where the part lies.
        part: where the documents are.
        rows: their rows in the part of signatures, ascending.
        parameters: of the signatures: texts are normalised and cut as they were for them.

    Raises:
        MissingDataError: the part is gone or can't be read, or its texts are not those that were signed.
    """
    chosen = np.asarray(rows, np.int64)
    places, signed = _places(layout, part)
    expected = iter(signed.take(pa.array(chosen)).to_pylist())
    for texts in _texts(layout, part.path, places[chosen]):
        for block in blocks(texts):
            words = normalised_words(block)
            for index, normalised in enumerate(words.joined()):
                if content_hash("" if normalised else block.text(index), normalised) != next(expected):
                    raise _changed(part)
            shingles = shingles_of(block, words, exact(parameters))
            ends = np.cumsum(shingles.counts)
            for start, end in zip(ends - shingles.counts, ends, strict=True):
                yield np.unique(shingles.hashes[start:end]).astype(np.uint64, copy=False)


def exact(parameters: Parameters) -> Parameters:
    """The same shingles by 64-bit hashes: sets of datasketch's 32-bit ones would differ from sets of texts.

    What is left with 32 bits is `slimpajama`, whose shingles of characters no other scheme makes: two texts of 10,000
    characters have a false match in one of fifty pairs, which changes their similarity by a ten-thousandth.
    """
    is_short = parameters.scheme in ("datasketch", "datasketch_legacy")
    return replace(parameters, scheme="gristmill") if is_short else parameters


def _texts(layout: Layout, path: str, rows: Any) -> Iterator[Any]:
    """The texts of some rows (ascending) of a part, in arrays; row groups without any are not read."""
    with _reading_documents(path), layout.fs.open(path, "rb") as file:
        parquet = pq.ParquetFile(cast(Any, file))
        first = 0
        for group in range(parquet.num_row_groups):
            size = parquet.metadata.row_group(group).num_rows
            if np.searchsorted(rows, first) < np.searchsorted(rows, first + size):
                start = first
                for batch in parquet.iter_batches(_READ_ROWS, row_groups=[group], columns=["text"]):
                    low, high = np.searchsorted(rows, [start, start + batch.num_rows])
                    if high > low:
                        yield cast(Any, batch.column("text")).take(pa.array(rows[low:high] - start))
                    start += batch.num_rows
            first += size


def _places(layout: Layout, part: TextPart) -> tuple[Any, Any]:
    """The row of each signature's document, and its content hash as signed.

    The row is the same, but for documents that could not be signed (`broken_row`).
    """
    with reading(part.signatures):
        signed = _columns(layout, part.signatures, ["doc_id", "content_hash"])
    hashes: Any = signed.column("content_hash").combine_chunks()
    with _reading_documents(part.path):
        documents = _columns(layout, part.path, ["doc_id"]).column("doc_id")
    if signed.column("doc_id").equals(documents):
        return np.arange(signed.num_rows), hashes
    places, ids, at = list[int](), documents.to_pylist(), 0
    try:
        for doc_id in signed.column("doc_id").to_pylist():
            at = ids.index(doc_id, at) + 1
            places.append(at - 1)
    except ValueError:
        raise _changed(part) from None
    return np.asarray(places, np.int64), hashes


def _columns(layout: Layout, path: str, names: list[str]) -> pa.Table:
    with layout.fs.open(path, "rb") as file:
        return pq.ParquetFile(cast(Any, file)).read(columns=names)


@contextlib.contextmanager
def _reading_documents(path: str) -> Iterator[None]:
    """Signatures may be all that is left of a corpus: then there is a way without texts."""
    try:
        with reading(path):
            yield
    except MissingDataError as error:
        raise MissingDataError(
            f"{error}; or set `verified_jaccard: 0` of duplicate_clusters, which compares signatures without texts"
        ) from None


def _changed(part: TextPart) -> MissingDataError:
    return MissingDataError(
        f"{part.path} holds other texts than {part.signatures} was made of: "
        "run the corpus `--through minhash_signatures` again"
    )
