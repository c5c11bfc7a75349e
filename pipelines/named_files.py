"""The content of the files that settings name: models, word lists, evaluation sets.

A file that is replaced under its old name changes what a stage makes, so its content is part of the fingerprint. The
hash of a file is remembered by path, size and time of change, for some of them are gigabytes.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout
from gristmill.core.settings import to_plain

_CACHE_NAME = "file-hashes.json"
_BLOCK = 1 << 20


def content_hashes(layout: Layout, module: ModuleType, stage_name: str, settings: Any) -> dict[str, str]:
    """Path to content hash of every file that `settings` of a stage's module name; folders count with all in them.

    Raises:
        SettingsError: a file is not there or can't be read; the line names the setting.
    """
    named: tuple[str, ...] = module.files(settings) if hasattr(module, "files") else ()
    if not named:
        return {}
    path = layout.cache_path(_CACHE_NAME)
    known = _remembered(layout, path)
    fresh: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in dict.fromkeys(named):
        try:
            found[name] = _of(Path(name), known, fresh)
        except OSError as error:
            setting = _setting_of(name, to_plain(settings))
            raise SettingsError(
                f"{setting} of {stage_name} is {name}: {error.strerror or error}{_seen_from(name)}; "
                f"give the absolute path of a readable file, or leave the setting out"
            ) from None
    if fresh:
        layout.write_json(path, known | fresh)
    return found


def _seen_from(name: str) -> str:
    return "" if Path(name).is_absolute() else f" (seen from {Path.cwd()})"


def _remembered(layout: Layout, path: str) -> dict[str, Any]:
    try:
        return layout.read_json(path) or {}
    except MissingDataError:  # damaged: a memory is no more than that
        return {}


def _of(path: Path, known: Mapping[str, Any], fresh: dict[str, str]) -> str:
    if not path.is_dir():
        return _of_file(path, known, fresh)
    children = sorted(child for child in path.rglob("*") if child.is_file())
    lines = [f"{child.relative_to(path).as_posix()} {_of_file(child, known, fresh)}" for child in children]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _of_file(path: Path, known: Mapping[str, Any], fresh: dict[str, str]) -> str:
    stat = path.stat()
    key = f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns}"
    if isinstance(known.get(key), str):
        return known[key]
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    fresh[key] = digest.hexdigest()
    return fresh[key]


def _setting_of(path: str, settings: Mapping[str, Any]) -> str:
    """The setting that names `path`: in a text, a list or a mapping."""

    def names(value: Any) -> bool:
        if isinstance(value, dict):
            return any(names(v) for v in value.values())  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return any(names(v) for v in value)  # pyright: ignore[reportUnknownVariableType]
        return value == path

    return next((name for name, value in settings.items() if names(value)), "a setting")
