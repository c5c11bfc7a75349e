"""`gristmill generate`: text from a model, with or without an adapter."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from gristmill.cli.output import HomeOption
from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout

LATEST = "latest"
BASE_MODEL = "pretrained_model"
ADAPTERS = ("lora_adapter", "qlora_adapter")
FINAL = "final"
_DEFAULT_TOKENS = 100


def generate(
    model: Annotated[str, typer.Argument(help="'latest', a run id, or a folder in Hugging Face format.")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What the text continues or answers.")],
    adapter: Annotated[
        str | None, typer.Option(help="'lora', 'qlora', 'latest', a run id, or a folder in PEFT format.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to write at most.", min=1)] = _DEFAULT_TOKENS,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token every time.", min=0.0)] = 0.0,
    seed: Annotated[int, typer.Option(help="Makes a temperature above 0 repeatable.")] = 0,
    is_chat: Annotated[bool, typer.Option("--chat", help="Put the prompt as a user's message.")] = False,
    home: HomeOption = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Write text with a trained model."""
    layout = Layout(home)
    command = generate_command(
        resolve_model(layout, model), resolve_adapter(layout, adapter) if adapter else None, prompt, max_new_tokens
    )
    command += ["--temperature", str(temperature), "--seed", str(seed)]
    command += ["--chat"] * is_chat + ["--json"] * is_json
    # A process of its own: torch stays out of this one, and an interrupt reaches both.
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def generate_command(model: str, adapter: str | None, prompt: str, max_new_tokens: int) -> list[str]:
    """The command line of the program that holds the model."""
    command = [sys.executable, "-m", "training.generate", model, f"--prompt={prompt}"]
    command += ["--max-new-tokens", str(max_new_tokens)]
    return command + (["--adapter", adapter] if adapter else [])


def sample(model: str, adapter: str | None, prompt: str, max_new_tokens: int, *, is_chat: bool) -> str:
    """One text, for a program that shows it among other things.

    Raises:
        MissingDataError: the model could not be used; the line is the generator's own.
    """
    command = [*generate_command(model, adapter, prompt, max_new_tokens), "--json", *["--chat"] * is_chat]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason was given"]
        raise MissingDataError(f"can't generate with {model}: {lines[-1].removeprefix('error: ')}")
    return str(cast(dict[str, Any], json.loads(done.stdout.strip().splitlines()[-1]))["text"])


def resolve_model(layout: Layout, model: str) -> str:
    """The folder that `model` names.

    Raises:
        MissingDataError: there is no such model; the line says how to get one.
    """
    if model == LATEST:
        return _latest(layout, (BASE_MODEL,))
    return _named(layout, model, is_adapter=False)


def resolve_adapter(layout: Layout, adapter: str) -> str:
    """The folder that `adapter` names; 'latest' is the one of any kind that was made or chosen last.

    Raises:
        MissingDataError: there is no such adapter; the line says how to get one.
    """
    if adapter == LATEST:
        return _latest(layout, ADAPTERS)
    if f"{adapter}_adapter" in ADAPTERS:
        return _latest(layout, (f"{adapter}_adapter",))
    return _named(layout, adapter, is_adapter=True)


def _latest(layout: Layout, assets: tuple[str, ...]) -> str:
    chosen = [(asset, *found) for asset in assets if (found := layout.latest(layout.join("models", asset)))]
    if not chosen:
        raise MissingDataError(
            f"no {' or '.join(assets)} under {layout.root}: run `gristmill run NAME --through {assets[0]}` first"
        )
    asset, run_id, _ = max(chosen, key=lambda c: str(c[2].get("selected_at") or c[2].get("created_at", "")))
    return _local(layout, f"{layout.model_dir(asset, run_id)}/{FINAL}")


def _named(layout: Layout, name: str, *, is_adapter: bool) -> str:
    """A run id below the root, or a folder."""
    marker = "adapter_config.json" if is_adapter else "config.json"
    if "/" not in name and (runs := cast(list[str], layout.fs.glob(layout.join("models", "*", name, FINAL, marker)))):
        return _local(layout, runs[0].rsplit("/", 1)[0])
    for folder in (Path(name), Path(name) / FINAL):
        if (folder / marker).is_file():
            return str(folder)
    what, option = ("adapter", "--adapter ") if is_adapter else ("model", "")
    raise MissingDataError(
        f"{option}{name} is neither a run id under {layout.root} nor a folder with {marker}: "
        f"give '{LATEST}' for the {what} made last, or see {layout.join('models')}"
    )


def _local(layout: Layout, folder: str) -> str:
    if not layout.is_local:
        raise MissingDataError(f"{layout.root} is not on this machine: copy {folder} here and give that folder instead")
    return folder
