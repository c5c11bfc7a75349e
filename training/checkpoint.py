"""Checkpoints a killed run resumes from exactly: written aside, renamed, pointed to last, checked when read.

checkpoints/step-00000100/
    mp_rank_00_model_states.pt, zero_pp_rank_*_optim_states.pt      DeepSpeed's own files
    rng-rank-*.pt                                                   random states of each rank
    checkpoint.json                                                 step, world size, state, sha256 of every file
checkpoints/latest                                                  name of the newest
"""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine
from torch import distributed

from gristmill.core.errors import EnvironmentProblemError, MissingDataError
from gristmill.core.layout import storage_error
from training.digests import file_sha256
from training.engine import Place

MANIFEST_NAME = "checkpoint.json"
LATEST_NAME = "latest"


class TensorsOnlyCheckpointEngine(TorchCheckpointEngine):
    """DeepSpeed's reader, which would unpickle anything, held to tensors and the few classes it writes itself."""

    def load(self, path: str, map_location: Any = None) -> Any:
        """Read one file; raises pickle.UnpicklingError on any other class."""
        with torch.serialization.safe_globals(cast(Any, _classes_in_checkpoints())):
            return torch.load(path, map_location=map_location, weights_only=True)


def _classes_in_checkpoints() -> list[Any]:
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]


class Checkpoints:
    """The checkpoints of one run. Every rank calls every method."""

    def __init__(self, folder: Path, place: Place, keep: int) -> None:
        self._folder, self._place, self._keep = folder, place, keep

    def save(self, engine: Any, step: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of `step` and drop the oldest beyond `keep`.

        Args:
            engine: the DeepSpeed engine.
            step: optimizer steps made; also the data cursor, since a batch is a function of the step.
            state: JSON-ready values of the loop, given back by `load`.

        Raises:
            EnvironmentProblemError: the disk is full or not writable; what was there before still is.
        """
        name = f"step-{step:08d}"
        aside = self._folder / f".{name}.tmp"
        if self._place.is_first:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
        distributed.barrier()
        problem = ""
        try:
            engine.save_checkpoint(str(aside.parent), tag=aside.name, save_latest=False)
            torch.save(_random_states(), aside / f"rng-rank-{self._place.rank}.pt")
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            problem = f"{type(error).__name__}: {error}"
        problems: list[str | None] = [None] * self._place.world_size
        distributed.all_gather_object(problems, problem)  # also the barrier: every file is there from here on
        if any(problems):
            if self._place.is_first:
                shutil.rmtree(aside, ignore_errors=True)
            raise EnvironmentProblemError(
                f"can't write checkpoint {self._folder / name} ({' '.join(next(p for p in problems if p).split())}): "
                "free disk space and run the same command again; it resumes from the checkpoint before"
            )
        if self._place.is_first:
            self._commit(aside, name, step, state)
        distributed.barrier()

    def _commit(self, aside: Path, name: str, step: int, state: dict[str, Any]) -> None:
        try:
            manifest = {
                "step": step,
                "world_size": self._place.world_size,
                "state": state,
                "files": {p.name: file_sha256(p) for p in sorted(aside.iterdir()) if p.is_file()},
            }
            _write(aside / MANIFEST_NAME, json.dumps(manifest, indent=1))
            target = self._folder / name
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
            _write(self._folder / LATEST_NAME, name)
        except OSError as error:
            raise storage_error(error, str(self._folder / name)) from error
        for old in self._names()[self._keep :]:
            shutil.rmtree(self._folder / old, ignore_errors=True)

    def load(self, engine: Any) -> tuple[int, dict[str, Any], list[str]] | None:
        """Restore the newest checkpoint that is whole.

        Returns:
            Step, the loop's state, and a line for each damaged checkpoint that was passed over; None where
            there is no whole checkpoint to resume from (then warnings are in `problems`).

        Raises:
            MissingDataError: it was written by another number of ranks.
        """
        chosen: list[Any] = [None]
        if self._place.is_first:
            chosen = [self._choose()]
        distributed.broadcast_object_list(chosen, src=0)
        name, manifest, self.problems = cast(tuple[str | None, dict[str, Any], list[str]], chosen[0])
        if name is None:
            return None
        if manifest["world_size"] != self._place.world_size:
            raise MissingDataError(
                f"checkpoint {self._folder / name} was written by {manifest['world_size']} ranks and this run has "
                f"{self._place.world_size}: set ranks back, or start afresh with --force"
            )
        engine.checkpoint_engine = TensorsOnlyCheckpointEngine()
        engine.load_checkpoint(str(self._folder), tag=name)
        states = torch.load(self._folder / name / f"rng-rank-{self._place.rank}.pt", weights_only=True)
        _set_random_states(states)
        return manifest["step"], manifest["state"], self.problems

    problems: list[str] = []  # noqa: RUF012 - replaced, never appended to

    def _names(self) -> list[str]:
        return sorted((p.name for p in self._folder.glob("step-*") if p.is_dir()), reverse=True)

    def _choose(self) -> tuple[str | None, dict[str, Any], list[str]]:
        """The newest whole checkpoint: (name or None, manifest, what was wrong with newer ones)."""
        for leftover in self._folder.glob(".step-*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        problems: list[str] = []
        for name in self._names():
            try:
                return name, check(self._folder / name), problems
            except MissingDataError as error:
                problems.append(f"{error}; falling back to the checkpoint before it")
        return None, {}, problems


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint whose every file is as it was written.

    Raises:
        MissingDataError: a file is missing or damaged; the message names it.
    """
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        expected, _ = dict(manifest["files"]), (manifest["step"], manifest["world_size"], manifest["state"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MissingDataError(
            f"checkpoint {folder} has no readable {MANIFEST_NAME} ({type(error).__name__})"
        ) from None
    for name, digest in expected.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise MissingDataError(f"checkpoint {folder} lacks {name}")
        if file_sha256(path) != digest:
            raise MissingDataError(f"checkpoint {folder} is damaged: {name} has changed since it was written")
    return manifest


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _random_states() -> dict[str, Any]:
    version, state, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = cast(Any, np.random.get_state())
    states = {
        "torch": torch.get_rng_state(),
        "python": [version, list(state), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    version, state, gauss = states["python"]
    random.setstate((version, tuple(state), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
