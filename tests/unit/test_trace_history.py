"""From a step to its documents and back: the same as what the loader gives, with and without the shards."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from history_data import make_run
from tokens_data import doc_id, make_corpora, mix, pack, story, write_documents

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout, Partition
from training.cursor import Skip
from training.history import reads_of, trace, trace_batch
from training.loader import Loader
from training.metrics import last_step, metrics_at
from training.past_runs import find_run, training_runs
from training.seen_text import SeenTexts
from training.shards import read_mixture
from training.spans import keep_spans, segment_of


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout = Layout(tmp_path_factory.mktemp("history") / "home")
    make_corpora(layout, {"books": 40, "web": 30})
    mix(layout, corpora={"books": {"epochs": 2.0}, "web": {"epochs": 1.0}})
    return Path(layout.base)


@pytest.fixture
def layout(prepared: Path, tmp_path: Path) -> Layout:
    shutil.copytree(prepared, tmp_path / "home")
    return Layout(tmp_path / "home")


def all_documents(layout: Layout) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for partition in layout.committed("token_shards"):
        for path in layout.parts(layout.partition_dir("token_shards", partition), ".parquet"):
            ids = pq.ParquetFile(path).read(["doc_id"]).column(0).to_pylist()
            found.setdefault((partition.corpus, str(partition.segment)), set()).update(ids)
    return found


def test_a_step_is_the_loaders_batch_before_it(layout: Layout) -> None:
    make_run(layout, "aaaa1111")
    run = find_run(layout, "aaaa")
    loader = Loader(layout, seed=3)
    texts = SeenTexts(run)
    for step in (1, 7, 20):
        batch = loader.batch(step - 1, 4).input_ids
        for sequence, tokens in zip(trace(run, step), batch, strict=True):
            rows = texts._tokens(sequence.shard)
            np.testing.assert_array_equal(rows[sequence.ref.row], tokens)


def test_spans_cover_what_is_no_padding_and_their_texts_are_the_documents(layout: Layout) -> None:
    make_run(layout, "aaaa1111")
    run = find_run(layout, "latest")
    texts = SeenTexts(run)
    known = {
        doc_id(f"{corpus}{segment:05d}", number): story(1000 * segment + number)
        for corpus in ("books", "web")
        for segment in range(2)
        for number in range(40)
    }
    for step in range(1, 21):
        for sequence in trace(run, step):
            pieces = texts.pieces(sequence)
            assert not isinstance(pieces, str)
            assert sum(piece.length for piece in pieces) == run.mixture.sequence_length
            for piece in pieces:
                if piece.doc_id is None:
                    assert set(piece.text.replace("<|pad|>", "")) == set()
                else:
                    said = piece.text.removesuffix("<|endoftext|>")
                    assert said in known[piece.doc_id]


def test_both_ways_are_inverse(layout: Layout) -> None:
    make_run(layout, "aaaa1111", steps=160)
    run = find_run(layout, "aaaa1111")
    forward: set[tuple[Any, ...]] = set()
    for step in range(1, run.steps + 1):
        for sequence in trace(run, step):
            assert sequence.spans is not None
            for span in sequence.spans:
                forward.add((step, sequence.ref.place, sequence.ref.epoch, sequence.ref.path, span))
    backward: set[tuple[Any, ...]] = set()
    for (corpus, segment), ids in all_documents(layout).items():
        for one in sorted(ids):
            for read in reads_of(run, [one], corpus, segment).reads:
                backward.add((read.step, read.place, read.epoch, read.shard, read.span))
    assert forward == backward
    assert any(epoch > 0 for _, _, epoch, *_ in forward)
    everything = set.union(*all_documents(layout).values())
    assert {(r.step, r.place, r.epoch, r.shard, r.span) for r in reads_of(run, everything).reads} == forward


def test_only_steps_that_were_made_are_told_and_all_can_be_traced(layout: Layout) -> None:
    make_run(layout, "aaaa1111", made=5)
    run = find_run(layout, "latest")
    assert (run.steps_made, run.is_finished) == (5, False)
    everything = set.union(*all_documents(layout).values())
    assert max(read.step for read in reads_of(run, everything).reads) == 5
    assert len(trace(run, 6)) == 4
    for step in (0, -1, 21):
        with pytest.raises(SettingsError, match="has steps 1 to 20"):
            trace(run, step)


def test_what_was_skipped_is_in_no_step_and_told_as_skipped(layout: Layout) -> None:
    skips = [Skip(5, 5, 6, 8, "the loss is nan"), Skip(9, 15, 2, 10)]
    make_run(layout, "aaaa1111", skips=skips)
    make_run(layout, "bbbb2222", steps=40)
    run, whole = find_run(layout, "aaaa1111"), find_run(layout, "bbbb2222")
    assert [skip.to_plain() for skip in run.cursor.skips] == [skip.to_plain() for skip in skips]
    batches = [*range(5), *range(11, 15), *range(17, 28)]
    for step, batch in enumerate(batches, 1):
        assert trace(run, step) == trace(whole, batch + 1) == trace_batch(run, batch)
    everything = set.union(*all_documents(layout).values())
    found = reads_of(run, everything)
    assert {read.step for read in found.reads} == set(range(1, 21))
    assert {read.batch for read in found.reads} == set(batches)
    assert set(found.skipped) == {*range(5, 11), 15, 16}
    assert not reads_of(whole, everything).skipped
    for batch in (-1, 28):
        with pytest.raises(SettingsError, match="has batches 0 to 27"):
            trace_batch(run, batch)


def test_held_out_documents_are_in_no_step(layout: Layout) -> None:
    make_run(layout, "aaaa1111", steps=60)
    run = find_run(layout, "aaaa1111")
    partition = Partition("books", "00000")
    folder = layout.partition_dir("token_shards", partition)
    ids = pq.ParquetFile(f"{folder}/spans-heldout-00000.parquet").read(["doc_id"]).column(0).to_pylist()
    found = reads_of(run, [ids[0]], "books", "00000")
    assert found.held_out
    assert not found.reads
    assert not found.trained


def test_a_run_is_traced_after_its_shards_were_made_again(layout: Layout) -> None:
    make_run(layout, "aaaa1111")
    make_run(layout, "bbbb2222", is_old=True)
    before = trace(find_run(layout, "aaaa1111"), 3)
    assert [s.spans for s in trace(find_run(layout, "bbbb2222"), 3)] == [s.spans for s in before]
    for corpus in ("books", "web"):
        for segment in ("00000", "00001"):
            write_documents(layout, corpus, segment, [["another text, which is much shorter", "and one more"]])
            pack(layout, Partition(corpus, segment))
    kept, old = find_run(layout, "aaaa1111"), find_run(layout, "bbbb2222")
    assert (kept.is_order_proven, old.is_order_proven) == (True, False)
    assert trace(kept, 3) == before
    told = SeenTexts(kept).pieces(before[0])
    assert isinstance(told, str)
    assert "the text is gone" in told
    assert all(sequence.spans is None for sequence in trace(old, 3))
    span = next(iter(before[0].spans or ()))
    assert reads_of(kept, [span.doc_id], before[0].ref.corpus, before[0].segment).reads
    unknown = reads_of(old, [span.doc_id], before[0].ref.corpus, before[0].segment)
    assert unknown.unknown
    assert not unknown.reads


def test_a_document_is_found_in_a_segment_that_it_is_not_in_any_more(layout: Layout) -> None:
    make_run(layout, "aaaa1111")
    run = find_run(layout, "aaaa1111")
    sequence = trace(run, 1)[0]
    wanted = next(iter(sequence.spans or ())).doc_id
    assert reads_of(run, [wanted], sequence.ref.corpus, "00077").reads
    assert not reads_of(run, [wanted], "nowhere", "00000").reads


def test_spans_are_kept_once_by_content(layout: Layout) -> None:
    mixture: dict[str, Any] = layout.read_json(layout.join("training_mixture", "mixture.json")) or {}
    kept = keep_spans(layout, mixture)
    paths = {entry["spans"]["sha256"] for entry in kept["shards"]}
    assert {Path(p).stem for p in layout.parts(layout.join("models", "spans"))} == paths
    assert keep_spans(layout, kept) == kept
    assert {segment_of(entry["path"]) for entry in kept["shards"]} == {"00000", "00001"}


def test_spans_of_another_shard_are_refused(layout: Layout) -> None:
    mixture: dict[str, Any] = layout.read_json(layout.join("training_mixture", "mixture.json")) or {}
    old = dict(mixture, shards=[{k: v for k, v in s.items() if k != "spans"} for s in mixture["shards"]])
    changed = dict(old, shards=[dict(shard, sha256="0" * 64) for shard in old["shards"]])
    with pytest.raises(MissingDataError, match="is not the one that training_mixture speaks of"):
        keep_spans(layout, changed)
    path = layout.parts(layout.partition_dir("token_shards", Partition("books", "00000")), ".parquet")[0]
    Path(path).write_bytes(b"damaged")
    with pytest.raises(MissingDataError, match="have sha256"):
        keep_spans(layout, old)


@pytest.mark.parametrize("damage", ["cut", "pages", "folder"])
def test_damaged_spans_are_one_line(layout: Layout, damage: str) -> None:
    make_run(layout, "aaaa1111")
    documents = sorted(set().union(*all_documents(layout).values()))
    for path in map(Path, layout.parts(layout.join("models", "spans"))):
        whole = path.read_bytes()
        path.unlink()  # it is a link to the spans beside the shard
        if damage == "folder":
            path.mkdir()
        else:  # pages that are no zstd any more, below a footer that is whole: Arrow's own OSError
            footer = whole[-int.from_bytes(whole[-8:-4], "little") - 8 :]
            path.write_bytes(whole[:9] if damage == "cut" else b"PAR1".ljust(len(whole) - len(footer), b"?") + footer)
    run = find_run(layout, "latest")
    with pytest.raises(MissingDataError, match=r"models/spans/.* can't be read"):
        trace(run, 1)
    with pytest.raises(MissingDataError, match=r"models/spans/.* can't be read"):
        reads_of(run, documents)


def test_another_order_of_batches_is_refused(layout: Layout) -> None:
    folder = make_run(layout, "aaaa1111")
    config = json.loads((folder / "config.json").read_text())
    config["order"]["sha256"] = "0" * 64
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(MissingDataError, match="in another order"):
        trace(find_run(layout, "latest"), 1)


def test_runs_by_id_prefix_and_asset(layout: Layout) -> None:
    with pytest.raises(MissingDataError, match="train a model first"):
        find_run(layout, "latest")
    make_run(layout, "aaaa1111")
    make_run(layout, "aaaa2222", made=3)  # running now: later than what was finished long ago
    make_run(layout, "bbbb3333", asset="upcycled_model")
    (Path(layout.model_dir("lora_adapter", "cccc4444"))).mkdir(parents=True)
    assert [run.name for run in training_runs(layout)] == [
        "pretrained_model/aaaa1111",
        "pretrained_model/aaaa2222",
        "upcycled_model/bbbb3333",
    ]
    assert find_run(layout, "latest").run_id == "aaaa2222"
    assert find_run(layout, "bb").asset == "upcycled_model"
    assert find_run(layout, "latest", "upcycled_model").run_id == "bbbb3333"
    assert find_run(layout, "pretrained_model/aaaa1").run_id == "aaaa1111"
    with pytest.raises(SettingsError, match="2 runs begin with 'aaaa'"):
        find_run(layout, "aaaa")
    for asked in ("dddd", "", "upcycled_model/aaaa"):
        with pytest.raises((MissingDataError, SettingsError)):
            find_run(layout, asked)


def test_metrics_of_a_step_in_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": n, "loss": n / 7, "filling": "x" * (n % 90)}) + "\n" for n in range(1, 5000)]
    lines.insert(4000, json.dumps({"step": 4000, "heldout_loss": 1.0}) + "\n")
    path.write_text("".join(lines) + '{"step": 5000, "los')
    with path.open("rb") as file:
        assert last_step(file) == 4999
        for step in (1, 2, 1234, 4998, 4999):
            assert metrics_at(file, step)["loss"] == step / 7
        assert metrics_at(file, 4000)["heldout_loss"] == 1.0
        assert metrics_at(file, 5000) == {}
        assert metrics_at(file, 0) == {}


def test_the_run_sees_the_mixture_as_it_was(layout: Layout) -> None:
    make_run(layout, "aaaa1111")
    run = find_run(layout, "aaaa1111")
    assert run.mixture.shards[0].spans is not None
    assert run.mixture.fingerprint == read_mixture(layout).fingerprint
    assert run.metrics(2)["loss"] == pytest.approx(8.98)


def test_spans_are_copied_where_links_are_not_to_be_had(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("training.spans.os.link", refuse)
    make_run(layout, "aaaa1111")
    assert all(sequence.spans for sequence in trace(find_run(layout, "latest"), 1))
    assert not list(Path(layout.join("models", "spans")).glob("*.tmp"))
