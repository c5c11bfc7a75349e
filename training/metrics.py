"""metrics.jsonl: one JSON object a line, appended while training and cut back to the step a run resumes from."""

import json
import os
from pathlib import Path
from typing import Any, cast


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line cut short by a kill is left out."""
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row: object = json.loads(line)
        except json.JSONDecodeError:
            break  # what follows a broken line was written after it, by a process that is gone
        if isinstance(row, dict) and "step" in row:
            rows.append(cast(dict[str, Any], row))
    return rows


class MetricsLog:
    """Appends to a metrics file. Opening it drops every line past `resumed_step`: those steps are made again."""

    def __init__(self, path: Path, resumed_step: int = -1) -> None:
        kept = [row for row in read_metrics(path) if row["step"] <= resumed_step]
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        temporary.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, **values: Any) -> None:
        """Append one line and hand it to the operating system."""
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file, its lines on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
