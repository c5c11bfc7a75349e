"""datatrove's own pipelines, run by the Python of `.venv-peers-datatrove`; uses nothing of the project.

    python peer_datatrove.py whole  INPUT WORK MODEL TIMEOUT     WARC files to FineWeb's filters
    python peer_datatrove.py quality INPUT WORK MODEL TIMEOUT    the four quality filters over JSONL

INPUT is a folder, MODEL fastText's lid.176 (put where datatrove looks for its download), TIMEOUT the extractor's
clock per page in seconds (datatrove's default is 1.0). Every other argument is FineWeb's, as datatrove's own example
of its recipe has it. Writes WORK/output/*.jsonl.gz and WORK/steps.json, documents kept and dropped by each step.
"""

import json
import shutil
import sys
from pathlib import Path

WORKERS = 2


def place_model(model: str) -> None:
    """Put the language model where datatrove would have downloaded it."""
    from huggingface_hub import cached_assets_path

    folder = cached_assets_path(library_name="datatrove", namespace="lid", subfolder="ft176")
    place = Path(folder) / "dl.fbaipublicfiles.com_fasttext_supervised-models_lid.176.bin"
    for name in (place, Path(folder) / "https:__dl.fbaipublicfiles.com_fasttext_supervised-models_lid.176.bin"):
        if not name.exists():
            shutil.copy(model, name)
        Path(f"{name}.completed").touch()


def main() -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        LanguageFilter,
    )
    from datatrove.pipeline.readers import JsonlReader, WarcReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    what, source, work, model, timeout = sys.argv[1:]
    place_model(model)
    quality = [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    before = (
        [
            WarcReader(source, glob_pattern="*.warc.gz"),
            Trafilatura(favour_precision=True, timeout=float(timeout)),
            LanguageFilter(languages="en"),
        ]
        if what == "whole"
        else [JsonlReader(source, glob_pattern="*.jsonl")]
    )
    files = len(list(Path(source).glob("*.warc.gz" if what == "whole" else "*.jsonl")))
    stats = LocalPipelineExecutor(
        pipeline=[*before, *quality, JsonlWriter(f"{work}/output")],
        tasks=max(1, min(WORKERS, files)),
        workers=WORKERS,
        logging_dir=f"{work}/logs",
        skip_completed=False,
    ).run()
    Path(work, "steps.json").write_text(json.dumps([step.to_dict() for step in stats.stats]))


if __name__ == "__main__":
    main()
