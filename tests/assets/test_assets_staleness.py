"""What Dagster itself calls stale, in a real instance: after rebuilds, and across corpora."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from toy_workers import ToyWorkers

from assets.compared import COMPARED, record_changes
from assets.definitions import defs
from assets.launch import RANGE_END_TAG, RANGE_START_TAG, run_corpus
from gristmill.core.layout import Layout
from pipelines.crawl.corpora import Corpus, add_corpus
from pipelines.stages import stage

PARTITIONED = (
    "extracted_documents",
    "language_filtered_documents",
    "quality_filtered_documents",
    "minhash_signatures",
    "duplicate_clusters",
    "deduplicated_documents",
    "clean_documents",
)


@pytest.fixture
def toys(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> ToyWorkers:
    workers = ToyWorkers(layout)
    monkeypatch.setattr("assets.resources.run_worker", workers)
    monkeypatch.setattr("assets.resources.run_hosted", workers.hosted)
    return workers


def corpus(layout: Layout, folder: Path, name: str, files: int = 2) -> Corpus:
    place = folder / "crawls" / name
    place.mkdir(parents=True)
    for index in range(files):
        (place / f"{index}.jsonl").write_text('{"text": "hello"}\n' * (index + 1))
    return add_corpus(layout, name, [str(place)], segments=files)


def stale(instance: dg.DagsterInstance, *corpora: Corpus) -> dict[str, list[str]]:
    """Asset to the stale partitions of it, by the resolver that the web server asks."""
    resolver = CachingStaleStatusResolver(instance, defs.resolve_asset_graph(), LoadingContextForTest(instance))
    found: dict[str, list[str]] = {}
    for name in PARTITIONED:
        keys = [c.name for c in corpora]
        if name != "duplicate_clusters":
            keys = [f"{c.name}|{segment}" for c in corpora for segment in c.segments]
        for key in keys:
            status = resolver.get_status(dg.AssetKey(name), key)
            if status == StaleStatus.STALE:
                found.setdefault(name, []).append(key)
                print(name, key, resolver.get_stale_causes(dg.AssetKey(name), key))
    return found


def remake(instance: dg.DagsterInstance, job: str, asset: str, first: str, last: str | None = None) -> None:
    tags = {RANGE_START_TAG: first, RANGE_END_TAG: last or first}
    done = defs.resolve_job_def(job).execute_in_process(
        instance=instance, tags=tags, asset_selection=[dg.AssetKey(asset)]
    )
    assert done.success


def test_each_partition_has_one_event_with_the_version_of_its_own_content(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    corpus(layout, tmp_path, "books")
    toys.contents["extracted_documents", "books|00001"] = "other"
    run_corpus(instance, layout, "books", "duplicate_clusters")
    records = instance.fetch_materializations(dg.AssetKey("extracted_documents"), limit=10).records
    versions = {r.partition_key: (r.event_log_entry.tags or {})["dagster/data_version"] for r in records}
    assert len(records) == 2
    assert set(versions) == {"books|00000", "books|00001"}
    assert len(set(versions.values())) == 2
    [clusters] = instance.fetch_materializations(dg.AssetKey("duplicate_clusters"), limit=10).records
    tags = clusters.event_log_entry.tags or {}
    [observed] = instance.fetch_observations(COMPARED, limit=10).records
    seen = (observed.event_log_entry.tags or {})["dagster/data_version"]
    assert tags["dagster/input_data_version/compared_corpora"] == seen
    assert tags["dagster/code_version"] == stage("duplicate_clusters").code_version


def test_a_rebuild_with_the_same_bytes_leaves_what_follows_fresh(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    books = corpus(layout, tmp_path, "books")
    run_corpus(instance, layout, "books", "clean_documents")
    assert stale(instance, books) == {}
    remake(instance, "filter_job", "extracted_documents", "books|00000", "books|00001")
    assert stale(instance, books) == {}, "the same bytes"
    toys.contents["extracted_documents", "books|00001"] = "other"
    remake(instance, "filter_job", "extracted_documents", "books|00000", "books|00001")
    assert stale(instance, books) == {"language_filtered_documents": ["books|00001"]}
    remake(instance, "filter_job", "language_filtered_documents", "books|00001")
    assert stale(instance, books) == {}, "it came out the same"
    toys.contents["extracted_documents", "books|00001"] = ""
    remake(instance, "filter_job", "extracted_documents", "books|00001")
    assert stale(instance, books) == {"language_filtered_documents": ["books|00001"]}


def test_another_corpus_in_scope_makes_clusters_stale_and_nothing_else(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    toys.scope = "all"
    (Path(layout.root) / "settings.yaml").parent.mkdir(exist_ok=True)
    (Path(layout.root) / "settings.yaml").write_text("duplicate_clusters: {scope: all}\n")
    books, news, wiki = (corpus(layout, tmp_path, name) for name in ("books", "news", "wiki"))
    for name in ("books", "news", "wiki"):
        toys.contents["minhash_signatures", f"{name}|00000"] = name
        run_corpus(instance, layout, name, "deduplicated_documents")
    assert stale(instance, books, news, wiki) == {"duplicate_clusters": ["books", "news"]}
    remake(instance, "cluster_job", "duplicate_clusters", "books")
    toys.contents["duplicate_clusters", "news"] = "more duplicates"
    remake(instance, "cluster_job", "duplicate_clusters", "news")
    found = stale(instance, books, news, wiki)
    assert found == {"deduplicated_documents": ["news|00000", "news|00001"]}, "what came of it is other now"
    remake(instance, "clean_job", "deduplicated_documents", "news|00000", "news|00001")
    assert stale(instance, books, news, wiki) == {}
    remake(instance, "filter_job", "minhash_signatures", "books|00000")
    assert stale(instance, books, news, wiki) == {}, "the same bytes"
    toys.contents["minhash_signatures", "books|00000"] = "other"
    remake(instance, "filter_job", "minhash_signatures", "books|00000")
    assert stale(instance, books, news, wiki) == {"duplicate_clusters": ["books", "news", "wiki"]}
    toys.contents["minhash_signatures", "books|00000"] = "books"
    remake(instance, "filter_job", "minhash_signatures", "books|00000")
    assert stale(instance, books, news, wiki) == {}, "back to what they were compared with"


def test_with_scope_corpus_another_corpus_changes_nothing(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    books, news = (corpus(layout, tmp_path, name) for name in ("books", "news"))
    for name in ("books", "news"):
        run_corpus(instance, layout, name, "duplicate_clusters")
    toys.contents["minhash_signatures", "books|00000"] = "other"
    remake(instance, "filter_job", "minhash_signatures", "books|00000")
    assert stale(instance, books, news) == {"duplicate_clusters": ["books"]}
    assert record_changes(instance, layout) == []
    observed = instance.fetch_observations(COMPARED, limit=10).records
    assert sorted(str(r.partition_key) for r in observed) == ["books", "books", "news"]
