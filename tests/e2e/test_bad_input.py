"""Mistakes that only show once Dagster is at hand: one line, exit code 2, nothing half written."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
GRISTMILL = [sys.executable, "-c", "from gristmill.cli.main import run; run()"]


def gristmill(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*GRISTMILL, *arguments, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one small corpus of text."""
    folder = tmp_path_factory.mktemp("bad_input")
    (folder / "a.txt").write_text("A short text.\n")
    done = gristmill(folder / "home", "corpus", "add", "books", str(folder / "a.txt"))
    assert done.returncode == 0, done.stderr
    return folder / "home"


def assert_one_line(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_an_unknown_asset_is_named_with_the_known_ones(home: Path) -> None:
    done = gristmill(home, "run", "books", "--through", "clean_document")
    assert_one_line(done, "clean_document")
    assert "clean_documents" in done.stderr


def test_a_malformed_settings_file_in_the_home(home: Path) -> None:
    settings = home / "settings.yaml"
    settings.write_text("language_filtered_documents: [en\n")
    try:
        assert_one_line(gristmill(home, "run", "books", "--through", "extracted_documents"), "settings.yaml")
    finally:
        settings.unlink()


def test_an_unknown_setting_stops_before_anything_is_written(home: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("extracted_documents: {no_such_setting: 1}\n")
    done = gristmill(home, "run", "books", "--through", "extracted_documents", "--settings-file", str(settings))
    assert done.returncode == 2
    assert "error: " in done.stderr.splitlines()[-1]
    assert "no_such_setting" in done.stderr.splitlines()[-1]
    assert not list(home.glob("extracted_documents/**/*"))
    assert not list(home.glob(".tmp/**/*.parquet"))
