"""A corpus through the chain: few runs, one worker per stage, an honest stop at the first failure."""

import os
import signal
import socket
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest
from toy_workers import RECORDS, ToyWorkers

from assets.definitions import defs
from assets.launch import PROCESS_TAG, RANGE_END_TAG, RANGE_START_TAG, bury_dead_runs, needed, run_corpus
from assets.listener import SilentListener
from assets.partitions import register_partitions
from gristmill.core.errors import CorpusError, GristmillError, SettingsError
from gristmill.core.layout import Layout
from pipelines.crawl.corpora import Corpus, add_corpus


class Ears(SilentListener):
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.lines: list[str] = []

    def started(self, asset: str, partitions: object) -> None:
        self.heard.append(asset)

    def log(self, line: str) -> None:
        self.lines.append(line)


def corpus(layout: Layout, folder: Path, name: str, files: int) -> Corpus:
    place = folder / "crawls" / name
    place.mkdir(parents=True)
    for index in range(files):
        (place / f"{index}.jsonl").write_text('{"text": "hello"}\n' * (index + 1))
    return add_corpus(layout, name, [str(place)], segments=files)


@pytest.fixture
def toys(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> ToyWorkers:
    workers = ToyWorkers(layout)
    monkeypatch.setattr("assets.resources.run_worker", workers)
    monkeypatch.setattr("assets.resources.run_hosted", workers.hosted)
    return workers


def test_all_segments_of_a_corpus_are_one_run_and_one_worker_per_stage(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    corpus(layout, tmp_path, "books", 3)
    ears = Ears()
    run_corpus(instance, layout, "books", "clean_documents", listener=ears)
    assert toys.stages() == [
        "extracted_documents",
        "language_filtered_documents",
        "quality_filtered_documents",
        "minhash_signatures",
        "duplicate_clusters",
        "deduplicated_documents",
        "clean_documents",
    ]
    assert ears.heard == toys.stages()
    assert toys.partitions_of("extracted_documents") == ["books|00000", "books|00001", "books|00002"]
    assert toys.partitions_of("duplicate_clusters") == ["books"]
    runs = list(reversed(instance.get_runs()))
    assert [run.job_name for run in runs] == ["filter_job", "cluster_job", "clean_job"]
    assert all(run.status == dg.DagsterRunStatus.SUCCESS for run in runs)
    assert runs[0].tags[RANGE_START_TAG] == "books|00000"
    assert runs[0].tags[RANGE_END_TAG] == "books|00002"
    latest = instance.fetch_materializations(dg.AssetKey("language_filtered_documents"), limit=10).records
    assert {r.partition_key for r in latest} == {"books|00000", "books|00001", "books|00002"}
    metadata = latest[0].asset_materialization.metadata  # type: ignore[union-attr]
    assert metadata["rows_in"].value == RECORDS
    assert metadata["share_kept"].value == pytest.approx(6 / 7)
    assert "language" in str(metadata["reasons"].value)


def test_a_cell_without_a_segment_is_an_honest_success(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    for name, files in (("books", 1), ("news", 2)):
        register_partitions(instance, corpus(layout, tmp_path, name, files))
    job = defs.resolve_job_def("filter_job")
    both = {RANGE_START_TAG: "books|00000", RANGE_END_TAG: "news|00001"}
    assert job.execute_in_process(
        instance=instance, tags=both, asset_selection=[dg.AssetKey("extracted_documents")]
    ).success
    assert toys.partitions_of("extracted_documents") == ["books|00000", "news|00000", "news|00001"]
    records = instance.fetch_materializations(dg.AssetKey("extracted_documents"), limit=10).records
    notes = {r.partition_key: r.asset_materialization.metadata for r in records}  # type: ignore[union-attr]
    assert set(notes) == {"books|00000", "books|00001", "news|00000", "news|00001"}
    assert "no such segment" in str(notes["books|00001"]["note"].value)
    toys.commands.clear()
    only = {RANGE_START_TAG: "books|00001", RANGE_END_TAG: "books|00001"}
    assert job.execute_in_process(instance=instance, tags=only).success
    assert toys.commands == []


def test_the_first_failure_stops_the_chain_with_the_workers_line(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    corpus(layout, tmp_path, "books", 1)
    toys.fails_at = "quality_filtered_documents"
    with pytest.raises(GristmillError, match=r"^disk full: make room$"):
        run_corpus(instance, layout, "books", "clean_documents")
    assert toys.stages()[-1] == "quality_filtered_documents"
    assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]


def test_a_lost_row_fails_the_check_and_blocks_what_comes_after(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    corpus(layout, tmp_path, "books", 1)
    toys.loses_a_row_at = "language_filtered_documents"
    with pytest.raises(GristmillError, match=r"rows_add_up failed: books\|00000: 7 in ≠ 5 \+ 1"):
        run_corpus(instance, layout, "books", "clean_documents")
    assert "quality_filtered_documents" not in toys.stages()


def test_a_tokenizer_that_is_there_is_kept_unless_a_fresh_one_is_asked_for(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.tokens.files.verify_manifest", lambda *_, **__: [])
    corpus(layout, tmp_path, "books", 1)
    run_corpus(instance, layout, "books", "token_shards")
    assert "tokenizer" in toys.stages()
    toys.commands.clear()
    ears = Ears()
    run_corpus(instance, layout, "books", "token_shards", listener=ears)
    assert "tokenizer" not in toys.stages()
    assert any("in force, v1, is used" in line for line in ears.lines)
    (Path(layout.root) / "settings.yaml").write_text("tokenizer: {vocabulary_size: 5000}\n")
    run_corpus(instance, layout, "books", "token_shards")
    assert "tokenizer" in toys.stages(), "its settings have changed"
    toys.commands.clear()
    run_corpus(instance, layout, "books", "token_shards", is_fresh_tokenizer=True, is_forced=True)
    assert "tokenizer" in toys.stages()
    assert all("--force" in command for command in toys.commands)


def test_ctrl_c_cancels_the_run(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(layout, tmp_path, "books", 1)

    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    monkeypatch.setattr("assets.resources.run_hosted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_corpus(instance, layout, "books", "clean_documents")
    assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.CANCELED]


def test_what_a_user_gets_wrong_is_one_line(layout: Layout, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown asset 'clean'; known are extracted_documents"):
        run_corpus(instance, layout, "books", "clean")
    with pytest.raises(CorpusError, match="books"):
        run_corpus(instance, layout, "books", "clean_documents")
    broken = tmp_path / "settings.yaml"
    broken.write_text("a: [")
    with pytest.raises(SettingsError, match="not valid YAML"):
        run_corpus(instance, layout, "books", "clean_documents", settings_file=str(broken))


def test_an_asset_needs_all_that_is_before_it() -> None:
    assert needed(("extracted_documents",)) == {"extracted_documents"}
    assert "duplicate_clusters" in needed(("clean_documents",))
    assert {"tokenizer", "pretrained_model", "instruction_dataset"} < needed(("lora_adapter",))
    assert "qlora_adapter" not in needed(("lora_adapter",))


def test_curate_job_runs_the_chain_as_runs_of_its_own(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    register_partitions(instance, corpus(layout, tmp_path, "books", 2))
    result = defs.resolve_job_def("curate_job").execute_in_process(instance=instance, partition_key="books")
    assert result.success
    runs = instance.get_runs(dg.RunsFilter(tags={"gristmill/launched_by": result.run_id}))
    assert [run.job_name for run in reversed(runs)] == ["filter_job", "cluster_job", "clean_job"]
    assert toys.partitions_of("clean_documents") == ["books|00000", "books|00001"]


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_runs_of_a_process_that_was_killed_are_ended(instance: dg.DagsterInstance, status: str) -> None:
    job, begun = defs.resolve_job_def("pretrain_job"), dg.DagsterRunStatus[status]
    mine = f"{os.getpid()}:{psutil.Process().create_time():.0f}"
    dead, alive = (
        instance.create_run_for_job(job, tags={PROCESS_TAG: f"{socket.gethostname()}:{process}"}, status=begun)
        for process in ("1:1", mine)
    )
    elsewhere = instance.create_run_for_job(job, status=begun)  # of the UI, which says by itself what becomes of it
    bury_dead_runs(instance)
    states = {r.run_id: r.status for r in instance.get_runs()}
    assert states == {dead.run_id: dg.DagsterRunStatus.FAILURE, alive.run_id: begun, elsewhere.run_id: begun}
