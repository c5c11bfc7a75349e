"""A takedown of one host from end to end, as a user does it: what is said, what is rebuilt, what it costs.

    python -m benchmarks.takedown [--home DIR] [--light]

Two crawls (`docs`: debdocs, `web`: realweb, many hosts) and `mirror`, a corpus that has copies of a host's pages under
another name, go to token shards, compared with each other; a tiny model is trained on them. Then the host is taken
down. Each step is printed with what was found by lines that use nothing of the takedown code: the files that changed,
the text of the pages wherever it might lie. The last line compares the CPU seconds of taking the documents out of
`extracted_documents` with those of extracting the same segment again, which gives the same bytes.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.gold import SHARED
from benchmarks.usage import measured

SETTINGS = """\
duplicate_clusters: {scope: all, preferred_corpora: [web]}
tokenizer: {vocabulary_size: 2048, sample_mb: 4}
token_shards: {sequence_length: 128, heldout_fraction: 0.02}
pretrained_model: {model: tiny, steps: 20, global_batch_size: 16, warmup_steps: 2, sample_tokens: 0}
"""
STAGES = (
    *("extracted_documents", "language_filtered_documents", "quality_filtered_documents", "minhash_signatures"),
    *("duplicate_clusters", "deduplicated_documents", "clean_documents", "token_shards", "training_mixture"),
    *("tokenizer", "quarantine", "signals"),
)
MIRROR = "mirror.example"
MODEL = "pretrained_model"


class Failed(SystemExit):
    """Something is not as it should be."""

    def __init__(self, what: str) -> None:
        print(f"FAILED: {what}", flush=True)
        super().__init__(1)


class Home:
    """A root, and the command line on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = os.environ | {"GRISTMILL_HOME": str(root), "PYTHONWARNINGS": "ignore"}
        self.environment.pop("DAGSTER_HOME", None)

    def gristmill(self, *words: str, is_failing: bool = False) -> str:
        """Run a command; its standard output, or what it says where it is to fail."""
        started = time.monotonic()
        program = "from gristmill.cli.main import run; run()"
        done = subprocess.run(
            [sys.executable, "-c", program, *words], env=self.environment, capture_output=True, text=True, check=False
        )
        print(
            f"$ gristmill {' '.join(words)}   [{time.monotonic() - started:.1f} s, exit {done.returncode}]", flush=True
        )
        if (done.returncode != 0) != is_failing:
            raise Failed(f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        return done.stderr if is_failing else done.stdout

    def plan(self) -> dict[str, Any]:
        """What `takedown plan --json` says."""
        return json.loads(self.gristmill("takedown", "plan", "--json"))

    def rows(self, asset: str, corpus: str, *columns: str) -> list[dict[str, Any]]:
        """All rows of a corpus at a stage."""
        parts = sorted((self.root / asset / f"corpus={corpus}").rglob("part-*.parquet"))
        return [
            row for part in parts for row in pq.read_table(part, columns=list(columns), partitioning=None).to_pylist()
        ]

    def files(self) -> dict[str, tuple[str, int]]:
        """Every file of the stages: sha256 and time of change."""
        found: dict[str, tuple[str, int]] = {}
        for stage in STAGES:
            for path in sorted((self.root / stage).rglob("*")):
                if path.is_file():
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    found[str(path.relative_to(self.root))] = (digest, path.stat().st_mtime_ns)
        return found

    def check(self) -> tuple[bool, str]:
        """What the blocking check of the model says."""
        program = (
            "import sys; from gristmill.core.layout import Layout; from assets.takedown_checks import model_is_free;"
            f"r = model_is_free(Layout(sys.argv[1]), {MODEL!r}); print(int(r.passed), r.description)"
        )
        said = subprocess.run(
            [sys.executable, "-c", program, str(self.root)], env=self.environment, capture_output=True, text=True,
            check=True,
        ).stdout.strip()  # fmt: skip
        return said.startswith("1"), said[2:]


def prepare(home: Home, *, is_light: bool) -> str:
    """Make everything up to a model; returns the host that is to go."""
    home.root.mkdir(parents=True, exist_ok=True)
    (home.root / "settings.yaml").write_text(SETTINGS)
    crawls = SHARED / "data" / "crawls"
    docs = [crawls / "debdocs" / f"DEBDOCS-DEV-0000{n}.warc.gz" for n in ((2,) if is_light else (1, 2))]
    home.gristmill("corpus", "add", "docs", *map(str, docs), "--segments", str(len(docs)))
    home.gristmill("corpus", "add", "web", str(crawls / "realweb"))
    for name in ("docs", "web"):
        home.gristmill("run", name, "--through", "minhash_signatures")
    signed = {row["doc_id"] for row in home.rows("quality_filtered_documents", "web", "doc_id")}
    pages = [r for r in home.rows("extracted_documents", "web", "doc_id", "host", "text") if r["doc_id"] in signed]
    host = Counter(r["host"] for r in pages if r["host"] != "realweb.example").most_common(1)[0][0]
    copies = [{"url": f"https://{MIRROR}/{n}", "text": r["text"]} for n, r in enumerate(pages) if r["host"] == host][:2]
    others = home.rows("quality_filtered_documents", "docs", "text")[:40]
    rows = [*copies, *({"url": f"https://{MIRROR}/o{n}", "text": r["text"]} for n, r in enumerate(others))]
    source = home.root / "crawl-mirror" / "mirror.jsonl"
    source.parent.mkdir()
    source.write_text("\n".join(map(json.dumps, rows)) + "\n")
    home.gristmill("corpus", "add", "mirror", str(source))
    for name in ("mirror", "web", "docs"):
        home.gristmill("run", name, "--through", "clean_documents")
    home.gristmill("run", "docs", "--through", "token_shards")
    for name in ("mirror", "web"):
        home.gristmill("run", name, "--through", "token_shards")
    home.gristmill("run", "web", "--through", MODEL)
    return host


def take_down(home: Home, host: str) -> None:
    """Each step, and what must be true after it."""
    page = next(r for r in home.rows("clean_documents", "web", "host", "text", "doc_id") if r["host"] == host)
    before = home.files()
    passed, said = home.check()
    print(f"the check of the model before: {passed}: {said}")
    print(home.gristmill("takedown", "add", host, "--note", "asked by mail"))
    print(home.gristmill("takedown", "plan"))
    planned = home.plan()
    [run] = planned["models"]
    if not run["steps"] or run["documents_read"] < 1:
        raise Failed("the model's steps that read it are not told")
    passed, said = home.check()
    print(f"the check of the model with the pattern: {passed}: {said}")
    if passed:
        raise Failed("the check passes while a shard in use holds what is taken down")
    print(home.gristmill("run", "docs", "--through", MODEL, is_failing=True).strip().splitlines()[-1])
    if home.files() != before:
        raise Failed("planning or a run that is refused changed files")
    print(home.gristmill("takedown", "apply"))
    after = home.files()
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    touched = sorted({path.rsplit("/", 1)[0] for path in changed})
    print(f"{len(changed):,} of {len(before):,} files changed, in:\n  " + "\n  ".join(touched))
    keys = {key for some in planned["stale"].values() for key in some}  # `whole` is what has no partitions
    wanted = {tuple(key.split("|")) for key in keys}
    for folder in touched:
        words = dict(part.split("=") for part in folder.split("/") if "=" in part)
        place = tuple(words[name] for name in ("corpus", "segment") if name in words)
        if place and place not in wanted:
            raise Failed(f"{folder} was not in the plan")
    left = [p for p in home.root.rglob("*.parquet") if holds(p, page["text"])]
    if any(row["host"] == host for row in home.rows("extracted_documents", "web", "host")):
        raise Failed("pages of the host are still there")
    copies = [p for p in left if "corpus=mirror" not in str(p)]
    print(f"the page's text lies in {len(left)} files, all of the mirror" if not copies else f"left: {copies}")
    if copies:
        raise Failed("the text of a page is still there")
    urls = [str(row["url"]) for row in home.rows("clean_documents", "mirror", "url")]
    print(f"clean_documents of mirror have {sum('/o' not in url for url in urls)} copies of its pages now")
    passed, said = home.check()
    print(f"the check of the old model: {passed}: {said}")
    if passed:
        raise Failed("the check passes before anything was trained again")
    home.gristmill("run", "docs", "--through", MODEL)
    passed, said = home.check()
    print(f"the check of the new model: {passed}: {said}")
    if not passed:
        raise Failed(said)
    print(home.gristmill("takedown", "plan"))
    if home.plan()["stale"]:
        raise Failed("something is stale after all was made again")


def holds(path: Path, text: str) -> bool:
    """Whether a Parquet file has the text in a column of that name."""
    if "text" not in pq.read_schema(path).names:
        return False
    return text in pq.ParquetFile(path).read(["text"]).column(0).to_pylist()


def costs(home: Home, host: str) -> tuple[float, float]:
    """CPU seconds of carving and of extracting again, over what starting the worker costs; the bytes must be equal."""
    worker = [sys.executable, "-m", "pipelines.worker", "extracted_documents", "--partition", "docs|00000"]
    prefix = pages_prefix(home)
    nothing = min(measured(worker, env=home.environment).cpu for _ in range(2))
    home.gristmill("takedown", "add", prefix)
    carved = measured(worker, env=home.environment)
    files = {p: d for p, (d, _) in home.files().items() if "extracted_documents/corpus=docs" in p and p.endswith("et")}
    again = measured([*worker, "--force"], env=home.environment)
    same = {p: d for p, (d, _) in home.files().items() if "extracted_documents/corpus=docs" in p and p.endswith("et")}
    print("\n".join(line for line in carved.output.splitlines() if "taken down" in line))
    if carved.exit_code or again.exit_code or files != same:
        raise Failed(f"carving and extracting again differ:\n{carved.output}\n{again.output}")
    print(f"{len(files)} files of docs are the same bytes, carved and extracted again ({host} aside, {prefix})")
    return carved.cpu - nothing, again.cpu - nothing


def pages_prefix(home: Home) -> str:
    """The first folder of most pages of `docs`, as a pattern."""
    urls = [str(row["url"]) for row in home.rows("extracted_documents", "docs", "url")]
    return Counter("/".join(url.split("/")[:4]) for url in urls).most_common(1)[0][0] + "/*"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="default: a temporary folder that is removed")
    parser.add_argument("--light", action="store_true", help="one WARC file of debdocs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(given.home or Path(folder) / "home")
        host = prepare(home, is_light=given.light)
        take_down(home, host)
        ours, peer = costs(home, host)
    print(
        json.dumps(
            {
                "bench": "takedown",
                "ours": round(ours, 2),
                "peer": round(peer, 2),
                "peer_name": "extracting the segment again",
                "unit": "CPU seconds to take pages out of a segment of extracted_documents",
                "ratio": round(peer / max(ours, 1e-3), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
