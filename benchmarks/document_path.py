"""The document path alone, in one process without Spark, Dagster or the command line.

    python -m benchmarks.document_path HOME CORPUS [--stages extracted_documents,…] [--fused]

Runs every file of a registered corpus through the map stages with the runtime that Spark's workers use
(`pipelines.parts.run_part`), stage after stage with Parquet between; with --fused batch after batch through all of
them, where only the last stage's documents and every stage's quarantine are written. Prints one JSON object: documents
kept by each stage, CPU seconds of each (the process that pages are parsed in included, imports excluded), and what the
Parquet between the stages costs.
"""

import argparse
import contextlib
import json
import posixpath
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from gristmill.core.layout import Layout
from gristmill.core.settings import build, to_plain
from pipelines.crawl.corpora import load_corpus
from pipelines.parts import PartTask, PartWriter, read_part, run_part
from pipelines.stages import stage

STAGES = ("extracted_documents", "language_filtered_documents", "quality_filtered_documents")
_FOLDERS = ("output", "quarantine", "signals", "progress")


def task_for(layout: Layout, name: str, corpus: str, segment: str, source: str, part: str) -> PartTask:
    """The task of one part, with default settings, below the root's `attempts` folder."""
    folder = posixpath.join(layout.root, "attempts", name)
    for inner in _FOLDERS:
        Path(folder, inner).mkdir(parents=True, exist_ok=True)
    settings = to_plain(stage(name).settings_class())
    return PartTask(name, layout.root, corpus, segment, source, part, folder, settings)


def spent() -> float:
    """CPU seconds of this process, of its children that ended and of those that live."""
    process = psutil.Process()
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system
    return total


def run_staged(layout: Layout, corpus: str, stages: tuple[str, ...]) -> tuple[Counter[str], dict[str, float]]:
    """Documents kept and CPU seconds by stage; each stage reads what the one before wrote."""
    kept, cpu = Counter[str](), defaultdict[str, float](float)
    for number, file in enumerate(load_corpus(layout, corpus).files):
        source, part = file.path, f"part-{number:05}.parquet"
        for name in stages:
            task = task_for(layout, name, corpus, file.segment, source, part)
            started = spent()
            kept[name] += run_part(task).rows_kept
            cpu[name] += spent() - started
            source = posixpath.join(task.folder, "output", part)
    return kept, cpu


def parquet_cost(layout: Layout, stages: tuple[str, ...]) -> float:
    """CPU seconds to write and to read what lies between the stages of `run_staged`, done once more by itself."""
    started = spent()
    for name in stages[:-1]:
        folder = Path(layout.root, "attempts", name)
        for part in sorted((folder / "output").glob("*.parquet")):
            task = PartTask(name, layout.root, "", "", str(part), part.name, str(folder), {})
            writer = PartWriter(layout, str(folder / "again.parquet"))
            for batch in read_part(task):
                writer.write(batch)
            writer.close()
    return spent() - started


def run_fused(layout: Layout, corpus: str, stages: tuple[str, ...]) -> tuple[Counter[str], dict[str, float]]:
    """The same, batch after batch through all stages; `all` is the CPU of everything."""
    kept = Counter[str]()
    started = spent()
    for number, file in enumerate(load_corpus(layout, corpus).files):
        part = f"part-{number:05}.parquet"
        tasks = [task_for(layout, name, corpus, file.segment, file.path, part) for name in stages]
        modules: list[Any] = [stage(name).load() for name in stages]
        settings = [
            build(module.Settings, task.settings, task.stage) for module, task in zip(modules, tasks, strict=True)
        ]
        writers = [PartWriter(layout, posixpath.join(task.folder, "quarantine", part)) for task in tasks]
        last = PartWriter(layout, posixpath.join(tasks[-1].folder, "output", part))
        for first in _source(modules[0], tasks[0], settings[0]):
            batch = first
            for module, task, setting, writer in zip(modules, tasks, settings, writers, strict=True):
                batch = _kept(module, batch, setting, writer)
                kept[task.stage] += batch.num_rows
            last.write(batch)
        for writer in [*writers, last]:
            writer.close()
    return kept, {"all": spent() - started}


def _source(module: Any, task: PartTask, settings: Any) -> Iterator[pa.RecordBatch]:
    return module.read(task, settings, Counter()) if hasattr(module, "read") else read_part(task)


def _kept(module: Any, batch: pa.RecordBatch, settings: Any, quarantine: PartWriter) -> pa.RecordBatch:
    """Score and decide one batch; what is rejected is written with why."""
    scored = module.score(batch, settings)
    verdict = module.decide(scored, settings)
    is_kept = verdict.column("reason").is_null()
    shown = scored.select([name for name in scored.schema.names if not name.startswith("_")])
    rejected = shown.filter(verdict.column("reason").is_valid())
    why = verdict.filter(verdict.column("reason").is_valid())
    for name in why.schema.names:
        rejected = rejected.append_column(f"why_{name}", why.column(name))
    quarantine.write(rejected)
    result = shown.filter(is_kept)
    return module.edit(result, settings) if hasattr(module, "edit") else result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home")
    parser.add_argument("corpus")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--fused", action="store_true")
    given = parser.parse_args()
    stages = tuple(given.stages.split(","))
    for name in stages:
        stage(name).load()
    run = run_fused if given.fused else run_staged
    kept, cpu = run(Layout(given.home), given.corpus, stages)
    parquet = 0.0 if given.fused else parquet_cost(Layout(given.home), stages)
    print(
        json.dumps(
            {
                "kept": kept,
                "parquet": round(parquet, 3),
                "cpu": {name: round(seconds, 3) for name, seconds in cpu.items()},
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
