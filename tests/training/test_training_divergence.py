"""A batch that makes the loss no number: the run stops or goes back and past it, and says which document it was.

The NaN is planted in the data's way, not in the code: the run goes on from a checkpoint whose embedding of one token
is NaN, and that token occurs in one document.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import losses, run_folder, run_worker
from toy import TINY, make_root

from gristmill.core.layout import Layout
from training.history import reads_of, trace, trace_batch
from training.metrics import read_metrics
from training.past_runs import find_run

pytestmark = pytest.mark.torch
RARE = "~"  # in the tokenizer's alphabet, in no story
SETTINGS: dict[str, Any] = TINY | {
    "steps": 20,
    "warmup_steps": 5,
    "evaluate_every": 10,
    "sample_tokens": 0,  # a sample may draw the token
    "checkpoint_every": 4,
    "keep_checkpoints": 3,
    "ranks": 1,
    "strategy": "single",
}
PLANTED_STEP = 10  # of a run that skips nothing


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A root one of whose documents holds RARE, read at PLANTED_STEP; and that document's id."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from training.loader import Loader
    from training.sampling import load_tokenizer

    layout = make_root(tmp_path_factory.mktemp("planted") / "home")
    mixture_path = Path(layout.join("training_mixture", "mixture.json"))
    mixture = json.loads(mixture_path.read_text())
    tokenizer = load_tokenizer(Path(layout.tokenizer_dir(mixture["tokenizer_version"])))
    rare = tokenizer.token_to_id(RARE)
    ref = Loader(layout, seed=0).sequences_of_step(PLANTED_STEP - 1, SETTINGS["global_batch_size"])[2]
    path = Path(layout.join(ref.path))
    with pa.ipc.open_file(str(path)) as reader:
        schema, table = reader.schema, reader.read_all()
    rows = np.array(table.column(0).to_pylist(), dtype=np.uint16)
    assert rare is not None
    assert rare not in rows
    rows[ref.row, 7] = rare
    array = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    with pa.ipc.new_file(str(path), schema) as writer:
        writer.write_batch(pa.record_batch([array], schema=schema))
    (entry,) = [shard for shard in mixture["shards"] if shard["path"] == ref.path]
    entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    mixture_path.write_text(json.dumps(mixture))

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=False,
    )
    model: Any = LlamaForCausalLM(config)
    with torch.no_grad():
        model.get_input_embeddings().weight[rare] = float("nan")
    model.save_pretrained(Path(layout.root) / "base")
    spans = pq.ParquetFile(layout.join(str(entry["spans"]["path"]))).read().to_pylist()
    return Path(layout.root), next(span["doc_id"] for span in spans if span["sequence"] == ref.row)


def _run(planted: Path, root: Path, **settings: Any) -> tuple[int, str]:
    if not root.exists():
        shutil.copytree(planted, root)
    asked = SETTINGS | {"base_model": str(planted / "base")} | settings
    done = run_worker("training.pretrain", root, asked)
    return done.returncode, done.stderr


def test_stopping_names_the_document(planted: tuple[Path, str], tmp_path: Path) -> None:
    source, document = planted
    code, said = _run(source, tmp_path / "home")
    assert code != 0
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert f"at step {PLANTED_STEP} (batch {PLANTED_STEP - 1}) the loss is nan; its worst sequences: " in line
    assert f"worst sequences: place 2 (loss nan) of toy: {document}. See" in line  # and no other
    found = re.search(r"gristmill trace (\w+) --step (\d+) --text", line)
    assert found is not None
    run = find_run(Layout(tmp_path / "home"), found[1])
    assert run.steps_made == PLANTED_STEP - 1
    assert document in {span.doc_id for sequence in trace(run, int(found[2])) for span in sequence.spans or ()}


@pytest.mark.parametrize(("ranks", "strategy"), [(1, "zero2"), (2, "fsdp2")])
def test_rewinding_goes_past_it(planted: tuple[Path, str], tmp_path: Path, ranks: int, strategy: str) -> None:
    source, document = planted
    root = tmp_path / "home"
    code, said = _run(source, root, on_divergence="rewind", ranks=ranks, strategy=strategy)
    assert code == 0, said
    folder = run_folder(root)
    report = json.loads((folder / "report.json").read_text())
    # Back to the checkpoint of step 8: batches 8 and 9, and two more, are skipped.
    (skip,) = report["skips"]
    assert {n: skip[n] for n in ("after_step", "first_batch", "batches", "diverged_at")} == {
        "after_step": 8,
        "first_batch": 8,
        "batches": 4,
        "diverged_at": PLANTED_STEP,
    }
    assert skip["documents"] == [document]
    assert (report["rewinds"], report["skipped_batches"], report["cursor"]["batches"]) == (1, 4, 24)
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 21))
    assert [row["skipped"] for row in rows if "skipped" in row] == [skip]
    assert "NaN" not in (folder / "metrics.jsonl").read_text()
    newest = folder / "checkpoints" / "step-00000020" / "checkpoint.json"
    assert json.loads(newest.read_text())["state"]["skips"] == [skip]
    assert f"gristmill trace {folder.name} --batch {PLANTED_STEP - 1} --text" in said

    run = find_run(Layout(root), folder.name)
    reads = reads_of(run, [document])
    assert not reads.reads
    assert reads.skipped == (PLANTED_STEP - 1,)
    assert document in {s.doc_id for q in trace_batch(run, PLANTED_STEP - 1) for s in q.spans or ()}
    assert [q.ref for q in trace(run, 9)] == [q.ref for q in trace_batch(run, 12)]

    # Exact: killed after the rewind, before it could be saved, the run comes to the same loss.
    before = losses(folder)
    (folder / "report.json").unlink()
    for name in ("step-00000020", "step-00000016", "step-00000012"):
        shutil.rmtree(folder / "checkpoints" / name, ignore_errors=True)
    code, said = _run(source, root, on_divergence="rewind", ranks=ranks, strategy=strategy)
    assert code == 0, said
    again = read_metrics(folder / "metrics.jsonl")
    assert losses(folder) == before
    assert [row["skipped"] for row in again if "skipped" in row] == [skip]


def test_a_model_that_is_broken_is_rewound_so_often_and_no_more(toy_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "home"
    shutil.copytree(toy_root, root)
    settings = SETTINGS | {"learning_rate": 1e30, "gradient_clip": 0.0, "weight_decay": 0.0, "warmup_steps": 0}
    done = run_worker("training.pretrain", root, settings | {"on_divergence": "rewind", "most_rewinds": 2})
    assert done.returncode not in (0, None)
    assert done.stderr.count("Rewound to step 0") == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "after 2 rewinds, as many as most_rewinds allows" in line
    folder = run_folder(root)
    skips = [row["skipped"] for row in read_metrics(folder / "metrics.jsonl") if "skipped" in row]
    assert [skip["first_batch"] for skip in skips] == [0, skips[0]["batches"]]


def test_what_is_measured(planted: tuple[Path, str], tmp_path: Path) -> None:
    """Every number has its name, and the gradient's norm does not depend on who measures it."""
    source, _ = planted
    norms: list[list[float]] = []
    for strategy in ("ddp", "zero1"):
        root = tmp_path / strategy
        code, said = _run(source, root, steps=6, ranks=2, strategy=strategy, micro_batch_size=1)
        assert code == 0, said
        rows = [row for row in read_metrics(run_folder(root) / "metrics.jsonl") if "loss" in row]
        assert {"loss", "learning_rate", "grad_norm", "tokens_per_second", "data_wait", "memory_bytes"} <= set(rows[0])
        norms.append([row["grad_norm"] for row in rows])
        report = json.loads((run_folder(root) / "report.json").read_text())
        assert report["heldout_bits_per_byte_last"] < report["heldout_bits_per_byte_first"]
        assert report["heldout_perplexity_last"] == pytest.approx(np.exp(report["heldout_loss_last"]))
        assert len(report["memory_bytes_per_rank"]) == 2
        assert list((run_folder(root) / "tensorboard").glob("events.out.tfevents.*"))
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert min(norms[0]) > 0
