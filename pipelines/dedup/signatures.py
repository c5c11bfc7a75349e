"""`minhash_signatures`: what a document is compared by. Nothing is rejected here."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.decisions import verdicts
from pipelines.dedup.minhash import Hashes, shingle_hashes, signatures
from pipelines.dedup.normalise import HASH_BYTES, content_hash, normalise
from pipelines.schema import SIGNATURE_SCHEMA

REASONS: Mapping[str, str] = {}
LIBRARIES = ("numpy", "regex")
_FROM_DOCUMENT = ("doc_id", "url", "warc_file", "warc_offset", "fetched_at")


@dataclass(frozen=True)
class Settings:
    """MinHash LSH after FineWeb: 5-word shingles, 14 bands of 8 rows (Penedo et al. 2024, arXiv:2406.17557, 3.4)."""

    shingle_words: int = 5  # FineWeb: 5-grams
    bands: int = 14  # FineWeb: 112 hash functions in 14 buckets of 8
    rows: int = 8  # hash functions in each of these buckets
    seed: int = 1  # datasketch's default: signatures can be compared with its own

    def __post_init__(self) -> None:
        for name in ("shingle_words", "bands", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed is {self.seed}; give 0 to 4294967295")

    @property
    def permutations(self) -> int:
        """Values in a signature."""
        return self.bands * self.rows


def score(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Signatures of the batch's documents (SIGNATURE_SCHEMA); null for a document without words.

    `quality` is the number of distinct shingles: of pages that repeat each other, the most complete one
    says the most that the others don't, and what it says twice counts once.
    """
    texts: list[str | None] = batch.column("text").to_pylist()
    normalised = [normalise(text) if text is not None else "" for text in texts]
    hashed = [shingle_hashes(words, settings.shingle_words) for words in normalised]
    columns: dict[str, Any] = {name: batch.column(name) for name in _FROM_DOCUMENT}
    columns["content_hash"] = pa.array(
        [None if t is None else content_hash(t, n) for t, n in zip(texts, normalised, strict=True)],
        pa.binary(HASH_BYTES),
    )
    columns["signature"] = _signature_column(hashed, settings)
    columns["quality"] = pa.array([float(len(document)) for document in hashed], pa.float64())
    return pa.record_batch([columns[f.name].cast(f.type) for f in SIGNATURE_SCHEMA], schema=SIGNATURE_SCHEMA)


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Keep everything: which documents repeat each other is seen only beside all others."""
    del settings
    return verdicts([None] * batch.num_rows)


def tally(batch: pa.RecordBatch) -> Counter[str]:
    """Documents that can only be compared by their content hash."""
    return Counter({"without_signature": batch.column("signature").null_count})


def _signature_column(hashed: list[Hashes], settings: Settings) -> pa.Array:
    with_words = [document for document in hashed if len(document)]
    values = signatures(with_words, settings.permutations, settings.seed).astype("<u4")
    rows = iter(row.tobytes() for row in values)
    return pa.array([next(rows) if len(document) else None for document in hashed], pa.binary())
