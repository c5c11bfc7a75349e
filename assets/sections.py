"""Whose settings each section of a settings file holds; `python -m assets.sections` prints docs/settings.md."""

from gristmill.core.settings import SECTIONS
from pipelines.crawl.download import DownloadSettings
from pipelines.report import personal_data_rates
from pipelines.report.settings_page import render
from pipelines.spark.settings import SparkSettings
from pipelines.stages import BY_NAME
from training import arguments

_OTHERS: dict[str, type] = {
    "spark": SparkSettings,
    "downloads": DownloadSettings,
    "personal_data_checks": personal_data_rates.Settings,
    "training_plan": arguments.PlanSettings,
    "pretrained_model": arguments.PretrainSettings,
    "instruction_dataset": arguments.InstructionSettings,
    "lora_adapter": arguments.LoraSettings,
    "qlora_adapter": arguments.QloraSettings,
}


def settings_class_of(section: str) -> type:
    """The settings dataclass of a section that `gristmill.core.settings.SECTIONS` names."""
    return _OTHERS[section] if section in _OTHERS else BY_NAME[section].settings_class


def page() -> str:
    """docs/settings.md as it should be."""
    return render({section: settings_class_of(section) for section in SECTIONS})


if __name__ == "__main__":
    print(page(), end="")
