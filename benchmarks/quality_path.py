"""The quality stage alone over what the language stage wrote: `python -m benchmarks.quality_path HOME DOCUMENTS`."""

import sys
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.document_path import STAGES, task_for
from gristmill.core.layout import Layout
from pipelines.parts import run_part


def main() -> int:
    home, documents = Path(sys.argv[1]), int(sys.argv[2])
    left = documents
    for part in sorted((home / "attempts" / STAGES[1] / "output").glob("*.parquet")):
        source = part
        if left < pq.read_metadata(part).num_rows:
            source = home / "few.parquet"
            pq.write_table(pq.read_table(part).slice(0, left), source)
        task = task_for(Layout(str(home)), STAGES[2], "bench", "00000", str(source), part.name)
        left -= run_part(task).rows_in
        if left <= 0:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
