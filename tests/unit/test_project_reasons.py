"""docs/reasons.md is what the stages say."""

import re
from pathlib import Path

from pipelines.report.reasons import ANY_STAGE_REASONS, explain, render, stage_reasons

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reasons.md"


def test_the_page_is_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run `make reasons`"


def test_every_reason_is_a_word_and_a_line() -> None:
    for stage, reasons in stage_reasons():
        for reason, line in reasons.items():
            assert re.fullmatch(r"[a-z0-9_.]+", reason), (stage.name, reason)
            assert line.strip()
            assert "\n" not in line


def test_a_reason_is_explained() -> None:
    for stage, reasons in stage_reasons():
        for reason, line in reasons.items():
            assert explain(stage.name, reason) == line
    assert explain("any", "broken_row") == ANY_STAGE_REASONS["broken_row"]
    assert explain("any", "unheard_of") == "unheard_of"
