"""Memory of one Spark Python worker over a large crawl: is it flat?

    python -m benchmarks.memory [--gigabytes 2] [--warc DIR] [--through extracted_documents] [--smoke]

The WARC files of the development data are repeated under other names until they weigh that much, registered as one
segment, and run with `local[1]`, so that one worker reads all of it. Its resident memory, and that of the process it
parses pages in, are read from /proc each second. Flatness is the highest resident memory of the last quarter of the
time over that of the second quarter (the first is warming up): 1.0 is flat. --smoke: one tiny page in a local run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import warcs
from benchmarks.gold import SHARED

SAMPLE_SECONDS = 1.0
ROLES = {"pyspark.daemon": "worker", "pipelines.crawl.sandbox": "page process"}


@dataclass(frozen=True)
class Sample:
    """Memory of one process at one moment."""

    seconds: float  # since the run began
    pid: int
    resident: int  # bytes
    peak: int  # bytes, the kernel's high-water mark


def watch(command: list[str], environment: dict[str, str]) -> tuple[int, dict[str, list[Sample]]]:
    """Run `command`; returns its exit code and the samples of each role's processes."""
    samples: dict[str, list[Sample]] = defaultdict(list)
    started = time.monotonic()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    root = psutil.Process(child.pid)
    while child.poll() is None:
        try:
            tree = root.children(recursive=True)
        except psutil.Error:
            break
        for process in tree:
            role = _role(process)
            memory = _memory(process.pid) if role else None
            if role and memory:
                samples[role].append(Sample(time.monotonic() - started, process.pid, *memory))
        time.sleep(SAMPLE_SECONDS)
    return child.wait(), samples


def _role(process: psutil.Process) -> str | None:
    """What a process is; the daemon that only forks workers is none, its children are the workers."""
    try:
        line = " ".join(process.cmdline())
        role = next((role for mark, role in ROLES.items() if mark in line), None)
        parent = process.parent()
        if role == "worker" and (parent is None or "pyspark.daemon" not in parent.cmdline()):
            return None
    except psutil.Error:
        return None
    return role


def _memory(pid: int) -> tuple[int, int] | None:
    """Resident memory and its peak in bytes; None if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    if "VmRSS" not in fields:
        return None
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["VmHWM"].split()[0]) * 1024


def flatness(samples: list[Sample]) -> tuple[int, int, float]:
    """Highest resident bytes of the second and of the last quarter of the time, and their ratio."""
    if not samples:
        return 0, 0, 0.0
    first, last = samples[0].seconds, samples[-1].seconds
    quarters: list[int] = [0, 0, 0, 0]
    for sample in samples:
        quarter = min(int(4 * (sample.seconds - first) / max(last - first, 1e-9)), 3)
        quarters[quarter] = max(quarters[quarter], sample.resident)
    early = quarters[1] or quarters[0]
    late = quarters[3] or early
    return early, late, late / early


def medians(samples: list[Sample]) -> list[int]:
    """Median resident bytes of each quarter of the samples, which shows a slow drift that peaks hide."""
    quarter = max(len(samples) // 4, 1)
    parts = [samples[start : start + quarter] for start in range(0, len(samples), quarter)][:4]
    return [int(statistics.median(sample.resident for sample in part)) for part in parts]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of WARC, as stored")
    parser.add_argument("--warc", type=Path, default=SHARED / "data" / "crawls" / "debdocs")
    parser.add_argument("--through", default="extracted_documents")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        source, home = Path(folder) / "warc", Path(folder) / "home"
        if given.smoke:
            warcs.tiny(source)
            size = sum(path.stat().st_size for path in source.iterdir())
        else:
            paths = sorted(given.warc.glob("*.warc.gz"))
            if not paths:
                raise SystemExit(f"no WARC files in {given.warc}: give --warc FOLDER, or GRISTMILL_SHARED")
            size = warcs.repeated(paths, int(given.gigabytes * 1e9), source)
        environment = os.environ | {"GRISTMILL_HOME": str(home), "GRISTMILL_SPARK_MASTER": "local[1]"}
        gristmill = str(Path(sys.executable).with_name("gristmill"))
        subprocess.run(
            [gristmill, "corpus", "add", "large", str(source), "--segments", "1"], env=environment, check=True
        )
        started = time.monotonic()
        code, samples = watch([gristmill, "run", "large", "--through", given.through], environment)
        seconds = time.monotonic() - started
        shutil.rmtree(home, ignore_errors=True)
    figures = {}
    for role, found in sorted(samples.items()):
        early, late, ratio = flatness(found)
        peak = max(sample.peak for sample in found)
        figures[role.replace(" ", "_")] = {
            "peak_mb": round(peak / 1e6),
            "second_quarter_mb": round(early / 1e6),
            "last_quarter_mb": round(late / 1e6),
            "flatness": round(ratio, 3),
            "quarter_medians_mb": [round(resident / 1e6) for resident in medians(found)],
            "processes": len({sample.pid for sample in found}),
        }
        step = max(len(found) // 20, 1)
        curve = ", ".join(f"{sample.resident / 1e6:.0f}" for sample in found[::step])
        print(f"{role}: resident MB over time: {curve}; peak {peak / 1e6:.0f} MB")
    worker = figures.get("worker", {})
    result = {"bench": "memory", "ours": worker.get("peak_mb"), "peer": None, "peer_name": None, "unit": "MB, peak"}
    result |= {"ratio": None, "warc_gb": round(size / 1e9, 3), "seconds": round(seconds, 1), "exit_code": code}
    print(json.dumps(result | figures))
    return code


if __name__ == "__main__":
    sys.exit(main())
