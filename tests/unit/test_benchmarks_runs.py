"""The benchmarks' short forms run to their end and print one JSON object last."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gold import debdocs_pages
from benchmarks.memory import Sample, flatness, medians

_REPOSITORY = Path(__file__).resolve().parents[2]


def smoke(name: str) -> dict[str, Any]:
    """The JSON object that a benchmark's short form prints last."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke"]
    done = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert {"bench", "ours", "peer", "peer_name", "unit", "ratio"} <= set(last)
    assert last["bench"] == name
    return last


def test_curation_smoke_keeps_its_page():
    assert smoke("curation")["kept"] == 1


def test_extraction_smoke_finds_the_text():
    assert smoke("extraction")["sets"]["smoke"]["extractors"]["ours"]["f1"] == 1.0


def test_flatness_compares_the_second_and_the_last_quarter():
    samples = [Sample(float(second), 1, resident, 0) for second, resident in enumerate([9, 5, 5, 5, 5, 5, 6, 10])]
    assert flatness(samples) == (5, 10, 2.0)
    assert flatness([]) == (0, 0, 0.0)
    assert medians(samples) == [7, 5, 5, 8]


def _by_hash(url: str) -> bytes:
    return hashlib.sha256(url.encode()).digest()


@pytest.mark.shared
def test_gold_of_the_documentation_is_a_fixed_sample_of_many_generators(shared_data: Path):
    pages = list(debdocs_pages(shared_data.parent))
    assert len(pages) >= 300
    assert len({page.family for page in pages}) >= 6
    assert len({page.id.split("/")[3] for page in pages}) >= 20
    assert len({page.id for page in pages}) == len(pages)
    assert pages[0].id == min((page.id for page in pages if page.family == "apache"), key=_by_hash)
