"""The settings file: its sections are the assets, and a misspelt one is no silent default."""

from pathlib import Path

import pytest

from gristmill.core.errors import SettingsError
from gristmill.core.settings import SECTIONS, read_settings_file
from pipelines.stages import STAGES

TRAINING_SECTIONS = {"training_plan", "pretrained_model", "instruction_dataset", "lora_adapter", "qlora_adapter"}


def test_sections_are_the_stages_and_the_training_assets() -> None:
    assert set(SECTIONS) == {"spark", "downloads"} | {row.name for row in STAGES} | TRAINING_SECTIONS


def test_a_misspelt_section_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("qualty_filtered_documents: {min_words: 80}\n")
    with pytest.raises(SettingsError, match="unknown section 'qualty_filtered_documents'; known are spark"):
        read_settings_file(path)
