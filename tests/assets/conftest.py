"""An instance of its own for each test that wants one."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.instance import open_instance
from gristmill.core.layout import Layout


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv("GRISTMILL_SETTINGS", raising=False)
    root = tmp_path / "data"
    monkeypatch.setenv("GRISTMILL_HOME", str(root))
    return Layout(str(root))


@pytest.fixture
def instance(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", "")  # restored afterwards, whatever open_instance sets
    with open_instance(layout) as opened:
        yield opened
