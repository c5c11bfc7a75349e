"""Settings: frozen dataclasses beside their owners, filled from a YAML file and from overrides.

A settings file has one section per asset, named as the asset, holding that asset's fields:

    language_filtered_documents:
      languages: [en, de]
      threshold: 0.65
"""

import dataclasses
import difflib
import json
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from gristmill.core.errors import SettingsError
from gristmill.core.strict_yaml import load_yaml

T = TypeVar("T")
SETTINGS_VARIABLE = "GRISTMILL_SETTINGS"
SETTINGS_NAME = "settings.yaml"
_SCORING = "is_scoring"
_BESIDE = "is_beside_settings_file"
_NEAR = 3  # names like a misspelt one that are offered
_LISTED = 20  # names that a line can hold
SECTIONS = (
    "spark",
    "downloads",
    "extracted_documents",
    "language_filtered_documents",
    "quality_filtered_documents",
    "quality_classifier",
    "minhash_signatures",
    "duplicate_clusters",
    "deduplicated_documents",
    "clean_documents",
    "personal_data_checks",
    "tokenizer",
    "token_shards",
    "training_mixture",
    "training_plan",
    "pretrained_model",
    "instruction_dataset",
    "lora_adapter",
    "qlora_adapter",
)
"""Every section that a settings file may have; a test compares them with the stages and assets there are."""


def read_settings_file(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read a settings file: a mapping of asset name to a mapping of fields.

    Raises:
        SettingsError: the file is missing, is not YAML, gives a key twice, or has another shape.
    """
    try:
        loaded: object = load_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file {path}: {error.strerror}; give a readable YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is not valid YAML: {' '.join(str(error).split())}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise SettingsError(f"settings file {path}: the top level must map asset names to settings")
    sections = cast(dict[object, object], loaded)
    for name, section in sections.items():
        if not isinstance(name, str) or not isinstance(section, dict):
            raise SettingsError(f"settings file {path}: section {name!r} must map setting names to values")
        if name not in SECTIONS:
            raise SettingsError(f"settings file {path}: unknown section {name!r}; {_near(name, SECTIONS)}")
    return cast(dict[str, dict[str, Any]], sections)


def default_settings_path(root: str) -> Path | None:
    """The settings file in force: GRISTMILL_SETTINGS, else settings.yaml in a local root."""
    named = os.environ.get(SETTINGS_VARIABLE)
    if named:
        return Path(named)
    candidate = Path(root) / SETTINGS_NAME
    return candidate if "://" not in root and candidate.is_file() else None


def resolve(
    cls: type[T],
    section: str,
    root: str,
    settings_file: str | None,
    overrides: Mapping[str, Any],
    recipe: Mapping[str, Any] | None = None,
) -> T:
    """The settings that hold: defaults, the corpus's recipe, the settings file, `overrides` that are not None.

    Args:
        cls: the settings dataclass.
        section: of the settings file: the asset's name.
        root: where settings.yaml is looked for when no file is named.
        settings_file: a YAML file, or None.
        overrides: from a command line or a launch form.
        recipe: the same section of the recipe that the corpus was registered with.

    Raises:
        SettingsError: a file, a name or a value is wrong; the message names it.
    """
    path = settings_file or default_settings_path(root)
    values: dict[str, Any] = dict(recipe or {})
    build(cls, values, f"recipe of the corpus, section {section}")
    if path is not None:
        written = read_settings_file(path).get(section, {})
        build(cls, written, f"settings file {path}, section {section}")
        values |= {name: _beside(cls, name, value, path) for name, value in written.items() if value is not None}
    given = {name: value for name, value in overrides.items() if value is not None}
    return build(cls, values | given, f"settings of {section}")


def read_overrides(text: str) -> dict[str, Any]:
    """Overrides as a worker's command line gives them: a JSON object.

    Raises:
        SettingsError: it is something else.
    """
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"--settings is not valid JSON ({error}); give an object such as '{{}}'") from None
    if not isinstance(value, dict):
        raise SettingsError("--settings is not a JSON object; give setting names and values, such as '{}'")
    return cast(dict[str, Any], value)


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make the settings dataclass `cls` from plain values, checking names and types.

    Args:
        cls: a frozen dataclass; its `__post_init__` checks ranges and raises ValueError.
        values: field name to value, as YAML or JSON gives them; None means the default.
        where: what to name in an error, such as "settings.yaml, section tokenizer".
    """
    fields = {f.name: f for f in dataclasses.fields(cast(Any, cls))}
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise SettingsError(f"{where}: unknown setting {unknown[0]!r}; {_near(str(unknown[0]), fields)}")
    converted = {
        name: _convert(value, hints[name], f"{where}: {name}") for name, value in values.items() if value is not None
    }
    try:
        return cls(**converted)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{where}: {error}") from None


def _near(name: str, known: Iterable[str]) -> str:
    """What a person meant who wrote `name`; where nothing is like it, what there is, unless that is a page's worth."""
    names = sorted(known)
    found = difflib.get_close_matches(name, names, _NEAR)
    if found:
        return f"did you mean {' or '.join(map(repr, found))}?"
    if not names:
        return "there is none"
    return f"known are {', '.join(names)}" if len(names) <= _LISTED else "docs/settings.md lists what there is"


def scoring(default: T) -> T:
    """The default of a settings field that changes what is computed, not only what is decided from it.

    Documents are scored again when such a field changes; for any other the stored signals are decided again.
    """
    metadata = {_SCORING: True}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: cast(Any, dict(default)), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def beside_settings_file() -> str:
    """The default, none, of a settings field that names a file: a relative path is looked for beside the settings file.

    One that is not there stays as it is written.
    """
    return dataclasses.field(default="", metadata={_BESIDE: True})


def _beside(cls: type, name: str, value: Any, settings_file: str | os.PathLike[str]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cast(Any, cls))}
    if not isinstance(value, str) or not fields[name].metadata.get(_BESIDE):
        return value
    candidate = Path(settings_file).absolute().parent / value
    return str(candidate) if value and "\0" not in value and candidate.is_file() else value


def scoring_names(cls: type) -> frozenset[str]:
    """Names of the fields that a settings dataclass declares with `scoring`."""
    return frozenset(f.name for f in dataclasses.fields(cast(Any, cls)) if f.metadata.get(_SCORING))


def scoring_values(settings: object) -> dict[str, Any]:
    """The fields declared with `scoring`, as JSON-ready values."""
    names = scoring_names(type(settings))
    return {name: value for name, value in to_plain(settings).items() if name in names}


def to_plain(settings: object) -> dict[str, Any]:
    """The settings as JSON-ready values, for reports and fingerprints."""
    return cast(dict[str, Any], _plain(dataclasses.asdict(cast(Any, settings))))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in cast(dict[Any, Any], value).items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(v) for v in cast(list[Any], value)]
    return value


def _convert(value: Any, hint: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = [a for a in typing.get_args(hint) if a is not type(None)]
        for option in options:
            try:
                return _convert(value, option, where)
            except SettingsError:
                if option is options[-1]:
                    raise
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise SettingsError(f"{where} is {value!r}; choose one of {', '.join(map(str, typing.get_args(hint)))}")
        return value
    if origin in (tuple, list, frozenset, set):
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise SettingsError(f"{where} is {value!r}; give a list")
        item = (typing.get_args(hint) or (Any,))[0]
        return origin(_convert(v, item, where) for v in cast(list[Any], value))
    if origin in (dict, Mapping) or hint is dict:
        if not isinstance(value, Mapping):
            raise SettingsError(f"{where} is {value!r}; give a mapping")
        key_type, value_type = typing.get_args(hint) or (Any, Any)
        return {
            _convert(k, key_type, where): _convert(v, value_type, where)
            for k, v in cast(Mapping[Any, Any], value).items()
        }
    return _convert_scalar(value, hint, where)


def _convert_scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return _finite(value, where)
    if hint is Any:
        return value
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise SettingsError(f"{where} is {value!r}; give {_NAMES.get(hint, getattr(hint, '__name__', str(hint)))}")
    return value


def _finite(value: float | str, where: str) -> float:
    """A number to compare with: nothing is above NaN, and an infinite limit can't be written to JSON."""
    try:
        number = float(value)  # of a text too: YAML 1.1 reads 1e-3 as one
    except (ValueError, OverflowError):
        raise SettingsError(f"{where} is {value!r}; give a number") from None
    if not math.isfinite(number):
        raise SettingsError(f"{where} is {value!r}; give a finite number")
    return number


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
