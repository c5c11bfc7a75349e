"""A root with token shards and a mixture, written without the stages: for loaders to be measured and tested on.

The files are those of `pipelines/tokens/files.py` and `pipelines/tokens/mixture.py`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.core.layout import Layout

TOKENIZER = "0123456789abcdef"
EOT_ID, PAD_ID = 0, 1

Tokens = npt.NDArray[np.uint16]


def write_shard(path: Path, tokens: Tokens, *, tokenizer_version: str = TOKENIZER) -> str:
    """Write rows of tokens as one shard; returns its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    length = tokens.shape[1]
    column = pa.FixedSizeListArray.from_arrays(pa.array(tokens.reshape(-1)), length)
    schema = pa.schema([pa.field("input_ids", column.type, nullable=False)], {"tokenizer_version": tokenizer_version})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch([column], schema=schema))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_mixture(
    root: Path, sources: Mapping[str, Sequence[tuple[Path, int, str]]], draws: Mapping[str, int], *, length: int
) -> Layout:
    """Write mixture.json over shards given per source as (path, sequences, sha256); `corpus/bucket` names a bucket.

    A shard whose file name begins with `heldout` is of the held-out split.
    """
    total = sum(draws.values())
    corpora: list[dict[str, Any]] = []
    shards: list[dict[str, Any]] = []
    for name, files in sources.items():
        corpus, _, bucket = name.partition("/")
        count = sum(n for path, n, _ in files if not path.name.startswith("heldout"))
        numbers = {"proportion": draws[name] / total, "epochs": draws[name] / count, "draws": draws[name]}
        facts = {"corpus": corpus, "bucket": bucket, "source": name, **numbers}
        corpora.append(facts | {"sequences": count, "tokens": count * length})
        shards += [
            {"path": str(path.relative_to(root)), "corpus": corpus, "bucket": bucket, "sequences": n, "sha256": sha256}
            | {"split": "heldout" if path.name.startswith("heldout") else "train"}
            for path, n, sha256 in files
        ]
    common = {"tokenizer_version": TOKENIZER, "sequence_length": length, "dtype": "uint16"}
    ids = {"eot_id": EOT_ID, "pad_id": PAD_ID, "seed": 0}
    layout = Layout(root)
    folder = layout.singleton_dir("training_mixture")
    mixture = {**common, **ids, "corpora": corpora, "shards": shards, "fingerprint": "0" * 32}
    layout.write_json(f"{folder}/mixture.json", mixture)
    layout.write_json(f"{folder}/report.json", {"fingerprint": "0" * 32})
    return layout


def make_root(
    root: Path,
    shards: Mapping[str, Sequence[int]],
    *,
    length: int,
    draws: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Layout:
    """A root of shards of made tokens: documents of about 600 tokens, ids Zipf-like below 32,000.

    Args:
        root: an empty folder.
        shards: sequences of each shard of each source.
        length: of a sequence.
        draws: of each source in one pass; None: each sequence once.
        seed: of the tokens.
    """
    random = np.random.default_rng(seed)
    sources: dict[str, list[tuple[Path, int, str]]] = {}
    for name, counts in shards.items():
        sources[name] = []
        for number, rows in enumerate(counts):
            tokens = np.minimum(random.zipf(1.2, (rows, length)), 31_999).astype(np.uint16) + 2
            tokens[random.random((rows, length), dtype=np.float32) < 1 / 600] = EOT_ID
            path = root / "token_shards" / name / f"shard-{number:05d}.arrow"
            sources[name].append((path, rows, write_shard(path, tokens)))
    return write_mixture(root, sources, draws or {n: sum(c) for n, c in shards.items()}, length=length)


def make_sparse_root(root: Path, shards: Mapping[str, Sequence[int]], *, length: int) -> Layout:
    """As `make_root`, of tokens of 0 that take no disk: between a real Arrow header and footer each file is a hole."""
    sources: dict[str, list[tuple[Path, int, str]]] = {}
    for name, counts in shards.items():
        sources[name] = []
        for number, rows in enumerate(counts):
            path = root / "token_shards" / name / f"shard-{number:05d}.arrow"
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_sparse(path, rows, length)
            sources[name].append((path, rows, f"{number:064x}"))
    return write_mixture(root, sources, {n: sum(c) for n, c in shards.items()}, length=length)


class _HoleWriter:
    """A file that writes what is all zeros as a hole."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.closed = False

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if size >= _LARGE:
            self._file.seek(size, 1)
        else:
            self._file.write(data)
        return size

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True
        self._file.close()


_LARGE = 1 << 20  # bytes written at once: only the column of a shard


def _write_sparse(path: Path, rows: int, length: int) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * length, np.uint16)), length)
    schema = pa.schema([pa.field("input_ids", column.type, nullable=False)], {"tokenizer_version": TOKENIZER})
    with pa.PythonFile(_HoleWriter(path), "w") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch([column], schema=schema))
