"""What Dagster calls stale when something is taken down: the segments that hold it, and nothing else."""

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_assets_staleness import corpus, remake, stale
from toy_workers import ToyWorkers

from assets.launch import run_corpus
from assets.takedown_traces import GONE, forget
from assets.takedowns import TAKEDOWNS, record_takedowns
from gristmill.core.errors import GristmillError
from gristmill.core.layout import Layout, Partition
from pipelines.takedowns import file, load, parse
from pipelines.takedowns.committed import standings


class Honouring(ToyWorkers):
    """Says in its reports what it took down, as the worker does."""

    def _partition(self, asset: str, partition: Partition) -> None:
        super()._partition(asset, partition)
        if asset == "extracted_documents":
            hold(self.layout, partition)
            report = self.layout.require_report(asset, partition)
            keys = sorted(standings(self.layout)[partition].documents) if load(self.layout) else []
            path = f"{self.layout.partition_dir(asset, partition)}/report.json"
            self.layout.write_json(path, report | {"takedowns": keys})


def hold(layout: Layout, partition: Partition) -> None:
    """Give the documents of a segment a host of its own."""
    [part] = layout.parts(layout.partition_dir("extracted_documents", partition))
    hosts = [f"h{partition.segment}.example"] * pq.read_metadata(part).num_rows
    table = pa.table({"doc_id": ["0" * 32] * len(hosts), "url": [f"http://{h}/" for h in hosts], "host": hosts})
    pq.write_table(table, part)


@pytest.fixture
def toys(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> ToyWorkers:
    workers = Honouring(layout)
    monkeypatch.setattr("assets.resources.run_worker", workers)
    monkeypatch.setattr("assets.resources.run_hosted", workers.hosted)
    return workers


def test_a_pattern_makes_the_segments_stale_that_it_means(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    books = corpus(layout, tmp_path, "books")
    run_corpus(instance, layout, "books", "quality_filtered_documents")
    assert stale(instance, books) == {}
    file.add(layout, parse("elsewhere.example"))
    assert record_takedowns(instance, layout) == []
    file.add(layout, parse("h00001.example", note="Jane Doe asked"))
    assert record_takedowns(instance, layout) == ["books|00001"]
    assert record_takedowns(instance, layout) == [], "said once"
    assert stale(instance, books) == {"extracted_documents": ["books|00001"]}
    file.remove(layout, "h00001.example")
    assert record_takedowns(instance, layout) == ["books|00001"]
    assert stale(instance, books) == {}, "taken back before anything was done"
    file.add(layout, parse("h00001.example"))
    remake(instance, "filter_job", "extracted_documents", "books|00000", "books|00001")
    assert stale(instance, books) == {}, "the run saw the file as it was"
    file.remove(layout, "h00001.example")
    record_takedowns(instance, layout)
    assert stale(instance, books) == {"extracted_documents": ["books|00001"]}
    observed = instance.fetch_observations(TAKEDOWNS, limit=10).records
    assert observed
    assert "Jane" not in str(observed)


def test_a_damaged_file_stops_a_run_before_it_starts(
    layout: Layout, instance: dg.DagsterInstance, toys: ToyWorkers, tmp_path: Path
) -> None:
    corpus(layout, tmp_path, "books")
    (Path(layout.root) / "takedowns.yaml").write_text("- books.example\n- com\n")
    with pytest.raises(GristmillError, match=r"takedowns\.yaml line 2: pattern com is a public suffix"):
        run_corpus(instance, layout, "books", "extracted_documents")
    assert toys.commands == []


def test_previews_of_what_is_gone_are_blanked(instance: dg.DagsterInstance) -> None:
    shown = [{"doc_id": letter * 32, "text": f"Page {letter}"} for letter in "ab"]
    table = dg.MetadataValue.table([dg.TableRecord(row) for row in shown])
    instance.report_runless_asset_event(dg.AssetMaterialization("clean_documents", metadata={"preview": table}))
    assert forget(instance, {"a" * 32}) == 1
    assert forget(instance, {"a" * 32}) == 0
    [record] = instance.fetch_materializations(dg.AssetKey("clean_documents"), limit=1).records
    assert record.asset_materialization is not None
    preview = record.asset_materialization.metadata["preview"]
    assert isinstance(preview, dg.TableMetadataValue)
    assert [row.data["text"] for row in preview.records] == [GONE, "Page b"]
    latest = instance.get_latest_materialization_event(dg.AssetKey("clean_documents"))
    assert "Page a" not in str(latest)
