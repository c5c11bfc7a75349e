"""Taking a corpus away: what lies of it below the root, and how that goes, so that a kill in between does no harm."""

import contextlib
import posixpath
from dataclasses import dataclass
from typing import Any, cast

from gristmill.core.errors import CorpusError
from gristmill.core.layout import REPORT_NAME, Layout, Partition, storage_error
from pipelines.crawl.corpora import Corpus, known_corpus, list_corpora
from pipelines.crawl.opening import release_downloads
from pipelines.crawl.selection import remove_other_selections
from pipelines.stages import STAGES


@dataclass(frozen=True)
class Held:
    """What lies of a corpus in one asset: its documents, what was rejected of them and what was measured."""

    asset: str
    folders: tuple[str, ...]
    files: int
    bytes: int


@dataclass(frozen=True)
class Holdings:
    """All that lies of a corpus."""

    name: str
    corpus: Corpus | None  # None: not registered, or not any more
    held: tuple[Held, ...]  # in the order of the flow, only what is there

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(held.bytes for held in self.held)

    @property
    def files(self) -> int:
        """How many there are."""
        return sum(held.files for held in self.held)


def holdings(layout: Layout, name: str) -> Holdings:
    """What lies of corpus `name` below the root; one that is not registered may still have data there.

    Raises:
        CorpusError: nothing is there, or the registration can't be read.
        SettingsError: it can't name a corpus.
    """
    whole = Partition(name)
    corpus = known_corpus(layout, name)
    found: list[Held] = []
    for stage in STAGES:
        if stage.kind != "single":
            places = [place(stage.name, whole) for place in (layout.partition_dir, layout.quarantine_dir)]
            places += [place(stage.name, whole) for place in (layout.signals_dir, layout.temporary_dir)]
            if stage.kind == "cluster":
                places.append(layout.cluster_states_dir(name))
            found += _held(layout, stage.name, places)
    if corpus is None and not found:
        known = ", ".join(c.name for c in list_corpora(layout)) or "none"
        raise CorpusError(f"there is no corpus {name} under {layout.root} (known: {known})")
    return Holdings(name, corpus, tuple(found))


def _held(layout: Layout, asset: str, places: list[str]) -> list[Held]:
    sizes: list[int] = []
    folders: list[str] = []
    for folder in places:
        if layout.fs.exists(folder):
            folders.append(folder)
            inside = cast(dict[str, dict[str, Any]], layout.fs.find(folder, detail=True))
            sizes += [int(entry.get("size") or 0) for entry in inside.values()]
    return [Held(asset, tuple(folders), len(sizes), sum(sizes))] if folders else []


def remove_data(layout: Layout, found: Holdings) -> None:
    """Remove the documents of every stage, the last one first: a stage never outlives what it was made from.

    A partition is no longer there for any reader before the first of its files goes.

    Raises:
        EnvironmentProblemError: a file can't be removed; what went is gone, and the rest goes the next time.
    """
    for held in reversed(found.held):
        for folder in held.folders:
            try:
                for path in cast(list[str], layout.fs.find(folder)):
                    if posixpath.basename(path) == REPORT_NAME:
                        layout.fs.rm(path)
                layout.fs.rm(folder, recursive=True)
            except FileNotFoundError:  # an object store's folder is gone with its last object
                continue
            except OSError as error:
                raise storage_error(error, folder) from error
    if found.corpus is not None:
        release_downloads(layout, found.corpus.files)


def remove_registration(layout: Layout, name: str) -> None:
    """Remove the registration, and before it the lists of pages that belong to it."""
    try:
        remove_other_selections(layout, name, set())
        with contextlib.suppress(FileNotFoundError):
            layout.fs.rm(layout.corpus_path(name))
    except OSError as error:
        raise storage_error(error, layout.corpus_path(name)) from error
