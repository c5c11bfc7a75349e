"""YAML as people write it by hand: plain values alone, and no key twice."""

from typing import Any, cast

import yaml


class DuplicateKeyError(yaml.YAMLError):
    """A mapping has a key twice, of which YAML's loaders would take the last without a word."""


def load_yaml(text: str) -> object:
    """The value of a YAML document, of plain types.

    Raises:
        yaml.YAMLError: it is not YAML, asks for other types, or gives a key twice.
    """
    return cast(object, yaml.load(text, Loader=_StrictLoader))  # noqa: S506 - a SafeLoader


class _StrictLoader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> Any:
        """Look while keys are still as written: what is merged in by `<<` may be overridden."""
        node: Any = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if name in lines:
                where = f"line {line}" if lines[name] == line else f"lines {lines[name]} and {line}"
                raise DuplicateKeyError(f"{key.value!r} is given twice, in {where}")
            lines[name] = line
        return node
