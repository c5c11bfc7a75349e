"""The file of recognizers: read strictly, so that a misspelt key is an error and not a recognizer that never runs.

extends: default                 # also what recognizers.yaml beside this module has
disable: [UsSsnRecognizer]       # of those, by name
enable: [NhsRecognizer]          # of those that say `enabled: false`
allow: [help@example.org]        # texts that are no finding
presidio:
  - recognizer: UkPostcodeRecognizer
    arguments: {supported_entity: POSTCODE}
own:
  - name: Staff numbers
    entity: STAFF_NUMBER
    patterns: [{name: with a prefix, regex: 'ST-\\d{6}', score: 0.8}]
    deny: [ST-TEST]              # words that are findings by themselves
    ignore_case: true            # false where it is left out
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import yaml

from gristmill.core.errors import SettingsError
from gristmill.core.strict_yaml import load_yaml

DEFAULT = Path(__file__).with_name("recognizers.yaml")
_TOP = {"extends": str, "disable": list, "enable": list, "allow": list, "presidio": list, "own": list}
_PRESIDIO = {"recognizer": str, "arguments": dict, "enabled": bool}
_OWN = {
    "name": str,
    "entity": str,
    "country": str,
    "check": str,
    "ignore_case": bool,
    "enabled": bool,
    "patterns": list,
    "deny": list,
    "deny_score": float,
}
_PATTERN = {"name": str, "regex": str, "score": float}
_NAMES = {str: "text", list: "a list", dict: "a mapping", bool: "true or false", float: "a number"}
CHECKS = ("luhn", "base58")


@dataclass(frozen=True)
class OwnPattern:
    """A regular expression and how sure a match of it is."""

    name: str
    regex: str
    score: float


@dataclass(frozen=True)
class Declared:
    """One recognizer of a file: a class of Presidio with arguments, or patterns of one's own."""

    name: str
    where: str  # for messages: the file and the entry
    is_enabled: bool = True
    arguments: tuple[tuple[str, Any], ...] = ()
    entity: str | None = None  # None: a class of Presidio, named `name`
    country: str | None = None
    check: str | None = None
    ignore_case: bool = False
    patterns: tuple[OwnPattern, ...] = ()
    deny: tuple[str, ...] = ()
    deny_score: float = 1.0


@dataclass(frozen=True)
class RecognizerFile:
    """What a file of recognizers says, what it extends included."""

    recognizers: tuple[Declared, ...]
    allow: frozenset[str] = frozenset()


def read_recognizers(path: str | Path | None) -> RecognizerFile:
    """Read a file of recognizers; None: the default one.

    Raises:
        SettingsError: it can't be read, or is no such file; the line names the file and the key.
    """
    where = f"recognizers file {path or DEFAULT.name}"
    try:
        loaded = load_yaml(Path(path or DEFAULT).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{where}: {error.strerror}; give a readable YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from None
    top = _mapping(loaded, _TOP, where)
    if top.get("extends", "default") != "default":
        raise SettingsError(f"{where}: extends is {top['extends']!r}; it may only say default")
    base = read_recognizers(None) if "extends" in top else RecognizerFile(())
    known = [declared.name for declared in base.recognizers]
    turned: dict[str, list[str]] = {key: _texts(top.get(key, []), f"{where}: {key}") for key in ("disable", "enable")}
    for key, names in turned.items():
        for name in names:
            if name not in known:
                raise SettingsError(f"{where}: {key} names {name!r}, which is none of what it extends")
    own = [_presidio(entry, f"{where}: presidio, entry {n}") for n, entry in enumerate(top.get("presidio", []), 1)]
    own += [_own(entry, f"{where}: own, entry {n}") for n, entry in enumerate(top.get("own", []), 1)]
    kept = [
        replace(declared, is_enabled=declared.is_enabled or declared.name in turned["enable"])
        for declared in base.recognizers
        if declared.name not in turned["disable"]
    ]
    names = [declared.name for declared in (*kept, *own)]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"{where}: {name!r} is there twice; disable the one that is extended, or rename one")
    allow = base.allow | set(_texts(top.get("allow", []), f"{where}: allow"))
    return RecognizerFile((*kept, *own), frozenset(allow))


def _presidio(entry: object, where: str) -> Declared:
    fields = _mapping(entry, _PRESIDIO, where, needed=("recognizer",))
    arguments: dict[str, Any] = fields.get("arguments", {})
    patterns: tuple[OwnPattern, ...] = ()
    if "patterns" in arguments:
        patterns = _patterns(arguments["patterns"], f"{where}: arguments, patterns")
    rest = tuple((str(key), value) for key, value in arguments.items() if key != "patterns")
    return Declared(fields["recognizer"], where, fields.get("enabled", True), rest, patterns=patterns)


def _own(entry: object, where: str) -> Declared:
    fields = _mapping(entry, _OWN, where, needed=("name", "entity"))
    entity: str = fields["entity"]
    if not (entity.isascii() and entity.isidentifier() and entity.isupper()):
        raise SettingsError(f"{where}: entity is {entity!r}; give capital letters, digits and _, such as STAFF_NUMBER")
    check = fields.get("check")
    if check is not None and check not in CHECKS:
        raise SettingsError(f"{where}: check is {check!r}; choose one of {', '.join(CHECKS)}")
    patterns = _patterns(fields.get("patterns", []), f"{where}: patterns")
    deny = tuple(_texts(fields.get("deny", []), f"{where}: deny"))
    if not patterns and not deny:
        raise SettingsError(f"{where}: it has neither patterns nor deny, and would find nothing")
    return Declared(
        fields["name"],
        where,
        fields.get("enabled", True),
        entity=entity,
        country=fields.get("country"),
        check=check,
        ignore_case=fields.get("ignore_case", False),
        patterns=patterns,
        deny=deny,
        deny_score=_score(fields.get("deny_score", 1.0), f"{where}: deny_score"),
    )


def _patterns(entries: object, where: str) -> tuple[OwnPattern, ...]:
    import regex

    found: list[OwnPattern] = []
    for number, entry in enumerate(_listed(entries, where), 1):
        place = f"{where}, entry {number}"
        fields = _mapping(entry, _PATTERN, place, needed=("name", "regex", "score"))
        try:
            empty = regex.compile(fields["regex"]).fullmatch("")
        except regex.error as error:
            raise SettingsError(f"{place}: regex is no regular expression: {error}") from None
        if empty:
            raise SettingsError(f"{place}: regex matches the empty text, which is everywhere")
        found.append(OwnPattern(fields["name"], fields["regex"], _score(fields["score"], f"{place}: score")))
    return tuple(found)


def _mapping(value: object, known: dict[str, type], where: str, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    if value is None and not needed:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{where} is {value!r}; give a mapping of {', '.join(known)}")
    fields = cast(dict[object, Any], value)
    for key, field in fields.items():
        if key not in known:
            raise SettingsError(f"{where}: unknown key {key!r}; known are {', '.join(known)}")
        kind = known[cast(str, key)]
        is_number = kind is float and isinstance(field, int | float) and not isinstance(field, bool)
        if not is_number and not isinstance(field, kind):
            raise SettingsError(f"{where}: {key} is {field!r}; give {_NAMES[kind]}")
    for key in needed:
        if key not in fields:
            raise SettingsError(f"{where}: {key} is missing")
    return cast(dict[str, Any], fields)


def _listed(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise SettingsError(f"{where} is {value!r}; give a list")
    return cast(list[object], value)


def _texts(value: object, where: str) -> list[str]:
    for item in _listed(value, where):
        if not isinstance(item, str) or not item:
            raise SettingsError(f"{where} has {item!r}; give texts, in quotes where YAML takes them for something else")
    return cast(list[str], value)


def _score(value: float, where: str) -> float:
    if not 0 < value <= 1:
        raise SettingsError(f"{where} is {value}; give a number above 0 and up to 1")
    return float(value)
