"""Partitions that wait for the Dagster instance to be made: registering a corpus needs no Dagster then.

Opening an instance for the first time costs three CPU-seconds, and until somebody does there is nobody to offer
partitions to. So `gristmill corpus add` leaves a note in the instance's home, and what opens the instance first, be it
`gristmill run`, `gristmill dev` or the code location of a plain `dagster dev` or `dg launch`, offers what is noted.
"""

import contextlib
import json
import os
import uuid
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.core.errors import CorpusError, SettingsError
from gristmill.core.layout import Layout, storage_error

if TYPE_CHECKING:
    import dagster as dg

HOME_VARIABLE = "DAGSTER_HOME"
NOTE_NAME = "partitions-to-offer"  # a JSON list a line: root and corpus


def instance_home(layout: Layout) -> Path:
    """DAGSTER_HOME where it is set, else `dagster/` below a local root; made with our dagster.yaml if new.

    Raises:
        SettingsError: DAGSTER_HOME is not set and the root is not a local folder.
        EnvironmentProblemError: the folder can't be made.
    """
    named = os.environ.get(HOME_VARIABLE)
    if not named and not layout.is_local:
        raise SettingsError(f"the root {layout.root} is not a local folder: set {HOME_VARIABLE} to one for Dagster")
    home = Path(named).expanduser().absolute() if named else Path(layout.join("dagster")).absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        settings = home / "dagster.yaml"
        if not settings.exists():
            settings.write_text(_our_settings(), encoding="utf-8")
    except OSError as error:
        raise storage_error(error, str(home)) from error
    return home


def leave_note(layout: Layout, corpus: str) -> bool:
    """Note that `corpus` is to be offered; False where the instance is there to be told at once."""
    home = instance_home(layout)
    is_local = layout.is_local and "://" not in layout.root
    line = json.dumps([str(Path(layout.root).absolute()) if is_local else layout.root, corpus])
    try:
        if not _is_unmade(home):
            return False
        note = home / NOTE_NAME
        waiting = note.read_text(encoding="utf-8").splitlines() if note.exists() else []
        if line not in waiting:
            whole = note.with_name(f"{NOTE_NAME}.{uuid.uuid4().hex[:8]}.tmp")  # a kill leaves no half a line
            whole.write_text("".join(f"{one}\n" for one in [*waiting, line]), encoding="utf-8")
            whole.replace(note)
        return _is_unmade(home)  # made meanwhile: it is told as well
    except OSError as error:
        raise storage_error(error, str(home)) from error


def offer_waiting(instance: "dg.DagsterInstance", home: Path) -> None:
    """Offer in `instance`, whose home this is, the corpora that a note there names; the note goes."""
    note = home / NOTE_NAME
    if not note.exists():
        return
    from assets.partitions import register_partitions
    from pipelines.crawl.corpora import known_corpus

    for root, name in map(json.loads, note.read_text(encoding="utf-8").splitlines()):
        with contextlib.suppress(CorpusError):  # a registration that can't be read: whoever asks for it is told
            if (corpus := known_corpus(Layout(root), name)) is not None:
                register_partitions(instance, corpus)
    note.unlink(missing_ok=True)


def offer_at_load() -> None:
    """The same for the instance of this process's environment, where a note waits: what Dagster's own commands do."""
    home = os.environ.get(HOME_VARIABLE)
    if home and (Path(home) / NOTE_NAME).exists():
        import dagster as dg

        with dg.DagsterInstance.get() as instance:
            offer_waiting(instance, Path(home))


def _is_unmade(home: Path) -> bool:
    """Whether nobody has opened the instance: ours keeps its SQLite files in its home, others' is not looked at."""
    if (home / "history").exists():
        return False
    return (home / "dagster.yaml").read_text(encoding="utf-8") == _our_settings()


def _our_settings() -> str:
    return resources.files("assets").joinpath("dagster.yaml").read_text(encoding="utf-8")
