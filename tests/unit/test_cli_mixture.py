"""`gristmill mixture`: the table and what a researcher asks next, and --what-if, which writes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokens_data import make_corpora, mix, pack, story, write_documents

from gristmill.cli import main
from gristmill.core.layout import Layout


@pytest.fixture
def home(layout: Layout) -> Layout:
    make_corpora(layout, {"a": 80, "b": 40}, segments=1)
    Path(layout.root, "settings.yaml").write_text("pretrained_model: {global_batch_size: 16, steps: 100}\n")
    return layout


def run(home: Layout, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main._exit_code(["mixture", "--home", home.root, *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run_json(home: Layout, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, err = run(home, capsys, "--json", *arguments)
    assert (code, err) == (0, "")
    return json.loads(out)


def test_the_mixture_in_force(home: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not made yet" in run_json(home, capsys)["notes"][0]
    report = mix(home)
    found = run_json(home, capsys)
    assert found["notes"] == []
    assert [row["source"] for row in found["corpora"]] == ["a", "b"]
    assert found["steps_per_pass"] == report["sequences_per_pass"] / 16
    assert found["passes"] == pytest.approx(100 / found["steps_per_pass"])
    assert found["epochs_of_training"]["a"] == pytest.approx(found["passes"])
    assert run_json(home, capsys, "--batch-size", "4", "--steps", "7")["passes"] == pytest.approx(
        4 * 7 / report["sequences_per_pass"]
    )
    code, out, err = run(home, capsys)
    assert (code, err) == (0, "")
    for part in ("sampling proportion", "epochs of training", "disk size", "held out", "all", "At 16 sequences a step"):
        assert part in out


def test_what_training_repeats_is_said(home: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    mix(home)
    _, out, _ = run(home, capsys, "--steps", "2000")
    assert "2,000 steps read" in out
    assert "above 4, repeated text" in " ".join(out.split())


def test_what_has_changed_since_is_said(home: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    mix(home)
    pack(home, write_documents(home, "c", "00000", [[story(i) for i in range(50)]]))
    assert "other shards: 1 segment changed" in run_json(home, capsys)["notes"][0]
    Path(home.root, "settings.yaml").write_text("training_mixture: {max_epochs: 3, corpora: {a: 1, b: 2}}\n")
    assert "other settings: corpora, max_epochs" in run_json(home, capsys)["notes"][0]
    Path(home.root, "settings.yaml").write_text("training_mixture: {corpora: {a: 100}}\n")
    assert "can't be made again as things are" in run_json(home, capsys)["notes"][0]


def test_what_if_writes_nothing(home: Layout, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("corpora: {b: {epochs: 5}}\n")
    found = run_json(home, capsys, "--what-if", str(file))
    assert found["corpora"][0]["epochs"] == 5
    assert "b is read 5 times" in found["warnings"][0]
    assert not home.fs.exists(home.join("training_mixture"))
    mix(home)
    before = Path(home.join("training_mixture", "mixture.json")).read_bytes()
    code, out, _ = run(home, capsys, "--what-if", str(file))
    assert code == 0
    assert "would not be read any more" in out
    assert "1.00 epochs" in out
    assert "nothing was written" in out
    assert Path(home.join("training_mixture", "mixture.json")).read_bytes() == before


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("corpora: {a: {proportion: 0.5}, b: {proportion: 0.3}}", "add up to 0.8"),
        ("corpora: {a: 1, a: 2}", "given twice"),
        ("corpora: {nowhere: 1}", "no token_shards of nowhere"),
        (None, "is no file"),
    ],
)
def test_what_cant_be_met_is_one_line(
    home: Layout, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None, line: str
) -> None:
    file = tmp_path / "other.yaml"
    if text is not None:
        file.write_text(text)
    code, out, err = run(home, capsys, "--what-if", str(file))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert line in err


def test_without_data_the_way_is_named(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(layout, capsys)
    assert code == 2
    assert "--through token_shards" in err


def test_a_mixture_of_an_older_version(home: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    home.write_json(home.join("training_mixture", "report.json"), {"corpora": [], "fingerprint": "x"})
    code, _, err = run(home, capsys)
    assert code == 2
    assert "older version" in err
