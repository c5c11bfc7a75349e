"""token_shards: a segment's documents as rows of token ids, ready to be mapped into memory.

Documents are read in the order they lie, encoded in batches, ended with <|endoftext|> and packed; a share of
them, chosen by a hash of their ids, goes to a held-out split that no model is trained on. See
`pipelines/tokens/packing.py` for what a row holds and `files.py` for the files.
"""

import hashlib
import json
import posixpath
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout
from gristmill.core.settings import build
from pipelines.parts import Heartbeat, PartResult, PartTask
from pipelines.tokens.files import MANIFEST_NAME, SPLITS, Facts, make_manifest, verify_manifest, write_shard
from pipelines.tokens.packing import PackedShard, Packer, Tokens
from pipelines.tokens.sample import documents, hash_fraction
from pipelines.tokens.vocabulary import EOT_ID, PAD_ID, Encoder

__all__ = ["LIBRARIES", "REASONS", "Settings", "pack_segment", "verify_manifest"]

LIBRARIES = ("tokenizers", "pyarrow", "numpy")
REASONS: dict[str, str] = {}  # every clean document is packed
_BATCH_CHARACTERS = 1 << 20  # encoded at a time, so that memory is flat however long documents are


@dataclass(frozen=True)
class Settings:
    """How documents are packed."""

    # Tokens per row: what the model sees at once; 2,048 as in LLaMA (Touvron et al. 2023).
    sequence_length: int = 2048
    # Share of the documents kept out of training, to measure the loss on.
    heldout_fraction: float = 0.005
    # Size of a shard file, at most, in MB.
    shard_mb: float = 64.0

    def __post_init__(self) -> None:
        if self.sequence_length < 2:
            raise ValueError(f"sequence_length is {self.sequence_length}; give at least 2")
        if not 0 <= self.heldout_fraction < 1:
            raise ValueError(f"heldout_fraction is {self.heldout_fraction}; give 0 or more, below 1")
        if self.shard_mb <= 0:
            raise ValueError(f"shard_mb is {self.shard_mb}; give a number above 0")


def pack_segment(task: PartTask) -> PartResult:
    """Tokenize and pack one segment; runs inside a Spark task and writes below `task.folder`/output.

    Raises:
        MissingDataError: no tokenizer is in force.
    """
    settings = build(Settings, task.settings, "settings of token_shards")
    layout, started = task.layout, time.process_time()
    version = tokenizer_in_force(layout)
    encoder = Encoder.load(layout, version)
    facts = Facts(version, settings.sequence_length, encoder.dtype.name, EOT_ID, PAD_ID)
    rows_per_shard = max(int(settings.shard_mb * 1e6) // (settings.sequence_length * encoder.dtype.itemsize), 1)
    output = posixpath.join(task.folder, "output")
    layout.fs.makedirs(output, exist_ok=True)
    writers = {split: _SplitWriter(layout, output, split, facts, rows_per_shard) for split in SPLITS}
    result = PartResult(task.part)
    heartbeat = Heartbeat(layout, task)
    for doc_ids, texts in _batches(layout, task):
        encoded = encoder.encode(texts)
        for split, chosen in _split(doc_ids, settings.heldout_fraction).items():
            writers[split].add([doc_ids[i] for i in chosen], [encoded[i] for i in chosen])
        result.rows_in += len(doc_ids)
        result.text_bytes_in += sum(len(text.encode()) for text in texts)
        heartbeat.beat(result.rows_in)
    for writer in writers.values():
        writer.finish()
        result.tally.update(writer.tally)
        result.files += writer.files
    result.rows_kept, result.text_bytes_out = result.rows_in, result.text_bytes_in
    manifest = make_manifest(facts, {split: writer.entries for split, writer in writers.items()})
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


class _SplitWriter:
    """Packs and writes one split, and keeps its entries of the manifest and the report."""

    def __init__(self, layout: Layout, output: str, split: str, facts: Facts, rows_per_shard: int) -> None:
        self._layout, self._output, self._split, self._facts = layout, output, split, facts
        self._packer = Packer(facts.sequence_length, rows_per_shard, facts.dtype, facts.eot_id, facts.pad_id)
        self.entries: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []
        self.tally = Counter({f"{name}_{split}": 0 for name in ("documents", "tokens", "sequences", "padding")})

    def add(self, doc_ids: list[str], encoded: list[Tokens]) -> None:
        self.tally[f"documents_{self._split}"] += len(doc_ids)
        self._write(self._packer.add(doc_ids, encoded))

    def finish(self) -> None:
        self._write(self._packer.finish())

    def _write(self, shards: Iterable[PackedShard]) -> None:
        for shard in shards:
            entry = write_shard(self._layout, self._output, self._split, len(self.entries), shard, self._facts)
            self.entries.append(entry)
            for file, rows in ((entry, entry["sequences"]), (entry["spans"], entry["spans"]["rows"])):
                facts = {key: file[key] for key in ("name", "bytes", "sha256")}
                self.files.append(facts | {"rows": rows, "kind": "kept"})
            self.tally[f"tokens_{self._split}"] += shard.tokens
            self.tally[f"sequences_{self._split}"] += len(shard.input_ids)
            self.tally[f"padding_{self._split}"] += shard.input_ids.size - shard.tokens


def _batches(layout: Layout, task: PartTask) -> Iterator[tuple[list[str], list[str]]]:
    """Documents in the order they lie, in batches of about _BATCH_CHARACTERS."""
    ids: list[str] = []
    texts: list[str] = []
    size = 0
    for some_ids, some_texts in documents(layout, task.source):
        for doc_id, text in zip(some_ids, some_texts, strict=True):
            ids.append(doc_id)
            texts.append(text)
            size += len(text)
            if size >= _BATCH_CHARACTERS:
                yield ids, texts
                ids, texts, size = [], [], 0
    if ids:
        yield ids, texts


def _split(doc_ids: list[str], heldout_fraction: float) -> dict[str, list[int]]:
    """Indices of the documents of each split."""
    is_heldout = [hash_fraction("heldout", doc_id) < heldout_fraction for doc_id in doc_ids]
    return {
        "train": [i for i, held in enumerate(is_heldout) if not held],
        "heldout": [i for i, held in enumerate(is_heldout) if held],
    }


def _write_manifest(layout: Layout, output: str, manifest: dict[str, Any]) -> dict[str, Any]:
    data = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    layout.write_bytes(posixpath.join(output, MANIFEST_NAME), data)
    shards = sum(len(split["shards"]) for split in manifest["splits"].values())
    digest = hashlib.sha256(data).hexdigest()
    return {"name": MANIFEST_NAME, "rows": shards, "bytes": len(data), "sha256": digest, "kind": "kept"}
