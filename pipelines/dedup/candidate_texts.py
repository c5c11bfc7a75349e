"""The texts behind signatures, of chosen documents only, as shingle sets."""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading
from pipelines.dedup.jaccard import ShingleSet, shingle_set
from pipelines.dedup.normalise import content_hash, normalise
from pipelines.dedup.schemes import Parameters
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


def shingle_sets(
    layout: Layout, part: TextPart, rows: Sequence[int], hashes: Sequence[bytes], parameters: Parameters
) -> Iterator[ShingleSet]:
    """The shingle sets of some documents of a part, one after the other.

    Args:
        layout: where the part lies.
        part: where the documents are.
        rows: their rows in the part of signatures, ascending.
        hashes: their content hashes as signed.
        parameters: of the signatures: texts are normalised and cut as they were for them.

    Raises:
        MissingDataError: the part can't be read, or its texts are not those that were signed.
    """
    expected = iter(hashes)
    for text in _texts(layout, part.path, _places(layout, part)[np.asarray(rows, np.int64)]):
        normalised = normalise(text)
        if content_hash(text, normalised) != next(expected):
            raise _changed(part)
        yield shingle_set(normalised.split(), parameters.shingle_words)


def _texts(layout: Layout, path: str, rows: Any) -> Iterator[str]:
    """The texts of some rows (ascending) of a part; row groups without any are not read."""
    with reading(path), layout.fs.open(path, "rb") as file:
        parquet = pq.ParquetFile(cast(Any, file))
        first = 0
        for group in range(parquet.num_row_groups):
            size = parquet.metadata.row_group(group).num_rows
            if np.searchsorted(rows, first) < np.searchsorted(rows, first + size):
                start = first
                for batch in parquet.iter_batches(_READ_ROWS, row_groups=[group], columns=["text"]):
                    low, high = np.searchsorted(rows, [start, start + batch.num_rows])
                    for row in rows[low:high]:
                        yield batch.column("text")[int(row) - start].as_py() or ""
                    start += batch.num_rows
            first += size


def _places(layout: Layout, part: TextPart) -> Any:
    """The row of each signature's document: the same, but for documents that could not be signed (`broken_row`)."""
    signed, documents = (_ids(layout, path) for path in (part.signatures, part.path))
    if signed == documents:
        return np.arange(len(signed))
    places, at = list[int](), 0
    try:
        for doc_id in signed:
            at = documents.index(doc_id, at) + 1
            places.append(at - 1)
    except ValueError:
        raise _changed(part) from None
    return np.asarray(places, np.int64)


def _ids(layout: Layout, path: str) -> list[str]:
    with reading(path), layout.fs.open(path, "rb") as file:
        return pq.ParquetFile(cast(Any, file)).read(columns=["doc_id"]).column("doc_id").to_pylist()


def _changed(part: TextPart) -> MissingDataError:
    return MissingDataError(
        f"{part.path} holds other texts than {part.signatures} was made of: "
        "run the corpus `--through minhash_signatures` again"
    )
