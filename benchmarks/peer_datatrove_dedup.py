"""datatrove's own MinHash deduplication, run by the Python of `.venv-peers-datatrove`; uses nothing of the project.

    python peer_datatrove_dedup.py signatures|buckets|cluster|filter INPUT WORK

INPUT is a folder of JSONL. Its four steps one by one, with the defaults of 0.10.1 (5-grams, 14 buckets of 8, 64-bit
xxHash); WORK holds what passes between them, and WORK/kept the documents that stay.
"""

import sys
from pathlib import Path

WORKERS = 2


def main() -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    step, source, work = sys.argv[1:]
    config = MinhashConfig()
    files = len(list(Path(source).glob("*.jsonl")))
    reader = JsonlReader(source, glob_pattern="*.jsonl")
    steps = {
        "signatures": (files, [reader, MinhashDedupSignature(f"{work}/signatures", config)]),
        "buckets": (
            config.num_buckets,
            [MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)],
        ),
        "cluster": (1, [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config)]),
        "filter": (files, [reader, MinhashDedupFilter(f"{work}/remove"), JsonlWriter(f"{work}/kept")]),
    }
    tasks, pipeline = steps[step]
    LocalPipelineExecutor(
        pipeline=pipeline,
        tasks=tasks,
        workers=min(WORKERS, tasks),
        logging_dir=f"{work}/logs-{step}",
        skip_completed=False,
    ).run()


if __name__ == "__main__":
    main()
