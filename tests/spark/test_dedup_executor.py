"""An executor that dies while clusters are found: the job goes on, and ends with the same bytes."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from dedup_corpus import UNVERIFIED, document, shard, write_segments
from test_spark_worker import free_port

from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.dedup.clusters import run

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore::ResourceWarning")]
PATIENCE_SECONDS = 400
WORKERS = 2


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def cluster_of_two(folder: Path) -> Iterator[tuple[str, list[psutil.Process]]]:
    """A master and two workers of one core each, on loopback: the master's address, and the workers' processes."""
    import pyspark

    from pipelines.spark.java import find_java, write_shim

    home, port = Path(pyspark.__file__).parent, free_port()
    env = os.environ | {
        "JAVA_HOME": str(write_shim(find_java(), folder / "java")),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
    }
    deploy, address = "org.apache.spark.deploy", f"spark://127.0.0.1:{port}"
    shared = ["--host", "127.0.0.1", "--webui-port", "0"]
    commands = [[f"{deploy}.master.Master", "--port", str(port), *shared]]
    for number in range(WORKERS):
        place = ["--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"work{number}")]
        commands.append([f"{deploy}.worker.Worker", *place, *shared, address])
    with (folder / "log").open("w+") as log:
        started = [
            subprocess.Popen([str(home / "bin/spark-class"), *command], env=env, stdout=log, stderr=log)
            for command in commands
        ]
        try:
            said = folder / "log"
            wait_until(lambda: said.read_text().count("Registering worker") == WORKERS, "the workers register")
            yield address, [psutil.Process(process.pid) for process in started[1:]]
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(timeout=60)


def executors(workers: list[psutil.Process]) -> list[psutil.Process]:
    return [child for worker in workers for child in worker.children() if "java" in child.name()]


def test_a_killed_executor_changes_no_byte(spark: Any, tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "home"))
    links = [document(f"link{i}", [10_000 + i // 2, 20_000 + (i + 1) // 2, i, i % 90]) for i in range(800)]
    write_segments(layout, "c", shard(links, 1, 2, 3))
    undisturbed = run(spark, layout, Partition("c"), UNVERIFIED, Reporter())
    (tmp_path / "cluster").mkdir()
    with cluster_of_two(tmp_path / "cluster") as (master, workers):
        # What was computed lies in files: on frames the edges, then one for each round; in one task, what to join.
        for rows, pattern, least in ((0, ".checkpoints/*/rdd-*", 2), (1 << 20, "*.run.parquet", 1)):
            for folder in ("duplicate_clusters", "cluster_state"):
                layout.fs.rm(layout.join(folder), recursive=True)
            layout.write_bytes(layout.join("settings.yaml"), f"spark:\n  single_task_rows: {rows}\n".encode())
            report = killed_once(layout, master, workers, pattern, least)
            said = (tmp_path / "cluster" / "log").read_text()
            assert "code 137" in said or "exitStatus 137" in said, "an executor did die"
            assert report["engine"]["master"] == master
            assert (report["tally"]["rounds"] == 0) == (rows > 0)
            assert report["files"] == undisturbed["files"]
            assert not list(Path(layout.root).rglob(".checkpoints"))


def killed_once(layout: Layout, master: str, workers: list[psutil.Process], pattern: str, least: int) -> dict[str, Any]:
    """The report of a job of which an executor is killed once there are `least` intermediate files of a pattern."""
    command = [sys.executable, "-m", "pipelines.worker", "duplicate_clusters", "--root", layout.root]
    job = subprocess.Popen(
        [*command, "--partition", "c", "--master", master, "--settings", '{"verified_jaccard": 0}'],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    work = Path(layout.join(".tmp"))
    wait_until(lambda: job.poll() is not None or len(list(work.rglob(pattern))) >= least, f"files {pattern}")
    first = executors(workers)
    assert job.poll() is None, job.communicate()[1]
    assert len(first) == WORKERS
    first[0].kill()
    _, errors = job.communicate(timeout=PATIENCE_SECONDS)
    assert job.returncode == 0, errors
    return json.loads(Path(layout.partition_dir("duplicate_clusters", Partition("c")), "report.json").read_text())
