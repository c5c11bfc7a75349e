"""A toy root: a tokenizer, shards and a mixture in the shape that `pipelines.tokens` writes them."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from pipelines.tokens.vocabulary import EOT_ID, PAD_ID, SPECIAL_TOKENS, companions, new_tokenizer

SEQUENCE_LENGTH = 32
NAMES = ("Mara", "Tom", "Ines", "Karl", "Bo", "Lena")
THINGS = ("a boat", "the old mill", "a red kite", "bread", "the river", "a lamp")


def stories(count: int, seed: int = 0) -> list[str]:
    """Short texts in which what follows can be learnt from what came before."""
    draw = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        name, thing, other = draw.choice(NAMES), draw.choice(THINGS), draw.choice(NAMES)
        texts.append(f"{name} found {thing}. {name} gave {thing} to {other}. {other} was glad and kept {thing}.")
    return texts


def make_root(root: Path, *, texts: int = 200, sequence_length: int = SEQUENCE_LENGTH) -> Layout:
    """Write everything that a training run reads below `root`."""
    from tokenizers import trainers

    layout = Layout(root)
    tokenizer = new_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted({chr(c) for c in range(33, 127)} | {"Ġ", "Ċ"}),
        show_progress=False,
    )
    tokenizer.train_from_iterator(stories(texts), trainer)
    data = tokenizer.to_str().encode()
    version = hashlib.sha256(data).hexdigest()[:12]
    folder = Path(layout.tokenizer_dir(version))
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_bytes(data)
    for name, content in companions().items():
        (folder / name).write_text(json.dumps(content))
    layout.write_json(str(folder / "report.json"), {"version": version, "fingerprint": version, "created_at": "2026"})

    ids = np.array([t for text in stories(texts) for t in [*tokenizer.encode(text).ids, EOT_ID]], dtype=np.uint16)
    rows = ids[: len(ids) // sequence_length * sequence_length].reshape(-1, sequence_length)
    splits = {"train": rows[:-8], "heldout": rows[-8:]}
    shards = [_write_shard(layout, version, split, array) for split, array in splits.items()]
    count = len(splits["train"])
    mixture = {
        "tokenizer_version": version,
        "sequence_length": sequence_length,
        "dtype": "uint16",
        "eot_id": EOT_ID,
        "pad_id": PAD_ID,
        "seed": 0,
        "corpora": [
            {"corpus": "toy", "proportion": 1.0, "epochs": 1.0, "tokens": count * sequence_length, "sequences": count}
        ],
        "shards": shards,
        "fingerprint": "toy-mixture",
        "created_at": "2026",
    }
    layout.write_json(layout.join("training_mixture", "mixture.json"), mixture)
    layout.write_json(layout.join("training_mixture", "report.json"), {"fingerprint": "toy-mixture"})
    return layout


def _write_shard(layout: Layout, version: str, split: str, rows: np.ndarray) -> dict[str, object]:
    path = f"token_shards/corpus=toy/segment=00000/shard-{split}-00000.arrow"
    array = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    schema = pa.schema([pa.field("input_ids", array.type)], metadata={"tokenizer_version": version})
    target = Path(layout.join(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_file(str(target), schema) as writer:
        writer.write_batch(pa.record_batch([array], schema=schema))
    return {
        "path": path,
        "corpus": "toy",
        "segment": "00000",
        "split": split,
        "sequences": len(rows),
        "tokens": int(rows.size),
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "spans": _write_spans(layout, split, rows),
    }


def _write_spans(layout: Layout, split: str, rows: np.ndarray) -> dict[str, object]:
    """Spans that give each row a document of its own: where documents end matters to no test of training."""
    path = f"token_shards/corpus=toy/segment=00000/spans-{split}-00000.parquet"
    table = pa.table(
        {
            "sequence": pa.array(range(len(rows)), pa.int64()),
            "start": pa.array([0] * len(rows), pa.int32()),
            "length": pa.array([rows.shape[1]] * len(rows), pa.int32()),
            "doc_id": [f"{split}-{row}" for row in range(len(rows))],
            "doc_offset": pa.array([0] * len(rows), pa.int64()),
        }
    )
    pq.write_table(table, layout.join(path))
    digest = hashlib.sha256(Path(layout.join(path)).read_bytes()).hexdigest()
    return {"path": path, "rows": len(rows), "sha256": digest}


TINY = {"layers": 2, "hidden": 32, "heads": 2, "ffn": 64, "global_batch_size": 4, "learning_rate": 5e-3}
