"""Token shards as memory-mapped rows: nothing is read before a sequence is asked for.

A shard is an Arrow IPC file with one column `input_ids`, a fixed-size list of uint16 or uint32; its pages
come from the operating system's cache as they are, without a copy and without decoding.
"""

import hashlib
import os
import posixpath
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout

CACHE_VARIABLE = "GRISTMILL_CACHE"
MIXTURE_NAME = "mixture.json"
_WHOLE = 1e-12  # relative: what a float makes of a whole number
_PARTS = 1 << 40  # a proportion is rounded to this part of the whole
_REMAKE = "run `gristmill run CORPUS --through training_mixture` again"

TokenArray = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


@dataclass(frozen=True)
class CorpusShare:
    """One source in the mixture: a corpus, or one bucket of it."""

    name: str  # of the source: `corpus` or `corpus/bucket`
    corpus: str
    bucket: str  # "" where the corpus is not divided
    proportion: float  # of the sequences drawn
    epochs: float  # in one pass over the mixture
    sequences: int
    tokens: int


@dataclass(frozen=True)
class SpansFile:
    """The table that says which document each token of a shard came from."""

    path: str  # below the root
    rows: int
    sha256: str


@dataclass(frozen=True)
class Shard:
    """One shard file of the mixture."""

    path: str  # below the root
    corpus: str
    split: str  # train or heldout
    sequences: int
    sha256: str
    bucket: str = ""
    spans: SpansFile | None = None  # None in a mixture of an older version

    @property
    def source(self) -> str:
        """The source of the mixture that the shard belongs to."""
        return _source(self.corpus, self.bucket)


@dataclass(frozen=True)
class Mixture:
    """What `training_mixture` decided; see `pipelines/tokens/mixture.py` for the file."""

    tokenizer_version: str
    sequence_length: int
    dtype: str
    eot_id: int
    pad_id: int
    seed: int
    corpora: tuple[CorpusShare, ...]
    shards: tuple[Shard, ...]
    fingerprint: str
    draws: tuple[int, ...]  # whole numbers whose ratio is that of the sources' proportions, exactly

    def of(self, source: str, split: str) -> tuple[Shard, ...]:
        """The shards of one source and split, in the order in which their sequences are numbered."""
        return tuple(s for s in self.shards if s.source == source and s.split == split)

    @property
    def held_out(self) -> tuple[Shard, ...]:
        """The shards of the held-out split, all corpora together, in the order of their sequences."""
        return tuple(s for s in self.shards if s.split == "heldout")

    @property
    def sequences(self) -> int:
        """Sequences in one pass over the mixture: every corpus read for its epochs."""
        return round(sum(c.sequences * c.epochs for c in self.corpora))


def read_mixture(layout: Layout, path: str | None = None) -> Mixture:
    """The committed mixture under `layout`, or the one in `path`: a run keeps the mixture as it saw it.

    Raises:
        MissingDataError: there is none, or the file is not a mixture.
    """
    if path is None:
        folder = layout.singleton_dir("training_mixture")
        path = posixpath.join(folder, MIXTURE_NAME)
        found = layout.read_json(path)
        if found is None or layout.read_json(posixpath.join(folder, "report.json")) is None:
            raise MissingDataError(
                f"training_mixture is not materialized under {layout.root}: "
                "run `gristmill run CORPUS --through training_mixture` first"
            )
    elif (found := layout.read_json(path)) is None:
        raise MissingDataError(f"{path} is not there: a run from before mixtures were kept has none; train it again")
    try:
        return _mixture(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MissingDataError(f"{path} is not a mixture ({type(error).__name__}: {error}): {_REMAKE}") from None


def _mixture(found: Mapping[str, Any]) -> Mixture:
    return Mixture(
        tokenizer_version=str(found["tokenizer_version"]),
        sequence_length=int(found["sequence_length"]),
        dtype=str(found["dtype"]),
        eot_id=int(found["eot_id"]),
        pad_id=int(found["pad_id"]),
        seed=int(found["seed"]),
        corpora=tuple(_share(c) for c in found["corpora"]),
        shards=tuple(_shard(s) for s in found["shards"]),
        fingerprint=str(found["fingerprint"]),
        draws=_draws(found["corpora"]),
    )


def _share(found: Mapping[str, Any]) -> CorpusShare:
    corpus, bucket = str(found["corpus"]), str(found.get("bucket", ""))
    return CorpusShare(
        name=_source(corpus, bucket),
        corpus=corpus,
        bucket=bucket,
        proportion=float(found["proportion"]),
        epochs=float(found["epochs"]),
        sequences=int(found["sequences"]),
        tokens=int(found["tokens"]),
    )


def _shard(found: Mapping[str, Any]) -> Shard:
    spans = found.get("spans")
    return Shard(
        path=str(found["path"]),
        corpus=str(found["corpus"]),
        split=str(found["split"]),
        sequences=int(found["sequences"]),
        sha256=str(found["sha256"]),
        bucket=str(found.get("bucket", "")),
        spans=SpansFile(str(spans["path"]), int(spans["rows"]), str(spans["sha256"])) if spans else None,
    )


def _source(corpus: str, bucket: str) -> str:
    return f"{corpus}/{bucket}" if bucket else corpus


def _draws(corpora: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Draws of each source in one pass: as the mixture says, or from its epochs, or in ratio of its proportions."""
    if all("draws" in c for c in corpora):
        return tuple(int(c["draws"]) for c in corpora)
    exact = [float(c["epochs"]) * int(c["sequences"]) for c in corpora]
    if all(abs(d - round(d)) <= _WHOLE * max(d, 1) for d in exact):
        return tuple(round(d) for d in exact)
    return tuple(round(float(c["proportion"]) * _PARTS) for c in corpora)


class ShardRows:
    """The rows of several shards, numbered through in order; files are opened when first touched."""

    def __init__(self, layout: Layout, mixture: Mixture, shards: Sequence[Shard]) -> None:
        self._layout, self._mixture = layout, mixture
        self.shards = tuple(shards)
        self._ends = np.cumsum([s.sequences for s in shards], dtype=np.int64)
        self._rows: list[TokenArray | None] = [None] * len(self.shards)
        self.dtype = np.dtype(mixture.dtype)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def locate(self, indices: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Shard number and row in it, for each sequence number."""
        shard = np.searchsorted(self._ends, indices, side="right").astype(np.int64)
        starts = self._ends - np.array([s.sequences for s in self.shards], dtype=np.int64)
        return shard, indices - starts[shard]

    def gather(self, indices: npt.NDArray[np.int64], out: TokenArray, where: npt.NDArray[np.int64]) -> None:
        """Copy sequence `indices[i]` to row `where[i]` of `out`, shape (rows, sequence length)."""
        shard, row = self.locate(indices)
        for target, s, r in zip(where.tolist(), shard.tolist(), row.tolist(), strict=True):
            rows = self._rows[s]
            if rows is None:
                rows = self._rows[s] = self.open(s)
            out[target] = rows[r]

    def open(self, number: int) -> TokenArray:
        """Shard `number` as a read-only array of shape (sequences, sequence length), without a copy.

        Raises:
            MissingDataError: the file is missing, damaged, or of another tokenizer or length.
        """
        shard, mixture = self.shards[number], self._mixture
        path = _local_path(self._layout, shard)
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
            if reader.num_record_batches != 1:
                raise MissingDataError(f"{path} has {reader.num_record_batches} record batches, not 1: {_REMAKE}")
            batch = reader.get_batch(0)
        except FileNotFoundError:
            raise MissingDataError(f"shard {path} of the mixture is not there: {_REMAKE}") from None
        except (pa.ArrowInvalid, OSError) as error:
            problem = " ".join(str(error).split())
            raise MissingDataError(f"shard {path} can't be read ({problem}): {_REMAKE}") from None
        facts = {k.decode(): v.decode() for k, v in (reader.schema.metadata or {}).items()}
        expected = pa.list_(pa.from_numpy_dtype(self.dtype), mixture.sequence_length)
        if facts.get("tokenizer_version") != mixture.tokenizer_version:
            raise MissingDataError(
                f"shard {path} was written with tokenizer {facts.get('tokenizer_version')}, the mixture is for "
                f"{mixture.tokenizer_version}: {_REMAKE}"
            )
        if batch.schema.names != ["input_ids"] or batch.schema.field(0).type != expected:
            raise MissingDataError(f"shard {path} holds {batch.schema.field(0).type}, not {expected}: {_REMAKE}")
        if batch.num_rows != shard.sequences:
            raise MissingDataError(
                f"shard {path} has {batch.num_rows} rows, the mixture says {shard.sequences}: {_REMAKE}"
            )
        flat = cast(Any, batch.column(0)).values.to_numpy(zero_copy_only=True)
        return flat.reshape(batch.num_rows, mixture.sequence_length)


def _local_path(layout: Layout, shard: Shard) -> Path:
    """Where the shard can be mapped: in place, or a copy in the cache when the root is not a local folder."""
    path = layout.join(shard.path)
    if layout.is_local:
        return Path(path)
    named = os.environ.get(CACHE_VARIABLE)
    folder = Path(named) if named else Path.home() / ".cache" / "gristmill" / "shards"
    cached = folder / f"{shard.sha256}.arrow"
    if cached.is_file():
        return cached
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{shard.sha256}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with cast(Any, layout.fs.open(path, "rb")) as source, unfinished.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        with unfinished.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != shard.sha256:
            raise MissingDataError(f"shard {path} has sha256 {digest}, the mixture says {shard.sha256}: {_REMAKE}")
        unfinished.replace(cached)
    except FileNotFoundError:
        raise MissingDataError(f"shard {path} of the mixture is not there: {_REMAKE}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return cached
