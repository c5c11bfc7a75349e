"""token_shards: a segment's documents as rows of token ids, ready to be mapped into memory.

Documents are read in the order they lie, encoded in batches, ended with <|endoftext|> and packed; a share of
them, chosen by a hash of their ids, goes to a held-out split that no model is trained on. The others may be sorted
into buckets with shards of their own. See `packing.py` and `best_fit.py` for what a row holds, `buckets.py` for the
buckets, `files.py` for the files.
"""

import hashlib
import json
import posixpath
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout
from gristmill.core.settings import build, to_plain
from pipelines.damage import reading
from pipelines.parts import Heartbeat, PartResult, PartTask
from pipelines.tokens.best_fit import BestFit
from pipelines.tokens.buckets import Buckets
from pipelines.tokens.document_hash import hash_fraction
from pipelines.tokens.encoding import TextEncoder, one_thread
from pipelines.tokens.files import MANIFEST_NAME, SPLITS, Facts, make_manifest, verify_manifest, write_shard
from pipelines.tokens.packing import Concatenation, PackedShard, Packer, Packing, Tokens
from pipelines.tokens.vocabulary import EOT_ID, PAD_ID

__all__ = ["LIBRARIES", "REASONS", "Settings", "pack_segment", "verify_manifest"]

LIBRARIES = ("tokenizers", "pyarrow", "numpy")
REASONS: dict[str, str] = {}  # every clean document is packed
_BATCH_CHARACTERS = 1 << 20  # encoded at a time, so that memory is flat however long documents are
_BATCH_DOCUMENTS = 8192  # the same however short they are
_READ_ROWS = 64
_COUNTS = ("documents", "documents_cut", "padding")


@dataclass(frozen=True)
class Settings:
    """How documents are packed."""

    # Tokens per row: what the model sees at once; 2,048 as in LLaMA (Touvron et al. 2023).
    sequence_length: int = 2048
    # concatenate: one document after the other, cut wherever a row ends; hardly any padding. best_fit: only documents
    # longer than a row are cut, rows are filled with what fits best (Ding et al. 2024); a little padding.
    packing: Packing = "concatenate"
    # best_fit looks for documents that fill a row together among so many MB of them: more packs tighter.
    window_mb: float = 32.0
    # Share of the documents kept out of training, to measure the loss on.
    heldout_fraction: float = 0.005
    # Size of a shard file, at most, in MB; each bucket takes so much memory.
    shard_mb: float = 64.0
    # The column of clean_documents that sorts training documents into buckets, such as cluster_size; empty: no buckets.
    bucket_by: str = ""
    # Name of each bucket to what it takes: {values: [head, middle]}, or {from: 2, below: 10} of numbers, either one
    # alone too. Documents that none takes are in `other`. A mixture can read each bucket in a proportion of its own.
    buckets: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def __post_init__(self) -> None:
        if self.sequence_length < 2:
            raise ValueError(f"sequence_length is {self.sequence_length}; give at least 2")
        if not 0 <= self.heldout_fraction < 1:
            raise ValueError(f"heldout_fraction is {self.heldout_fraction}; give 0 or more, below 1")
        for name, value in (("shard_mb", self.shard_mb), ("window_mb", self.window_mb)):
            if value <= 0:
                raise ValueError(f"{name} is {value}; give a number above 0")
        Buckets(self.bucket_by, self.buckets)


def pack_segment(task: PartTask) -> PartResult:
    """Tokenize and pack one segment; runs inside a Spark task and writes below `task.folder`/output.

    Raises:
        MissingDataError: no tokenizer is in force.
        SettingsError: documents lack the column that the settings sort by.
    """
    settings = build(Settings, task.settings, "settings of token_shards")
    layout, started = task.layout, time.process_time()
    version = tokenizer_in_force(layout)
    encoder = TextEncoder.load(layout, version)
    facts = Facts(version, settings.sequence_length, encoder.dtype.name, EOT_ID, PAD_ID, settings.packing)
    output = posixpath.join(task.folder, "output")
    layout.fs.makedirs(output, exist_ok=True)
    buckets = Buckets(settings.bucket_by, settings.buckets)
    writers = {("train", bucket): _Writer(layout, output, "train", bucket, facts, settings) for bucket in buckets.names}
    writers["heldout", ""] = _Writer(layout, output, "heldout", "", facts, settings)
    result = PartResult(task.part)
    heartbeat = Heartbeat(layout, task)
    with one_thread():
        for batch in _batches(layout, task.source, buckets):
            encoded = encoder.encode(batch.texts)
            for place, chosen in _places(batch, settings.heldout_fraction).items():
                writers[place].add([batch.doc_ids[i] for i in chosen], [encoded[i] for i in chosen])
            result.rows_in += len(batch.doc_ids)
            result.text_bytes_in += batch.text_bytes
            heartbeat.beat(result.rows_in)
    entries: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for (split, _), writer in writers.items():
        writer.finish()
        result.tally.update(writer.tally)
        result.files += writer.files
        entries[split] += writer.entries
    result.rows_kept, result.text_bytes_out = result.rows_in, result.text_bytes_in
    counts = {split: {name: result.tally[f"{name}_{split}"] for name in _COUNTS} for split in SPLITS}
    manifest = make_manifest(facts, entries, to_plain(settings), counts)
    result.files.append(_write_manifest(layout, output, manifest))
    result.cpu_seconds = time.process_time() - started
    return result


def tokenizer_in_force(layout: Layout) -> str:
    """The version of the tokenizer that was made, or chosen again, last."""
    latest = layout.latest(layout.join("tokenizer"))
    if latest is None:
        raise MissingDataError(
            f"no tokenizer under {layout.root}: run `gristmill run CORPUS --through tokenizer` first"
        )
    return latest[0]


class _Writer:
    """Packs and writes one split or one bucket of it, and keeps its entries of the manifest and the report."""

    def __init__(self, layout: Layout, output: str, split: str, bucket: str, facts: Facts, settings: Settings) -> None:
        self._layout, self._output, self._split, self._bucket, self._facts = layout, output, split, bucket, facts
        self._packer = _packer(facts, settings)
        self.entries: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []
        self.tally = Counter({f"{name}_{split}": 0 for name in (*_COUNTS, "tokens", "sequences")})

    def add(self, doc_ids: list[str], encoded: list[Tokens]) -> None:
        self.tally[f"documents_{self._split}"] += len(doc_ids)
        self._write(self._packer.add(doc_ids, encoded))

    def finish(self) -> None:
        self._write(self._packer.finish())
        self.tally[f"documents_cut_{self._split}"] = self._packer.documents_cut

    def _write(self, shards: Iterable[PackedShard]) -> None:
        for shard in shards:
            number = len(self.entries)
            entry = write_shard(self._layout, self._output, self._split, number, shard, self._facts, self._bucket)
            self.entries.append(entry)
            for file, rows in ((entry, entry["sequences"]), (entry["spans"], entry["spans"]["rows"])):
                facts = {key: file[key] for key in ("name", "bytes", "sha256")}
                self.files.append(facts | {"rows": rows, "kind": "kept"})
            self.tally[f"tokens_{self._split}"] += shard.tokens
            self.tally[f"sequences_{self._split}"] += len(shard.input_ids)
            self.tally[f"padding_{self._split}"] += shard.input_ids.size - shard.tokens


def _packer(facts: Facts, settings: Settings) -> Packer:
    row_bytes = facts.sequence_length * pa.type_for_alias(facts.dtype).bit_width // 8
    rows = max(int(settings.shard_mb * 1e6) // row_bytes, 1)
    if facts.packing == "best_fit":
        window = int(settings.window_mb * 1e6)
        return BestFit(facts.sequence_length, rows, facts.dtype, facts.eot_id, facts.pad_id, window)
    return Concatenation(facts.sequence_length, rows, facts.dtype, facts.eot_id, facts.pad_id)


@dataclass
class _Batch:
    """Documents to encode together."""

    doc_ids: list[str] = field(default_factory=list[str])
    texts: list[str] = field(default_factory=list[str])
    buckets: list[str] = field(default_factory=list[str])
    characters: int = 0
    text_bytes: int = 0


def _batches(layout: Layout, folder: str, buckets: Buckets) -> Iterator[_Batch]:
    """Documents in the order they lie, in batches of about _BATCH_CHARACTERS."""
    batch = _Batch()
    for rows in _rows(layout, folder, buckets):
        texts = rows.column("text")
        values = rows.column(buckets.column).to_pylist() if buckets.column else [None] * rows.num_rows
        sizes = cast(list[int], pc.fill_null(pc.binary_length(texts), 0).to_pylist())
        for number, doc_id in enumerate(cast(list[str], rows.column("doc_id").to_pylist())):
            text = cast(str | None, texts[number].as_py()) or ""  # one by one: together they may be large
            batch.doc_ids.append(doc_id)
            batch.texts.append(text)
            batch.buckets.append(buckets.of(values[number]))
            batch.characters += len(text)
            batch.text_bytes += sizes[number]
            if batch.characters >= _BATCH_CHARACTERS or len(batch.texts) >= _BATCH_DOCUMENTS:
                yield batch
                batch = _Batch()
    if batch.texts:
        yield batch


def _rows(layout: Layout, folder: str, buckets: Buckets) -> Iterator[pa.RecordBatch]:
    columns = ["doc_id", "text", *([buckets.column] if buckets.column else [])]
    for path in layout.parts(folder):
        with reading(path), layout.fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(file)
            buckets.check(parquet.schema_arrow, path)
            yield from parquet.iter_batches(batch_size=_READ_ROWS, columns=columns)


def _places(batch: _Batch, heldout_fraction: float) -> dict[tuple[str, str], Sequence[int]]:
    """Indices of the documents of each split and bucket."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, (doc_id, bucket) in enumerate(zip(batch.doc_ids, batch.buckets, strict=True)):
        is_heldout = hash_fraction("heldout", doc_id) < heldout_fraction
        found.setdefault(("heldout", "") if is_heldout else ("train", bucket), []).append(number)
    return dict(found)


def _write_manifest(layout: Layout, output: str, manifest: dict[str, Any]) -> dict[str, Any]:
    data = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    layout.write_bytes(posixpath.join(output, MANIFEST_NAME), data)
    shards = sum(len(split["shards"]) for split in manifest["splits"].values())
    digest = hashlib.sha256(data).hexdigest()
    return {"name": MANIFEST_NAME, "rows": shards, "bytes": len(data), "sha256": digest, "kind": "kept"}
