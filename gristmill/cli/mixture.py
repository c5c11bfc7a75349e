"""`gristmill mixture`: what a model reads of each corpus, how long a pass takes, and what another mixture would be."""

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gristmill.cli.output import HomeOption, JsonOption, console, counted, plain, print_json, table
from gristmill.core.errors import GristmillError, MissingDataError, SettingsError, one_line
from gristmill.core.layout import REPORT_NAME, Layout
from gristmill.core.settings import resolve

ASSET = "training_mixture"
_REMAKE = "`gristmill run CORPUS --through training_mixture`"


def mixture(
    what_if: Annotated[
        str | None,
        typer.Option(
            "--what-if", metavar="FILE", help="Show what the mixture of this YAML file would be; writes nothing."
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=0, help="Sequences in a step. Default: global_batch_size of pretrained_model.")
    ] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Steps to train. Default: those of pretrained_model.")] = 0,
    settings_file: Annotated[
        str | None, typer.Option(help="YAML with a section per asset. Default: settings.yaml under the root.")
    ] = None,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """Sampling proportion, epochs, tokens and disk size of each corpus in the training mixture."""
    layout = Layout(home)
    committed = layout.read_json(posixpath.join(layout.singleton_dir(ASSET), REPORT_NAME))
    if what_if is not None:
        facts, notes = _resolved(layout, settings_file, what_if), ["nothing was written"]
    elif committed is not None:
        facts, notes = committed, _changes(layout, settings_file, committed)
    else:
        facts, notes = _resolved(layout, settings_file, None), [f"not made yet: {_REMAKE} makes it"]
    if not isinstance(facts.get("heldout"), list):
        raise MissingDataError(
            f"the training mixture under {layout.root} is of an older version: {_REMAKE} makes it again"
        )
    length = training_length(layout, settings_file, facts, batch_size, steps)
    before = committed if what_if is not None else None
    if is_json:
        print_json({**facts, **length, "notes": notes})
    else:
        print_mixture(console(), facts, length, notes, before)


def training_length(
    layout: Layout, settings_file: str | None, facts: Mapping[str, Any], batch_size: int, steps: int
) -> dict[str, Any]:
    """How many steps a pass takes, and how often each source is read in a whole training run.

    Args:
        layout: the root.
        settings_file: where global_batch_size, steps and tokens of pretrained_model are taken from.
        facts: of the mixture.
        batch_size: in their place; 0: theirs.
        steps: likewise.

    Returns:
        global_batch_size, steps_per_pass, and where the steps are known: steps, passes, epochs_of_training by source.
    """
    from training.arguments import PretrainSettings

    settings = resolve(PretrainSettings, "pretrained_model", layout.root, settings_file, {})
    batch = batch_size or settings.global_batch_size
    if not steps:
        steps = settings.steps or -(-int(settings.tokens) // (batch * facts["sequence_length"]))
    found: dict[str, Any] = {"global_batch_size": batch, "steps_per_pass": facts["sequences_per_pass"] / batch}
    if steps:
        passes = steps / found["steps_per_pass"]
        epochs = {row["source"]: row["epochs"] * passes for row in facts["corpora"]}
        found |= {"steps": steps, "passes": passes, "epochs_of_training": epochs}
    return found


def print_mixture(
    out: Console,
    facts: Mapping[str, Any],
    length: Mapping[str, Any],
    notes: list[str],
    before: Mapping[str, Any] | None,
) -> None:
    """The table, how long a pass is, what is held out, and what is to be said of it.

    Args:
        out: where to.
        facts: of the mixture, as in its report.
        length: of `training_length`.
        notes: lines below the table.
        before: report of the mixture in force, to be compared with.
    """
    from pipelines.tokens.mixture_table import figures, total

    rows = facts["corpora"]
    was = {row["source"]: row for row in (before or {}).get("corpora", ()) if "token_proportion" in row}
    epochs = length.get("epochs_of_training")
    held = {row["corpus"]: f"{row['sequences']:,}" for row in facts["heldout"]}
    columns = ["corpus", "#sampling proportion", "#epochs", "#tokens", "#tokens read", "#sequences read", "#disk size"]
    columns += ["#held out"] + (["#epochs of training"] if epochs else []) + (["in force now"] if before else [])
    shown = table(*columns)
    for row in [*rows, total(rows)] if len(rows) > 1 else rows:
        name = row["source"]
        cells = [plain(name), *figures(row), held.pop(row.get("corpus"), "")]
        if epochs:
            cells.append(f"{epochs[name]:.2f}" if name in epochs else "")
        if before:
            old = was.pop(name, None)
            cells.append(f"{old['token_proportion']:.2%}, {old['epochs']:.2f} epochs" if old else "")
        shown.add_row(*cells)
    for name in was:
        shown.add_row(plain(name), *["–"] * 6, "", *([""] if epochs else []), "would not be read any more")
    out.print(shown)
    out.print(f"\n{facts['one_pass']} Mean epochs {facts['mean_epochs']:.3g}.")
    line = f"At {length['global_batch_size']:,} sequences a step a pass takes {length['steps_per_pass']:,.1f} steps"
    if "steps" in length:
        line += f"; {length['steps']:,} steps are {length['passes']:.3g} passes"
    out.print(f"{line}.")
    if facts["left_out"]:
        out.print(f"Left out: {plain(', '.join(facts['left_out']))}.")
    for note in [*facts["warnings"], *_repeated(facts, length), *notes]:
        out.print(f"[yellow]{plain(note)}[/]")


def _repeated(facts: Mapping[str, Any], length: Mapping[str, Any]) -> list[str]:
    """What the whole training would read more often than the mixture's settings find worth a warning."""
    limit = facts["settings"]["warn_epochs"]
    named = {row["source"] for row in facts["corpora"] if row["epochs"] > limit}
    over = {n: e for n, e in length.get("epochs_of_training", {}).items() if e > limit and n not in named}
    if not over:
        return []
    most = ", ".join(f"{name} {epochs:.3g} times" for name, epochs in sorted(over.items(), key=lambda i: -i[1])[:5])
    return [f"{length['steps']:,} steps read {most}: above {limit:g}, repeated text is worth less than new"]


def _resolved(layout: Layout, settings_file: str | None, file: str | None) -> dict[str, Any]:
    """What the settings in force, or those of a file, come to."""
    from pipelines.tokens.mixture import Settings, resolve_mixture

    if file is None:
        settings = resolve(Settings, ASSET, layout.root, settings_file, {})
    else:
        path = Path(file).absolute()
        if not path.is_file():
            raise SettingsError(f"--what-if {file} is no file: give a YAML file with the settings of {ASSET}")
        settings = Settings(file=str(path))
    found = resolve_mixture(layout, settings)
    return {**found.facts, "settings": found.deciding | {"file": found.file}, "inputs": dict(found.inputs)}


def _changes(layout: Layout, settings_file: str | None, committed: Mapping[str, Any]) -> list[str]:
    """Why the mixture would be another one if it were made again."""
    try:
        today = _resolved(layout, settings_file, None)
    except GristmillError as error:
        return [f"it can't be made again as things are: {one_line(error)}"]
    lines: list[str] = []
    names = sorted(
        name
        for name, value in today["settings"].items()
        if name != "file" and committed.get("settings", {}).get(name) != value
    )
    if names:
        lines.append(f"made with other settings: {', '.join(names)}")
    shards = set(today["inputs"].items()) ^ set(committed.get("inputs", {}).items())
    if shards:
        lines.append(f"made of other shards: {counted(len({name for name, _ in shards}), 'segment')} changed")
    return [f"{line}; {_REMAKE} makes it again" for line in lines]
