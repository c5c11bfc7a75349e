"""A small demo through the command line, from the web to the adapters, once for all tests of this file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from assets.takedown_checks import mixture_is_free, model_is_free
from benchmarks.history import record_at
from gristmill.core.layout import Layout

pytestmark = [pytest.mark.e2e, pytest.mark.spark, pytest.mark.torch]
GRISTMILL = [sys.executable, "-c", "from gristmill.cli.main import run; run()"]
PAGES = 150
TINY = {
    "tokenizer": {"vocabulary_size": 512},
    "token_shards": {"sequence_length": 64, "heldout_fraction": 0.1},
    "pretrained_model": {
        "model": "tiny",
        "layers": 2,
        "hidden": 64,
        "heads": 2,
        "ffn": 128,
        "steps": 8,
        "global_batch_size": 4,
        "warmup_steps": 2,
    },
    "lora_adapter": {"steps": 3, "batch_size": 4, "rank": 4, "samples": 1, "sample_tokens": 8},
    "qlora_adapter": {"steps": 3, "batch_size": 4, "rank": 4, "samples": 1, "sample_tokens": 8},
}
DONE_BY_SEGMENT = ("extracted_documents", "quality_filtered_documents", "clean_documents", "token_shards")


def gristmill(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"GRISTMILL_SPARK_MASTER": "local[1]"}
    return subprocess.run(
        [*GRISTMILL, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "home"
    folder.mkdir()
    instructions = {"instruction_dataset": {"paths": [str(folder / "web" / "instructions.jsonl")]}}
    (folder / "settings.yaml").write_text(yaml.safe_dump(TINY | instructions))
    return folder


@pytest.fixture(scope="module")
def result(home: Path) -> dict[str, Any]:
    done = gristmill("demo", "--home", str(home), "--pages", str(PAGES), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_page_is_accounted_for(result: dict[str, Any]) -> None:
    stages = result["funnel"]["stages"]
    assert stages[0]["documents_in"] >= PAGES
    for stage in stages:
        assert stage["documents_in"] == stage["documents_kept"] + stage["documents_rejected"], stage["stage"]
        assert not stage["segments_missing"]
        assert not stage["segments_stale"]
    rows = {stage["stage"]: stage for stage in stages}
    assert rows["language_filtered_documents"]["documents_in"] == rows["extracted_documents"]["documents_kept"]
    assert rows["clean_documents"]["documents_in"] == rows["deduplicated_documents"]["documents_kept"]
    assert rows["token_shards"]["documents_in"] == rows["clean_documents"]["documents_kept"] > 0


def test_the_stages_find_what_they_should(result: dict[str, Any]) -> None:
    scores = {score["stage"]: score for score in result["scores"]}
    for stage in ("extracted_documents", "language_filtered_documents", "deduplicated_documents"):
        assert scores[stage]["expected"] > 0, stage
        assert scores[stage]["recall"] >= 0.8, scores[stage]
        assert scores[stage]["precision"] >= 0.8, scores[stage]


def test_models_are_trained_and_answer(result: dict[str, Any]) -> None:
    for model in result["models"]:
        assert model["steps"] > 0, model
        assert model["loss_last"] < 12, model
    pretrained = result["models"][0]
    assert pretrained["loss_last"] < pretrained["loss_first"]
    assert result["sample"]["prompt"]
    assert result["sample"]["with_adapter"] is not None


def test_files_are_where_the_pages_say(result: dict[str, Any], home: Path) -> None:
    for asset in DONE_BY_SEGMENT:
        for segment in result["funnel"]["segments"]:
            assert (home / asset / "corpus=demo" / f"segment={segment}" / "report.json").is_file()
    for report in ("corpus_report", "evaluation_report"):
        assert "data:image/png;base64," in (home / report / "index.html").read_text()
    assert list(home.glob("models/pretrained_model/*/final/*.safetensors"))
    assert list(home.glob("models/lora_adapter/*/final/adapter_model.safetensors"))
    assert list(home.glob("models/qlora_adapter/*/final/adapter_model.safetensors"))
    assert not list(home.glob(".tmp/**/*.parquet"))


def test_the_funnel_and_the_list_agree(result: dict[str, Any], home: Path) -> None:
    funnel = json.loads(gristmill("funnel", "demo", "--home", str(home), "--json").stdout)
    assert funnel == result["funnel"]
    (row,) = json.loads(gristmill("corpus", "list", "--home", str(home), "--json").stdout)
    assert set(row["materialized"].values()) <= {0, 2}
    assert row["materialized"]["token_shards"] == 2


def test_generate_with_an_adapter(result: dict[str, Any], home: Path) -> None:
    common = ["generate", "latest", "--home", str(home), "--prompt", "Once", "--max-new-tokens", "5", "--json"]
    plain, adapted = gristmill(*common), gristmill(*common, "--adapter", "lora", "--chat")
    assert plain.returncode == adapted.returncode == 0, plain.stderr + adapted.stderr
    assert json.loads(plain.stdout)["new_tokens"] <= 5
    assert "lora_adapter" in json.loads(adapted.stdout)["adapter"]
    missing = gristmill("generate", "latest", "--home", str(home), "--prompt", "x", "--adapter", "nowhere")
    assert missing.returncode == 2
    assert len(missing.stderr.splitlines()) == 1


def test_history_leads_from_a_step_to_the_crawl_and_back(result: dict[str, Any], home: Path) -> None:
    step = result["models"][0]["steps"]
    traced = gristmill("trace", "latest", "--step", str(step), "--text", "--home", str(home), "--json")
    assert traced.returncode == 0, traced.stderr
    found = json.loads(traced.stdout)
    assert found["is_made"]
    assert found["metrics"]["loss"] == pytest.approx(result["models"][0]["loss_last"])
    spans = [span for sequence in found["sequences"] for span in sequence["spans"]]
    crawl = {path.name: path for path in (home / "web").rglob("*.warc.gz")}
    for span in spans:
        assert record_at(crawl[Path(span["warc_file"]).name], span["warc_offset"])[0] == span["url"]
    explained = gristmill("explain", spans[0]["doc_id"], "--raw", "--home", str(home), "--json")
    (document,) = json.loads(explained.stdout)["documents"]
    assert {stage["outcome"] for stage in document["stages"]} == {"kept"}
    assert f"WARC-Target-URI: {spans[0]['url']}" in document["raw"]["header"]
    assert step in document["models"][0]["steps_read"]


def test_a_host_is_taken_down(result: dict[str, Any], home: Path) -> None:
    """The last of this file: it changes the home."""
    where = ["--home", str(home)]
    rows = documents_of(home, "clean_documents")
    host = min({row["host"] for row in rows}, key=lambda name: (sum(r["host"] == name for r in rows), name))
    gone = {row["doc_id"] for row in documents_of(home, "extracted_documents") if row["host"] == host}
    added = json.loads(gristmill("takedown", "add", host, "--note", "asked by Jane Doe", "--json", *where).stdout)
    assert added["documents"] >= len(gone) > 0
    plan = json.loads(gristmill("takedown", "plan", "--json", *where).stdout)
    touched = {key for keys in plan["stale"].values() for key in keys}
    assert plan["commands"][0] == "gristmill takedown apply"
    [model] = plan["models"]
    assert sorted(name.split("/")[0] for name in model["grown_from_it"]) == ["lora_adapter", "qlora_adapter"]
    assert not any(model_is_free(Layout(home), asset).passed for asset in ("pretrained_model", "lora_adapter"))
    before = {path: path.read_bytes() for path in home.rglob("part-*.parquet")}
    done = gristmill("takedown", "apply", *where)
    assert done.returncode == 0, done.stderr
    after = {path: path.read_bytes() for path in home.rglob("part-*.parquet")}
    for path in before.keys() | after.keys():
        if before.get(path) != after.get(path) and "cluster_state" not in path.parts:
            keys = dict(part.split("=") for part in path.parts if "=" in part)
            assert "|".join(keys[name] for name in ("corpus", "segment") if name in keys) in touched, path
    for asset in ("extracted_documents", "quality_filtered_documents", "deduplicated_documents", "clean_documents"):
        assert gone.isdisjoint(row["doc_id"] for row in documents_of(home, asset)), asset
    assert mixture_is_free(Layout(home)).passed
    assert not model_is_free(Layout(home), "pretrained_model").passed, "it was not trained again yet"
    funnel = json.loads(gristmill("funnel", "demo", "--json", *where).stdout)
    assert not any(stage["segments_stale"] for stage in funnel["stages"])
    again = gristmill("run", "demo", "--through", "pretrained_model", *where)
    assert again.returncode == 0, again.stderr
    assert model_is_free(Layout(home), "pretrained_model").passed
    assert json.loads(gristmill("takedown", "plan", "--json", *where).stdout)["stale"] == {}


def documents_of(home: Path, asset: str) -> list[dict[str, Any]]:
    parts = sorted((home / asset).rglob("part-*.parquet"))
    return [row for part in parts for row in pq.ParquetFile(part).read(["doc_id", "host"]).to_pylist()]
