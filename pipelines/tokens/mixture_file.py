"""A mixture as a person writes it: in the settings of training_mixture, or in a YAML file that they name.

tokens: 2e9
corpora:
  books:   {proportion: 0.2, max_epochs: 4}
  debdocs: {epochs: 2, buckets: {seen-2-to-9: 3, seen-10-or-more: 5}}
  "*":     {}
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import fsspec
import yaml

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout, is_safe_name
from gristmill.core.strict_yaml import load_yaml

SECTION = "training_mixture"
OTHERS = "*"  # stands for every corpus that is not named
_FIELDS = ("proportion", "epochs", "max_epochs", "buckets")
MOST_EPOCHS = 1e6  # beyond what anyone means, and small enough that sums over corpora stay numbers
MOST_TOKENS = 1e18
_SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Wish:
    """What is asked of a corpus or of one of its buckets; None: nothing."""

    proportion: float | None = None  # of the tokens of a pass
    epochs: float | None = None  # in one pass; 0: not to be read
    max_epochs: float | None = None
    buckets: Mapping[str, "Wish"] = field(default_factory=dict[str, "Wish"])


def parse_corpora(value: Mapping[str, object]) -> dict[str, Wish]:
    """Check what `corpora` says.

    Raises:
        ValueError: a name or a number is none; the line names the corpus.
    """
    found: dict[str, Wish] = {}
    for name, asked in value.items():
        if name != OTHERS and not is_safe_name(name):
            raise ValueError(
                f"corpora: {shown(name)} can't name a corpus: a name has letters, digits, '.', '_' and '-' only; "
                f"a bucket is given as corpus: {{buckets: {{bucket: epochs}}}}"
            )
        found[name] = _wish(asked, f"corpora: {name}", may_have_buckets=True)
    return found


def parse_buckets(value: Mapping[str, object], where: str) -> dict[str, Wish]:
    """Check a mapping of bucket to epochs, or to what is asked of it.

    Raises:
        ValueError: as in `parse_corpora`.
    """
    return {str(name): _wish(asked, f"{where}: {name}", may_have_buckets=False) for name, asked in value.items()}


def number(value: object, where: str, *, most: float) -> float:
    """A finite number from 0 to `most`, also where YAML 1.1 took it for text, such as 1e-3.

    Raises:
        ValueError: it is something else.
    """
    try:
        is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
        found = float(cast(float | str, value)) if is_number else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or not 0 <= found <= most:
        raise ValueError(f"{where} is {shown(value)}; give a finite number from 0 to {most:g}")
    return found


def _wish(asked: object, where: str, *, may_have_buckets: bool) -> Wish:
    if asked is None:
        return Wish()
    if not isinstance(asked, Mapping):  # a bare number: epochs
        return Wish(epochs=number(asked, where, most=MOST_EPOCHS))
    given = cast(Mapping[object, object], asked)
    known = _FIELDS if may_have_buckets else _FIELDS[:-1]
    for name in given:
        if name not in known:
            raise ValueError(f"{where} has {shown(name)}; known are {', '.join(known)}")
    most = {"proportion": 1.0, "epochs": MOST_EPOCHS, "max_epochs": MOST_EPOCHS}
    numbers = {n: number(given[n], f"{where}: {n}", most=top) for n, top in most.items() if given.get(n) is not None}
    for name in ("proportion", "max_epochs"):
        if numbers.get(name) == 0:
            raise ValueError(f"{where}: {name} is 0; give a number above 0, or epochs: 0 for what is not to be read")
    buckets = given.get("buckets")
    if buckets is not None and not isinstance(buckets, Mapping):
        raise ValueError(f"{where}: buckets is {shown(buckets)}; give a mapping of bucket to epochs")
    inner = parse_buckets(cast(Mapping[str, object], buckets or {}), f"{where}: buckets")
    wish = Wish(numbers.get("proportion"), numbers.get("epochs"), numbers.get("max_epochs"), inner)
    own = [name for name, bucket in inner.items() if bucket.proportion is not None]
    if own and wish.proportion is not None:
        raise ValueError(
            f"{where} has a proportion and so has its bucket {own[0]}: give one to the corpus, which its buckets share "
            "by their epochs, or to buckets"
        )
    return wish


def read_mixture_file(layout: Layout, name: str) -> tuple[str, dict[str, Any]]:
    """Read the settings that a mixture file holds, as they are or below `training_mixture:`.

    Args:
        layout: the root, below which `name` is looked for after the place that it says itself.
        name: a path, or a URL where the root is one.

    Returns:
        Where it was found, and field to value.

    Raises:
        SettingsError: it is not there, not YAML, or no mapping.
    """
    text, path = _read(layout, name)
    try:
        loaded = load_yaml(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"mixture file {path} is not valid YAML: {' '.join(str(error).split())}") from None
    if isinstance(loaded, dict) and set(cast(dict[object, object], loaded)) == {SECTION}:
        loaded = cast(dict[object, object], loaded)[SECTION]
    if loaded is None:
        loaded = {}
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in cast(dict[object, object], loaded)):
        raise SettingsError(f"mixture file {path}: the top level must map settings of {SECTION} to values")
    found = cast(dict[str, Any], loaded)
    if "file" in found:
        raise SettingsError(f"mixture file {path} names another file: write the mixture in one")
    return path, found


def _read(layout: Layout, name: str) -> tuple[str, str]:
    """Text and place of the file: an absolute path or a URL as it says itself, anything else below the root."""
    try:
        if "://" in name:
            with cast(Any, fsspec.open(name, "rb")) as file:
                return cast(bytes, file.read()).decode(), name
        if Path(name).is_absolute():
            return Path(name).read_text(encoding="utf-8"), name
        with layout.fs.open(layout.join(name), "rb") as file:
            return cast(bytes, cast(Any, file).read()).decode(), layout.join(name)
    except (OSError, ValueError, ImportError) as error:  # a text that is not UTF-8 is a ValueError, as is a zero byte
        missing = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise SettingsError(
            f"settings of {SECTION}: file is {shown(name)}: {getattr(error, 'strerror', None) or missing}; give a "
            f"readable YAML file, relative to the settings file or to {layout.root}, or its absolute path"
        ) from None


def shown(value: object) -> str:
    """A value in a message: as written, but no page of it."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "a huge number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
