"""`--set STAGE.SETTING=VALUE`: a change of a decision, as a person writes it."""

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import yaml

from gristmill.core.errors import SettingsError
from gristmill.core.settings import build, scoring_names, to_plain
from gristmill.core.strict_yaml import DuplicateKeyError, load_yaml
from pipelines.decisions import Rule
from pipelines.signals import has_signals
from pipelines.stages import BY_NAME, Stage

SHORT_NAMES = {"language": "language_filtered_documents", "quality": "quality_filtered_documents"}


@dataclass(frozen=True)
class Change:
    """One setting of one stage with another value."""

    stage: str
    setting: str
    key: str | None  # of a setting that maps names to values, such as thresholds by language
    value: Any
    given: str  # as it was written, for error lines

    @property
    def name(self) -> str:
        """The setting as it is written after the stage's name."""
        return self.setting if self.key is None else f"{self.setting}.{self.key}"

    def old(self, settings: Any) -> Any:
        """The value in `settings` of what is changed."""
        value = to_plain(settings)[self.setting]
        return value if self.key is None else value.get(self.key)


def parse_change(given: str) -> Change:
    """Read `STAGE.SETTING=VALUE`, where SETTING may be a reason and VALUE is YAML.

    Raises:
        SettingsError: it is malformed, unknown, or changes what is measured rather than what is decided.
    """
    left, is_set, text = given.partition("=")
    stage_name, has_name, name = left.strip().partition(".")
    if not is_set or not has_name or not name:
        raise SettingsError(f"--set {given}: give STAGE.SETTING=VALUE, such as quality.min_words=30")
    stage = BY_NAME.get(SHORT_NAMES.get(stage_name, stage_name))
    decided = [row for row in BY_NAME.values() if row.kind == "map" and has_signals(row.load())]
    if stage is None or stage not in decided:
        known = ", ".join((*SHORT_NAMES, *(row.name for row in decided)))
        raise SettingsError(
            f"--set {given}: {stage_name!r} stores no signals to decide from; those that do are {known}"
        )
    module = stage.load()
    try:
        value = load_yaml(text)
    except DuplicateKeyError as error:
        raise SettingsError(f"--set {given}: {error}") from None
    except yaml.YAMLError:
        raise SettingsError(f"--set {given}: {text!r} is no value in YAML, such as 30, true or [en, de]") from None
    if value is None:  # which would mean "the default" without saying so
        raise SettingsError(f"--set {given}: there is no value behind the '='; give one, such as quality.min_words=30")
    setting, key = _setting(stage, module, name, given)
    if setting in scoring_names(module.Settings):
        raise SettingsError(
            f"--set {given}: {setting} changes what is measured, not what is decided from it: set it in the settings "
            f"file and run {stage.name}"
        )
    return Change(stage.name, setting, key, value, given)


def _setting(stage: Stage, module: ModuleType, name: str, given: str) -> tuple[str, str | None]:
    fields = [field.name for field in dataclasses.fields(module.Settings)]
    if name in fields:
        return name, None
    head, _, key = name.partition(".")
    if head in fields and isinstance(to_plain(module.Settings())[head], dict):
        if not key or "." in key:
            raise SettingsError(f"--set {given}: {key!r} can't be a name in {head}; give one, such as {head}.en")
        return head, key
    setting = setting_of_reason(module, module.Settings(), name)
    if setting is not None:
        return setting, None
    decided = [field for field in fields if field not in scoring_names(module.Settings)]
    if name in module.REASONS:
        family: Any = getattr(module, "FAMILIES", {}).get(head, module)
        own = [field for field in decided if _declares(family, module.Settings, field)] or decided
        what = "follows from no single setting; give the setting"
        raise SettingsError(f"--set {given}: {name!r} of {stage.name} {what}: {', '.join(own)}")
    near = difflib.get_close_matches(name, [*decided, *module.REASONS], 5, 0.4)
    hint = f"near it are {', '.join(near)}" if near else f"settings are {', '.join(decided)}"
    raise SettingsError(f"--set {given}: {name!r} of {stage.name} is unknown; {hint}")


def _declares(family: ModuleType, settings_class: type, field: str) -> bool:
    """Whether a family's module is where a field of the stage's settings is declared."""
    return any(
        cls.__module__ == family.__name__ and field in vars(cls).get("__annotations__", {})
        for cls in settings_class.__mro__
    )


def apply(module: ModuleType, settings: Any, changes: Sequence[Change]) -> Any:
    """The settings with the changes made.

    Raises:
        SettingsError: a value has the wrong type or is out of range.
    """
    for change in changes:
        value: Any = change.value
        if change.key is not None:
            value = {**to_plain(settings)[change.setting], change.key: value}
        settings = build(module.Settings, to_plain(settings) | {change.setting: value}, f"--set {change.given}")
    return settings


def all_rules(module: ModuleType, settings: Any) -> tuple[Rule, ...]:
    """The rules of a stage, of families that do not decide too; none where it decides by something else."""
    if not hasattr(module, "rules"):
        return ()
    return module.rules(settings, tuple(module.FAMILIES)) if hasattr(module, "FAMILIES") else module.rules(settings)


def setting_of_reason(module: ModuleType, settings: Any, reason: str) -> str | None:
    """The setting that the limit behind `reason` is: that which moves the threshold of its rule."""
    named: dict[str, str] = getattr(module, "SETTINGS_OF_REASONS", {})
    if reason in named:
        return named[reason]
    before = _thresholds(module, settings, reason)
    for field in dataclasses.fields(settings):
        for candidate in _others(getattr(settings, field.name)):
            try:
                other = dataclasses.replace(settings, **{field.name: candidate})
            except (ValueError, TypeError):  # out of the field's range: nothing is learnt from it
                continue
            if _thresholds(module, other, reason) != before:
                return field.name
    return None


def _thresholds(module: ModuleType, settings: Any, reason: str) -> list[float]:
    return [rule.threshold for rule in all_rules(module, settings) if rule.reason == reason]


def _others(value: Any) -> tuple[Any, ...]:
    """Other values that a number's setting might have."""
    if value is None:
        return (0.5, 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ()
    return (value + 1, value - 1) if isinstance(value, int) else (value / 2 + 0.001, value + 1.0)


def limit_of(module: ModuleType, settings: Any, reason: str, detail: str | None) -> Any:
    """The limit that decides on `reason` under `settings`, as it may be shown; None where nothing says."""
    if hasattr(module, "limit"):
        return module.limit(settings, reason, detail)
    return next(iter(_thresholds(module, settings, reason)), None)
