"""`gristmill trace` and `gristmill explain` as a user runs them: how long they take, and whether they tell the truth.

    python -m benchmarks.history [--home DIR] [WARC…]

Prepares a home (curation of the WARC files, a tokenizer, shards, ten training steps of a tiny model), or takes the one
in DIR that has all of it. Then it traces three steps and explains six pages: one kept, one that each of extraction,
language and quality rejected, a duplicate, and one held out. Each answer is compared with the WARC files by the few
lines below, which use gzip and nothing of Gristmill: the record at the offset has the URL; the words that the model
saw are in the page; a pass through the whole files finds the same offset.
"""

import argparse
import html
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.gold import SHARED

CORPUS = "bench"
LIMIT_SECONDS = 2.0  # of wall time a command, its start included
SETTINGS = """\
tokenizer: {vocabulary_size: 4096, sample_mb: 4}
token_shards: {sequence_length: 256, heldout_fraction: 0.03}
pretrained_model: {model: tiny, steps: 10, global_batch_size: 4, warmup_steps: 2, sample_tokens: 0}
"""
_WORD = re.compile(r"[^\W\d_]{4,}")
_TAG = re.compile(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>")
_MOST_WORDS_MISSING = 0.1  # cut words at both ends of a row, and placeholders for personal data


# -- the independent lines ---------------------------------------------------------------------------------------
def record_at(path: Path, offset: int) -> tuple[str, str]:
    """Target URI and text of the record in the gzip member at `offset`."""
    with path.open("rb") as file:
        file.seek(offset)
        data = zlib.decompressobj(wbits=31).decompress(file.read(64 << 20))
    return parsed(data)


def parsed(data: bytes) -> tuple[str, str]:
    """Target URI and text of a WARC record."""
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?im)^WARC-Target-URI:\s*(\S+)\r?$", head)
    page = body.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
    return found[1].decode() if found else "", html.unescape(_TAG.sub(" ", page))


def members(path: Path) -> Iterator[tuple[int, bytes]]:
    """Offset and content of each gzip member of a file."""
    with path.open("rb") as file:
        at, left = 0, b""
        while True:
            decoder, content, size = zlib.decompressobj(wbits=31), b"", 0
            while not decoder.eof and (data := left or file.read(1 << 16)):
                content += decoder.decompress(data)
                left, size = decoder.unused_data, size + len(data) - len(decoder.unused_data)
            if not size:
                return
            yield at, content
            at += size


def words_missing(seen: str, page: str) -> float:
    """Share of the words of `seen` that `page` has not."""
    words = _WORD.findall(seen.lower())
    there = set(_WORD.findall(page.lower()))
    return sum(word not in there for word in words) / max(len(words), 1)


# -- the measurement ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Answer:
    """One command: what it was asked, what it said, what it cost."""

    label: str
    command: tuple[str, ...]
    value: dict[str, Any]
    wall: float
    cpu: float
    verdict: str = ""


def ask(home: Path, label: str, *arguments: str) -> Answer:
    """Run a command with --json; its wall and CPU seconds."""
    command = (str(Path(sys.executable).with_name("gristmill")), *arguments, "--home", str(home), "--json")
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Answer(label, command, json.loads(done.stdout), wall, cpu)


def prepare(home: Path, warcs: Sequence[str]) -> None:
    """Curate, pack and train a little, unless a run is there."""
    if any(home.glob("models/*/*/mixture.json")):
        return
    warcs = warcs or [str(path) for path in sorted((SHARED / "data/crawls/debdocs").glob("*.warc.gz"))[-1:]]
    if not warcs:
        raise SystemExit(f"no WARC files in {SHARED}: give some, or GRISTMILL_SHARED, or --home with a trained model")
    home.mkdir(parents=True, exist_ok=True)
    (home / "settings.yaml").write_text(SETTINGS)
    gristmill = str(Path(sys.executable).with_name("gristmill"))
    for arguments in (
        [gristmill, "corpus", "add", CORPUS, *warcs],
        [gristmill, "run", CORPUS, "--through", "training_mixture"],
        [sys.executable, "-m", "training.pretrain"],
    ):
        environment = os.environ | {"GRISTMILL_HOME": str(home)}
        subprocess.run(arguments, env=environment, check=True, stdout=sys.stderr)


def chosen_pages(home: Path) -> dict[str, str]:
    """What became of a page -> its doc_id, read from the Parquet files as any program would."""
    found: dict[str, str] = {}
    for stage in ("extracted", "language_filtered", "quality_filtered", "deduplicated"):
        for path in sorted(home.glob(f"quarantine/{stage}_documents/corpus=*/*/*.parquet")):
            rows = pq.ParquetFile(path).read(["doc_id", "url"]).to_pylist()
            rows = [row for row in rows if row["url"] and "<" not in row["url"]]
            if rows:
                found[f"rejected by {stage}_documents"] = rows[len(rows) // 2]["doc_id"]
                break
    for split, label in (("train", "kept"), ("heldout", "held out")):
        for path in sorted(home.glob(f"token_shards/corpus=*/*/spans-{split}-*.parquet")):
            ids = pq.ParquetFile(path).read(["doc_id"]).column(0).to_pylist()
            found.setdefault(label, ids[len(ids) // 2])
    return found


def warc_paths(home: Path) -> dict[str, Path]:
    """The crawl files by the names that documents have."""
    registrations = [json.loads(path.read_text()) for path in home.glob("corpora/*.json")]
    return {file["name"]: Path(file["path"]) for found in registrations for file in found["files"]}


def check_trace(answer: Answer, files: dict[str, Path]) -> str:
    """Compare what a step read with the pages in the crawl files."""
    documents = 0
    for sequence in answer.value["sequences"]:
        texts = {(piece["start"], piece["doc_id"]): piece["text"] for piece in sequence["text"]}
        for span in sequence["spans"]:
            url, page = record_at(files[span["warc_file"]], span["warc_offset"])
            if url != span["url"]:
                return f"WRONG: at byte {span['warc_offset']} of {span['warc_file']} is {url}, not {span['url']}"
            missing = words_missing(texts[span["start"], span["doc_id"]], page)
            if missing > _MOST_WORDS_MISSING and span["length"] > 32:
                return f"WRONG: {missing:.0%} of the words are not in {url}"
            documents += 1
    return f"{documents} spans found in the WARC files"


def check_explain(answer: Answer, label: str, files: dict[str, Path], places: dict[str, tuple[str, int]]) -> str:
    """Compare what is said of a page with what became of it, and its place with that of the pass over the files."""
    (found,) = answer.value["documents"]
    document = found["document"]
    rejections = [stage["stage"] for stage in found["stages"] if stage["outcome"] == "rejected"]
    expected = [label.removeprefix("rejected by ")] if label.startswith("rejected") else []
    if rejections != expected:
        return f"WRONG: rejected by {rejections}"
    if found["split"] != {"kept": "train", "held out": "heldout"}.get(label):
        return f"WRONG: split {found['split']}"
    if ("dedup" in label) != (found["representative"] is not None):
        return "WRONG: the representative"
    if label == "held out" and any(model["steps_read"] for model in found["models"]):
        return "WRONG: a step read it"
    if places.get(document["url"]) != (document["warc_file"], document["warc_offset"]):
        return f"WRONG: the pass over the files finds it at {places.get(document['url'])}"
    if record_at(files[document["warc_file"]], document["warc_offset"])[0] != document["url"]:
        return "WRONG: the record has another URL"
    return "as the WARC files say"


def pass_over(files: dict[str, Path]) -> dict[str, tuple[str, int]]:
    """URL -> file and offset of its response, from one pass over the crawl files."""
    places: dict[str, tuple[str, int]] = {}
    for name, path in files.items():
        for offset, content in members(path):
            if re.search(rb"(?im)^WARC-Type:\s*response", content[:2000]):
                head = content.partition(b"\r\n\r\n")[0]
                found = re.search(rb"(?im)^WARC-Target-URI:\s*(\S+)\r?$", head)
                if found:
                    places[found[1].decode()] = (name, offset)
    return places


def measure(home: Path) -> list[Answer]:
    """All commands, checked; the first makes the index."""
    files = warc_paths(home)
    run = sorted(home.glob("models/*/*/mixture.json"))[0].parent.name
    steps = int(json.loads(next(home.glob(f"models/*/{run}/config.json")).read_text())["steps"])
    answers: list[Answer] = []
    for step in sorted({1, (steps + 1) // 2, steps}):
        answer = ask(home, f"trace, step {step}", "trace", run, "--step", str(step), "--text")
        answers.append(replace(answer, verdict=check_trace(answer, files)))
    started = time.process_time()
    places = pass_over(files)
    scan = time.process_time() - started
    for label, doc_id in chosen_pages(home).items():
        url = ask(home, label, "explain", doc_id).value["documents"][0]["document"]["url"]
        answer = ask(home, f"explain, {label}", "explain", url)
        answers.append(replace(answer, verdict=check_explain(answer, label, files, places)))
    answers.append(
        Answer("pass over the WARC files", (), {}, scan, scan, "finds an offset, and knows nothing else of the page")
    )
    return answers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("warcs", nargs="*", help="one gzip member a record; the smallest of the development data")
    parser.add_argument("--home", type=Path, help="where the data lies or goes; a temporary folder by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gristmill-history-") as folder:
        home = given.home or Path(folder)
        prepare(home, given.warcs)
        answers = measure(home)
    asked = answers[:-1]
    for answer in answers:
        print(f"{answer.label:50} {answer.wall:6.2f} s wall {answer.cpu:6.2f} s CPU  {answer.verdict}")
    slowest = max(answer.wall for answer in asked)
    is_right = slowest < LIMIT_SECONDS and not any(a.verdict.startswith("WRONG") for a in asked)
    print(
        json.dumps(
            {
                "bench": "history",
                "ours": round(slowest, 3),
                "peer": LIMIT_SECONDS,
                "peer_name": "the limit; no other tool answers this",
                "unit": "s wall, the slowest command",
                "ratio": round(LIMIT_SECONDS / slowest, 2),
                "is_right": is_right,
            }
        )
    )
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
