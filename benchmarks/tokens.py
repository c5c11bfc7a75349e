"""Tokenize and pack: Parquet of documents to shards, against the bare tokenizer over texts that are in memory.

    python -m benchmarks.tokens [--documents FOLDER] [--home HOME] [--memory 0.2,0.6,2] [--skip-peer] [--smoke]

Ours is `pack_segment`, which token_shards runs in each Spark task: read Parquet, encode, pack, write shards and spans,
hash them. The raw call is `tokenizers.encode_batch` over the same texts in batches of a million characters, read and
decoded beforehand, its result thrown away; `encode_batch_fast`, which leaves offsets out, is shown beside it. Each
runs in a process of its own, with one thread and with two, cold; CPU seconds are those of that part alone, imports and
loading the tokenizer (once for each) left out for the raw call and left in for ours. The peer is datatrove's
DocumentTokenizer over the same Parquet with the same tokenizer.json, in its own environment, start-up taken off. The
documents are those that the first three stages keep of debdocs, or the Parquet parts in FOLDER (doc_id and text); HOME
keeps them and the tokenizer for the next time.

--memory: instead, the peak of resident memory over so many GB of text, generated: lines of the documents in another
order, one word in a hundred new. The last line's `ratio` is the raw call's CPU over ours, one thread, concatenated.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.gold import SHARED
from benchmarks.peers import REPOSITORY, interpreter
from benchmarks.usage import measured

CORPUS, SEGMENT = "bench", "00000"
RAW = "tokenizers.encode_batch"
PEER = "datatrove 0.10.1 DocumentTokenizer"
BATCH_CHARACTERS = 1 << 20
SMALL_GB = 0.3
DISTINCT_TABLES = 10  # of generated text; more of it is these again
VARIANTS = ("concatenate", "best_fit")
STORY = "the miller carried seven sacks of grain across a narrow bridge while rain fell on her village. "


def segment_folder(home: Path) -> Path:
    """Where the documents lie: a committed segment of clean_documents."""
    return home / "clean_documents" / f"corpus={CORPUS}" / f"segment={SEGMENT}"


def commit_documents(home: Path, tables: Iterator[pa.Table]) -> int:
    """Write documents as a committed segment; returns the bytes of their text."""
    folder = segment_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    rows = size = number = 0
    for number, table in enumerate(tables):
        pq.write_table(table, folder / f"part-{number:05d}.parquet", compression="zstd")
        rows += table.num_rows
        size += sum(len(text.encode()) for text in table.column("text").to_pylist())
    mark = f"bench-{rows}-{size}-{number}"
    report = {"fingerprint": mark, "rows_in": rows, "rows_kept": rows, "text_bytes_out": size, "created_at": "2026"}
    (folder / "report.json").write_text(json.dumps(report))
    return size


def documents(given: argparse.Namespace, home: Path) -> Iterator[pa.Table]:
    """The documents to tokenize, one table a part."""
    if given.smoke:
        texts = [STORY * (1 + number % 7) + str(number) for number in range(50)]
        yield _table([f"{number:032x}" for number in range(50)], texts)
        return
    folder: Path | None = given.documents
    if folder is None:
        from gristmill.core.layout import Layout
        from pipelines.crawl.corpora import add_corpus

        print("extracting and filtering debdocs (about a minute)", flush=True)
        work = home / "path"
        add_corpus(Layout(str(work)), "bench", [str(SHARED / "data" / "crawls" / "debdocs")], segments=1)
        command = [sys.executable, "-m", "benchmarks.document_path", str(work), "bench"]
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
        folder = work / "attempts" / "quality_filtered_documents" / "output"
    for path in sorted(folder.rglob("part-*.parquet")):
        table = pq.ParquetFile(path).read(["doc_id", "text"])
        yield _table(table.column("doc_id").to_pylist(), [text or "" for text in table.column("text").to_pylist()])


def _table(doc_ids: list[Any], texts: list[str]) -> pa.Table:
    columns: dict[str, Any] = {"doc_id": doc_ids, "text": pa.array(texts, pa.large_string())}
    return pa.table(columns | {"language": pa.array(["en"] * len(texts), pa.string())})


def prepare(given: argparse.Namespace, home: Path) -> None:
    """Documents and a tokenizer trained on them, where they are not there yet."""
    from gristmill.core.layout import Layout
    from gristmill.core.progress import Reporter
    from pipelines.tokens import tokenizer

    if not (segment_folder(home) / "report.json").exists():
        size = commit_documents(home, documents(given, home))
        print(f"{size / 1e6:.1f} MB of text", flush=True)
    layout = Layout(str(home))
    if layout.latest(layout.join("tokenizer")) is None:
        print("training a tokenizer on it", flush=True)
        size = 300 if given.smoke else 32_000
        tokenizer.run(layout, tokenizer.Settings(sample_mb=8.0, vocabulary_size=size, compare_with=()), Reporter())


def run_part(what: str, home: Path) -> dict[str, Any]:
    """One side's work in this process: seconds, tokens and peak memory; `what` as on the hidden command line."""
    from gristmill.core.layout import Layout
    from pipelines.parts import PartTask
    from pipelines.tokens import shards

    layout = Layout(str(home))
    if what in VARIANTS:
        with tempfile.TemporaryDirectory(dir=home) as folder:
            settings = {"packing": what}
            source = str(segment_folder(home))
            task = PartTask("token_shards", str(home), CORPUS, SEGMENT, source, "segment", folder, settings)
            wall, cpu = time.monotonic(), time.process_time()
            result = shards.pack_segment(task)
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        tally = result.tally
        tokens = tally["tokens_train"] + tally["tokens_heldout"]
        documents = tally["documents_train"] + tally["documents_heldout"]
        found: dict[str, Any] = {
            "tokens": tokens - documents,  # without the end of each
            "bytes": result.text_bytes_in,
            "padding": tally["padding_train"] / max(tally["padding_train"] + tally["tokens_train"], 1),
            "documents_cut": tally["documents_cut_train"] / max(tally["documents_train"], 1),
        }
    else:
        from tokenizers import Tokenizer

        tokenizer: Any = Tokenizer.from_file(
            f"{layout.tokenizer_dir(shards.tokenizer_in_force(layout))}/tokenizer.json"
        )
        tokenizer.encode_special_tokens = True
        encode = getattr(tokenizer, what)
        batches = list(_batches(home))
        wall, cpu = time.monotonic(), time.process_time()
        tokens = sum(len(found) for batch in batches for found in encode(batch, add_special_tokens=False))
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        found = {"tokens": tokens, "bytes": sum(len(text.encode()) for batch in batches for text in batch)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found | {"wall": wall, "cpu": cpu, "peak": peak}


def _batches(home: Path) -> Iterator[list[str]]:
    batch, size = list[str](), 0
    for path in sorted(segment_folder(home).glob("part-*.parquet")):
        for text in pq.ParquetFile(path).read(["text"]).column("text").to_pylist():
            batch.append(text)
            size += len(text)
            if size >= BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def in_process(what: str, home: Path, threads: int) -> dict[str, Any]:
    """`run_part` in a process of its own with so many threads of `tokenizers`."""
    environment = os.environ | {"TOKENIZERS_PARALLELISM": str(threads > 1).lower(), "RAYON_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "benchmarks.tokens", "--part", what, "--home", str(home)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def peer(home: Path, work: Path) -> float | None:
    """CPU seconds of datatrove's tokenizer over the documents, start-up taken off."""
    python = interpreter("datatrove")
    if python is None:
        return None
    tiny = work / "tiny"
    tiny.mkdir()
    pq.write_table(_table(["0" * 32], [STORY]), tiny / "part-00000.parquet")
    tokenizer = next(iter(sorted((home / "tokenizer").glob("*/tokenizer.json"))))
    spent: list[float] = []
    for source in (tiny, segment_folder(home)):
        output = work / f"peer-{source.name}"
        script = str(Path(__file__).with_name("peer_datatrove_tokens.py"))
        environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        usage = measured([str(python), script, str(source), str(output), str(tokenizer)], env=environment)
        if usage.exit_code:
            print(f"no peer: it ended with code {usage.exit_code}: {usage.output[-500:]}")
            return None
        spent.append(usage.cpu)
    return spent[1] - spent[0]


def memory(home: Path, sizes: list[float]) -> dict[str, Any]:
    """Peak resident memory of `pack_segment` over generated text of so many GB each."""
    lines = [line for batch in _batches(home) for text in batch for line in text.splitlines(keepends=True)]
    figures: dict[str, Any] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=home) as folder:
            other = Path(folder)
            shutil.copytree(home / "tokenizer", other / "tokenizer")
            written = commit_documents(other, _generated(lines, int(size * 1e9)))
            figures[f"{size:g} GB"] = {
                what: round(in_process(what, other, 1)["peak"] / 1e6)
                for what in (VARIANTS if size <= 1 else VARIANTS[:1])
            }
            print(f"{written / 1e9:.2f} GB of text: peak resident MB {figures[f'{size:g} GB']}", flush=True)
    return figures


def _generated(lines: list[str], size: int) -> Iterator[pa.Table]:
    """Documents of about 5 KB with `size` bytes in all, some 30 MB a table."""
    chance = random.Random(0)
    tables = list[tuple[pa.Table, int]]()
    number = written = 0
    while written < size:
        if len(tables) == DISTINCT_TABLES:
            tables.append(tables.pop(0))
        else:
            ids, texts, part = list[str](), list[str](), 0
            while part < 30_000_000 and written + part < size:
                text = ""
                while len(text) < 5000:
                    text += chance.choice(lines) + (f"{chance.getrandbits(40):x} " if chance.random() < 0.2 else "")
                ids.append(f"{number:032x}")
                texts.append(text)
                number += 1
                part += len(text.encode())
            tables.append((_table(ids, texts), part))
        written += tables[-1][1]
        yield tables[-1][0]


def compare(home: Path, work: Path, *, with_peer: bool) -> dict[str, Any]:
    """Run both sides, print the table, return the figures."""
    runs = {
        (what, threads): in_process(what, home, threads)
        for threads in (1, 2)
        for what in ("encode_batch", "encode_batch_fast", *VARIANTS)
    }
    print(f"{'':20} {'threads':>7} {'wall s':>7} {'CPU-s':>7} {'MB/s':>6} {'MB/CPU-s':>8} {'peak MB':>8} {'of raw':>6}")
    for (what, threads), run in runs.items():
        raw = runs["encode_batch", threads]
        mb = run["bytes"] / 1e6
        print(
            f"{what:20} {threads:>7} {run['wall']:>7.2f} {run['cpu']:>7.2f} {mb / run['wall']:>6.1f} "
            f"{mb / run['cpu']:>8.2f} {run['peak'] / 1e6:>8.0f} {raw['cpu'] / run['cpu']:>6.2f}"
        )
    if len({run["tokens"] for run in runs.values()}) > 1:
        print(f"note: not the same tokens: { {key: run['tokens'] for key, run in runs.items()} }")
    for what in VARIANTS:
        run = runs[what, 1]
        print(f"{what}: padding {run['padding']:.2%} of the rows, {run['documents_cut']:.1%} of the documents cut")
    raw, ours = runs["encode_batch", 1], runs["concatenate", 1]
    figures: dict[str, Any] = {
        "bench": "tokens",
        "ours": round(ours["bytes"] / 1e6 / ours["cpu"], 2),
        "peer": round(raw["bytes"] / 1e6 / raw["cpu"], 2),
        "peer_name": RAW,
        "unit": "MB of text per CPU-s, one thread",
        "ratio": round(raw["cpu"] / ours["cpu"], 2),
        "ratio_wall_two_threads": round(runs["encode_batch", 2]["wall"] / runs["concatenate", 2]["wall"], 2),
        "ratio_best_fit": round(raw["cpu"] / runs["best_fit", 1]["cpu"], 2),
        "ratio_encode_batch_fast": round(runs["encode_batch_fast", 1]["cpu"] / ours["cpu"], 2),
        "tokens": ours["tokens"],
    }
    spent = peer(home, work) if with_peer else None
    if spent:
        figures["datatrove"] = round(ours["bytes"] / 1e6 / spent, 2)
        figures["ratio_datatrove"] = round(spent / ours["cpu"], 2)
        print(f"{PEER}: {spent:.1f} CPU-s without start-up, {figures['datatrove']} MB/CPU-s")
    return figures


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, help="a folder of Parquet parts with doc_id and text")
    parser.add_argument("--home", type=Path, help="keeps documents and tokenizer; default: a temporary folder")
    parser.add_argument("--memory", default="", help="GB of text to measure peak memory over, such as 0.2,0.6,2")
    parser.add_argument("--skip-peer", action="store_true", help="without datatrove")
    parser.add_argument("--smoke", action="store_true", help="fifty tiny documents, no peer: seconds")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(run_part(given.part, given.home)))
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-tokens-") as folder:
        home: Path = (given.home or Path(folder)).absolute()
        prepare(given, home)
        if given.memory:
            figures = memory(home, [float(size) for size in given.memory.split(",")])
            result: dict[str, Any] = {"bench": "tokens", "unit": "MB, peak", "peer": None, "peer_name": None}
            peaks = [peak for found in figures.values() for peak in found.values()]
            result |= {"ours": max(peaks), "ratio": None, "peaks": figures}
        else:
            result = compare(home, Path(folder), with_peer=not (given.skip_peer or given.smoke))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
