"""Checkpoints a killed run resumes from exactly: written aside, renamed, pointed to last, checked when read.

checkpoints/step-00000100/
    state-00000.safetensors, …      fp32 weights and AdamW's moments by name, every n-th parameter of n ranks
    rng-rank-*.pt                   random states of each rank
    checkpoint.json                 step, world size, loss scale, the loop's state, sha256 of every file
checkpoints/latest                  name of the newest

What is written belongs to no engine and no number of ranks (training/states.py): a run goes on with another.
"""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import distributed

from gristmill.core.errors import EnvironmentProblemError, MissingDataError
from gristmill.core.layout import storage_error
from training.digests import file_sha256
from training.place import Place
from training.states import (
    MOMENTS,
    optimizer_steps,
    read_states,
    set_optimizer_steps,
    write_states,
)

MANIFEST_NAME = "checkpoint.json"
LATEST_NAME = "latest"
_SCALER = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")  # of DeepSpeed's dynamic loss scale


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
            self._write_states(engine, aside)
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
            self._commit(engine, aside, name, step, state)
        distributed.barrier()

    def _write_states(self, engine: Any, folder: Path) -> None:
        """Every rank writes every world-size-th parameter, so that none holds more than its share in memory."""
        mine: dict[str, torch.Tensor] = {}
        for number, (name, state) in enumerate(read_states(engine)):
            if number % self._place.world_size == self._place.rank:
                mine |= {f"{name}|{key}": tensor.detach().float().cpu().contiguous() for key, tensor in state.items()}
        save_file(mine, folder / f"state-{self._place.rank:05d}.safetensors")

    def _commit(self, engine: Any, aside: Path, name: str, step: int, state: dict[str, Any]) -> None:
        try:
            manifest = {
                "step": step,
                "world_size": self._place.world_size,
                "optimizer_steps": optimizer_steps(engine),
                "loss_scaler": _scaler_state(engine),
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
        """
        chosen: list[Any] = [None]
        if self._place.is_first:
            chosen = [self._choose()]
        distributed.broadcast_object_list(chosen, src=0)
        name, manifest, self.problems = cast(tuple[str | None, dict[str, Any], list[str]], chosen[0])
        if name is None:
            return None
        self._read_states(engine, self._folder / name)
        set_optimizer_steps(engine, manifest["optimizer_steps"])
        _set_scaler_state(engine, manifest["loss_scaler"])
        if manifest["world_size"] == self._place.world_size:
            states = torch.load(self._folder / name / f"rng-rank-{self._place.rank}.pt", weights_only=True)
            _set_random_states(states)
        else:
            self.problems.append(
                f"checkpoint {name} was written by {manifest['world_size']} ranks and this run has "
                f"{self._place.world_size}: the order of the data is the same, sums are made in another order"
            )
        return manifest["step"], manifest["state"], self.problems

    def _read_states(self, engine: Any, folder: Path) -> None:
        files = [safe_open(path, framework="pt") for path in sorted(folder.glob("state-*.safetensors"))]
        at = {key: file for file in files for key in cast(Any, file).keys()}  # noqa: SIM118 - it is no dict

        def state_of(name: str) -> dict[str, torch.Tensor]:
            try:
                state = {key: at[f"{name}|{key}"].get_tensor(f"{name}|{key}") for key in ("weight", *MOMENTS)}
            except KeyError:
                raise MissingDataError(
                    f"checkpoint {folder} has no {name}: it is of another model; start afresh with --force"
                ) from None
            return {key: tensor.to(self._place.device) for key, tensor in state.items()}

        write_states(engine, state_of)

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


def _scaler_state(engine: Any) -> dict[str, float]:
    scaler = getattr(engine.optimizer, "loss_scaler", None)
    return {} if scaler is None else {name: getattr(scaler, name) for name in _SCALER if hasattr(scaler, name)}


def _set_scaler_state(engine: Any, state: dict[str, float]) -> None:
    scaler = getattr(engine.optimizer, "loss_scaler", None)
    for name, value in state.items():
        if scaler is not None and hasattr(scaler, name):
            setattr(scaler, name, value)
