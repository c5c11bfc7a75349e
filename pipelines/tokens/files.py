"""Shard files on any filesystem: written whole, hashed on the way, and checked against their manifest."""

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout, Partition
from pipelines.commit import unfinished_name
from pipelines.tokens.packing import SPAN_SCHEMA, PackedShard

MANIFEST_NAME = "manifest.json"
FORMAT_VERSION = 1
SPLITS = ("train", "heldout")


@dataclass(frozen=True)
class Facts:
    """What every shard of a segment has in common; the head of its manifest."""

    tokenizer_version: str
    sequence_length: int
    dtype: str
    eot_id: int
    pad_id: int
    packing: str = "concatenate"


class _HashingFile:
    """Passes writes on and hashes them."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._digest.update(view)
        self.bytes += view.nbytes
        self._file.write(view)
        return view.nbytes

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True

    def close(self) -> None:  # the owner closes the file itself
        self.closed = True

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def write_shard(
    layout: Layout, folder: str, split: str, number: int, shard: PackedShard, facts: Facts, bucket: str = ""
) -> dict[str, Any]:
    """Write one shard and its spans into `folder`; returns the shard's entry in the manifest.

    The shard is one record batch, so that a reader maps it as one array.
    """
    label = f"{split}-{bucket}-{number:05d}" if bucket else f"{split}-{number:05d}"
    name = f"shard-{label}.arrow"
    rows, length = shard.input_ids.shape
    column = pa.FixedSizeListArray.from_arrays(pa.array(shard.input_ids.reshape(-1)), length)
    metadata = {"tokenizer_version": facts.tokenizer_version, "sequence_length": str(length), "split": split}
    metadata |= {"bucket": bucket} if bucket else {}
    schema = pa.schema([pa.field("input_ids", column.type, nullable=False)], metadata=metadata)
    batch = pa.record_batch([column], schema=schema)
    path = posixpath.join(folder, name)
    unfinished = unfinished_name(path)
    with layout.fs.open(unfinished, "wb") as opened:
        hashing = _HashingFile(opened)
        with pa.ipc.new_file(pa.PythonFile(cast(Any, hashing), mode="w"), schema) as writer:
            writer.write_batch(batch)
    layout.fs.mv(unfinished, path)
    return {
        "name": name,
        "bucket": bucket,
        "sequences": rows,
        "tokens": shard.tokens,
        "bytes": hashing.bytes,
        "sha256": hashing.sha256,
        "spans": _write_spans(layout, folder, f"spans-{label}.parquet", shard.spans),
    }


def _write_spans(layout: Layout, folder: str, name: str, spans: list[pa.RecordBatch]) -> dict[str, Any]:
    path = posixpath.join(folder, name)
    unfinished = unfinished_name(path)
    table = pa.Table.from_batches(spans, SPAN_SCHEMA)
    with layout.fs.open(unfinished, "wb") as opened:
        hashing = _HashingFile(opened)
        pq.write_table(table, pa.PythonFile(cast(Any, hashing), mode="w"), compression="zstd")
    layout.fs.mv(unfinished, path)
    return {"name": name, "rows": table.num_rows, "bytes": hashing.bytes, "sha256": hashing.sha256}


def make_manifest(
    facts: Facts,
    shards: Mapping[str, list[dict[str, Any]]],
    settings: Mapping[str, Any],
    counts: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """The manifest of a segment: what its shards have in common, and each split's shards and sums.

    Args:
        facts: of every shard.
        shards: the entries that `write_shard` returned, by split.
        settings: of token_shards, plain.
        counts: what else there is to say of each split: documents, documents cut, padding.
    """
    splits = {
        split: {
            "shards": shards[split],
            "sequences": sum(int(s["sequences"]) for s in shards[split]),
            "tokens": sum(int(s["tokens"]) for s in shards[split]),
            **counts[split],
        }
        for split in SPLITS
    }
    return {"format_version": FORMAT_VERSION, **vars(facts), "settings": dict(settings), "splits": splits}


def verify_manifest(layout: Layout, partition: Partition, *, is_deep: bool = False) -> list[str]:
    """What is wrong between the manifest of a segment and its files; empty where all agrees.

    Args:
        layout: the root.
        partition: a committed partition of token_shards.
        is_deep: also read every file and compare its sha256.
    """
    folder = layout.partition_dir("token_shards", partition)
    manifest = layout.read_json(posixpath.join(folder, MANIFEST_NAME))
    if manifest is None:
        return [f"{MANIFEST_NAME} is missing in {folder}"]
    problems: list[str] = []
    expected: set[str] = set()
    try:
        entries = [(split, entry) for split in SPLITS for entry in manifest["splits"][split]["shards"]]
        problems += [
            f"{MANIFEST_NAME}: {key} of split {split} are not the sum over its shards"
            for split in SPLITS
            for key in ("sequences", "tokens")
            if manifest["splits"][split][key] != sum(int(entry[key]) for s, entry in entries if s == split)
        ]
        for _, entry in entries:
            expected |= {entry["name"], entry["spans"]["name"]}
            problems += _verify_shard(layout, folder, entry, manifest, is_deep=is_deep)
    except (KeyError, TypeError, ValueError) as error:
        return [f"{MANIFEST_NAME} is not a manifest: {type(error).__name__} {error}"]
    present = {posixpath.basename(p) for suffix in (".arrow", ".parquet") for p in layout.parts(folder, suffix)}
    problems += [f"{name} is in the folder but not in {MANIFEST_NAME}" for name in sorted(present - expected)]
    return problems


def _verify_shard(
    layout: Layout, folder: str, entry: dict[str, Any], manifest: dict[str, Any], *, is_deep: bool
) -> list[str]:
    name, spans = str(entry["name"]), entry["spans"]
    problems: list[str] = []
    try:
        with layout.fs.open(posixpath.join(folder, name), "rb") as file:
            reader = pa.ipc.open_file(pa.PythonFile(cast(Any, file), mode="r"))
            version = (reader.schema.metadata or {}).get(b"tokenizer_version", b"").decode()
            expected = pa.list_(pa.type_for_alias(manifest["dtype"]), int(manifest["sequence_length"]))
            if reader.schema.names != ["input_ids"] or reader.schema.field(0).type != expected:
                return [f"{name} holds {_types(reader.schema)}, the manifest says input_ids: {expected}"]
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            rows = sum(batch.num_rows for batch in batches)
            if version != manifest["tokenizer_version"]:
                problems.append(f"{name} is of tokenizer {version}, the manifest of {manifest['tokenizer_version']}")
            if rows != entry["sequences"]:
                problems.append(f"{name} has {rows} rows, the manifest says {entry['sequences']}")
            if is_deep:
                pad = int(manifest["pad_id"])
                tokens = sum(int(np.count_nonzero(_flat(batch) != pad)) for batch in batches)
                if tokens != entry["tokens"]:
                    problems.append(f"{name} holds {tokens} tokens beside padding, the manifest says {entry['tokens']}")
        with layout.fs.open(posixpath.join(folder, spans["name"]), "rb") as file:
            table = pq.ParquetFile(file).read()
        if not table.schema.equals(SPAN_SCHEMA):
            return [*problems, f"{spans['name']} holds {_types(table.schema)}, not the columns of spans"]
        problems += [f"{spans['name']} {line}" for line in _wrong_spans(table, entry, int(manifest["sequence_length"]))]
        if is_deep:
            for file_name, wanted in ((name, entry["sha256"]), (spans["name"], spans["sha256"])):
                with layout.fs.open(posixpath.join(folder, file_name), "rb") as file:
                    if hashlib.file_digest(cast(Any, file), "sha256").hexdigest() != wanted:
                        problems.append(f"{file_name} has another sha256 than the manifest says")
    except (pa.ArrowException, OSError) as error:
        problems.append(f"{name} or its spans can't be read: {' '.join(str(error).split())[:200]}")
    return problems


def _wrong_spans(table: pa.Table, entry: dict[str, Any], length: int) -> list[str]:
    """What is wrong with the spans of a shard of rows of `length`: they cover each of its tokens once, in order."""
    problems: list[str] = []
    if table.num_rows != entry["spans"]["rows"]:
        problems.append(f"has {table.num_rows} rows, the manifest says {entry['spans']['rows']}")
    row, start, size = (table.column(name).to_numpy().astype(np.int64) for name in ("sequence", "start", "length"))
    if size.sum() != entry["tokens"]:
        problems.append(f"covers {size.sum()} tokens, the shard holds {entry['tokens']}")
    begin, end = row * length + start, row * length + start + size
    is_outside = (size < 1) | (start < 0) | (start + size > length) | (row < 0) | (row >= entry["sequences"])
    if is_outside.any():
        problems.append(f"has {int(is_outside.sum())} spans that lie in no row of the shard")
    elif (begin[1:] < end[:-1]).any():
        problems.append("has spans that overlap or are out of order")
    return problems


def _flat(batch: pa.RecordBatch) -> Any:
    return cast(Any, batch.column(0)).flatten().to_numpy(zero_copy_only=True)


def _types(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
