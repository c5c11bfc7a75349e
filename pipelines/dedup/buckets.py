"""What Spark's workers read out of signature parts: bucket rows first, the members of clusters later.

A node is a document's place, part index << 32 | row: eight bytes to shuffle in place of an id. It differs
with the sharding, the components don't, and everything that is decided is decided by content.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from pipelines.damage import reading

BUCKET_SCHEMA = "key binary, node bigint"
DOCUMENT_SCHEMA = (
    "node bigint, disfavour double, fetched_at bigint, content_hash binary, doc_id string, segment int, "
    "signature binary"
)
KEY_BYTES = 16
_READ_ROWS = 4096
_NEVER = np.iinfo(np.int64).max  # a document without a fetch time is taken for the youngest


@dataclass(frozen=True)
class SignaturePart:
    """One Parquet file of signatures."""

    path: str
    segment: int  # index in the sorted list of segments


def bucket_rows(root: str, parts: Sequence[SignaturePart], indexes: Iterable[int], bands: int) -> Iterator[Any]:
    """Batches (key, node): one row per document for its content hash and one for each of its bands."""
    for node, table in _tables(root, parts, indexes, ["content_hash", "signature"]):
        keys, nodes = band_keys(table.column("signature").combine_chunks(), bands)
        exact = table.column("content_hash").cast(pa.binary())
        key = pa.chunked_array([*exact.chunks, pa.array(keys, pa.binary())], pa.binary())
        both = pa.table([key, np.concatenate([node, node[nodes]])], names=["key", "node"])
        yield from both.filter(pc.is_valid(both.column("key"))).combine_chunks().to_batches()


def document_rows(root: str, parts: Sequence[SignaturePart], indexes: Iterable[int]) -> Iterator[Any]:
    """Batches of DOCUMENT_SCHEMA: what the choice of a representative and the similarity need."""
    columns = ["doc_id", "fetched_at", "content_hash", "signature", "quality"]
    wanted = [int(index) for index in indexes]
    for index in wanted:
        for node, table in _tables(root, parts, [index], columns):
            quality = np.nan_to_num(np.asarray(table.column("quality").fill_null(0.0)), nan=0.0)
            fetched = table.column("fetched_at").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).fill_null(_NEVER)
            out = {
                "node": node,
                "disfavour": -quality,
                "fetched_at": fetched,
                "content_hash": table.column("content_hash").cast(pa.binary()),
                "doc_id": table.column("doc_id"),
                "segment": pa.array(np.full(table.num_rows, parts[index].segment, np.int32)),
                "signature": table.column("signature"),
            }
            yield from pa.table(out).combine_chunks().to_batches()


def band_keys(signatures: Any, bands: int) -> tuple[list[bytes], Any]:
    """The key of every band of every signature, and the row each belongs to; no rows for a null signature.

    Args:
        signatures: a binary array, each value all of a document's MinHash values.
        bands: into how many runs of equal width each is cut.
    """
    rows = np.flatnonzero(np.asarray(signatures.is_valid()))
    if not len(rows):
        return [], np.empty(0, np.int64)
    data = b"".join(signatures.drop_null().to_pylist())
    width = len(data) // (len(rows) * bands)
    prefixes = [band.to_bytes(2, "little") for band in range(bands)] * len(rows)
    blake2b = hashlib.blake2b
    keys = [
        blake2b(prefix + data[start : start + width], digest_size=KEY_BYTES).digest()
        for prefix, start in zip(prefixes, range(0, len(data), width), strict=True)
    ]
    return keys, np.repeat(rows, bands)


def _tables(
    root: str, parts: Sequence[SignaturePart], indexes: Iterable[int], columns: list[str]
) -> Iterator[tuple[Any, pa.Table]]:
    layout = Layout(root)
    for index in indexes:
        with reading(parts[index].path), layout.fs.open(parts[index].path, "rb") as file:
            first = int(index) << 32
            for batch in pq.ParquetFile(cast(Any, file)).iter_batches(batch_size=_READ_ROWS, columns=columns):
                yield np.arange(first, first + batch.num_rows), pa.Table.from_batches([batch])
                first += batch.num_rows
