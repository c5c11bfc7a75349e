"""`gristmill takedown`: what is taken down, what follows from it, and doing it."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gristmill.cli.output import HomeOption, JsonOption, console, counted, plain, print_json, table
from gristmill.core.errors import EnvironmentProblemError
from gristmill.core.layout import Layout, Partition

if TYPE_CHECKING:
    from pipelines.takedowns.consequences import Consequences
    from training.exposure import Exposure

app = typer.Typer(
    name="takedown",
    help="Take down pages, hosts or documents: out of the corpora, and told of every model that read them.",
    no_args_is_help=True,
)
_SHOWN = 20  # partitions or patterns in one line or table for people; --json has all

PatternArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATTERN", help="example.org (with subdomains), https://example.org/page, …/private/*, or a doc_id."
    ),
]


@app.command()
def add(
    pattern: PatternArgument,
    kind: Annotated[str, typer.Option(help="host, url or doc_id; told from the pattern by default.")] = "",
    note: Annotated[str, typer.Option(help="Why, for people; it is stored in takedowns.yaml alone.")] = "",
    is_broad: Annotated[bool, typer.Option("--broad", help="A public suffix such as co.uk is meant.")] = False,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """Take down what matches a pattern, from now on. Says how many committed documents match, and where."""
    from pipelines.takedowns import file, parse
    from pipelines.takedowns.committed import holding, taken_from

    layout = Layout(home)
    wanted = parse(pattern, kind, note=note, is_broad=is_broad)
    is_new = file.add(layout, wanted)
    counts = {p.key: number for p, number in holding(layout, wanted).items()}
    taken = [p.key for p in taken_from(layout, wanted)]
    _record(layout)
    if is_json:
        values = {"pattern": wanted.pattern, "kind": wanted.kind, "is_new": is_new}
        print_json(values | {"documents": sum(counts.values()), "partitions": counts, "taken_down_in": taken})
        return
    out = console()
    state = "is taken down from now on" if is_new else "was taken down already"
    out.print(f"{wanted.kind} [bold]{plain(wanted.pattern)}[/] {state}")
    if not counts:
        where = f"; it was taken out of {_listed(taken)}" if taken else "; what is crawled from now on is looked at"
        out.print(f"  no committed document matches{where}")
        return
    out.print(f"  {counted(sum(counts.values()), 'committed document')} match in {counted(len(counts), 'partition')}:")
    for key, number in list(counts.items())[:_SHOWN]:
        out.print(f"    {plain(key)}: {number:,}")
    out.print("  gristmill takedown plan: what has to be made again, and which models saw them")


@app.command()
def remove(
    pattern: PatternArgument,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """Take a pattern back: what it took out returns when its partitions are extracted again."""
    from pipelines.takedowns import file
    from pipelines.takedowns.committed import standings

    layout = Layout(home)
    gone = file.remove(layout, pattern)
    keys = [p.key for p, s in standings(layout).items() if gone.key in s.returning]
    _record(layout)
    if is_json:
        print_json({"pattern": gone.pattern, "kind": gone.kind, "stale": keys})
        return
    out = console()
    out.print(f"{gone.kind} [bold]{plain(gone.pattern)}[/] is no longer taken down")
    if keys:
        out.print(f"  to be extracted again, from the crawl files: {_listed(keys)}: gristmill takedown apply")


@app.command("list")
def list_patterns(home: HomeOption = None, is_json: JsonOption = False) -> None:
    """The patterns in force, and how many committed documents each still matches."""
    from pipelines.takedowns import load
    from pipelines.takedowns.committed import standings

    layout = Layout(home)
    takedowns, waiting = load(layout), Counter[str]()
    for standing in standings(layout, takedowns).values():
        waiting.update(standing.documents)
    rows = [
        {
            "pattern": p.written,
            "kind": p.kind,
            "added_at": p.added_at or None,
            "note": p.note or None,
            "documents_to_take_down": waiting[p.key],
        }
        for p in takedowns.patterns
    ]
    if is_json:
        print_json({"patterns": rows})
        return
    out = console()
    if not rows:
        out.print("nothing is taken down")
        return
    shown = table("pattern", "kind", "added", "#still there", "note")
    for p in takedowns.patterns:
        shown.add_row(plain(p.written), p.kind, plain(p.added_at[:10]), f"{waiting[p.key]:,}", plain(p.note))
    out.print(shown)


@app.command()
def plan(home: HomeOption = None, is_json: JsonOption = False) -> None:
    """What has to be made again, which models read what is taken down and when, and the commands that mend it."""
    from pipelines.takedowns.consequences import consequences, tokenizer_learnt
    from training.exposure import exposures

    layout = Layout(home)
    found = consequences(layout)
    doc_ids = {doc_id for ids in found.documents.values() for doc_id in ids}
    seen = exposures(layout, doc_ids)
    learnt = tokenizer_learnt(layout, found)
    _record(layout)
    partitions = found.partitions(layout)
    commands = _commands(layout, found, seen)
    if is_json:
        print_json(
            {
                "patterns": len(found.takedowns),
                "documents": len(doc_ids),
                "documents_to_take_down": {p.key: len(ids) for p, ids in found.pending.items()},
                "stale": partitions,
                "unfinished": {p.key: list(late) for p, late in found.unfinished.items()},
                "patterns_taken_back": {p.key: len(s.returning) for p, s in found.stale.items() if s.returning},
                "duplicates_that_lose_their_representative": {p.key: n for p, n in sorted(found.returning.items())},
                "segments_that_share_clusters": [p.key for p in sorted(found.sharing)],
                "models": [exposure.to_plain() for exposure in seen],
                "tokenizer": None if learnt is None else vars(learnt),
                "commands": commands,
            }
        )
        return
    out = console()
    _print_documents(out, found, len(doc_ids))
    _print_partitions(out, found, partitions)
    _print_models(out, seen, len(doc_ids))
    if learnt is not None:
        out.print(
            f"\ntokenizer {learnt.version} learnt its merges from a sample that may have held up to "
            f"{counted(learnt.documents, 'document')} of them. It holds no text and is kept; to train another, which "
            "makes the shards of every corpus again: gristmill run CORPUS --through token_shards --fresh-tokenizer"
        )
    if commands:
        out.print("\n[bold]to do[/]")
        for command in commands:
            out.print(f"  {command}")


@app.command("apply")
def apply_(
    settings_file: Annotated[
        Path | None, typer.Option("--settings-file", help="YAML; default: settings.yaml under the home.")
    ] = None,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """Make the touched partitions again, through the mixture, in the Dagster instance that the UI shows."""
    from pipelines.takedowns.consequences import consequences
    from training.exposure import exposures

    layout = Layout(home)
    found = consequences(layout)
    if not found.is_nothing:
        from assets.instance import open_instance
        from assets.takedown_rebuild import apply_takedowns
        from gristmill.cli.progress import RunBars

        with open_instance(layout) as instance, RunBars(console(is_error=True)) as bars:
            path = str(settings_file.absolute()) if settings_file else None
            found = apply_takedowns(instance, layout, settings_file=path, listener=bars)
    seen = exposures(layout, {doc_id for ids in found.documents.values() for doc_id in ids})
    if is_json:
        made = [p.key for p in found.segments]
        print_json({"segments": made, "corpora": list(found.corpora), "models": [e.to_plain() for e in seen]})
        return
    out = console()
    done = sum(map(len, found.pending.values()))
    if found.is_nothing:
        out.print("nothing to do: all that is committed is as takedowns.yaml asks")
    else:
        out.print(f"{counted(done, 'document')} taken down in {_listed(_keys(found.segments))}")
    _print_models(out, seen, sum(map(len, found.documents.values())))
    for command in _commands(layout, None, seen):
        out.print(f"  {command}")


def _record(layout: Layout) -> None:
    """Tell the Dagster instance, where there is one: then the UI shows what is stale at once."""
    from assets.waiting_partitions import HOME_VARIABLE

    named = os.environ.get(HOME_VARIABLE) or (layout.join("dagster") if layout.is_local else "")
    if not named or not (Path(named).expanduser() / "dagster.yaml").exists():  # nothing was ever materialized
        return
    from assets.instance import open_instance
    from assets.takedowns import record_takedowns

    try:
        with open_instance(layout) as instance:
            record_takedowns(instance, layout)
    except EnvironmentProblemError as error:  # what was asked for is done; the UI learns of it with the next run
        console(is_error=True).print(f"note: Dagster was not told: {plain(error)}")


def _commands(layout: Layout, found: "Consequences | None", seen: "list[Exposure]") -> list[str]:
    from training.exposure import in_force

    commands: list[str] = []
    if found is not None and not found.is_nothing:
        commands.append("gristmill takedown apply")
    corpora = sorted({share.corpus for exposure in seen for share in exposure.run.mixture.corpora}) if seen else []
    if corpora:
        assets = sorted(in_force(layout, seen), key=_flow)
        commands += [f"gristmill run {corpora[0]} --through {asset}" for asset in assets]
    return commands


def _flow(asset: str) -> tuple[bool, str]:
    return asset != "pretrained_model", asset


def _print_documents(out: Console, found: "Consequences", documents: int) -> None:
    waiting = sum(map(len, found.pending.values()))
    out.print(
        f"{counted(len(found.takedowns), 'pattern')}: {counted(documents, 'document')} taken down, "
        f"{waiting:,} of them still in extracted_documents"
    )
    if found.unfinished:
        out.print(f"out of extracted_documents, and not yet of what follows: {_listed(_keys(found.unfinished))}")
    out.print("the crawl files that a corpus was registered from are not ours to change, and stay as they are")


def _print_partitions(out: Console, found: "Consequences", partitions: dict[str, list[str]]) -> None:
    if found.is_nothing:
        out.print("\nall that is committed is as takedowns.yaml asks")
        return
    shown = table("asset", "#partitions", "made again")
    for asset, keys in partitions.items():
        shown.add_row(asset, f"{len(keys):,}", _listed(keys))
    out.print()
    out.print(shown)
    back = [p.key for p, s in found.stale.items() if s.returning]
    if back:
        out.print(f"patterns were taken back, so the crawl files are read again: {_listed(back)}")
    if found.returning:
        where = ", ".join(f"{p.key} {number:,}" for p, number in sorted(found.returning.items())[:_SHOWN])
        out.print(
            f"{counted(sum(found.returning.values()), 'duplicate')} of what goes lose their representative, and one "
            f"of each cluster comes back, as no pattern means it: {plain(where)}"
        )


def _print_models(out: Console, seen: "list[Exposure]", documents: int) -> None:
    if not documents:
        return
    if not seen:
        out.print("\nno model was given shards that hold any of it")
        return
    shown = table("model", "#documents read", "#steps", "#first", "#last", "remark")
    for exposure in seen:
        steps = exposure.steps
        ends = (f"{steps[0]:,}", f"{steps[-1]:,}") if steps else ("", "")
        shown.add_row(exposure.run.name, f"{exposure.documents:,}", f"{len(steps):,}", *ends, plain(_remark(exposure)))
        for asset, run_id in exposure.descendants:
            shown.add_row(f"  {asset}/{run_id}", "", "", "", "", f"grown from {exposure.run.name}")
    out.print()
    out.print(shown)


def _remark(exposure: "Exposure") -> str:
    remarks = [exposure.problem] if exposure.problem else []
    if exposure.reads.held_out:
        remarks.append(f"{counted(exposure.reads.held_out, 'piece')} held out, to measure the loss on")
    if exposure.reads.unknown:
        remarks.append(f"{counted(len(exposure.reads.unknown), 'shard')} gone, what they held can't be told")
    if not exposure.run.is_finished:
        remarks.append("unfinished")
    return "; ".join(remarks)


def _keys(partitions: Iterable[Partition]) -> list[str]:
    return [partition.key for partition in sorted(partitions)]


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN:,} more" if len(keys) > _SHOWN else ""
    return plain(f"{', '.join(keys[:_SHOWN])}{more}")
