"""The command starts light: no Spark, no torch, no Dagster before something is run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "pyspark", "dagster", "matplotlib", "spacy", "presidio_analyzer", "fasttext")
PROGRAM = """
import json, sys
from gristmill.cli import main
code = main._exit_code(sys.argv[1:])
print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["corpus", "list"],
        ["funnel", "nowhere"],
        ["run", "nowhere"],
        ["explain", "https://nowhere.example/"],
        ["trace", "latest", "--step", "1"],
    ],
)
def test_nothing_heavy_is_imported(arguments: list[str], tmp_path: Path) -> None:
    home = [] if "--help" in arguments else ["--home", str(tmp_path)]
    command = [sys.executable, "-c", PROGRAM, *arguments, *home]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, modules = json.loads(done.stderr.splitlines()[-1])
    assert not set(HEAVY) & set(modules)
