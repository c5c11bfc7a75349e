"""`minhash_signatures`: what a document is compared by. Nothing is rejected here."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.core.errors import SettingsError
from pipelines.decisions import verdicts
from pipelines.dedup.code_points import Texts, Words, blocks
from pipelines.dedup.minhash import signatures
from pipelines.dedup.normalise import HASH_BYTES, content_hash, normalised_words
from pipelines.dedup.schemes import DEFAULT, SCHEMES, Parameters, SchemeName, parameters
from pipelines.dedup.shingles import shingles_of
from pipelines.schema import SIGNATURE_SCHEMA

REASONS: Mapping[str, str] = {}
LIBRARIES = ("numpy", "regex", "spacy")
_FROM_DOCUMENT = ("doc_id", "url", "warc_file", "warc_offset", "fetched_at")


@dataclass(frozen=True)
class Settings:
    """A MinHash scheme by name (docs/dedup.md); what is left out of the next four is the scheme's own."""

    scheme: SchemeName = DEFAULT  # how texts are normalised, hashed and banded; signatures of two can't be compared
    shingle_words: int | None = None  # the scheme's: 5, FineWeb's (arXiv:2406.17557, 3.4); in slimpajama 13 characters
    bands: int | None = None  # the scheme's, FineWeb's 14; more of them find less similar pairs
    rows: int | None = None  # the scheme's, FineWeb's 8: values that must be equal in a band; more find fewer pairs
    seed: int | None = None  # the scheme's: 1, datasketch's and datatrove's default; of the permutations
    quality: str | None = None  # column of numbers whose highest is kept of a cluster; null: distinct shingles

    def __post_init__(self) -> None:
        for name in ("shingle_words", "bands", "rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; give 1 or more")
        if self.seed is not None and not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed is {self.seed}; give 0 to 4294967295")
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme is {self.scheme!r}; choose one of {', '.join(SCHEMES)}")
        if self.quality == "":
            raise ValueError("quality is empty; name a column of quality_filtered_documents, or leave it out")


def score(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Signatures of the batch's documents (SIGNATURE_SCHEMA); null for a document without a shingle.

    `quality`, unless a column is named for it, is the number of distinct shingles: of pages that repeat each other,
    the most complete one says the most that the others don't, and what it says twice counts once.

    Raises:
        SettingsError: the column that `quality` names is not there, or holds no numbers.
    """
    effective = parameters(settings)
    given = _quality_column(batch, settings)
    rows = [_row_columns(texts, effective, given is None) for texts in blocks(batch.column("text"))]
    columns: dict[str, Any] = {name: batch.column(name) for name in _FROM_DOCUMENT}
    is_missing = batch.column("text").is_null().to_pylist()
    hashes = [digest for hashed, _, _ in rows for digest in hashed]
    columns["content_hash"] = pa.array(
        [None if missing else digest for missing, digest in zip(is_missing, hashes, strict=True)],
        pa.binary(HASH_BYTES),
    )
    columns["signature"] = pa.array([value for _, signed, _ in rows for value in signed], pa.binary())
    counted = [count for _, _, counts in rows for count in counts]
    columns["quality"] = pa.array(counted, pa.float64()) if given is None else given
    return pa.record_batch([columns[f.name].cast(f.type) for f in SIGNATURE_SCHEMA], schema=SIGNATURE_SCHEMA)


def decide(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """Keep everything: which documents repeat each other is seen only beside all others."""
    del settings
    return verdicts([None] * batch.num_rows)


def tally(batch: pa.RecordBatch) -> Counter[str]:
    """Documents that can only be compared by their content hash."""
    return Counter({"without_signature": batch.column("signature").null_count})


def _row_columns(
    texts: Texts, effective: Parameters, is_counting: bool
) -> tuple[list[bytes], list[bytes | None], list[float]]:
    """Content hashes, packed signatures and (if counted) distinct shingles of the texts of a block."""
    words = normalised_words(texts)
    shingles = shingles_of(texts, words, effective)
    signed = iter([row.tobytes() for row in signatures(shingles, effective)])
    packed = [next(signed) if count else None for count in shingles.counts.tolist()]
    counts = shingles.distinct.astype(np.float64).tolist() if is_counting else []
    return _content_hashes(texts, words), packed, counts


def _content_hashes(texts: Texts, words: Words) -> list[bytes]:
    blake2b = hashlib.blake2b
    return [
        blake2b(normalised.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()
        if normalised
        else content_hash(texts.text(index), "")
        for index, normalised in enumerate(words.joined())
    ]


def _quality_column(batch: pa.RecordBatch, settings: Settings) -> Any:
    """The column that `quality` names, as numbers; None where none is named."""
    name = settings.quality
    if name is None:
        return None
    where = "settings of minhash_signatures: quality"
    if name not in batch.schema.names:
        known = ", ".join(field.name for field in batch.schema if _is_number(field.type))
        raise SettingsError(f"{where} names {name!r}, which the documents don't have; columns of numbers are {known}")
    kind = batch.schema.field(name).type
    if not _is_number(kind):
        raise SettingsError(f"{where} names {name!r}, which holds {kind}; name a column of numbers")
    return batch.column(name).cast(pa.float64())


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
