"""Changes of limits on signals that nobody has measured: the answer "nothing changes" would mislead."""

import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import pyarrow as pa

from gristmill.core.settings import scoring_names
from pipelines.report.changes import Change, all_rules


class Unmeasured:
    """Follows the signals of one stage; `lines` says which changes no document has a signal for."""

    def __init__(self, module: ModuleType, before: Any, after: Any, changes: Sequence[Change]) -> None:
        self._module, self._before = module, before
        self._columns = {change.setting: _columns(module, before, after, change.setting) for change in changes}
        self._is_measured = dict.fromkeys(self._columns, False)
        self._rows = 0

    def look(self, signals: pa.RecordBatch) -> None:
        """Take a batch of stored signals into account."""
        self._rows += signals.num_rows
        for setting, columns in self._columns.items():
            there = [name for name in columns if name in signals.schema.names]
            has_one = any(signals.column(name).null_count < signals.num_rows for name in there)
            self._is_measured[setting] = self._is_measured[setting] or has_one or not there

    def lines(self, stage: str) -> Iterator[str]:
        """A sentence per change without a signal; none where there is no document."""
        for setting, is_measured in self._is_measured.items():
            if self._rows and not is_measured:
                needed = _needed(self._module, self._before, setting, self._columns[setting])
                way_out = f"set {needed} in the settings file and run {stage}" if needed else f"run {stage} on more"
                yield (
                    f"{setting} decides on {' and '.join(self._columns[setting])}, "
                    f"which no document has: {way_out} first"
                )


def _columns(module: ModuleType, before: Any, after: Any, setting: str) -> tuple[str, ...]:
    """The signals that a setting's limit is on: of the rules that it moves, else of its whole family."""
    old, new = all_rules(module, before), all_rules(module, after)
    family_columns: dict[str, Any] = getattr(_owner(module, setting), "COLUMNS", {})
    moved = {rule.column for rule in set(old) ^ set(new)} & family_columns.keys()
    return tuple(name for name in family_columns if name in moved) or tuple(family_columns)[:1]


def _needed(module: ModuleType, before: Any, setting: str, columns: tuple[str, ...]) -> str:
    """The setting that names the file by which the signals are measured."""
    owner = _class_of(module, setting)
    names = [name for name in vars(owner).get("__annotations__", {}) if name in scoring_names(module.Settings)]
    empty = [name for name in names if not getattr(before, name)]
    like = [name for name in empty if any(name.split("_")[0] == column.split("_")[0] for column in columns)]
    return next(iter(like or empty), "")


def _owner(module: ModuleType, setting: str) -> ModuleType:
    """The module of the family that declares the setting."""
    return sys.modules[_class_of(module, setting).__module__]


def _class_of(module: ModuleType, setting: str) -> type:
    classes: tuple[type, ...] = module.Settings.__mro__
    return next(cls for cls in classes if setting in vars(cls).get("__annotations__", {}))
