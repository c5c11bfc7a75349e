"""`gristmill run`: materialize a corpus up to an asset, here and now."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.cli.funnel import print_funnel
from gristmill.cli.output import HomeOption, JsonOption, console, print_json
from gristmill.core.layout import Layout
from gristmill.core.settings import read_settings_file

DEFAULT_THROUGH = "token_shards"


def run(
    name: Annotated[str, typer.Argument(help="A registered corpus.")],
    through: Annotated[str, typer.Option(help="The last asset to materialize.")] = DEFAULT_THROUGH,
    settings_file: Annotated[
        Path | None, typer.Option("--settings-file", help="YAML; default: settings.yaml under the home.")
    ] = None,
    is_forced: Annotated[bool, typer.Option("--force", help="Make again what is already there.")] = False,
    is_fresh_tokenizer: Annotated[
        bool, typer.Option("--fresh-tokenizer", help="Train a tokenizer even where one is there.")
    ] = False,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """Materialize a corpus up to an asset, in the foreground, in the Dagster instance that the UI shows."""
    from pipelines.crawl.corpora import load_corpus
    from pipelines.report.funnel import compute_funnel

    layout = Layout(home)
    load_corpus(layout, name)
    if settings_file is not None:
        read_settings_file(settings_file)
    seconds = materialize(
        layout,
        name,
        [through],
        settings_file=settings_file,
        is_forced=is_forced,
        is_fresh_tokenizer=is_fresh_tokenizer,
    )
    found = compute_funnel(layout, name)
    if is_json:
        print_json({"corpus": name, "through": through, "seconds": seconds, "funnel": found.to_plain()})
        return
    print_funnel(console(), found)


def materialize(
    layout: Layout,
    corpus: str,
    through: Sequence[str],
    *,
    settings_file: Path | None = None,
    is_forced: bool = False,
    is_fresh_tokenizer: bool = False,
) -> dict[str, Any]:
    """Run `corpus` up to the assets of `through` with bars on stderr; returns the seconds per asset."""
    from assets.instance import open_instance
    from assets.launch import run_corpus
    from gristmill.cli.progress import RunBars

    with open_instance(layout) as instance, RunBars(console(is_error=True)) as bars:
        run_corpus(
            instance,
            layout,
            corpus,
            through,
            settings_file=str(settings_file.absolute()) if settings_file else None,
            is_forced=is_forced,
            is_fresh_tokenizer=is_fresh_tokenizer,
            listener=bars,
        )
    return {asset: round(seconds, 3) for asset, seconds in bars.seconds.items()}
