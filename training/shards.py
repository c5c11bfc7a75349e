"""The mixture as the file `training_mixture` wrote says it: sources, shards, and what their tokens are.

Reading the rows of shards is training/shard_rows.py.
"""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout

MIXTURE_NAME = "mixture.json"
_WHOLE = 1e-12  # relative: what a float makes of a whole number
_PARTS = 1 << 40  # a proportion is rounded to this part of the whole
_REMAKE = "run `gristmill run CORPUS --through training_mixture` again"


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
