"""Partitions that wait for an instance: offered by whatever opens it first, and only once."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.instance import open_instance
from assets.waiting_partitions import NOTE_NAME, instance_home, leave_note
from gristmill.core.layout import Layout
from pipelines.crawl.corpora import add_corpus


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("DAGSTER_HOME", "")  # restored afterwards, whatever open_instance sets
    source = tmp_path / "a.txt"
    source.write_text("text")
    layout = Layout(str(tmp_path / "home"))
    for name in ("books", "news"):
        add_corpus(layout, name, [str(source)], kind="text")
    return layout


def test_the_first_opening_offers_what_is_registered(fresh: Layout) -> None:
    for name in ("books", "news", "books"):  # said again, it is noted once
        assert leave_note(fresh, name)
    assert len((instance_home(fresh) / NOTE_NAME).read_text().splitlines()) == 2
    with open_instance(fresh) as instance:
        assert sorted(instance.get_dynamic_partitions("corpus")) == ["books", "news"]
        assert instance.get_dynamic_partitions("segment") == ["00000"]
    assert not (instance_home(fresh) / NOTE_NAME).exists()
    assert not leave_note(fresh, "news")  # there is an instance now, to be told at once


def test_an_instance_of_other_settings_is_told_at_once(fresh: Layout) -> None:
    (instance_home(fresh) / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    assert not leave_note(fresh, "books")
    assert not (instance_home(fresh) / NOTE_NAME).exists()


def test_dagsters_own_commands_offer_them_too(fresh: Layout) -> None:
    for name in ("books", "gone", "news", "torn"):
        leave_note(fresh, name)
    Path(fresh.corpus_path("torn")).write_text("{")
    home = str(instance_home(fresh))
    subprocess.run(
        [sys.executable, "-c", "import assets.definitions"], env={**os.environ, "DAGSTER_HOME": home}, check=True
    )
    with dg.DagsterInstance.from_config(home) as instance:
        assert sorted(instance.get_dynamic_partitions("corpus")) == ["books", "news"]
    assert not (Path(home) / NOTE_NAME).exists()


def test_registering_imports_no_dagster(fresh: Layout) -> None:
    program = (
        "import sys; from gristmill.cli.corpus import offer_partitions; from gristmill.core.layout import Layout;"
        "from pipelines.crawl.corpora import load_corpus;"
        f"home = Layout({fresh.root!r}); offer_partitions(home, load_corpus(home, 'books'));"
        "assert 'dagster' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
