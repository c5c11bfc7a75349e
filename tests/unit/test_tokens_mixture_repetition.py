"""What a run of several passes repeats is said when it starts."""

from pathlib import Path

from tokens_data import make_corpora, mix

from gristmill.core.layout import Layout
from training.repetition import repetition_warning
from training.shards import read_mixture


def test_what_a_run_repeats_is_said(layout: Layout) -> None:
    make_corpora(layout, {"a": 40, "b": 20}, segments=1)
    mix(layout, corpora={"a": 1, "b": 3})
    mixture = read_mixture(layout)
    assert repetition_warning(layout, mixture, 1.3) == ""
    assert "reads b 6 times: above 4 epochs" in repetition_warning(layout, mixture, 2)
    assert "reads b 15 times, a 5 times: above" in repetition_warning(layout, mixture, 5)
    for damaged in ("", "{", '{"settings": []}', '{"settings": {"warn_epochs": "x"}}'):
        Path(layout.join("training_mixture", "report.json")).write_text(damaged)
        assert repetition_warning(layout, mixture, 100) == ""
