"""What the command says and returns when something is wrong: one line, and an exit code."""

import json
import sys
from pathlib import Path

import pytest

from gristmill.cli import corpus, main
from gristmill.core.errors import GristmillError
from gristmill.core.layout import Layout


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main._exit_code(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def assert_one_line(code: int, out: str, err: str) -> None:
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["corpus", "add", "books", "nowhere"], "nowhere"),
        (["corpus", "add", "books"], "needs a path"),
        (["corpus", "add", "../books", "."], "can't name a corpus"),
        (["corpus", "add", "a/b", "."], "can't name a corpus"),
        (["corpus", "add", "books", ".", "--kind", "pdf"], "--kind pdf"),
        (["corpus", "add", "books", ".", "--segments", "0"], "segments"),
        (["corpus", "add", "books", ".", "--segments", "many"], "--segments"),
        (["funnel", "books"], "gristmill corpus add"),
        (["funnel", "a/b"], "can't name a corpus"),
        (["run", "books"], "gristmill corpus add"),
        (["generate", "latest", "--prompt", "x"], "--through pretrained_model"),
        (["generate", "nothing", "--prompt", "x"], "neither a run id"),
        (["generate", "../..", "--prompt", "x"], "neither a run id"),
        (["generate", "latest"], "--prompt"),
        (["dev", "--port", "0"], "--port"),
        (["nonsense"], "nonsense"),
        (["run", "books", "--nonsense"], "--nonsense"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRISTMILL_HOME", str(tmp_path / "home"))
    code, out, err = run(arguments, capsys)
    assert_one_line(code, out, err)
    assert says in err
    assert not list(tmp_path.glob("home/corpora/*"))


def test_an_empty_folder_is_no_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    answer = run(["corpus", "add", "books", str(tmp_path / "empty"), "--home", str(tmp_path / "home")], capsys)
    assert_one_line(*answer)
    assert "empty" in answer[2]


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "tokenizer: 7\n", "\x00", "!!python/object:os.system {}\n"])
def test_a_malformed_settings_file_is_one_line(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corpus, "offer_partitions", lambda *_: None)
    (tmp_path / "a.txt").write_text("Some text.\n")
    (tmp_path / "settings.yaml").write_text(text)
    home = ["--home", str(tmp_path / "home")]
    assert run(["corpus", "add", "books", str(tmp_path / "a.txt"), *home], capsys)[0] == 0
    answer = run(["run", "books", "--settings-file", str(tmp_path / "settings.yaml"), *home], capsys)
    assert_one_line(*answer)
    assert "settings.yaml" in answer[2]


def test_a_bug_of_ours_leaves_its_traceback_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("pipelines.crawl.corpora.list_corpora", breaks)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(main.DEBUG_VARIABLE, raising=False)
    code, _, err = run(["corpus", "list"], capsys)
    assert code == 1
    assert err.startswith("error: RuntimeError: two lines (")
    assert err.count("\n") == 1
    (log,) = tmp_path.glob("gristmill-*.log")
    assert str(log) in err
    assert "Traceback" in log.read_text()
    monkeypatch.setenv(main.DEBUG_VARIABLE, "1")
    assert "Traceback" in run(["corpus", "list"], capsys)[2]


def test_an_interrupt_has_the_shells_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.crawl.corpora.list_corpora", interrupted)
    code, _, err = run(["corpus", "list"], capsys)
    assert code == 130
    assert err.strip().startswith("error: interrupted")
    assert err.strip().count("\n") == 0


def test_an_error_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: object) -> None:
        raise GristmillError("a corpus [bold]with markup[/]")

    monkeypatch.setattr("pipelines.crawl.corpora.list_corpora", fails)
    code, out, err = run(["corpus", "list"], capsys)
    assert_one_line(code, out, err)
    assert "[bold]with markup[/]" in err


def test_the_console_script_exits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gristmill", "corpus", "add"])
    with pytest.raises(SystemExit) as stop:
        main.run()
    assert stop.value.code == 2


def test_lists_as_json_and_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corpus, "offer_partitions", lambda *_: None)
    (tmp_path / "a.txt").write_text("Some text.\n")
    home = ["--home", str(tmp_path / "home")]
    assert "no corpus" in run(["corpus", "list", *home], capsys)[1]
    added = json.loads(run(["corpus", "add", "books", str(tmp_path / "a.txt"), "--json", *home], capsys)[1])
    assert (added["corpus"], added["segments"], added["files"]) == ("books", ["00000"], 1)
    (row,) = json.loads(run(["corpus", "list", "--json", *home], capsys)[1])
    assert row["corpus"] == "books"
    assert set(row["materialized"].values()) == {0}
    assert "nothing yet" in run(["corpus", "list", *home], capsys)[1]
    funnel = json.loads(run(["funnel", "books", "--json", *home], capsys)[1])
    assert funnel["documents_read"] == 0
    assert "0/1" in run(["funnel", "books", *home], capsys)[1]
    assert Layout(tmp_path / "home").read_json(str(tmp_path / "home/corpora/books.json")) is not None
