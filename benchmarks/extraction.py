"""Main-content extraction: precision, recall, F1 and speed of ours and of four peers on every gold set.

    python -m benchmarks.extraction [--gold FILE]… [--only-given] [--limit N] [--smoke]

Gold sets: the hand-made pages of mozilla/readability, the documentation pages of benchmarks/gold.py, and any JSONL of
{"id", "html", "text"} given by --gold. The measure is that of benchmarks/shingles.py. Each extractor runs in a process
of its own (benchmarks/extractors.py), the peers in their own environment; decoding is in nobody's time. --smoke: a few
pages made here, ours and resiliparse (which is installed with us), in seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gold import SHARED, GoldPage, debdocs_pages, file_pages, readability_pages, write_pages
from benchmarks.peers import REPOSITORY, interpreter
from benchmarks.shingles import Score, f1, macro_score, page_score

PEERS = ("trafilatura", "trafilatura-fast", "trafilatura-precision", "resiliparse", "readability-lxml")
SPEED_PEER = "trafilatura-fast"


@dataclass(frozen=True)
class Result:
    """One extractor on one gold set."""

    score: Score
    pages: int
    failed: int
    cpu: float  # seconds
    by_family: dict[str, Score]

    @property
    def pages_per_second(self) -> float:
        """Pages per second of one core."""
        return self.pages / self.cpu if self.cpu else 0.0


def run(name: str, python: str, pages: Sequence[GoldPage], folder: Path) -> Result | None:
    """Run one extractor over `pages`; None, and a line that says why, where it can't run."""
    source, target = folder / "pages.jsonl", folder / f"{name}.jsonl"
    program = str(Path(__file__).with_name("extractors.py"))
    done = subprocess.run(
        [python, "-P", program, name, str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    if done.returncode:
        print(f"{name:22} did not run: {done.stderr.strip().splitlines()[-1:]}")
        return None
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    texts = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    families: dict[str, list[Score]] = defaultdict(list)
    scores: list[Score] = []
    for page, text in zip(pages, texts, strict=True):
        scores.append(page_score(text, page.text))
        families[page.family].append(scores[-1])
    by_family = {family: macro_score(found) for family, found in sorted(families.items())}
    return Result(macro_score(scores), said["pages"], said["failed"], said["cpu"], by_family)


def smoke_pages() -> list[GoldPage]:
    """Three pages whose main content nobody doubts."""
    pages = []
    for number, name in enumerate(("harbour", "library", "orchard")):
        sentences = [
            f"The {name} was described in chapter {count} of the book, and the description was read by many people."
            for count in range(12)
        ]
        paragraphs = "".join(f"<p>{sentence}</p>" for sentence in sentences)
        menu = "".join(f'<li><a href="/{count}">Entry {count}</a></li>' for count in range(20))
        html = (
            f"<html><head><title>{name}</title></head><body><nav class=menu><ul>{menu}</ul></nav>"
            f"<main><article>{paragraphs}</article></main><footer>Imprint and contact</footer></body></html>"
        )
        pages.append(GoldPage(str(number), html, "\n".join(sentences), "smoke"))
    return pages


def gold_sets(given: argparse.Namespace) -> dict[str, list[GoldPage]]:
    """Name to pages of every gold set that can be found."""
    if given.smoke:
        return {"smoke": smoke_pages()}
    sets: dict[str, list[GoldPage]] = {}
    if not given.only_given:
        if (SHARED / "data").is_dir():
            sets |= {"readability": list(readability_pages()), "debdocs": list(debdocs_pages())}
        else:
            print("no development data: give --gold FILE, or GRISTMILL_SHARED")
    for path in given.gold:
        sets[path.name.partition(".")[0]] = list(file_pages(path))
    return {name: pages[:: -(-len(pages) // given.limit)] if given.limit else pages for name, pages in sets.items()}


def report(name: str, pages: Sequence[GoldPage], results: dict[str, Result]) -> dict[str, Any]:
    """Print the table of one gold set; return its figures."""
    print(f"\n{name}: {len(pages):,} pages, {sum(len(page.html) for page in pages) / 1e6:.1f} M characters of HTML")
    print(f"{'':22} {'P':>6} {'R':>6} {'F1':>6} {'of means':>8} {'pages/s/core':>13} {'CPU-s/1,000':>12} {'failed':>7}")
    for extractor, result in results.items():
        score = result.score
        print(
            f"{extractor:22} {score.precision:>6.3f} {score.recall:>6.3f} {score.f1:>6.3f} "
            f"{f1(score.precision, score.recall):>8.3f} "
            f"{result.pages_per_second:>13.1f} {1000 * result.cpu / result.pages:>12.2f} {result.failed:>7}"
        )
    if "ours" in results and len(results["ours"].by_family) > 1:
        print("F1 by family, " + ", ".join(results) + ":")
        for family in results["ours"].by_family:
            print(f"  {family:20} " + " ".join(f"{result.by_family[family].f1:.3f}" for result in results.values()))
    figures = {
        extractor: {
            "precision": round(result.score.precision, 4),
            "recall": round(result.score.recall, 4),
            "f1": round(result.score.f1, 4),
            "f1_of_means": round(f1(result.score.precision, result.score.recall), 4),
            "pages_per_s": round(result.pages_per_second, 1),
        }
        for extractor, result in results.items()
    }
    peers = {extractor: result.score.f1 for extractor, result in results.items() if extractor != "ours"}
    best = max(peers, key=lambda extractor: peers[extractor], default=None)
    return {"pages": len(pages), "best_peer": best, "extractors": figures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gold", type=Path, action="append", default=[], help="a JSONL file of id, html, text")
    parser.add_argument("--only-given", action="store_true", help="no other gold set than those of --gold")
    parser.add_argument("--limit", type=int, help="about N pages of each set, evenly spread")
    parser.add_argument("--only", help="these extractors alone, by commas")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    peer_python = sys.executable if given.smoke else str(interpreter("extraction") or "")
    peers = ("resiliparse",) if given.smoke else PEERS if peer_python else ()
    names = given.only.split(",") if given.only else ("ours", *peers)
    sets = gold_sets(given)
    figures: dict[str, Any] = {}
    cpu: dict[str, float] = defaultdict(float)
    for set_name, pages in sets.items():
        with tempfile.TemporaryDirectory(prefix="bench-extraction-") as folder:
            write_pages(pages, Path(folder) / "pages.jsonl")
            found = {
                name: run(name, sys.executable if name == "ours" else peer_python, pages, Path(folder))
                for name in names
            }
        results = {name: result for name, result in found.items() if result is not None}
        figures[set_name] = report(set_name, pages, results)
        for name, result in results.items():
            cpu[name] += result.cpu
    total = sum(len(pages) for pages in sets.values())
    ours, peer = (round(total / cpu[name], 1) if cpu.get(name) else None for name in ("ours", SPEED_PEER))
    result = {
        "bench": "extraction",
        "ours": ours,
        "peer": peer,
        "peer_name": SPEED_PEER,
        "unit": "pages/s/core, all sets together",
        "ratio": round(ours / peer, 2) if ours and peer else None,
        "sets": figures,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
