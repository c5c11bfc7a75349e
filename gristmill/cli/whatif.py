"""What `gristmill funnel --set` prints: the funnel before and after, and documents that would change sides."""

from typing import TYPE_CHECKING, Any

from rich.console import Console

from gristmill.cli.output import plain, table
from gristmill.core.quantities import human_bytes

if TYPE_CHECKING:
    from pipelines.report.sides import ChangedDocument, StageChange
    from pipelines.report.whatif import WhatIf
_URL_SHOWN = 50
_TEXT_COLUMN = "#unedited text kept"


def print_what_if(out: Console, answer: "WhatIf") -> None:
    """The answer as two tables and the sentences that belong to them."""
    changes = "; ".join(map(_change, answer.changes))
    shown = table("stage", "#in", "#kept", "#change", _TEXT_COLUMN, "reasons whose counts change")
    shown.title = f"{plain(answer.corpus)}: what if {changes}"
    for stage in answer.stages:
        shown.add_row(*_row(stage))
    out.print(shown)
    for stage in answer.stages:
        for line in _sentences(stage):
            out.print(line)
    if answer.documents:
        out.print(_documents(answer.documents))
    out.print(
        f"[dim]unedited text: before lines are cut from it; `gristmill funnel {plain(answer.corpus)}` counts what is "
        f"left. Answered in {answer.seconds:.1f} s from stored signals; nothing has been changed. To have it so, write "
        f"it into the settings file and run the corpus again: only the decision is made again.[/]"
    )


def _change(change: dict[str, Any]) -> str:
    name, before, after = f"{plain(change['setting'])} of {change['stage']}", change["before"], change["after"]
    if before == after:
        return f"{name} is {_value(before)} already"
    return f"{name} were {_value(after)} instead of {_value(before)}"


def _row(stage: "StageChange") -> tuple[str, ...]:
    if not stage.before.documents_in and stage.segments_out:
        return stage.stage, "–", "–", "", "", f"[dim]not run, or out of date, in {len(stage.segments_out)} segments[/]"
    before, after = stage.before, stage.after
    name = f"[bold]{stage.stage}[/]" if stage.is_decided else stage.stage
    changed = sorted(
        (r for r in before.reasons.keys() | after.reasons.keys() if before.reasons[r] != after.reasons[r]),
        key=lambda r: (-abs(after.reasons[r] - before.reasons[r]), r),
    )
    reasons = [f"{r} {_arrow(before.reasons[r], after.reasons[r])}" for r in changed]
    if stage.not_seen:
        reasons.append(f"[yellow]up to {stage.not_seen:,} more come in, never seen here[/]")
    if stage.segments_out:
        reasons.append(f"[yellow]{len(stage.segments_out)} segments not run, or out of date, are not counted[/]")
    difference = after.documents_kept - before.documents_kept
    return (
        name,
        _arrow(before.documents_in, after.documents_in),
        _arrow(before.documents_kept, after.documents_kept),
        f"[{'green' if difference > 0 else 'red'}]{difference:+,}[/]" if difference else "0",
        _bytes(before.unedited_bytes_kept, after.unedited_bytes_kept),
        ", ".join(reasons),
    )


def _sentences(stage: "StageChange") -> list[str]:
    lines: list[str] = []
    if stage.is_decided:
        lines.append(
            f"[bold]{stage.stage}[/]: {stage.come_in:,} would come in, {stage.drop_out:,} would drop out, "
            f"{stage.other_reason:,} would be rejected for another reason"
        )
    lines += [f"[yellow]{stage.stage}: {plain(line)}[/]" for line in stage.unmeasured]
    if stage.lost_representatives:
        lines.append(
            f"[bold]{stage.stage}[/]: {stage.lost_representatives:,} of those that drop out stand for a cluster of "
            f"duplicates; another document of each such cluster would be kept, if it is still there"
        )
    return lines


def _documents(documents: "tuple[ChangedDocument, ...]") -> Any:
    shown = table("would", "rule", "#value", "#limit then", "#limit now", "document", "url")
    for column in shown.columns[:-1]:
        column.no_wrap = True
    shown.title = f"\n{len(documents)} documents that would change sides"
    for document in documents:
        shown.add_row(
            "[red]drop out[/]" if document.is_kept_before else "[green]come in[/]",
            plain(document.rule),
            _value(document.value),
            _value(document.old_threshold),
            _value(document.new_threshold),
            document.doc_id,
            plain(_shortened(document.url or "")),
        )
    return shown


def _shortened(url: str) -> str:
    """Both ends of a URL: the host, and what tells one page from the next."""
    return url if len(url) <= _URL_SHOWN else f"{url[: _URL_SHOWN // 2]}…{url[-_URL_SHOWN // 2 :]}"


def _arrow(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


def _bytes(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return ""
    return human_bytes(before) if before == after else f"{human_bytes(before)} → {human_bytes(after)}"


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return plain("[" + ", ".join(map(str, value)) + "]")  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return plain(value)
