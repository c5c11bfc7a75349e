"""A corpus goes whole, and only when nothing reads it; what was compared with it is stale."""

from pathlib import Path

import dagster as dg
import pytest
from test_assets_staleness import corpus, stale
from toy_workers import ToyWorkers
from typer.testing import CliRunner

from assets import removal
from assets.definitions import defs
from assets.launch import RANGE_END_TAG, RANGE_START_TAG, run_corpus
from assets.partitions import register_partitions
from assets.removal import refuse_while_read, remove_corpus
from gristmill.cli.main import app
from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout
from pipelines.crawl.corpora import known_corpus
from pipelines.crawl.removal import holdings


@pytest.fixture
def toys(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> ToyWorkers:
    workers = ToyWorkers(layout)
    monkeypatch.setattr("assets.resources.run_hosted", workers.hosted)
    return workers


def paths_of(layout: Layout, name: str) -> list[str]:
    root = Path(layout.root)
    return sorted(str(p.relative_to(root)) for p in root.rglob(f"corpus={name}"))


def remove(layout: Layout, *arguments: str, answer: str | None = None) -> tuple[int, str]:
    printed = CliRunner().invoke(app, ["corpus", "remove", *arguments, "--home", layout.root], input=answer)
    return printed.exit_code, " ".join(printed.output.split())


def test_it_goes_whole_and_the_others_know(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    toys.scope = "all"
    Path(layout.root).mkdir(exist_ok=True)
    (Path(layout.root) / "settings.yaml").write_text("duplicate_clusters: {scope: all}\n")
    books, news = corpus(layout, tmp_path, "books", 2), corpus(layout, tmp_path, "news", 1)
    run_corpus(instance, layout, "books", "clean_documents")
    run_corpus(instance, layout, "news", "duplicate_clusters")
    run_corpus(instance, layout, "books", "duplicate_clusters")
    assert stale(instance, books, news) == {}
    assert remove(layout, "books", answer="n\n")[0] == 1
    assert len(paths_of(layout, "books")) > 7
    code, said = remove(layout, "books", answer="y\n")
    assert code == 0, said
    assert "books: 2 files registered, 2 segments" in said
    assert "minhash_signatures 6" in said, "two segments of a part and a report, with what they rejected"
    assert "the clusters of news were found with it and are stale" in said
    assert paths_of(layout, "books") == []
    assert known_corpus(layout, "books") is None
    assert stale(instance, news) == {"duplicate_clusters": ["news"]}
    assert list(instance.get_dynamic_partitions("corpus")) == ["news"]
    assert list(instance.get_dynamic_partitions("segment")) == ["00000"]
    assert (tmp_path / "crawls" / "books" / "0.jsonl").exists(), "what was registered is the user's"


def test_clusters_that_were_made_without_it_are_right_again(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    toys.scope = "all"
    Path(layout.root).mkdir(exist_ok=True)
    (Path(layout.root) / "settings.yaml").write_text("duplicate_clusters: {scope: all}\n")
    books, _ = corpus(layout, tmp_path, "books", 1), corpus(layout, tmp_path, "news", 1)
    run_corpus(instance, layout, "books", "duplicate_clusters")
    run_corpus(instance, layout, "news", "minhash_signatures")
    assert stale(instance, books) == {"duplicate_clusters": ["books"]}
    code, said = remove(layout, "news", answer="")
    assert code != 0
    assert known_corpus(layout, "news") is not None
    code, said = remove(layout, "news", "--yes")
    assert (code, "stale" in said) == (0, False)
    assert stale(instance, books) == {}


def test_data_may_be_kept(layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path) -> None:
    corpus(layout, tmp_path, "books", 1)
    run_corpus(instance, layout, "books", "extracted_documents")
    before = paths_of(layout, "books")
    code, said = remove(layout, "books", "--keep-data", "--yes")
    assert (code, known_corpus(layout, "books"), paths_of(layout, "books")) == (0, None, before)
    assert "other corpora are compared with them" in said
    code, said = remove(layout, "books", "--yes")
    assert code == 0
    assert "not registered, data is left of it" in said
    assert paths_of(layout, "books") == []
    assert remove(layout, "books", "--yes")[0] != 0


@pytest.mark.parametrize("step", ["remove_data", "record_changes", "unregister_partitions", "remove_registration"])
def test_what_was_interrupted_goes_on(
    layout: Layout,
    instance: dg.DagsterInstance,
    toys: ToyWorkers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    register_partitions(instance, corpus(layout, tmp_path, "books", 1))
    for asset in ("extracted_documents", "language_filtered_documents"):
        folder = f"{layout.join(asset)}/corpus=books/segment=00000"
        layout.write_json(f"{folder}/report.json", {"fingerprint": "f"})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(removal, step, killed)
        with pytest.raises(KeyboardInterrupt):
            remove_corpus(instance, layout, holdings(layout, "books"), is_keeping_data=False)
    assert known_corpus(layout, "books") is not None, "it still has a name to be removed by"
    remove_corpus(instance, layout, holdings(layout, "books"), is_keeping_data=False)
    assert (known_corpus(layout, "books"), paths_of(layout, "books")) == (None, [])
    assert list(instance.get_dynamic_partitions("corpus")) == []


@pytest.mark.parametrize(
    ("job", "first", "last", "asset", "is_refused"),
    [
        ("filter_job", "books|00000", "books|00001", "extracted_documents", True),
        ("filter_job", "news|00000", "news|00001", "extracted_documents", False),
        ("filter_job", "a|00000", "news|00000", "extracted_documents", True),
        ("cluster_job", "news", "news", "duplicate_clusters", True),
        ("pretrain_job", None, None, "pretrained_model", True),
    ],
    ids=["its own", "another's segments", "a range over it", "another's clusters", "training"],
)
def test_a_run_that_may_read_it_is_in_the_way(
    instance: dg.DagsterInstance, job: str, first: str | None, last: str | None, asset: str, is_refused: bool
) -> None:
    instance.add_dynamic_partitions("corpus", ["a", "books", "news"])
    instance.add_dynamic_partitions("segment", ["00000", "00001"])
    chosen = frozenset([dg.AssetKey(asset)])
    tags = {RANGE_START_TAG: first, RANGE_END_TAG: last} if first and last else {}
    definition = defs.resolve_job_def(job).get_subset(asset_selection=chosen)
    run = instance.create_run_for_job(definition, tags=tags, status=dg.DagsterRunStatus.STARTED, asset_selection=chosen)
    if is_refused:
        with pytest.raises(CorpusError, match=f"run {run.run_id[:8]} of {job} is started and may read it: wait"):
            refuse_while_read(instance, "books")
    else:
        refuse_while_read(instance, "books")
    instance.report_run_failed(run)
    refuse_while_read(instance, "books")
