"""From shards back to documents: a document's spans, its tokens, its text.

document_spans(layout, partition, doc_id)     where its tokens lie
document_tokens(layout, partition, doc_id)    its tokens, put together
document_text(layout, partition, doc_id)      its text, byte for byte
"""

import posixpath
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.damage import remake
from pipelines.tokens.files import MANIFEST_NAME, SPLITS
from pipelines.tokens.packing import Tokens
from pipelines.tokens.vocabulary import Encoder


@dataclass(frozen=True)
class DocumentSpan:
    """Some tokens of a document in one row of one shard."""

    shard: str  # file name
    split: str  # train or heldout
    bucket: str  # "" where there are no buckets
    sequence: int  # row of the shard
    start: int  # position in the row
    length: int  # tokens, the end-of-text token in the last span among them
    doc_offset: int  # token of the document that lies at `start`


def document_spans(layout: Layout, partition: Partition, doc_id: str) -> list[DocumentSpan]:
    """Where a document's tokens lie, in their order; empty where the segment does not hold the document.

    Only the column of ids is read of every spans file, some 2 MB a shard; the rest where the id is.

    Raises:
        MissingDataError: the segment is not packed, or a spans file is missing or damaged.
    """
    return _spans(layout, partition, doc_id, read_manifest(layout, partition))


def document_tokens(layout: Layout, partition: Partition, doc_id: str) -> Tokens:
    """A document's tokens as they were encoded, without the end-of-text token.

    Raises:
        MissingDataError: the segment does not hold the document, or its shards are missing or damaged.
    """
    manifest = read_manifest(layout, partition)
    folder = layout.partition_dir("token_shards", partition)
    rows: dict[str, Tokens] = {}
    parts: list[Tokens] = []
    expected = 0
    for span in _spans(layout, partition, doc_id, manifest):
        if span.shard not in rows:
            rows[span.shard] = open_rows(layout, posixpath.join(folder, span.shard))
        if span.doc_offset != expected or span.sequence >= len(rows[span.shard]):
            raise MissingDataError(f"{folder}: the spans of {doc_id} do not fit their shards: {_again(partition)}")
        parts.append(rows[span.shard][span.sequence, span.start : span.start + span.length])
        expected += span.length
    if not parts:
        raise MissingDataError(
            f"no document {doc_id} in token_shards {partition.key}: see `gristmill explain {doc_id}` for where it went"
        )
    tokens = np.concatenate(parts)
    if tokens[-1] != manifest["eot_id"]:
        raise MissingDataError(f"{folder}: the spans of {doc_id} are not whole: {_again(partition)}")
    return tokens[:-1]


def document_text(layout: Layout, partition: Partition, doc_id: str) -> str:
    """A document's text out of its tokens, by the tokenizer that made them.

    Raises:
        MissingDataError: as above, or that tokenizer is gone.
    """
    version = str(read_manifest(layout, partition)["tokenizer_version"])
    tokens = document_tokens(layout, partition, doc_id)
    return Encoder.load(layout, version).decode(cast(npt.NDArray[np.integer[Any]], tokens))


def read_manifest(layout: Layout, partition: Partition) -> dict[str, Any]:
    """The manifest of a packed segment.

    Raises:
        MissingDataError: there is none, or the file is no manifest.
    """
    layout.require_report("token_shards", partition)
    path = posixpath.join(layout.partition_dir("token_shards", partition), MANIFEST_NAME)
    manifest = layout.read_json(path)
    if manifest is None:
        raise MissingDataError(f"{path} is missing: {_again(partition)}")
    try:
        _ = manifest["tokenizer_version"], manifest["eot_id"]
        _ = [(e["name"], e["spans"]["name"]) for split in SPLITS for e in manifest["splits"][split]["shards"]]
    except (KeyError, TypeError, AttributeError):
        raise MissingDataError(
            f"{path} is not a manifest of shards: run `{remake('token_shards', partition.corpus)}` to make it again"
        ) from None
    return manifest


def open_rows(layout: Layout, path: str) -> Tokens:
    """A shard as an array of shape (sequences, sequence length), of a local file without a copy.

    Raises:
        MissingDataError: the file is missing or damaged.
    """
    try:
        if layout.is_local:
            source: Any = pa.memory_map(path, "r")
        else:
            source = pa.BufferReader(cast(bytes, layout.fs.cat_file(path)))
        with source:
            column = cast(Any, pa.ipc.open_file(source).get_batch(0).column("input_ids"))
        return column.flatten().to_numpy(zero_copy_only=True).reshape(len(column), column.type.list_size)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise MissingDataError(f"{path} can't be read ({' '.join(str(error).split())[:100]})") from None


def _spans(layout: Layout, partition: Partition, doc_id: str, manifest: dict[str, Any]) -> list[DocumentSpan]:
    folder = layout.partition_dir("token_shards", partition)
    found: list[DocumentSpan] = []
    for split in SPLITS:
        for entry in manifest["splits"][split]["shards"]:
            path = posixpath.join(folder, entry["spans"]["name"])
            try:
                with layout.fs.open(path, "rb") as file:
                    rows = _rows_of(pq.ParquetFile(file), doc_id)
            except (pa.ArrowException, OSError, KeyError) as error:
                problem = " ".join(str(error).split())[:100]
                raise MissingDataError(f"{path} can't be read ({problem}): {_again(partition)}") from None
            found += [DocumentSpan(entry["name"], split, entry.get("bucket", ""), *row) for row in rows]
    return sorted(found, key=lambda span: span.doc_offset)


def _rows_of(parquet: pq.ParquetFile, doc_id: str) -> list[tuple[int, int, int, int]]:
    found: list[tuple[int, int, int, int]] = []
    for group in range(parquet.num_row_groups):
        ids = parquet.read_row_group(group, columns=["doc_id"]).column("doc_id")
        where = cast(Any, pc).indices_nonzero(pc.equal(ids, doc_id))
        if len(where):
            columns = parquet.read_row_group(group, columns=["sequence", "start", "length", "doc_offset"]).take(where)
            found += zip(*(cast(list[int], column.to_pylist()) for column in columns.columns), strict=True)
    return found


def _again(partition: Partition) -> str:
    return f"run `gristmill run {partition.corpus} --through token_shards` again"
