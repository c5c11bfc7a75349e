"""Recipes: settings files of a corpus's own, chosen when it is registered and stored with its registration.

Each YAML file beside this module is one recipe that `gristmill corpus add NAME PATH --recipe …` knows by name; any
other settings file is given by its path. Its sections are stages that work on one corpus; it holds wherever such a
stage runs, before the settings file and the launch form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gristmill.core.errors import SettingsError
from gristmill.core.settings import build, read_settings_file
from pipelines.stages import BY_NAME, STAGES

NO_RECIPE = "none"
_FOLDER = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Recipe:
    """Settings that hold for one corpus: stage name -> setting -> value."""

    name: str  # of a built-in recipe, or the file's name
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def of(self, section: str) -> Mapping[str, Any]:
        """The settings of one stage, none for a stage of which the recipe says nothing."""
        return self.sections.get(section, {})


def built_in() -> tuple[str, ...]:
    """Names of the recipes that come along, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load_recipe(name: str) -> Recipe | None:
    """The built-in recipe `name`, or the settings file at that path; None for `none`.

    Raises:
        SettingsError: there is no such recipe, or something in it is wrong; the line names it.
    """
    if name == NO_RECIPE:
        return None
    if name in built_in():
        path = _FOLDER / f"{name}.yaml"
    else:
        path = Path(name)
        if not path.is_file():
            raise SettingsError(
                f"--recipe {name} is neither a settings file nor one of {', '.join(built_in())}: "
                f"give one of these, the path of a YAML file, or {NO_RECIPE}"
            )
    sections = read_settings_file(path)
    if not sections:
        raise SettingsError(f"recipe {path} says nothing: give it a section, or --recipe {NO_RECIPE} for none")
    check(sections, f"recipe {path}")
    return Recipe(path.stem if path.suffix in _SUFFIXES else path.name, sections)


def check(sections: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Refuse a section of what no corpus has to itself, and a setting that its stage does not know.

    Raises:
        SettingsError: the first thing wrong.
    """
    possible = [stage.name for stage in STAGES if stage.kind != "single"]
    for name, values in sections.items():
        if name not in possible:
            raise SettingsError(
                f"{where}: section {name!r} can't be set for one corpus; give it in the settings file, "
                f"or one of {', '.join(possible)} here"
            )
        build(BY_NAME[name].settings_class, values, f"{where}, section {name}")
