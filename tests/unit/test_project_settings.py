"""The settings file: its sections are the assets, and a misspelt one is no silent default."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from assets.sections import page, settings_class_of
from gristmill.core.errors import SettingsError
from gristmill.core.field_docs import field_comments
from gristmill.core.settings import SECTIONS, build, read_settings_file
from gristmill.core.strict_yaml import load_yaml
from pipelines.stages import STAGES, stage

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
TRAINING_SECTIONS = {"training_plan", "pretrained_model", "instruction_dataset", "lora_adapter", "qlora_adapter"}


@dataclasses.dataclass(frozen=True)
class Nothing:
    """No settings."""


def test_sections_are_the_stages_and_the_training_assets() -> None:
    stages = {row.name for row in STAGES}
    assert set(SECTIONS) == {"spark", "downloads", "personal_data_checks"} | stages | TRAINING_SECTIONS


def test_a_misspelt_section_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("qualty_filtered_documents: {min_words: 80}\n")
    with pytest.raises(SettingsError, match="did you mean 'quality_filtered_documents'"):
        read_settings_file(path)


def test_a_misspelt_setting_is_told_its_name() -> None:
    with pytest.raises(SettingsError, match=r"unknown setting 'min_wrds'; did you mean 'min_words'") as problem:
        build(stage("quality_filtered_documents").settings_class, {"min_wrds": 3}, "settings.yaml")
    assert len(str(problem.value)) < 200
    with pytest.raises(SettingsError, match=r"unknown setting 'qqqq'; docs/settings.md lists what there is"):
        build(stage("quality_filtered_documents").settings_class, {"qqqq": 3}, "settings.yaml")
    with pytest.raises(SettingsError, match=r"unknown setting 'qqqq'; known are languages, model_path, "):
        build(stage("language_filtered_documents").settings_class, {"qqqq": 3}, "settings.yaml")
    with pytest.raises(SettingsError, match=r"unknown setting 'qqqq'; there is none"):
        build(Nothing, {"qqqq": 3}, "settings.yaml")


def test_the_page_is_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make settings-page`"


def test_the_page_has_every_setting() -> None:
    shown = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for section, text in zip(SECTIONS, shown, strict=True):
        name, _, rows = text.partition("\n")
        assert name == section
        fields = [field.name for field in dataclasses.fields(settings_class_of(section))]
        assert re.findall(r"^\| `(\w+)`", rows, re.MULTILINE) == fields
        defaults = re.findall(r"^\| `\w+`[ ✎]*\| `([^`]*)`", rows, re.MULTILINE)
        build(settings_class_of(section), dict(zip(fields, map(yaml.safe_load, defaults), strict=True)), section)


def test_what_a_class_says_of_its_fields() -> None:
    assert field_comments(Documented) == {"above": "Above, on two lines.", "below": "Below, too.", "bare": ""}


@dataclasses.dataclass(frozen=True)
class Documented:
    # Above, on
    # two lines.
    above: int = 1
    below: int = 2
    """Below,
    too."""
    bare: int = 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("spark: {cores: 1}\nspark: {cores: 2}\n", "'spark' is given twice, in lines 1 and 2"),
        ("tokenizer:\n  a: 1\n  b: 2\n  a: 1\n", "'a' is given twice, in lines 2 and 4"),
        ("tokenizer: {a: 1, a: 2}\n", "'a' is given twice, in line 1"),
    ],
)
def test_a_key_given_twice_is_refused(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=line):
        read_settings_file(path)


def test_merged_keys_may_be_overridden() -> None:
    merged = load_yaml("a: &a {x: 1, y: 2}\nb: &b\n  <<: *a\n  x: 3\nc:\n  <<: *b\n  y: 4\n")
    assert merged == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 3, "y": 4}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "-.inf", "nan", 10**400], ids=lambda v: str(v)[:8])
def test_a_limit_is_a_finite_number(value: object) -> None:
    for values in ({"threshold": value}, {"thresholds": {"en": value}}):
        with pytest.raises(SettingsError, match="give a"):
            build(settings_class_of("language_filtered_documents"), values, "here")
