"""`gristmill takedown`: what is taken down, what follows from it, and doing it."""

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from gristmill.cli.output import HomeOption, JsonOption, console, counted, plain, print_json, table
from gristmill.cli.takedown_shown import (
    SHOWN,
    commands_for,
    keys_of,
    listed,
    print_documents,
    print_models,
    print_partitions,
)
from gristmill.cli.untrusted import plain_line
from gristmill.core.errors import EnvironmentProblemError
from gristmill.core.layout import Layout

app = typer.Typer(
    name="takedown",
    help="Take down pages, hosts or documents: out of the corpora, and told of every model that read them.",
    no_args_is_help=True,
)

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
    out.print(f"{wanted.kind} [bold]{plain_line(wanted.pattern)}[/] {state}")
    if not counts:
        where = f"; it was taken out of {listed(taken)}" if taken else "; what is crawled from now on is looked at"
        out.print(f"  no committed document matches{where}")
        return
    total = counted(sum(counts.values()), "committed document")
    out.print(f"  it means {total} in {counted(len(counts), 'segment')}:")
    for key, number in list(counts.items())[:SHOWN]:
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
    out.print(f"{gone.kind} [bold]{plain_line(gone.pattern)}[/] is no longer taken down")
    if keys:
        out.print(f"  to be extracted again, from the crawl files: {listed(keys)}: gristmill takedown apply")


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
        shown.add_row(
            plain_line(p.written), p.kind, plain_line(p.added_at[:10]), f"{waiting[p.key]:,}", plain_line(p.note)
        )
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
    commands = commands_for(layout, found, seen)
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
    print_documents(out, found, len(doc_ids))
    print_partitions(out, found, partitions)
    print_models(out, seen, len(doc_ids))
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
        what = f"{counted(done, 'document')} taken down in" if done else "made again, through what follows from it:"
        out.print(f"{what} {listed(keys_of(found.segments))}")
    print_models(out, seen, sum(map(len, found.documents.values())))
    for command in commands_for(layout, None, seen):
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
