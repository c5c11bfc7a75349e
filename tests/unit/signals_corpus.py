"""A corpus of made-up texts through the two stages that store signals, without Spark."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import build
from pipelines.commit import Attempt
from pipelines.crawl.corpora import add_corpus
from pipelines.parts import run_part
from pipelines.plan import plan
from pipelines.schema import DOCUMENT_SCHEMA
from pipelines.spark.run import report_of
from pipelines.stages import stage

LANGUAGE, QUALITY = "language_filtered_documents", "quality_filtered_documents"
PARTITION = Partition("toy", "00000")
_ENGLISH = (
    "The old miller walked to the river before dawn to see whether the flood had reached the wheel.",
    "Nobody in the village had slept, and most of them stood on the bridge with lanterns.",
    "He asked a boy what the water had done; the boy said it had taken two boats and a fence.",
    "By noon the sun was out again, and people began to laugh about what had frightened them.",
    "She had kept the letters of her brother in a box that nobody but the cat ever opened.",
    "There was no road to the farm, so that every visitor came with wet boots and a long story.",
)
_GERMAN = (
    "Der alte Müller ging vor Tagesanbruch zum Fluss, um nach dem Rad zu sehen.",
    "Niemand im Dorf hatte geschlafen, und die meisten standen mit Laternen auf der Brücke.",
)


def texts(count: int, seed: int = 3) -> list[str]:
    """Prose, short notes, lists, repetitions and German, so that many rules have something to say."""
    order = random.Random(seed)

    def one() -> str:
        kind = order.randrange(8)
        sentences = [order.choice(_ENGLISH) for _ in range(order.randint(1, 14))]
        if kind == 0:
            return " ".join(order.choice(_GERMAN) for _ in range(order.randint(1, 9)))
        if kind == 1:
            return "\n".join(f"- {sentence}" for sentence in sentences)
        if kind == 2:
            return "\n".join(sentences)
        if kind == 3:
            return " ".join(f"{sentence} # {order.randrange(10**6)} ..." for sentence in sentences)
        if kind == 4:
            return "\n".join(word for sentence in sentences for word in sentence.split())
        fresh = [" ".join(order.sample(" ".join(_ENGLISH).split(), 12)) + "." for _ in range(order.randint(2, 16))]
        return "\n".join(fresh)

    return [one() for _ in range(count)]


def write_extracted(layout: Layout, parts: Sequence[Sequence[str]], fingerprint: str = "first") -> None:
    """`extracted_documents` of one segment, as if committed."""
    folder = Path(layout.partition_dir("extracted_documents", PARTITION))
    folder.mkdir(parents=True, exist_ok=True)
    rows_in = 0
    for number, part in enumerate(parts):
        rows = [
            {
                "doc_id": f"{hash_like(number, row)}",
                "url": f"https://toy.example/{number}/{row}",
                "corpus": "toy",
                "segment": "00000",
                "warc_file": "toy",
                "warc_offset": row,
                "text": text,
            }
            for row, text in enumerate(part)
        ]
        rows_in += len(rows)
        pq.write_table(pa.Table.from_pylist(rows, DOCUMENT_SCHEMA), folder / f"part-{number:05d}.parquet")
    report = {"fingerprint": fingerprint, "rows_in": rows_in, "rows_kept": rows_in, "rows_rejected": {}, "inputs": {}}
    layout.write_json(f"{folder}/report.json", report)


def hash_like(part: int, row: int) -> str:
    """32 hex digits in no order."""
    return f"{random.Random(part * 100_003 + row).getrandbits(128):032x}"


def register(layout: Layout, folder: Path) -> None:
    """A corpus `toy` of one segment, so that the funnel knows it."""
    folder.mkdir(exist_ok=True)
    (folder / "toy.txt").write_text("A text.\n")
    add_corpus(layout, "toy", [str(folder)], segments=1)


def run_stage(layout: Layout, name: str, settings: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """What a worker does for one partition; returns the report that stands then."""
    row = stage(name)
    made = plan(layout, row, PARTITION, build(row.settings_class, settings or {}, "test"), **options)
    if made.is_current:
        assert made.committed is not None
        return made.committed | {"is_reused": True}
    with Attempt(layout, name, PARTITION) as attempt:
        results = [run_part(replace(task, folder=attempt.folder)) for task in made.tasks]
        report = report_of(made, results)
        attempt.commit(report)
    return report


def sums(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Kind, name and sha256 of every file of a partition."""
    files = [*report["files"], *report["quarantine_files"], *report["signal_files"]]
    return sorted((f["kind"], f["name"], f["sha256"]) for f in files)
