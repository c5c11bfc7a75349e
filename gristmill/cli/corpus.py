"""`gristmill corpus`: `add` and `list`; `remove` is in `gristmill.cli.corpus_removal`."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gristmill.cli import corpus_removal
from gristmill.cli.output import HomeOption, JsonOption, console, counted, plain, print_json, table
from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout
from gristmill.core.quantities import human_bytes
from pipelines.recipes import built_in

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.crawl.corpora import Corpus
    from pipelines.crawl.kinds import Kind


app = typer.Typer(help="Register and remove corpora, and see which there are.", no_args_is_help=True)
app.command("remove")(corpus_removal.remove)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Letters, digits, '.', '_' and '-'; or a Common Crawl id.")],
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH…", help="Files or folders, or a Common Crawl id.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="warc, arc, wet, wacz, jsonl, parquet or text; told from the files by default.")
    ] = None,
    segments: Annotated[
        int | None, typer.Option(help="Partitions to spread the files over; by size by default.")
    ] = None,
    is_replacing: Annotated[
        bool, typer.Option("--replace", help="Take the place of a corpus that has other files.")
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(help=f"Settings of this corpus alone: a YAML file, or {', '.join(built_in())}; none for none."),
    ] = None,
    hosts: Annotated[
        list[str] | None, typer.Option("--host", help="Pages of a crawl on this host; *.x.org takes those below it.")
    ] = None,
    tlds: Annotated[list[str] | None, typer.Option("--tld", help="Pages of a crawl below this TLD.")] = None,
    languages: Annotated[
        list[str] | None, typer.Option("--language", help="Pages of a crawl whose main language is this one (de, deu).")
    ] = None,
    mimes: Annotated[
        list[str] | None, typer.Option("--mime", help="Pages of a crawl of this detected media type (text/html).")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The first pages of a crawl that pass, and no more.")] = None,
    max_files: Annotated[
        int | None, typer.Option("--limit-files", help="The first files of a crawl, and no more.")
    ] = None,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """Register files as a corpus, and its segments as partitions in Dagster."""
    from pipelines.crawl.commoncrawl import CrawlChoice
    from pipelines.crawl.corpora import add_corpus, known_corpus
    from pipelines.crawl.page_filter import page_filter

    pages = page_filter(hosts or (), tlds or (), languages or (), mimes or (), limit)
    layout = Layout(home)
    before = known_corpus(layout, name)
    corpus = add_corpus(
        layout, name, paths or [], kind=_kind(kind), segments=segments, is_replacing=is_replacing, recipe=recipe,
        choice=CrawlChoice(pages, max_files),
    )  # fmt: skip
    offer_partitions(layout, corpus)
    if is_json:
        print_json(
            {
                "corpus": corpus.name,
                "segments": list(corpus.segments),
                "files": len(corpus.files),
                "bytes": corpus.bytes,
                "recipe": _recipe(corpus),
                "recipe_before": _recipe(before) if before else None,
                "skipped": [{"path": s.path, "reason": s.reason} for s in corpus.skipped],
            }
        )
        return
    out = console()
    out.print(
        f"corpus [bold]{plain(corpus.name)}[/]: {counted(len(corpus.files), 'file')}, {_size(corpus.bytes)}, "
        f"{counted(len(corpus.segments), 'segment')}"
        + (f", recipe {plain(corpus.recipe.name)}" if corpus.recipe else "")
    )
    if segments is not None and len(corpus.segments) < segments:
        out.print(f"  {segments:,} segments were asked for; a file is the least that a segment can have")
    if before is not None and before.recipe != corpus.recipe:
        _print_recipe_change(out, layout, before, corpus)
    for skipped in corpus.skipped:
        out.print(f"  left out {plain(skipped.path)}: {plain(skipped.reason)}")
    out.print(f"next: gristmill run {corpus.name} --through token_shards")


@app.command("list")
def list_(home: HomeOption = None, is_json: JsonOption = False) -> None:
    """Corpora, their segments, and how many segments of each stage are materialized."""
    from pipelines.crawl.corpora import list_corpora
    from pipelines.segments import live_segments
    from pipelines.stages import STAGES

    layout = Layout(home)
    corpora = list_corpora(layout)
    partitioned = [stage.name for stage in STAGES if stage.is_partitioned]
    done = {stage: Counter(p.corpus for p in live_segments(layout, stage)) for stage in partitioned} if corpora else {}
    rows: list[dict[str, Any]] = [
        {
            "corpus": corpus.name,
            "segments": len(corpus.segments),
            "files": len(corpus.files),
            "bytes": corpus.bytes,
            "kinds": dict(Counter(file.kind for file in corpus.files)),
            "recipe": _recipe(corpus),
            "materialized": {stage: done[stage][corpus.name] for stage in partitioned},
        }
        for corpus in corpora
    ]
    if is_json:
        print_json(rows)
        return
    if not rows:
        console().print(f"no corpus under {plain(layout.root)} yet: gristmill corpus add NAME PATH")
        return
    shown = table("corpus", "kind", "recipe", "#segments", "#files", "#size", "materialized (segments done)")
    for row in rows:
        stages = {stage: n for stage, n in row["materialized"].items() if n}
        shown.add_row(
            plain(row["corpus"]),
            ", ".join(sorted(row["kinds"])),
            plain(row["recipe"] or "–"),
            str(row["segments"]),
            f"{row['files']:,}",
            _size(row["bytes"]),
            ", ".join(f"{stage} {n}" for stage, n in stages.items()) or "nothing yet",
        )
    console().print(shown)


def _print_recipe_change(out: "Console", layout: Layout, before: "Corpus", corpus: "Corpus") -> None:
    from pipelines.report.recipe_change import stages_to_repeat

    now = plain(_recipe(corpus) or "none")
    same_name = " of other content" if _recipe(corpus) == _recipe(before) else ""
    out.print(f"  recipe: was {plain(_recipe(before) or 'none')}, is {now}{same_name}")
    for row in stages_to_repeat(layout, corpus, before.recipe):
        how = "run again" if row.is_measured_again else "decided again from its signals"
        out.print(f"  {row.stage} will be {how}, and what is made of it: {', '.join(row.settings)}")


def offer_partitions(layout: Layout, corpus: "Corpus") -> None:
    """Make the corpus and its segments known to the Dagster instance that belongs to the root, or to be made."""
    from assets.waiting_partitions import leave_note

    if leave_note(layout, corpus.name):
        return
    from assets.instance import open_instance
    from assets.partitions import register_partitions

    with open_instance(layout) as instance:
        register_partitions(instance, corpus)


def _kind(name: str | None) -> "Kind | None":
    from pipelines.crawl.kinds import KINDS

    for kind in KINDS:
        if kind == name:
            return kind
    if name is None:
        return None
    raise CorpusError(
        f"--kind {name} is unknown: give {', '.join(KINDS)}, or leave it out to have it told from the files"
    )


def _recipe(corpus: "Corpus") -> str | None:
    return corpus.recipe.name if corpus.recipe else None


def _size(count: int) -> str:
    return human_bytes(count) if count else "size not known"  # Common Crawl's listing has no sizes
