"""What a run tells while it goes on, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from gristmill.cli.progress import RunBars, bar, summary


def hear(bars: RunBars) -> None:
    with bars:
        bars.started("extracted_documents", ["books|00000", "books|00001"])
        bars.progress("extracted_documents books|00000", 1, 2, "parts", "[b]100[/b] documents read")
        bars.progress("reading", 2, 2, "parts", "")
        bars.log("a line")
        bars.finished("extracted_documents", {"books|00000": {"rows_in": 10, "rows_kept": 8}})
        bars.progress("late news of an asset that is done", 1, 1, "parts", "")


def test_without_a_terminal_a_line_per_asset() -> None:
    out = io.StringIO()
    bars = RunBars(Console(file=out, width=120))
    hear(bars)
    (line,) = out.getvalue().splitlines()
    assert line.startswith("extracted_documents: 8 of 10 documents kept (")
    assert list(bars.seconds) == ["extracted_documents"]


def test_on_a_terminal_markup_from_outside_is_text() -> None:
    out = io.StringIO()
    hear(RunBars(Console(file=out, width=120, force_terminal=True, color_system=None)))
    assert "8 of 10 documents kept" in out.getvalue()


def test_what_a_report_says_in_short() -> None:
    assert summary({"pretrained_model": {"loss_first": 8.3, "loss_last": 2.5}}) == "loss 8.300 → 2.500"
    assert summary({"tokenizer": {}}) == "done"


def test_a_bar_of_this_process(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("making", "pages") as progress:
        progress(1, 2)
        progress(2, 2)
    assert capsys.readouterr().err.strip() == ""
