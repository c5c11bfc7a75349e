"""The Dagster config of a settings class: same fields, same meaning, nothing set unless a person sets it."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from assets.config import config_of, config_type
from gristmill.core.field_docs import field_comments
from gristmill.core.settings import build
from pipelines.stages import STAGES
from training import arguments


@dataclass(frozen=True)
class Toy:
    # Above, on
    # two lines.
    above: float = 0.5
    behind: int = 3  # why three
    names: tuple[str, ...] = ("a", "b")
    weights: dict[str, float] = field(default_factory=dict[str, float])
    kind: Literal["x", "y"] = "x"
    maybe: int | None = None
    either: int | str = 1
    bare: bool = False


@dataclass(frozen=True)
class Child(Toy):
    added: int = 1  # the child's own


def schema(cls: type) -> dict[str, Any]:
    return config_of(cls).to_config_schema().as_field().config_type.fields  # type: ignore[attr-defined]


def test_every_field_is_there_and_optional() -> None:
    fields = schema(Toy)
    assert set(fields) == {f.name for f in dataclasses.fields(Toy)}
    assert not any(f.is_required for f in fields.values())
    assert config_of(Toy)().model_dump(exclude_none=True) == {}


def test_descriptions_are_the_comments_with_the_default() -> None:
    fields = schema(Child)
    assert fields["above"].description == "Above, on two lines. Empty: from the settings file, else 0.5."
    assert fields["behind"].description == "why three. Empty: from the settings file, else 3."
    assert fields["added"].description.startswith("the child's own.")
    assert fields["bare"].description == "Empty: from the settings file, else False."
    assert field_comments(Toy)["bare"] == ""


def test_types_are_the_nearest_that_dagster_has() -> None:
    assert config_type(tuple[str, ...]) == list[str]
    assert config_type(dict[str, float]) == dict[str, Any]
    assert config_type(Literal["x", "y"]) is str
    assert config_type(int | None) is int
    assert config_type(int | str) is Any
    assert config_type(tuple[tuple[int, float], ...]) == list[Any]


@given(above=st.floats(0, 1), behind=st.integers(-5, 5), names=st.lists(st.text(max_size=5), max_size=3))
@hypothesis_settings(max_examples=25, deadline=None)
def test_what_is_set_arrives_at_the_settings(above: float, behind: int, names: list[str]) -> None:
    config = config_of(Toy)(above=above, behind=behind, names=names)  # type: ignore[call-arg]
    built = build(Toy, config.model_dump(exclude_none=True), "toy")
    assert built == Toy(above=above, behind=behind, names=tuple(names))


ALL = [row.settings_class for row in STAGES] + [
    arguments.PlanSettings,
    arguments.PretrainSettings,
    arguments.InstructionSettings,
    arguments.LoraSettings,
    arguments.QloraSettings,
]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_every_settings_class_has_a_config(cls: type) -> None:
    fields = schema(cls)
    assert set(fields) == {f.name for f in dataclasses.fields(cls)}

    @dg.asset(config_schema=config_of(cls).to_config_schema().as_field())
    def toy(context: dg.AssetExecutionContext) -> None:
        assert {k: v for k, v in context.op_execution_context.op_config.items() if v is not None} == {}

    assert dg.materialize([toy]).success
