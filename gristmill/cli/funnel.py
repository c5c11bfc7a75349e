"""`gristmill funnel`: how many documents and bytes each stage kept, why the others went, and what if."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gristmill.cli.output import HomeOption, JsonOption, console, counted, plain, print_json, table
from gristmill.core.layout import Layout
from gristmill.core.quantities import human_bytes

if TYPE_CHECKING:
    from pipelines.report.funnel import Funnel

_REASONS_SHOWN = 3  # per stage; --json has them all


def funnel(
    name: Annotated[str, typer.Argument(help="A registered corpus.")],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="STAGE.SETTING=VALUE",
            # Rich would take the list for markup and leave it out.
            help="What if? A setting or a reason, such as quality.min_words=30 or language.languages='\\[en, de]'; "
            "answered from stored signals, nothing is run. May be given more than once.",
        ),
    ] = None,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """How many documents and bytes each stage kept of a corpus, and why the others went."""
    if changes:
        from gristmill.cli.whatif import print_what_if
        from pipelines.report.whatif import what_if

        answer = what_if(Layout(home), name, changes)
        if is_json:
            print_json(answer.to_plain())
        else:
            print_what_if(console(), answer)
        return
    from pipelines.report.funnel import compute_funnel

    found = compute_funnel(Layout(home), name)
    if is_json:
        print_json(found.to_plain())
        return
    out = console()
    print_funnel(out, found)
    for row in found.stages:
        if row.settings_changed:
            out.print(
                f"[yellow]{row.stage}: {counted(len(row.segments_other_settings), 'segment')} made with other settings "
                f"than the recipe and settings file give today: {plain(', '.join(row.settings_changed))}[/]"
            )
    if found.settings_problem:
        out.print(f"[yellow]not compared with today's settings: {plain(found.settings_problem)}[/]")


def print_funnel(out: Console, found: "Funnel") -> None:
    """The funnel as a table, one row per stage."""
    shown = table("stage", "#in", "#kept", "#rejected", "#text kept", "segments", "why, most frequent first")
    shown.title = (
        f"{plain(found.corpus)}: {found.documents_read:,} records read, {found.documents_kept:,} documents kept"
    )
    for row in found.stages:
        state = f"{len(row.segments_done)}/{len(found.segments)}"
        if row.segments_stale:
            state += f" [yellow]{len(row.segments_stale)} out of date[/]"
        if not row.is_balanced:
            state += " [red]does not add up[/]"
        if not row.segments_done:
            shown.add_row(row.stage, "–", "–", "–", "–", state, "")
            continue
        shown.add_row(
            row.stage,
            f"{row.documents_in:,}",
            f"{row.documents_kept:,}",
            f"{row.documents_rejected:,}",
            human_bytes(row.text_bytes_kept) if row.text_bytes_kept else "–",
            state,
            _reasons(row.reasons),
        )
    out.print(shown)


def _reasons(reasons: dict[str, int]) -> str:
    named = [f"{reason} {count:,}" for reason, count in list(reasons.items())[:_REASONS_SHOWN]]
    if rest := sum(list(reasons.values())[_REASONS_SHOWN:]):
        named.append(f"{len(reasons) - _REASONS_SHOWN} more {rest:,}")
    return ", ".join(named)
