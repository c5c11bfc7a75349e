"""metrics.jsonl: one JSON object a line, appended while training and cut back to the step a run resumes from."""

import json
import os
from pathlib import Path
from typing import IO, Any, cast

_TAIL_BYTES = 1 << 16  # the last lines of a file, each some 200 bytes


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


def last_step(file: IO[bytes]) -> int:
    """The last optimizer step that an open metrics file tells of, 0 before the first; reads the end of it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _TAIL_BYTES, 0))
    for line in reversed(file.read().splitlines()):
        row = _row(line)
        if row is not None and "loss" in row:
            return int(row["step"])
    return 0


def metrics_at(file: IO[bytes], step: int) -> dict[str, Any]:
    """All that an open metrics file says of a step; empty where nothing. Steps only rise: it is bisected."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > _TAIL_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()  # the line that the middle falls in
        row = _row(file.readline())
        low, high = (middle, high) if row is not None and row["step"] < step else (low, middle)
    file.seek(low)
    found: dict[str, Any] = {}
    for line in file:
        row = _row(line)
        if row is not None and row["step"] > step:
            break
        if row is not None and row["step"] == step:
            found |= row
    return found


def skips_in(file: IO[bytes]) -> list[dict[str, Any]]:
    """The batches that an open metrics file says were skipped, as `training.cursor.Skip.to_plain` has them."""
    file.seek(0)
    found: list[dict[str, Any]] = []
    for line in file:
        row = _row(line) if b'"skipped"' in line else None  # the other lines, maybe millions, are not parsed
        if row is not None and isinstance(row.get("skipped"), dict):
            found.append(row["skipped"])
    return found


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row: object = json.loads(line)
    except ValueError:  # cut by a kill, or by where reading began
        return None
    found = cast(dict[str, Any], row) if isinstance(row, dict) else {}
    return found if isinstance(found.get("step"), int) else None


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
        """Close the file, its lines on disk; once more does nothing."""
        if self._file.closed:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
