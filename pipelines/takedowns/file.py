"""<root>/takedowns.yaml: the patterns, readable, kept under version control by whoever wants, mended by hand.

    - pattern: example.org
      kind: host
      added_at: 2026-11-22T18:55:00+00:00
      note: asked by mail, case 17

`pattern` alone is needed; a line `- example.org` is an entry too. Reading goes by YAML's events, so that what is
wrong has a line number, and 100,000 entries take seconds.
"""

import contextlib
import fcntl
import json
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import yaml

from gristmill.core.errors import GristmillError, SettingsError
from gristmill.core.layout import Layout, storage_error
from pipelines.commit import now
from pipelines.takedowns.matching import Takedowns
from pipelines.takedowns.patterns import Pattern, parse

NAME = "takedowns.yaml"
_FIELDS = ("pattern", "kind", "added_at", "note", "broad")
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9./:?=&%_~+*-]*[A-Za-z0-9./?=&%_~+*-])?")
_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
_HEAD = "# What was taken down: see docs/takedown.md. `gristmill takedown plan` says what follows from a change.\n"


class TakedownError(SettingsError):
    """The file can't be read as a list of patterns, or a pattern can't be added or removed."""


def path_of(layout: Layout) -> str:
    """Where the file lies."""
    return layout.join(NAME)


def load(layout: Layout) -> Takedowns:
    """The patterns in force; none where there is no file.

    Raises:
        TakedownError: the file is damaged; the message names the line.
    """
    text = _text(layout)
    return _parsed(path_of(layout), text) if text is not None else Takedowns()


def _text(layout: Layout) -> str | None:
    path = path_of(layout)
    try:
        return cast(bytes, layout.fs.cat_file(path)).decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise TakedownError(f"{path} is no UTF-8 at byte {error.start}: save it as UTF-8") from None
    except OSError as error:
        raise TakedownError(f"{path} can't be read: {error.strerror or error}; mend its permissions") from None


@dataclass(frozen=True)
class _Entry:
    """One entry and the lines it takes, from 0, the last one not included."""

    pattern: Pattern
    start: int
    stop: int


@lru_cache(maxsize=4)
def _parsed(path: str, text: str) -> Takedowns:
    return Takedowns(entry.pattern for entry in _entries(path, text))


def _entries(path: str, text: str) -> list[_Entry]:
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    events = iter(yaml.parse(text, Loader=loader))
    found: list[_Entry] = []
    try:
        for event in events:
            if isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent | yaml.StreamEndEvent):
                continue
            if isinstance(event, yaml.ScalarEvent) and not event.value and not found:
                return []  # nothing but comments
            if not isinstance(event, yaml.SequenceStartEvent):
                raise _wrong(path, event, "the file must be a list of entries, each beginning with `- pattern:`")
            found = _sequence(path, events)
            break
        rest = [e for e in events if not isinstance(e, yaml.DocumentEndEvent | yaml.StreamEndEvent)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}" if mark is not None else ""
        raise TakedownError(f"{path}{where}: not valid YAML: {' '.join(str(error.problem).split())}") from None
    except yaml.YAMLError as error:
        raise TakedownError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if rest:
        raise _wrong(path, rest[0], "a second YAML document begins; one list is all the file may hold")
    return found


def _sequence(path: str, events: Any) -> list[_Entry]:
    found: list[_Entry] = []
    for event in events:
        if isinstance(event, yaml.SequenceEndEvent):
            break
        line = int(event.start_mark.line)
        if isinstance(event, yaml.ScalarEvent):
            fields, stop = {"pattern": str(event.value)}, int(event.end_mark.line) + 1
        elif isinstance(event, yaml.MappingStartEvent):
            fields, stop = _mapping(path, events)
        else:
            raise _wrong(path, event, "an entry must be a pattern, or `pattern:` with its fields")
        try:
            found.append(_Entry(_pattern(fields, line + 1), line, stop))
        except GristmillError as error:
            raise TakedownError(f"{path} line {line + 1}: {error}") from None
    return found


def _mapping(path: str, events: Any) -> tuple[dict[str, str], int]:
    """The fields of an entry as text, and the line after its last."""
    fields: dict[str, str] = {}
    stop = 0
    for name in events:
        if isinstance(name, yaml.MappingEndEvent):
            break
        if not isinstance(name, yaml.ScalarEvent) or name.value not in _FIELDS:
            said = repr(name.value) if isinstance(name, yaml.ScalarEvent) else "what stands here"
            raise _wrong(path, name, f"{said} is no field of an entry; known are {', '.join(_FIELDS)}")
        if name.value in fields:
            raise _wrong(path, name, f"{name.value!r} is given twice in one entry")
        value = next(events)
        if not isinstance(value, yaml.ScalarEvent):
            raise _wrong(path, value, f"{name.value!r} must be text, not a list or a mapping")
        fields[name.value], stop = str(value.value), int(value.end_mark.line) + 1
    return fields, stop


def _pattern(fields: dict[str, str], line: int) -> Pattern:
    if "pattern" not in fields:
        raise SettingsError("the entry has no `pattern`")
    broad = fields.get("broad", "false").lower()
    if broad not in _TRUTHS:
        raise SettingsError(f"broad is {broad!r}; give true or false")
    return parse(
        fields["pattern"], fields.get("kind", ""), added_at=fields.get("added_at", ""), note=fields.get("note", ""),
        is_broad=_TRUTHS[broad], line=line,
    )  # fmt: skip


def _wrong(path: str, event: Any, what: str) -> TakedownError:
    return TakedownError(f"{path} line {event.start_mark.line + 1}: {what}")


def add(layout: Layout, pattern: Pattern) -> bool:
    """Append an entry, all else in the file as it was; False where the pattern is there already.

    Raises:
        TakedownError: the file is damaged.
        EnvironmentProblemError: it can't be written.
    """
    with _locked(layout):
        text = _text(layout) or ""
        entries = _entries(path_of(layout), text)
        if any(entry.pattern.key == pattern.key for entry in entries):
            return False
        new = _written(pattern)
        appended = f"{text}{'' if text.endswith(chr(10)) else chr(10)}{new}" if text.strip() else f"{_HEAD}{new}"
        wanted = [*(entry.pattern.key for entry in entries), pattern.key]
        _replace(layout, appended, wanted, [*(entry.pattern for entry in entries), pattern])
    return True


def remove(layout: Layout, text: str) -> Pattern:
    """Take the entries of one pattern out, all else in the file as it was; returns what they were.

    Raises:
        TakedownError: the file is damaged, or has no such pattern.
    """
    with _locked(layout):
        written = _text(layout) or ""
        entries = _entries(path_of(layout), written)
        wanted = _same(entries, text)
        if not wanted:
            raise TakedownError(f"{path_of(layout)} has no pattern {text.strip()}: `gristmill takedown list` shows all")
        keys = {entry.pattern.key for entry in wanted}
        rest = [entry for entry in entries if entry.pattern.key not in keys]
        lines = written.splitlines(keepends=True)
        gone = {number for entry in wanted for number in range(entry.start, entry.stop)}
        text = "".join(line for number, line in enumerate(lines) if number not in gone)
        _replace(layout, text, [entry.pattern.key for entry in rest], [entry.pattern for entry in rest])
        return wanted[0].pattern


def _same(entries: Sequence[_Entry], text: str) -> list[_Entry]:
    exact = [entry for entry in entries if entry.pattern.written == text.strip()]
    if exact:
        return [entry for entry in entries if entry.pattern.key == exact[0].pattern.key]
    key = parse(text, is_broad=True).key
    return [entry for entry in entries if entry.pattern.key == key]


def _replace(layout: Layout, text: str, keys: list[str], patterns: Sequence[Pattern]) -> None:
    """Write `text`, if it says what is wanted; a file in another style of YAML is written anew, without comments."""
    try:
        is_right = [entry.pattern.key for entry in _entries(path_of(layout), text)] == keys
    except TakedownError:
        is_right = False
    data = text if is_right else _HEAD + ("".join(map(_written, patterns)) or "[]\n")
    layout.write_bytes(path_of(layout), data.encode())


def _written(pattern: Pattern) -> str:
    lines = [f"- pattern: {_scalar(pattern.written)}", f"  kind: {pattern.kind}"]
    lines.append(f"  added_at: {pattern.added_at or now()}")
    if pattern.note:
        lines.append(f"  note: {_scalar(pattern.note)}")
    if pattern.is_broad:
        lines.append("  broad: true")
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    """One line that YAML reads as `text`."""
    line = " ".join(text.split())
    return line if _PLAIN.fullmatch(line) else json.dumps(line, ensure_ascii=False)


@contextlib.contextmanager
def _locked(layout: Layout) -> Generator[None]:
    """One change at a time: of two at once, one would be lost. An object store has no locks."""
    if not layout.is_local:
        yield
        return
    path = layout.join(".takedowns.lock")
    try:
        layout.fs.makedirs(layout.base, exist_ok=True)
        lock = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise storage_error(error, path) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
