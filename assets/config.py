"""A Dagster config for every settings dataclass: the dataclass stays the one source of a setting."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import dagster as dg
import pydantic

from gristmill.core.field_docs import default_text, field_comments

_SCALARS = (bool, int, float, str)


@lru_cache
def config_of(settings_class: type) -> type[dg.Config]:
    """The config class for `settings_class`, a frozen dataclass.

    Every field is optional: None means "as the settings file says, else the default", so that a run that
    sets nothing gets exactly what the command line would get. The descriptions are the dataclass's own
    comments with the default.
    """
    hints, comments = typing.get_type_hints(settings_class), field_comments(settings_class)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(settings_class):
        comment = comments.get(field.name, "")
        description = f"{comment.rstrip('.')}. " if comment else ""
        description += f"Empty: from the settings file, else {default_text(field)}."
        fields[field.name] = (
            config_type(hints[field.name]) | None,
            pydantic.Field(default=None, description=description),
        )
    name = "".join(word.title() for word in settings_class.__module__.split(".")[1:]) + settings_class.__name__
    return pydantic.create_model(name, __base__=dg.Config, **fields)


def config_schema_of(settings_class: type) -> Any:
    """The same for the `config_schema` argument of an asset."""
    return config_of(settings_class).to_config_schema().as_field()


def config_type(hint: Any) -> Any:
    """The nearest type that Dagster's config system has for a settings field's type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _SCALARS:
        return hint
    if origin in (typing.Union, types.UnionType):
        options = {config_type(a) for a in arguments if a is not type(None)}
        return options.pop() if len(options) == 1 else Any
    if origin is typing.Literal:
        kinds = {type(a) for a in arguments}
        return kinds.pop() if len(kinds) == 1 else Any
    if origin in (tuple, list, set, frozenset):
        item = config_type(arguments[0]) if arguments else Any
        return list[item] if item in _SCALARS else list[Any]
    if hint is dict or origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return dict[str, Any]
    return Any
