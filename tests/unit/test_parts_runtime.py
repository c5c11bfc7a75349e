"""What a task does with one part, without Spark: sums, quarantine, retries, broken rows, commits."""

import errno
import json
import types
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.core.errors import EnvironmentProblemError, MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines import parts, stages
from pipelines.commit import Attempt
from pipelines.decisions import verdicts, with_column
from pipelines.fingerprint import fingerprint, input_fingerprints
from pipelines.parts import Heartbeat, PartTask, PartWriter, read_heartbeats, run_part
from pipelines.schema import DOCUMENT_SCHEMA, QUARANTINE_SCHEMA
from pipelines.spark.errors import explain

PARTITION = Partition("c", "00000")


def write_source(layout: Layout, texts: list[str]) -> str:
    folder = layout.partition_dir("quality_filtered_documents", PARTITION)
    layout.fs.makedirs(folder, exist_ok=True)
    rows = [
        {"doc_id": f"{index:032x}", "url": f"https://h/{index}", "warc_file": "w", "warc_offset": index, "text": text}
        for index, text in enumerate(texts)
    ]
    path = f"{folder}/part-00000.parquet"
    pq.write_table(pa.Table.from_pylist(rows, DOCUMENT_SCHEMA), path)
    layout.write_json(f"{folder}/report.json", {"fingerprint": "f"})
    return path


def task_of(layout: Layout, source: str, folder: str, stage: str = "minhash_signatures") -> PartTask:
    return PartTask(stage, layout.root, "c", "00000", source, "part-00000.parquet", folder, {})


@pytest.fixture
def length_stage(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A stage that rejects short texts and raises on one of them."""
    from pipelines.dedup import representatives

    def score(batch, settings):
        texts = batch.column("text").to_pylist()
        if "poison" in texts:
            raise ValueError("secret text of the page")
        return with_column(batch, "_length", [len(text) for text in texts], pa.int64())

    def decide(batch, settings):
        lengths = batch.column("_length").to_pylist()
        return verdicts(["short" if n < 3 else None for n in lengths], lengths, [3.0] * len(lengths))

    module = types.SimpleNamespace(Settings=representatives.Settings, score=score, decide=decide)
    monkeypatch.setattr(stages.Stage, "load", lambda _: module)
    return module


def run_in_attempt(layout: Layout, source: str):
    with Attempt(layout, "minhash_signatures", PARTITION) as attempt:
        result = run_part(task_of(layout, source, attempt.folder))
        attempt.commit({"fingerprint": "x"})
    return result


def test_sums_quarantine_and_scratch_columns(layout: Layout, length_stage) -> None:
    result = run_in_attempt(layout, write_source(layout, ["long enough", "no", "poison", "fine"]))
    assert (result.rows_in, result.rows_kept, dict(result.rejected)) == (4, 2, {"short": 1, "broken_row": 1})
    kept = pq.read_table(layout.parts(layout.partition_dir("minhash_signatures", PARTITION))[0])
    assert kept["text"].to_pylist() == ["long enough", "fine"]
    assert "_length" not in kept.column_names
    rejected = pq.read_table(layout.parts(layout.quarantine_dir("minhash_signatures", PARTITION))[0])
    assert rejected.schema.names == QUARANTINE_SCHEMA.names
    assert rejected["reason"].to_pylist() == ["short", "broken_row"]
    assert rejected["detail"].to_pylist() == [None, "ValueError"]
    assert "secret" not in json.dumps(rejected.to_pylist())
    assert rejected["url"].to_pylist() == ["https://h/1", "https://h/2"]
    assert rejected["failed_rules"].to_pylist() == [["short"], ["broken_row"]]


def test_a_rejected_row_lists_every_rule_it_fails(layout: Layout) -> None:
    source = write_source(layout, ["Too short, and without the words that English is made of."])
    task = task_of(layout, source, "", "quality_filtered_documents")
    with Attempt(layout, task.stage, PARTITION) as attempt:
        run_part(replace(task, folder=attempt.folder))
        attempt.commit({"fingerprint": "x"})
    rejected = pq.read_table(layout.parts(layout.quarantine_dir(task.stage, PARTITION))[0]).to_pylist()[0]
    expected = {rejected["reason"], "gopher_quality.too_few_words", "c4.too_few_sentences"}
    assert len(expected) == 3 and expected <= set(rejected["failed_rules"])


def test_an_empty_part_still_writes_its_schema(layout: Layout, length_stage) -> None:
    result = run_in_attempt(layout, write_source(layout, []))
    assert (result.rows_in, result.rows_kept) == (0, 0)
    assert "text" in pq.read_schema(layout.parts(layout.partition_dir("minhash_signatures", PARTITION))[0]).names


def test_a_part_of_poison_only(layout: Layout, length_stage) -> None:
    result = run_in_attempt(layout, write_source(layout, ["poison", "poison"]))
    assert (result.rows_kept, dict(result.rejected)) == (0, {"broken_row": 2})


def test_a_repeated_task_writes_the_same_bytes(layout: Layout, length_stage) -> None:
    source = write_source(layout, ["long enough", "no"] * 700)
    with Attempt(layout, "minhash_signatures", PARTITION) as attempt:
        results = [run_part(task_of(layout, source, attempt.folder)) for _ in range(2)]
        assert results[0].files == results[1].files
        assert [p.name for p in Path(attempt.output).iterdir()] == ["part-00000.parquet"]


def test_a_failing_machine_is_not_a_broken_row(layout: Layout, length_stage) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    length_stage.score = full
    with pytest.raises(OSError, match="No space"):
        run_in_attempt(layout, write_source(layout, ["text"]))
    assert layout.report("minhash_signatures", PARTITION) is None
    assert not layout.fs.exists(layout.temporary_dir("minhash_signatures", PARTITION))


def test_an_attempt_that_fails_leaves_what_was_committed(layout: Layout) -> None:
    with Attempt(layout, "stage", PARTITION) as attempt:
        layout.write_bytes(f"{attempt.output}/part-00000.parquet", b"old")
        attempt.commit({"version": 1})
    with pytest.raises(RuntimeError), Attempt(layout, "stage", PARTITION) as attempt:
        layout.write_bytes(f"{attempt.output}/part-00000.parquet", b"half")
        raise RuntimeError
    assert layout.report("stage", PARTITION) == {"version": 1}
    assert layout.fs.cat_file(layout.parts(layout.partition_dir("stage", PARTITION))[0]) == b"old"
    with Attempt(layout, "stage", PARTITION) as attempt:
        layout.write_bytes(f"{attempt.output}/part-00001.parquet", b"new")
        attempt.commit({"version": 2})
    assert [Path(p).name for p in layout.parts(layout.partition_dir("stage", PARTITION))] == ["part-00001.parquet"]
    assert not layout.fs.exists(layout.join(".tmp"))


def test_what_a_killed_run_left_is_removed_by_the_next(layout: Layout) -> None:
    left = layout.new_temporary_dir("stage", PARTITION)
    layout.write_bytes(f"{left}/output/part-00000.parquet", b"half")
    with Attempt(layout, "stage", PARTITION) as attempt:
        assert not layout.fs.exists(left)
        attempt.commit({})
    assert not layout.fs.exists(layout.temporary_dir("stage", PARTITION))


def test_a_root_that_cannot_be_written_is_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(EnvironmentProblemError, match="can't write"),
        Attempt(Layout(str(tmp_path / "file")), "stage", PARTITION),
    ):
        pass


def test_row_groups_stay_small(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROW_GROUP_BYTES", 4000)
    layout.fs.makedirs(layout.base)
    writer = PartWriter(layout, layout.join("p.parquet"))
    for _ in range(10):
        writer.write(pa.record_batch({"x": pa.array(range(100))}))
    described = writer.close()
    assert described is not None
    assert described["rows"] == 1000
    assert pq.ParquetFile(layout.join("p.parquet")).num_row_groups == 2
    assert PartWriter(layout, layout.join("never.parquet")).close() is None


def test_heartbeats(layout: Layout) -> None:
    folder = layout.join(".tmp/attempt")
    Heartbeat(layout, PartTask("s", layout.root, "c", "0", "", "a", folder, {})).done(5)
    assert not layout.fs.exists(folder), "an attempt that is gone is not brought back"
    layout.fs.makedirs(f"{folder}/progress")
    for part, rows in (("a", 5), ("b", 7)):
        Heartbeat(layout, PartTask("s", layout.root, "c", "0", "", part, folder, {})).done(rows)
    assert read_heartbeats(layout, folder) == (12, 2)
    assert read_heartbeats(layout, layout.join("gone")) == (0, 0)


def test_fingerprints_change_with_what_decides_the_output(layout: Layout) -> None:
    row = stages.stage("minhash_signatures")
    marks = {fingerprint(row, {"bands": bands}, {"in": mark}) for bands in (1, 2) for mark in "ab"}
    assert len(marks) == 4
    with pytest.raises(MissingDataError, match="gristmill run c --through quality_filtered_documents"):
        input_fingerprints(layout, row, PARTITION)


def test_a_new_segment_leaves_the_clusters_of_others_true(layout: Layout) -> None:
    row = stages.stage("deduplicated_documents")
    write_source(layout, [])

    def found(files: list[dict[str, str]], segments: list[str]) -> str:
        report = {"segments": segments, "files": files, "signature_settings": {"bands": 14}, "fingerprint": str(files)}
        layout.write_json(
            layout.join(layout.partition_dir("duplicate_clusters", Partition("c")), "report.json"), report
        )
        return input_fingerprints(layout, row, PARTITION)["duplicate_clusters"]

    own = {"segment": "00000", "kind": "kept", "sha256": "1"}
    alone = found([own], ["00000"])
    assert found([own, own | {"segment": "00001", "sha256": "2"}], ["00000", "00001"]) == alone
    assert found([own | {"sha256": "3"}], ["00000"]) != alone
    with pytest.raises(MissingDataError, match="before segment 00000"):
        found([], ["00001"])


@pytest.mark.parametrize("harm", ["cut", "empty", "foreign", "gone", "folder", "inside"])
def test_a_part_that_can_not_be_read_is_named_with_the_way_out(layout: Layout, tmp_path: Path, harm: str) -> None:
    path = Path(write_source(layout, ["a text of some length"] * 200))
    data = path.read_bytes()
    path.unlink()
    if harm == "folder":
        path.mkdir()
    elif harm != "gone":
        inside = data[:4] + b"\xff" * 3000 + data[3004:]
        path.write_bytes({"cut": data[:-9], "empty": b"", "foreign": b"no Parquet", "inside": inside}[harm])
    with pytest.raises(MissingDataError) as caught:
        list(parts.read_part(task_of(layout, str(path), str(tmp_path))))
    line = str(caught.value)
    assert line.startswith(f"{path} can't be read (")
    assert line.endswith("run `gristmill run c --through quality_filtered_documents --force` to make it again")
    assert "\n" not in line


def test_damage_that_is_met_elsewhere_is_explained(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more of it than that")
    with pytest.raises(pa.ArrowInvalid) as caught:
        pq.read_table(tmp_path / "x.parquet")
    problem = explain(caught.value, "tokenizer")
    assert "tokenizer: a part that it reads is damaged" in str(problem)
    assert "--force" in str(problem)


def test_what_a_worker_says_of_damage_is_passed_on() -> None:
    text = (
        "PythonException:\nTraceback …\ngristmill.core.errors.MissingDataError: x.parquet can't be read (why): run y\n"
    )
    assert str(explain(RuntimeError(text), "duplicate_clusters")) == "x.parquet can't be read (why): run y"
