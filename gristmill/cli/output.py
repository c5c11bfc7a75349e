"""What commands print: tables for people on stdout, JSON for programs, progress and news on stderr."""

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gristmill.core.layout import DEFAULT_HOME, HOME_VARIABLE

HomeOption = Annotated[
    str | None, typer.Option("--home", help=f"Where the data lies. Default: ${HOME_VARIABLE}, else {DEFAULT_HOME}.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables.")]

_PIPED_WIDTH = 160  # a table that is not on a terminal must not be folded to 80 columns


def console(*, is_error: bool = False) -> Console:
    """A console on stdout, or on stderr; made anew so that tests may swap the streams."""
    stream = sys.stderr if is_error else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPED_WIDTH, highlight=False)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def table(*columns: str, title: str | None = None) -> Table:
    """A table in the house style; a column whose name begins with '#' holds numbers and is set right."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", title_style="bold")
    for column in columns:
        is_number = column.startswith("#")
        made.add_column(column.removeprefix("#"), justify="right" if is_number else "left", no_wrap=is_number)
    return made


def plain(value: Any) -> str:
    """Text from outside as rich prints it, never as its markup."""
    from rich.markup import escape

    return escape(str(value))


def said_once(line: str) -> Callable[[], None]:
    """A function that says `line` on stderr the first time it is called."""
    left = [line]

    def say() -> None:
        while left:
            print(left.pop(), file=sys.stderr, flush=True)

    return say


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 file, 2 files."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
