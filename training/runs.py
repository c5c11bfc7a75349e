"""A training run's folder, its identity, and what happens when the same thing is asked for twice.

<root>/models/<asset>/<run id>/
    config.json      settings and inputs: what the run id is made of
    metrics.jsonl    one line a step
    checkpoints/     what an unfinished run resumes from
    logs/            what each rank printed
    final/           the model
    report.json      written last: the commit
"""

import contextlib
import datetime
import fcntl
import hashlib
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.core.errors import EnvironmentProblemError, GristmillError, MissingDataError
from gristmill.core.layout import REPORT_NAME, Layout, storage_error

RUN_ID_LENGTH = 12


class RunIsBusyError(GristmillError):
    """Another process is at work on the same run."""


class EngagementError(GristmillError):
    """What runs is not what was asked for."""


def now() -> str:
    """The time for a report, UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def code_version(modules: tuple[str, ...]) -> str:
    """Hash of the source of modules of this package: what decides a run's result besides data and settings."""
    digest = hashlib.sha256()
    for name in sorted(modules):
        digest.update(name.encode() + b"\0" + (Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def fingerprint(asset: str, settings: Mapping[str, Any], inputs: Mapping[str, str], code: str) -> str:
    """Hash of all that decides a run: 32 hex digits, the first 12 of which name it."""
    facts = {"asset": asset, "settings": dict(settings), "inputs": dict(inputs), "code": code}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Run:
    """One run of one training asset."""

    layout: Layout
    asset: str
    fingerprint: str

    @property
    def run_id(self) -> str:
        """Name of the run's folder."""
        return self.fingerprint[:RUN_ID_LENGTH]

    @property
    def folder(self) -> Path:
        """The run's folder on this machine."""
        return Path(self.layout.model_dir(self.asset, self.run_id))

    @property
    def final(self) -> Path:
        """Where the finished model lies."""
        return self.folder / "final"

    @property
    def metrics(self) -> Path:
        """The run's metrics file."""
        return self.folder / "metrics.jsonl"

    def report(self) -> dict[str, Any] | None:
        """The committed report, None while the run is unfinished."""
        return self.layout.read_json(str(self.folder / REPORT_NAME))

    def commit(self, report: dict[str, Any]) -> dict[str, Any]:
        """Write the report, which ends the run; returns it with what every report holds."""
        moment = now()
        report = {
            "asset": self.asset,
            "run_id": self.run_id,
            "fingerprint": self.fingerprint,
            "created_at": moment,
            "selected_at": moment,
        } | report
        self.layout.write_json(str(self.folder / REPORT_NAME), report)
        return report

    def select(self) -> dict[str, Any]:
        """Choose a finished run again: it becomes the latest."""
        report = self.report()
        assert report is not None
        return self.layout.select(str(self.folder), report, now())

    def discard(self) -> None:
        """Undo the commit and remove what the run made, so that it starts from nothing."""
        for name in (REPORT_NAME, "checkpoints", "final", "metrics.jsonl", "tensorboard"):
            path = str(self.folder / name)
            if self.layout.fs.exists(path):
                self.layout.fs.rm(path, recursive=True)


@contextlib.contextmanager
def open_run(layout: Layout, asset: str, config: Mapping[str, Any], run_fingerprint: str) -> Iterator[Run]:
    """Take a run's folder for this process alone and write its config.json.

    Raises:
        EnvironmentProblemError: the root is an object store, or the folder can't be written.
        RunIsBusyError: another process holds the run.
    """
    if not layout.is_local:
        raise EnvironmentProblemError(
            f"{asset} writes checkpoints, which need a local folder, and the root is {layout.root}: "
            "copy tokenizer/, training_mixture/ and token_shards/ to a local root and train there"
        )
    run = Run(layout, asset, run_fingerprint)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        layout.write_json(str(run.folder / "config.json"), {"asset": asset, "run_id": run.run_id} | dict(config))
        lock = (run.folder / ".lock").open("w")
    except OSError as error:
        raise storage_error(error, str(run.folder)) from error
    with lock:  # the lock goes with the process, however it ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunIsBusyError(
                f"another process is training {asset} run {run.run_id} in {run.folder}: wait for it or stop it"
            ) from None
        yield run


def latest_final(layout: Layout, asset: str = "pretrained_model") -> tuple[Path, dict[str, Any]]:
    """Folder and report of the model of `asset` that was made or chosen last.

    Raises:
        MissingDataError: none is there.
    """
    latest = layout.latest(layout.join("models", asset))
    if latest is None:
        raise MissingDataError(f"no {asset} under {layout.root}: train one first (`python -m training.pretrain`)")
    return Path(posixpath.join(layout.model_dir(asset, latest[0]), "final")), latest[1]
