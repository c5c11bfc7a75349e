"""Hostile pages one by one through the extraction stage: what became of each, what it cost, and who else suffered.

Each case is a crawl file of three pages: a good one, the hostile one, another good one. It is run in a process of its
own, whose CPU time and peak memory (the reader's and its page reader's) are taken when it ends. The peer is the same
file read with FastWARC and resiliparse in the usual loop without limits, stopped after PEER_CPU_SECONDS.

    python -m benchmarks.hostile [--case NAME …] [--no-peer] [--table docs/bad-input.md]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.hostile_cases import CASES, GOOD_URLS, write_case

PEER_CPU_SECONDS, PEER_MEMORY = 30, 4 << 30
BOUND_CPU_SECONDS, BOUND_MB = 25.0, 2000.0  # the default limit of a page, the two good pages and two starts


@dataclass(frozen=True)
class Cost:
    """What became of one case."""

    fate: str
    neighbours: int  # good pages kept, of two
    cpu_seconds: float
    reader_mb: float  # peak of the process that reads the file
    page_mb: float  # peak of the process that reads pages

    @property
    def is_contained(self) -> bool:
        """Whether the page cost nobody but itself, within bounds."""
        is_cheap = self.cpu_seconds <= BOUND_CPU_SECONDS and max(self.reader_mb, self.page_mb) <= BOUND_MB
        return self.neighbours == len(GOOD_URLS) and is_cheap


def _cpu_and_memory() -> tuple[float, float, float]:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return seconds, own.ru_maxrss / 1024, children.ru_maxrss / 1024


def run_ours(path: Path, says: str) -> Cost:
    """The file through `run_part`, in this process."""
    import pyarrow.parquet as pq

    from gristmill.core.layout import Layout
    from gristmill.core.settings import to_plain
    from pipelines.crawl import extraction, sandbox
    from pipelines.crawl.corpora import add_corpus
    from pipelines.parts import PartTask, run_part

    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder) / "home")
        file = add_corpus(layout, "c", [str(path)]).files[0]
        attempt = Path(folder) / "attempt"
        for name in ("output", "quarantine", "signals"):
            (attempt / name).mkdir(parents=True)
        settings = to_plain(extraction.Settings())
        seconds_before = _cpu_and_memory()[0]
        task = PartTask(
            "extracted_documents",
            layout.root,
            "c",
            file.segment,
            file.path,
            "part-00000.parquet",
            str(attempt),
            settings,
        )
        run_part(task)
        sandbox.close()
        seconds, reader, page = _cpu_and_memory()
        kept: list[dict[str, Any]] = pq.read_table(attempt / "output" / task.part).to_pylist()
        lost: list[dict[str, Any]] = pq.read_table(attempt / "quarantine" / task.part).to_pylist()
    good = sum(row["url"] in GOOD_URLS for row in kept)
    fates = Counter(str(row["reason"]) for row in lost)
    hostile = [row for row in kept if row["url"] not in GOOD_URLS]
    fates["kept" if all(says in row["text"] for row in hostile) else "kept with another text"] = len(hostile)
    fate = ", ".join(name if count == 1 else f"{count} × {name}" for name, count in fates.items() if count) or "no row"
    return Cost(fate, good, seconds - seconds_before, reader, page)


def run_peer(path: Path) -> int:
    """Good pages that a loop over FastWARC and resiliparse comes to, in this process."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    done = 0
    with path.open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response):
            body = record.reader.read()
            extract_plain_text(bytes_to_str(body, detect_encoding(body)), main_content=True)
            done += record.headers.get("WARC-Target-URI") in GOOD_URLS
    return done


def _in_a_process(name: str, path: Path, who: str) -> dict[str, Any] | None:
    """Run one case as `who`, ours or peer; None where the process did not come to its end."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--case", name, "--run", who, "--file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if who == "ours":
            raise SystemExit(f"case {name}: exit code {done.returncode}\n{done.stderr}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def _table(costs: dict[str, Cost]) -> str:
    lines = [
        "| case | what became of it | good neighbours kept | CPU-s | MB, reader | MB, page reader |",
        "|---|---|---|---|---|---|",
    ]
    for name, cost in costs.items():
        what = CASES[name].what.replace("|", "\\|")
        lines.append(
            f"| {what} | `{cost.fate}` | {cost.neighbours} of {len(GOOD_URLS)} | {cost.cpu_seconds:.1f} "
            f"| {cost.reader_mb:.0f} | {cost.page_mb:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the cases and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=list(CASES), help="only these")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--table", type=Path, help="a Markdown file whose table, between its markers, is written again")
    parser.add_argument("--run", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run == "ours":
        print(json.dumps(asdict(run_ours(given.file, CASES[given.case[0]].says))))
        return
    if given.run == "peer":
        resource.setrlimit(resource.RLIMIT_CPU, (PEER_CPU_SECONDS, PEER_CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_DATA, (PEER_MEMORY, PEER_MEMORY))
        print(json.dumps({"neighbours": run_peer(given.file)}))
        return
    costs: dict[str, Cost] = {}
    peers = 0
    for name in given.case or CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = write_case(CASES[name], Path(folder))
            found = _in_a_process(name, path, "ours")
            assert found is not None
            cost = costs[name] = Cost(**found)
            peer = None if given.no_peer else _in_a_process(name, path, "peer")
            peers += peer is not None and peer["neighbours"] == len(GOOD_URLS)
        verdict = "" if cost.is_contained else "  NOT CONTAINED"
        print(
            f"{name:28} {cost.fate:26} neighbours {cost.neighbours}  {cost.cpu_seconds:6.2f} CPU-s "
            f"{cost.reader_mb:6.0f} + {cost.page_mb:5.0f} MB  peer {peer and peer['neighbours']}{verdict}",
            flush=True,
        )
    if given.table:
        text = given.table.read_text(encoding="utf-8")
        begin, rest = text.split("<!-- table -->", 1)
        end = rest.split("<!-- end of table -->", 1)[1]
        given.table.write_text(f"{begin}<!-- table -->\n{_table(costs)}\n<!-- end of table -->{end}", encoding="utf-8")
    ours = sum(cost.is_contained for cost in costs.values())
    print(
        json.dumps(
            {
                "bench": "hostile",
                "ours": ours,
                "peer": peers,
                "peer_name": f"FastWARC and resiliparse without limits, {PEER_CPU_SECONDS} CPU-s",
                "unit": f"hostile files of {len(costs)} whose other pages are all kept, within {BOUND_CPU_SECONDS:g} "
                f"CPU-s and {BOUND_MB:g} MB",
                "ratio": round(ours / peers, 2) if peers else None,
            }
        )
    )


if __name__ == "__main__":
    main()
