"""Which folders 'latest', a run id and a path stand for."""

from pathlib import Path

import pytest

from gristmill.cli.generate import generate_command, resolve_adapter, resolve_model
from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout


def make_run(layout: Layout, asset: str, run_id: str, selected_at: str) -> str:
    folder = layout.model_dir(asset, run_id)
    marker = "config.json" if asset == "pretrained_model" else "adapter_config.json"
    layout.write_json(f"{folder}/final/{marker}", {})
    layout.write_json(f"{folder}/report.json", {"selected_at": selected_at})
    return f"{folder}/final"


def test_the_run_chosen_last(layout: Layout) -> None:
    make_run(layout, "pretrained_model", "aaaa", "2026-01-01")
    latest = make_run(layout, "pretrained_model", "bbbb", "2026-01-02")
    assert resolve_model(layout, "latest") == latest


def test_a_run_id_and_a_folder(layout: Layout) -> None:
    final = make_run(layout, "pretrained_model", "aaaa", "2026-01-01")
    assert resolve_model(layout, "aaaa") == final
    assert resolve_model(layout, final) == final
    assert resolve_model(layout, str(Path(final).parent)) == final


def test_adapters(layout: Layout) -> None:
    lora = make_run(layout, "lora_adapter", "aaaa", "2026-01-02")
    qlora = make_run(layout, "qlora_adapter", "bbbb", "2026-01-01")
    assert resolve_adapter(layout, "lora") == lora
    assert resolve_adapter(layout, "qlora") == qlora
    assert resolve_adapter(layout, "latest") == lora
    assert resolve_adapter(layout, "bbbb") == qlora
    with pytest.raises(MissingDataError, match=r"config\.json"):
        resolve_model(layout, "aaaa")  # an adapter is no model


def test_a_prompt_can_begin_with_a_dash() -> None:
    assert "--prompt=--max-new-tokens" in generate_command("m", None, "--max-new-tokens", 5)


def test_nothing_is_trained_yet(layout: Layout) -> None:
    with pytest.raises(MissingDataError, match="--through lora_adapter"):
        resolve_adapter(layout, "lora")
