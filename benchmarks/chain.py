"""The chain on a real crawl: wall, CPU and memory of all processes together, sums and content hashes.

    python benchmarks/chain.py NAME PATH… --home DIR [--segments 3] [--through token_shards] [--master local[2]]

Registers PATH… as corpus NAME in a home of its own, runs it through the command line as a user would, and
prints, per stage, rows in = kept + rejected, then one JSON object: seconds, CPU seconds, peak memory (sum of
the proportional set sizes of the whole process tree, sampled), and two hashes that any other run of the same
input and settings must repeat, whatever the master, the order of the files or a kill in between.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from gristmill.core.layout import Layout, Partition
from pipelines.crawl.corpora import load_corpus
from pipelines.stages import STAGES

SAMPLE_SECONDS = 0.5


def rows_sha256(layout: Layout, asset: str, corpus: str) -> str:
    """Hash over the sorted rows of every segment of `asset`."""
    lines: list[bytes] = []
    for partition in layout.committed(asset):
        if partition.corpus == corpus:
            for path in layout.parts(layout.partition_dir(asset, partition)):
                with layout.fs.open(path, "rb") as file:
                    rows = pq.read_table(file).to_pylist()
                lines += [json.dumps(row, sort_keys=True, default=str).encode() for row in rows]
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(line + b"\n")
    return digest.hexdigest()


def shards_sha256(layout: Layout, corpus: str) -> str:
    """Hash over the bytes of every shard and spans file."""
    digest = hashlib.sha256()
    for partition in layout.committed("token_shards"):
        if partition.corpus == corpus:
            folder = layout.partition_dir("token_shards", partition)
            for path in layout.parts(folder, ".arrow") + layout.parts(folder, ".parquet"):
                digest.update(Path(path).name.encode())
                with layout.fs.open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()


class TreeUse(threading.Thread):
    """Samples memory (proportional set size) and CPU seconds of a process and all its descendants.

    CPU is the last value seen of each process: what a process does after its last sample is missed.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.is_over = psutil.Process(pid), 0, False
        self.cpu: dict[tuple[int, float], float] = {}

    @property
    def cpu_seconds(self) -> float:
        """User and system seconds of every process seen."""
        return sum(self.cpu.values())

    def run(self) -> None:
        while not self.is_over:
            total = 0
            try:
                tree = [self.process, *self.process.children(recursive=True)]
            except psutil.Error:
                break
            for process in tree:
                try:
                    total += process.memory_full_info().pss
                    times = process.cpu_times()
                    self.cpu[process.pid, process.create_time()] = times.user + times.system
                except (psutil.Error, AttributeError):
                    continue
            self.peak = max(self.peak, total)
            time.sleep(SAMPLE_SECONDS)


def sums(layout: Layout, corpus: str) -> list[tuple[str, int, int, int]]:
    """Per partitioned stage: rows in, kept, rejected, over all segments of the corpus."""
    table = []
    for stage in STAGES:
        reports = [
            layout.report(stage.name, Partition(corpus, segment)) for segment in load_corpus(layout, corpus).segments
        ]
        found = [report for report in reports if report is not None]
        if stage.is_partitioned and found:
            table.append(
                (
                    stage.name,
                    sum(r["rows_in"] for r in found),
                    sum(r["rows_kept"] for r in found),
                    sum(sum(r["rows_rejected"].values()) for r in found),
                )
            )
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--home", required=True)
    parser.add_argument("--segments", default="3")
    parser.add_argument("--through", default="token_shards")
    parser.add_argument("--master", default="local[2]")
    given = parser.parse_args()
    environment = os.environ | {"GRISTMILL_HOME": given.home, "GRISTMILL_SPARK_MASTER": given.master}
    gristmill = str(Path(sys.executable).with_name("gristmill"))
    subprocess.run(
        [gristmill, "corpus", "add", given.name, *given.paths, "--segments", given.segments],
        env=environment,
        check=True,
    )
    started = time.monotonic()
    child = subprocess.Popen([gristmill, "run", given.name, "--through", given.through], env=environment)
    use = TreeUse(child.pid)
    use.start()
    code = child.wait()
    use.is_over = True
    seconds = time.monotonic() - started
    layout = Layout(given.home)
    for stage, rows_in, kept, rejected in sums(layout, given.name):
        verdict = "ok" if rows_in == kept + rejected else "WRONG"
        print(f"{stage:32} {rows_in:>8,} in = {kept:>8,} kept + {rejected:>8,} rejected  {verdict}")
    print(
        json.dumps(
            {
                "bench": "chain",
                "corpus": given.name,
                "exit_code": code,
                "master": given.master,
                "wall_seconds": round(seconds, 1),
                "cpu_seconds": round(use.cpu_seconds, 1),
                "peak_memory_gb": round(use.peak / 1e9, 2),
                "clean_documents_rows_sha256": rows_sha256(layout, "clean_documents", given.name),
                "token_shards_sha256": shards_sha256(layout, given.name),
            }
        )
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
