"""Documents, tokenizers and shards for the tests of the token stages and the loader."""

import hashlib
import posixpath
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.commit import now
from pipelines.parts import PartResult, PartTask, PartWriter
from pipelines.schema import DOCUMENT_SCHEMA
from pipelines.tokens import mixture, shards, tokenizer

SENTENCE = """the miller carried seven sacks of grain across a narrow bridge while rain fell on her village and
nobody there remembered how long the river had been rising since autumn began with storms from western hills"""
WORDS = SENTENCE.split()


class SilentReporter(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def story(number: int, words: int = 60) -> str:
    digest = hashlib.sha256(str(number).encode()).digest()
    picked = [WORDS[(digest[i % 32] + i // 32) % len(WORDS)] for i in range(words)]
    return " ".join(picked) + f", {number}.\n"


def doc_id(corpus: str, number: int) -> str:
    return hashlib.blake2b(f"{corpus} {number}".encode(), digest_size=16).hexdigest()


def write_documents(
    layout: Layout, corpus: str, segment: str, parts: Sequence[Sequence[str]], *, ids: str = "", language: str = "en"
) -> Partition:
    """A committed partition of clean_documents; document ids are numbered over the segment, or over `ids`."""
    partition = Partition(corpus, segment)
    folder = layout.partition_dir("clean_documents", partition)
    shutil.rmtree(folder, ignore_errors=True)
    layout.fs.makedirs(folder)
    number, files = 0, []
    for index, texts in enumerate(parts):
        rows: list[dict[str, Any]] = []
        for text in texts:
            name = doc_id(ids or f"{corpus}{segment}", number)
            rows.append({"doc_id": name, "text": text, "corpus": corpus, "language": language})
            number += 1
        writer = PartWriter(layout, posixpath.join(folder, f"part-{index:05d}.parquet"))
        writer.write(pa.RecordBatch.from_pylist(rows, schema=DOCUMENT_SCHEMA))
        files.append(writer.close())
    sizes = sum(len(text.encode()) for texts in parts for text in texts)
    mark = hashlib.sha256("".join(str(f and f["sha256"]) for f in files).encode()).hexdigest()[:32]
    report = {"fingerprint": mark, "rows_in": number, "rows_kept": number, "text_bytes_out": sizes, "created_at": now()}
    layout.write_json(posixpath.join(folder, "report.json"), report)
    return partition


def train(layout: Layout, **settings: Any) -> dict[str, Any]:
    asked = {"vocabulary_size": 320, "reserved_tokens": 0, "heldout_fraction": 0, "compare_with": ()} | settings
    return tokenizer.run(layout, tokenizer.Settings(**asked), SilentReporter())


def pack(layout: Layout, partition: Partition, **settings: Any) -> PartResult:
    """Pack a segment as Spark would, and commit it."""
    final = Path(layout.partition_dir("token_shards", partition))
    attempt = Path(layout.new_temporary_dir("token_shards", partition))
    task = PartTask(
        stage="token_shards",
        root=layout.root,
        corpus=partition.corpus,
        segment=str(partition.segment),
        source=layout.partition_dir("clean_documents", partition),
        part="segment",
        folder=str(attempt),
        settings={"sequence_length": 32, "heldout_fraction": 0.1, **settings},
    )
    result = shards.pack_segment(task)
    shutil.rmtree(final, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    (attempt / "output").rename(final)
    layout.write_json(str(final / "report.json"), {"fingerprint": result.files[-1]["sha256"][:32], "created_at": now()})
    return result


def mix(layout: Layout, **settings: Any) -> dict[str, Any]:
    return mixture.run(layout, mixture.Settings(**settings), SilentReporter())


def make_corpora(layout: Layout, sizes: dict[str, int], segments: int = 2, **settings: Any) -> None:
    """Documents, one tokenizer and shards of several corpora."""
    partitions = [
        write_documents(layout, corpus, f"{s:05d}", [[story(1000 * s + i) for i in range(documents)]])
        for corpus, documents in sizes.items()
        for s in range(segments)
    ]
    train(layout)
    for partition in partitions:
        pack(layout, partition, **settings)
