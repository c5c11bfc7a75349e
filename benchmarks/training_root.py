"""A root to train on that costs nothing to make: random documents in shards, for measuring speed and memory alone.

Token ids are drawn uniformly and document lengths from a lognormal distribution, so that attention within documents
has the boundaries of a crawl (a mean of some 600 tokens) and nothing can be learnt beyond the vocabulary's size.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

EOT_ID, PAD_ID, FIRST_ID = 0, 1, 6
MEAN_TOKENS = 600  # of a document
SPREAD = 1.0  # standard deviation of the logarithm of its length


def make_training_root(root: Path, *, vocabulary: int, sequence_length: int, sequences: int, seed: int = 0) -> None:
    """Write a tokenizer, one shard a split, and a mixture below `root`."""
    version = "random"
    folder = root / "tokenizer" / version
    folder.mkdir(parents=True)
    _write_tokenizer(folder, vocabulary)
    draw = np.random.default_rng(seed)
    shards = [
        _write_shard(root, version, split, _rows(draw, count, sequence_length, vocabulary))
        for split, count in (("train", sequences), ("heldout", 8))
    ]
    tokens = sequences * sequence_length
    corpus = {"corpus": "random", "proportion": 1.0, "epochs": 1.0, "tokens": tokens, "sequences": sequences}
    mixture = {
        "tokenizer_version": version,
        "sequence_length": sequence_length,
        "dtype": "uint16",
        "eot_id": EOT_ID,
        "pad_id": PAD_ID,
        "seed": seed,
        "corpora": [corpus],
        "shards": shards,
        "fingerprint": f"random-{vocabulary}-{sequence_length}-{sequences}-{seed}",
    }
    target = root / "training_mixture"
    target.mkdir()
    (target / "mixture.json").write_text(json.dumps(mixture))
    (target / "report.json").write_text(json.dumps({"fingerprint": mixture["fingerprint"]}))


def _rows(draw: np.random.Generator, count: int, length: int, vocabulary: int) -> npt.NDArray[np.uint16]:
    rows = draw.integers(FIRST_ID, vocabulary, (count, length), dtype=np.uint16)
    documents = int(count * length / MEAN_TOKENS * 2) + 1
    lengths = draw.lognormal(np.log(MEAN_TOKENS) - SPREAD**2 / 2, SPREAD, documents).astype(np.int64) + 2
    ends = np.cumsum(lengths)
    rows.reshape(-1)[ends[ends < rows.size]] = EOT_ID
    return rows


def _write_tokenizer(folder: Path, vocabulary: int) -> None:
    words = {"<|endoftext|>": EOT_ID, "<|pad|>": PAD_ID} | {f"t{n}": n for n in range(2, vocabulary)}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "t2"}
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": model,
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    (folder / "report.json").write_text(json.dumps({"version": folder.name, "fingerprint": folder.name}))


def _write_shard(root: Path, version: str, split: str, rows: npt.NDArray[np.uint16]) -> dict[str, object]:
    folder = root / "token_shards" / "corpus=random" / "segment=00000"
    folder.mkdir(parents=True, exist_ok=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    schema = pa.schema([pa.field("input_ids", column.type)], metadata={"tokenizer_version": version})
    shard = folder / f"shard-{split}-00000.arrow"
    with pa.ipc.new_file(str(shard), schema) as writer:
        writer.write_batch(pa.record_batch([column], schema=schema))
    spans = folder / f"spans-{split}-00000.parquet"
    numbers = np.arange(len(rows))
    pq.write_table(
        pa.table(
            {
                "sequence": numbers,
                "start": np.zeros(len(rows), np.int32),
                "length": np.full(len(rows), rows.shape[1], np.int32),
                "doc_id": [f"{split}-{n}" for n in numbers.tolist()],
                "doc_offset": np.zeros(len(rows), np.int64),
            }
        ),
        str(spans),
    )
    return {
        "path": shard.relative_to(root).as_posix(),
        "corpus": "random",
        "segment": "00000",
        "split": split,
        "sequences": len(rows),
        "tokens": int(rows.size),
        "sha256": hashlib.sha256(shard.read_bytes()).hexdigest(),
        "spans": {
            "path": spans.relative_to(root).as_posix(),
            "rows": len(rows),
            "sha256": hashlib.sha256(spans.read_bytes()).hexdigest(),
        },
    }
