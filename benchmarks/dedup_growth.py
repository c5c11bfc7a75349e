"""How the cost of finding duplicates grows: made documents with planted clusters, on two cores.

    python -m benchmarks.dedup_growth [--sizes 100000,1000000] [--new 10000] [--verified 0.7] [--keep DIR] [--smoke]

For each size: documents are made (benchmarks/planted.py) and written as the stage before would, signed by the runtime
that Spark's workers use, in this process; then `duplicate_clusters` runs by itself in a process of its own with
`local[2]`, from an empty state. The result is compared with the plan: every planted cluster, one of them a chain of
10,000 links, has to be found with all its members and no other. Then --new documents arrive as a segment of their own,
half of them in clusters that are there, and it runs again. Seconds are those of the stage alone; CPU seconds and memory
are of the whole process tree, Spark's start and its JVM included; memory is the sum of proportional set sizes (pages
that processes share are counted once), sampled four times a second. `ours` is time at the last size over time at the
first. --smoke: 2,000 documents, 200 new.
"""

import argparse
import json
import os
import posixpath
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq

from benchmarks.planted import Plan, batches, document_number, plan, wrongly_clustered
from benchmarks.usage import measured
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import to_plain
from pipelines.parts import PartTask, PartWriter, run_part
from pipelines.stages import stage

CORPUS = "made"
DOCUMENTS_OF_PART, PARTS_OF_SEGMENT = 25_000, 4
CHAIN = 10_000
SAMPLE_SECONDS = 0.25
DOCUMENTS, SIGNATURES, CLUSTERS = "quality_filtered_documents", "minhash_signatures", "duplicate_clusters"


@dataclass(frozen=True)
class Clustering:
    """One run of `duplicate_clusters`."""

    seconds: float  # of the stage alone
    wall: float  # of the process
    cpu: float  # of the process and all that it started
    peak_mb: int
    wrong: int  # documents in no or a wrong cluster
    numbers: dict[str, Any]  # of the report


def write_documents(layout: Layout, made: Plan, start: int, end: int, first_segment: int) -> int:
    """Commit documents `start` to `end`; returns the number of the next segment."""
    segment = first_segment
    for low in range(start, end, DOCUMENTS_OF_PART * PARTS_OF_SEGMENT):
        partition = Partition(CORPUS, f"{segment:05d}")
        folder, rows = layout.partition_dir(DOCUMENTS, partition), 0
        layout.fs.makedirs(folder)
        for part in range(PARTS_OF_SEGMENT):
            begin = low + part * DOCUMENTS_OF_PART
            writer = PartWriter(layout, posixpath.join(folder, f"part-{part:05d}.parquet"))
            for batch in batches(made, begin, min(begin + DOCUMENTS_OF_PART, end)):
                writer.write(batch)
            rows += (writer.close() or {"rows": 0})["rows"]
        layout.write_json(f"{folder}/report.json", {"rows_kept": rows, "fingerprint": f"{CORPUS} {segment}"})
        segment += 1
    return segment


def sign(layout: Layout, segments: range) -> float:
    """Sign the documents of `segments` as the map stage does; returns CPU seconds."""
    row = stage(SIGNATURES)
    settings, spent = to_plain(row.settings_class()), 0.0
    for number in segments:
        partition = Partition(CORPUS, f"{number:05d}")
        attempt = layout.new_temporary_dir(SIGNATURES, partition)
        for name in ("output", "quarantine", "signals", "progress"):
            layout.fs.makedirs(posixpath.join(attempt, name))
        rows = 0
        for source in layout.parts(layout.partition_dir(DOCUMENTS, partition)):
            name = posixpath.basename(source)
            task = PartTask(SIGNATURES, layout.root, CORPUS, str(partition.segment), source, name, attempt, settings)
            result = run_part(task)
            rows, spent = rows + result.rows_kept, spent + result.cpu_seconds
        folder = layout.partition_dir(SIGNATURES, partition)
        layout.fs.makedirs(posixpath.dirname(folder), exist_ok=True)
        layout.fs.mv(posixpath.join(attempt, "output"), folder, recursive=True)
        report = {"rows_kept": rows, "fingerprint": f"{CORPUS} {number} {settings}", "settings": settings}
        layout.write_json(f"{folder}/report.json", report)
    return spent


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The highest sum of proportional set sizes of this process's descendants while it is entered, in bytes."""
    peak, is_over = [0], threading.Event()

    def sample() -> None:
        while not is_over.wait(SAMPLE_SECONDS):
            total = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
                except OSError:
                    continue
                total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
            peak[0] = max(peak[0], total)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()


def cluster(layout: Layout, made: Plan, verified: str) -> Clustering:
    """Run `duplicate_clusters` in a process of its own and hold what it wrote against the plan."""
    command = [sys.executable, "-m", "benchmarks.dedup_growth", "--cluster", layout.root, "--verified", verified]
    with peak_memory() as peak:
        usage = measured(command, env=dict(os.environ))
    if usage.exit_code:
        raise SystemExit(f"duplicate_clusters failed:\n{usage.output[-3000:]}")
    said = json.loads(usage.output.splitlines()[-1])
    found = np.arange(len(made))
    folder = layout.partition_dir(CLUSTERS, Partition(CORPUS))
    for path in layout.parts(folder):
        table = pq.read_table(path, columns=["doc_id", "representative_id"]).to_pydict()
        duplicates = [document_number(doc_id) for doc_id in table["doc_id"]]
        found[duplicates] = [document_number(doc_id) for doc_id in table["representative_id"]]
    wrong = wrongly_clustered(made, found)
    return Clustering(said["seconds"], usage.wall, usage.cpu, peak[0] >> 20, wrong, said["numbers"])


def cluster_here(root: str, verified: str) -> int:
    """The child's part: a session on two cores, one run of the stage, one line of JSON."""
    from gristmill.core.progress import Reporter
    from pipelines.spark.session import SparkSettings, spark_session

    module = stage(CLUSTERS).load()
    thresholds: dict[str, dict[str, Any]] = {"default": {}, "none": {"verified_jaccard": 0}}
    given = thresholds[verified] if verified in thresholds else {"verified_jaccard": float(verified)}
    settings = module.Settings(**given)
    with spark_session(SparkSettings(master="local[2]"), "dedup_growth") as spark:
        started = time.monotonic()
        report = module.run(spark, Layout(root), Partition(CORPUS), settings, Reporter())
        seconds = time.monotonic() - started
    numbers = {name: report[name] for name in ("clusters", "exact", "near", "largest_cluster", "rows_kept")}
    print(json.dumps({"seconds": seconds, "numbers": numbers | report["tally"]}), flush=True)
    return 0


def grow(size: int, new: int, chain: int, verified: str, keep: Path | None) -> dict[str, Any]:
    """Everything for one size; prints as it goes."""
    folder = Path(tempfile.mkdtemp(prefix="bench-growth-", dir=keep))
    try:
        layout = Layout(str(folder))
        made = plan(size, chain, new)
        before = Plan(made.cluster[:size], made.member[:size])
        segments = write_documents(layout, made, 0, size, 0)
        signing = sign(layout, range(segments))
        print(f"{size:,} documents: signing {signing:.1f} CPU-s, {1000 * signing / size:.3f} per 1,000", flush=True)
        whole = cluster(layout, before, verified)
        print(f"  all of them: {told(whole)}", flush=True)
        write_documents(layout, made, size, size + new, segments)
        sign(layout, range(segments, segments + 1))
        added = cluster(layout, made, verified)
        print(f"  {new:,} more: {told(added)}", flush=True)
        states = subprocess.run(["du", "-sm", str(folder)], capture_output=True, text=True, check=False).stdout.split()
        return {
            "documents": size,
            "signing_cpu_seconds": round(signing, 1),
            "all": asdict(whole),
            "new": asdict(added),
            "disk_mb": int(states[0]),
        }
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def told(run: Clustering) -> str:
    """One line on a run."""
    wrong = "every planted cluster found" if not run.wrong else f"{run.wrong:,} DOCUMENTS IN A WRONG CLUSTER"
    numbers = ", ".join(f"{name} {value:,}" for name, value in run.numbers.items() if isinstance(value, int))
    return (
        f"{run.seconds:.1f} s (process {run.wall:.1f} s), {run.cpu:.1f} CPU-s, peak {run.peak_mb:,} MiB; {wrong}; "
        f"{numbers}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100000,1000000", help="documents, smallest first")
    parser.add_argument("--new", type=int, default=10_000)
    parser.add_argument("--verified", default="default", help="verified_jaccard: a number, none, or default")
    parser.add_argument("--keep", type=Path, help="a folder in which to leave what was made")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--cluster", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cluster:
        return cluster_here(given.cluster, given.verified)
    sizes = [2_000] if given.smoke else [int(size) for size in given.sizes.split(",")]
    new, chain = (200, 300) if given.smoke else (given.new, CHAIN)
    runs = [grow(size, new, chain, given.verified, given.keep) for size in sizes]
    first, last = runs[0], runs[-1]
    factor = last["all"]["seconds"] / first["all"]["seconds"]
    result: dict[str, Any] = {"bench": "dedup_growth", "ours": round(factor, 2)}
    result |= {"peer": round(last["documents"] / first["documents"], 2), "peer_name": "growth of the documents"}
    result |= {"unit": f"times as long for {last['documents']:,} documents as for {first['documents']:,}"}
    result |= {"ratio": round(last["documents"] / first["documents"] / factor, 2), "runs": runs}
    print(json.dumps(result))
    return 1 if any(run[part]["wrong"] for run in runs for part in ("all", "new")) else 0


if __name__ == "__main__":
    sys.exit(main())
