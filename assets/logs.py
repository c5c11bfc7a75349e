"""Compute logs for runs that execute inside the command line: in the UI, and not over the progress bars."""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

_captured: list[tuple[str, str]] = []


def captured_files() -> tuple[str, str] | None:
    """Paths of the running step's stdout and stderr logs, where nothing else fills them."""
    return _captured[-1] if _captured else None


class QuietComputeLogManager(LocalComputeLogManager):
    """Leaves this process's own streams alone; workers write to the files that it names.

    The stock manager puts a file in the place of stdout and stderr and copies it to the terminal, which
    would run over a progress bar and hide it.
    """

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make one as the instance's settings say."""
        return cls(inst_data=inst_data, **config_value)

    @contextlib.contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext]:
        """Name the files of `log_key` for the time of a step."""
        paths = [
            Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
            for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        ]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        files = (str(paths[0]), str(paths[1]))
        _captured.append(files)
        try:
            yield CapturedLogContext(log_key)
        finally:
            _captured.remove(files)
            Path(self.complete_artifact_path(log_key)).touch()
