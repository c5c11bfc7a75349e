"""`gristmill corpus remove`: what goes and what stays, a question, then all of it."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gristmill.cli.output import HomeOption, JsonOption, console, counted, plain, print_json, table
from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout
from gristmill.core.quantities import human_bytes

if TYPE_CHECKING:
    from pipelines.crawl.removal import Holdings


def remove(
    name: Annotated[str, typer.Argument(help="A registered corpus, or one whose removal was interrupted.")],
    is_keeping_data: Annotated[
        bool, typer.Option("--keep-data", help="Take away the registration and the partitions alone.")
    ] = False,
    is_agreed: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """Remove a corpus: its documents at every stage, its partitions in Dagster, its registration.

    The crawl files it was registered from are not touched, and models stay as they are.
    """
    from pipelines.crawl.removal import holdings

    layout = Layout(home)
    found = holdings(layout, name)
    out = console(is_error=is_json)
    _print_holdings(found, is_keeping_data=is_keeping_data, is_error=is_json)
    if not is_agreed and not _is_confirmed(name, is_error=is_json):
        out.print("nothing was removed")
        raise typer.Exit(1)

    from assets.instance import open_instance
    from assets.removal import mixture_names, remove_corpus

    with open_instance(layout) as instance:
        stale = remove_corpus(instance, layout, found, is_keeping_data=is_keeping_data)
    is_in_mixture = not is_keeping_data and mixture_names(layout, name)
    if is_json:
        print_json(
            {
                "corpus": name,
                "is_data_kept": is_keeping_data,
                "files": 0 if is_keeping_data else found.files,
                "bytes": 0 if is_keeping_data else found.bytes,
                "stale_clusters": stale,
                "is_in_training_mixture": is_in_mixture,
            }
        )
        return
    out.print(f"corpus [bold]{plain(name)}[/] is removed")
    for other in stale:
        out.print(
            f"  the clusters of {plain(other)} were found with it and are stale: "
            f"gristmill run {plain(other)} --through clean_documents"
        )
    if is_in_mixture:
        out.print("  training_mixture names shards of it: make the mixture again before the next training run")


def _is_confirmed(name: str, *, is_error: bool) -> bool:
    try:
        return typer.confirm(f"remove corpus {name}?", err=is_error)
    except typer.Abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        raise CorpusError(
            f"corpus {name}: nobody answered, nothing was removed; --yes removes without asking"
        ) from None


def _print_holdings(found: "Holdings", *, is_keeping_data: bool, is_error: bool) -> None:
    out = console(is_error=is_error)
    registered = (
        f"{counted(len(found.corpus.files), 'file')} registered, {counted(len(found.corpus.segments), 'segment')}"
        if found.corpus is not None
        else "not registered, data is left of it"
    )
    out.print(f"corpus [bold]{plain(found.name)}[/]: {registered}")
    if is_keeping_data:
        out.print(
            f"  stays: {counted(found.files, 'file')}, {human_bytes(found.bytes)} of documents. As long as they lie "
            f"there, other corpora are compared with them and the tokenizer and the mixture take them in"
        )
        return
    if found.held:
        shown = table("goes", "#files", "#size")
        for held in found.held:
            shown.add_row(held.asset, f"{held.files:,}", human_bytes(held.bytes))
        out.print(shown)
    out.print("  stays: the crawl files it was registered from, tokenizers, and models, which may have learned from it")
