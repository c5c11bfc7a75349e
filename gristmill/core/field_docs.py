"""What a settings dataclass says about its fields: comments and docstrings in its source, and defaults."""

import ast
import dataclasses
import inspect
import linecache
import re
import textwrap
from typing import Any, cast

_LONGEST_DEFAULT = 120  # characters of one that are shown


def field_comments(settings_class: type) -> dict[str, str]:
    """What the source says about each field, in one line; empty where it says nothing. Inherited fields included.

    That is a comment behind the field, else a string below it, else comments above it.
    """
    comments: dict[str, str] = {}
    for cls in reversed(settings_class.__mro__[:-1]):
        try:
            lines = _source_of(cls)
        except (OSError, TypeError):  # made at run time: there is no source
            continue
        body = cast(ast.ClassDef, ast.parse(textwrap.dedent("\n".join(lines))).body[0]).body
        for node, following in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                behind = re.search(r"\s#\s*(.+)$", lines[node.end_lineno - 1] if node.end_lineno else "")
                text = behind[1] if behind else _string(following) or _above(lines, node.lineno - 1)
                comments[node.target.id] = " ".join(text.split())
    return comments


def default_text(field: "dataclasses.Field[Any]") -> str:
    """A field's default as a person may read it; long ones are cut, `required` stands where there is none."""
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    text = repr(list(cast(Any, value)) if isinstance(value, tuple | set | frozenset) else value)
    return text if len(text) <= _LONGEST_DEFAULT else f"{text[: _LONGEST_DEFAULT - 3]}…"


def _source_of(cls: type) -> list[str]:
    """The lines of a class, as `inspect.getsource`, which in Python 3.11 parses the whole module to find it."""
    module = inspect.getmodule(cls)
    lines = linecache.getlines(inspect.getsourcefile(cls) or "", vars(module) if module else None)
    starts = [row for row, line in enumerate(lines) if re.match(rf"class {cls.__name__}\b", line)]
    if len(starts) != 1:  # not at the top of its module, or twice there
        return inspect.getsource(cls).splitlines()
    return [line.rstrip("\n") for line in inspect.getblock(lines[starts[0] :])]


def _string(node: ast.stmt | None) -> str:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return ""
    return node.value.value if isinstance(node.value.value, str) else ""


def _above(lines: list[str], row: int) -> str:
    found: list[str] = []
    while row > 0 and (text := lines[row - 1].strip()).startswith("#"):
        found.insert(0, text.lstrip("# "))
        row -= 1
    return " ".join(found)
