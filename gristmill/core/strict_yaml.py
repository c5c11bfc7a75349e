"""YAML as people write it by hand: plain values alone, no key twice, and no more of it than was written."""

from typing import Any, cast

import yaml

_MOST_NODES = 100_000  # with every alias written out; whoever copies or prints the value meets each of them


class DuplicateKeyError(yaml.YAMLError):
    """A mapping has a key twice, of which YAML's loaders would take the last without a word."""


class TooLargeError(yaml.YAMLError):
    """A few lines whose aliases stand for more values than anyone means, or for themselves."""


def load_yaml(text: str) -> object:
    """The value of a YAML document, of plain types.

    Raises:
        yaml.YAMLError: it is not YAML, asks for other types, gives a key twice, or is too large or too deep.
    """
    try:
        return cast(object, yaml.load(text, Loader=_StrictLoader))  # noqa: S506 - a SafeLoader
    except RecursionError:
        raise TooLargeError("values are nested too deeply") from None
    except ValueError as error:  # of a date such as 2026-02-31, or a number of thousands of digits
        raise yaml.YAMLError(str(error)) from None


class _StrictLoader(yaml.SafeLoader):
    def get_single_node(self) -> Any:
        """Look at the whole document before any value is made of it."""
        node = super().get_single_node()
        if node is not None and _size(node, {}) > _MOST_NODES:
            raise TooLargeError(f"its aliases stand for more than {_MOST_NODES:,} values")
        return node

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


def _size(node: Any, known: dict[int, int | None]) -> int:
    """Nodes below `node`, counted as often as aliases repeat them; each is looked at once."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise TooLargeError(f"the alias in line {node.start_mark.line + 1} stands for itself")
        return size
    known[id(node)] = None
    below = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
    size = 1 + sum(_size(child, known) for child in below)
    known[id(node)] = size
    return size
