"""What every test may ask for."""

import os
from pathlib import Path

import pytest

from gristmill.core.layout import Layout

SHARED_VARIABLE = "GRISTMILL_SHARED"
_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The `data` folder of the development data; the test is skipped where it is not there."""
    named = os.environ.get(SHARED_VARIABLE)
    data = (Path(named) if named else _REPOSITORY.parent / "shared") / "data"
    if not data.is_dir():
        pytest.skip(f"no development data at {data}; set {SHARED_VARIABLE} to the folder that holds data/")
    return data


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty root of this test's own."""
    return Layout(tmp_path / "home")
