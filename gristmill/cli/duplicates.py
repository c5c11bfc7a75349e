"""`gristmill duplicates`: a document's cluster, why its representative stays, and the two texts side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gristmill.cli.output import HomeOption, JsonOption, console, counted, plain, print_json, table
from gristmill.cli.untrusted import blanked
from gristmill.core.layout import Layout

if TYPE_CHECKING:
    from pipelines.report.cluster_members import Member
    from pipelines.report.duplicates import Cluster
    from pipelines.report.side_by_side import Pair

_MARKS = {"equal": "│", "changed": "≠", "left": "<", "right": ">"}
_STYLES = ("red", "green")  # of what only the left, and only the right text says
_LINE_CHARACTERS = 2_000  # of a line that are shown
_NARROWEST = 40  # columns: below, two texts beside each other are no help
_URL_WIDTH = 30  # columns that a URL needs beside the others; where there are fewer, each row becomes a few lines
_ANY_WIDTH = 10_000  # columns, to ask how many a table would take


def duplicates(
    document: Annotated[
        str, typer.Argument(metavar="URL_OR_DOC_ID", help="A URL, a doc_id, or six or more of its first characters.")
    ],
    corpus: Annotated[str | None, typer.Option(help="Look in this corpus only; in all of them by default.")] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="DOC_ID", help="Show this member beside the document, not the representative."),
    ] = None,
    members: Annotated[int, typer.Option(min=2, help="How many of a large cluster are looked at.")] = 20,
    is_with_text: Annotated[bool, typer.Option("--diff/--no-diff", help="Show the two texts side by side.")] = True,
    context: Annotated[int, typer.Option(min=-1, help="Equal lines around a difference; -1 for all lines.")] = 2,
    lines: Annotated[int, typer.Option(min=0, help="Lines that are shown at most; 0 for all.")] = 100,
    width: Annotated[
        int | None, typer.Option(min=_NARROWEST, help="Columns; those of the terminal by default.")
    ] = None,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """What repeats a document, how alike they are, and which of them is kept and why. Personal data is redacted."""
    from pipelines.report.duplicates import cluster_of, find_documents

    layout = Layout(home)
    found = find_documents(layout, document, corpus)
    out = console()
    if width:
        out = Console(file=out.file, width=width, highlight=False)
    if len(found) > 1:
        if is_json:
            print_json({"documents": [member.to_plain() for member in found]})
        else:
            _print_versions(out, document, found)
        return
    cluster = cluster_of(
        layout,
        found[0],
        against=against,
        members=members,
        context=None if context < 0 else context,
        is_with_text=is_with_text,
    )
    if is_json:
        print_json(cluster.to_plain())
        return
    _print_cluster(out, cluster)
    if cluster.compared is not None and is_with_text:
        _print_lines(out, cluster, lines)


def _print_versions(out: Console, asked: str, found: "list[Member]") -> None:
    rows = [(member.doc_id, *_where_and_when(member), _safe(member.url or "")) for member in found]
    title = f"{counted(len(found), 'document')} for {_safe(asked)}"
    _print_rows(out, ("doc_id", "corpus", "segment", "fetched", "#quality", "url"), rows, title)
    out.print("Give the doc_id of one of them; --corpus where one doc_id is in many.")


def _print_cluster(out: Console, cluster: "Cluster") -> None:
    asked = cluster.asked
    if cluster.size == 1:
        out.print(f"[bold]{asked.doc_id}[/] repeats no document and none repeats it: its cluster_size is 1")
    elif asked.is_representative:
        out.print(f"[bold]{asked.doc_id}[/] is kept: it represents a cluster of {cluster.size:,} documents")
    else:
        where = (
            ""
            if cluster.representative.corpus == asked.corpus
            else f" in corpus {plain(cluster.representative.corpus)}"
        )
        out.print(
            f"[bold]{asked.doc_id}[/] is {'an exact' if asked.kind == 'exact' else 'a near'} duplicate of "
            f"[bold]{cluster.representative.doc_id}[/]{where}, which represents a cluster of {cluster.size:,} documents"
        )
    if asked.repeated_paragraphs:
        lost = counted(asked.repeated_paragraphs, "paragraph")
        rest = ", and nothing is left: only_repeated_paragraphs" if asked.is_emptied else ""
        out.print(f"it loses {lost} that documents before it have as well{rest}")
    for warning in cluster.warnings:
        out.print(f"[yellow]{plain(warning)}[/]")
    _print_members(out, cluster)
    if cluster.size > len(cluster.members):
        out.print(f"… {cluster.size - len(cluster.members):,} more, less like the representative (--members)")
    if cluster.rule and cluster.compared:
        winner = "it" if asked.is_representative else "the representative"
        loser = cluster.compared if asked.is_representative else "this one"
        out.print(f"Why {winner} stays and not {loser}: {plain(cluster.rule)}")


def _print_members(out: Console, cluster: "Cluster") -> None:
    is_alone = len(cluster.members) == 1
    alike = () if is_alone else ("#estimate", "#Jaccard")
    title = None if is_alone else "\nestimate (from signatures) and Jaccard (of the texts): with the document asked for"
    rows: list[tuple[str, ...]] = []
    for member in cluster.members:
        role = f"[red]{member.kind or 'gone'}[/]"
        if member.is_representative:
            role = "[red]emptied[/]" if member.is_emptied else "[green]kept[/]"
        similarities = (
            "" if member.similarity is None or member.is_asked else f"{member.similarity:.3f}",
            "" if member.jaccard is None else f"{member.jaccard:.3f}",
        )
        marked = f"{role}{' ◂' if member.is_asked and not is_alone else ''}"
        rest = (*_where_and_when(member), *(() if is_alone else similarities), _safe(member.url or ""))
        rows.append((marked, member.doc_id, *rest))
    _print_rows(out, ("", "doc_id", "corpus", "segment", "fetched", "#quality", *alike, "url"), rows, title)


def _where_and_when(member: "Member") -> tuple[str, str, str, str]:
    return plain(member.corpus), plain(member.segment), _time(member.fetched_at), _quality(member.quality)


def _print_rows(out: Console, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], title: str | None) -> None:
    """A table, whose last column is a URL; where it does not fit, the facts of each row below its doc_id."""
    shown = table(*columns, title=title)
    for row in rows:
        shown.add_row(*row)
    for column in shown.columns[:-1]:
        column.no_wrap = True
    shown.columns[-1].overflow = "fold"
    whole = Measurement.get(out, out.options.update(max_width=_ANY_WIDTH), shown).maximum
    urls = max((cell_len(str(Text.from_markup(row[-1]))) for row in rows), default=0)
    if whole - max(urls - _URL_WIDTH, 0) <= out.width:
        out.print(shown)
        return
    if title:
        out.print(f"[bold]{title}[/]")
    first = columns.index("doc_id") + 1
    for row in rows:
        out.print(" ".join(row[:first]).strip())
        named = zip(columns[first:-1], row[first:-1], strict=True)
        out.print(Padding(", ".join(f"{name.removeprefix('#')} {cell}" for name, cell in named if cell), (0, 0, 0, 2)))
        if row[-1]:
            out.print(Padding(Text.from_markup(row[-1], overflow="fold"), (0, 0, 0, 2)))


def _print_lines(out: Console, cluster: "Cluster", most: int) -> None:
    """The two texts beside each other, as wide as the terminal."""
    shown = Table(box=None, pad_edge=False, padding=(0, 1), expand=True, header_style="bold")
    other = next(m for m in cluster.members if m.doc_id == cluster.compared and not m.is_asked)
    shown.add_column(Text(f"{cluster.asked.doc_id} (asked for)"), ratio=1, overflow="fold")
    shown.add_column("", width=1)
    role = "kept" if other.is_representative else "gone"
    shown.add_column(Text(f"{other.doc_id} ({role})"), ratio=1, overflow="fold")
    pairs = cluster.lines[: most or None]
    for pair in pairs:
        shown.add_row(*_row(pair))
    out.print()
    is_same = all(pair.kind in ("equal", "skipped") for pair in cluster.lines)
    if is_same:
        out.print("The two texts have the same lines." if cluster.lines else "Neither text has a line.")
    if not is_same or any(pair.kind == "equal" for pair in cluster.lines):
        out.print(shown)
    if len(pairs) < len(cluster.lines):
        out.print(f"… {counted(len(cluster.lines) - len(pairs), 'more line')} (--lines 0 for all)")
    if cluster.is_cut:
        out.print("The texts go on: only their beginnings are compared.")
    if not is_same:
        out.print("[dim]│ the same, ≠ differs, < only left, > only right; personal data is replaced by placeholders[/]")


def _row(pair: "Pair") -> tuple[Any, Any, Any]:
    from pipelines.report.side_by_side import differing_words

    if pair.kind == "skipped":
        return Text(f"… {counted(pair.count, 'equal line')}", style="dim"), "", ""
    left, right = (None if line is None else blanked(_cut(line)) for line in (pair.left, pair.right))
    cells: list[Text] = []
    if pair.kind == "changed" and left is not None and right is not None:
        for runs, style in zip(differing_words(left, right), _STYLES, strict=True):
            cells.append(
                Text(" ").join([Text(words, style=f"bold {style}" if is_new else "") for words, is_new in runs])
            )
    else:
        style = {"left": _STYLES[0], "right": _STYLES[1]}.get(pair.kind, "")
        cells = [Text(line or "", style=style) for line in (left, right)]
    return cells[0], Text(_MARKS[pair.kind]), cells[1]


def _cut(line: str) -> str:
    more = len(line) - _LINE_CHARACTERS
    return line if more <= 0 else f"{line[:_LINE_CHARACTERS]} … {more:,} characters more"


def _safe(text: str) -> str:
    return plain(blanked(text))


def _time(fetched_at: str | None) -> str:
    return "–" if fetched_at is None else fetched_at[:19].replace("T", " ")


def _quality(quality: float | None) -> str:
    from pipelines.report.duplicates import number_text

    return "–" if quality is None else number_text(quality)
