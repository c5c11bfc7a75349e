"""What clustering remembers from one run to the next, so that only new documents have to be looked up.

<state>/current.json                 names the version that holds
<state>/<version>/report.json        the manifest of one version, written last; its files may be older versions'
<state>/<version>/index/…            band index of the segments that came with it (pipelines.dedup.band_index)
<state>/<version>/clusters/…         of the segments that it touched: members, duplicates and representatives
<state>/<version>/lease.json         of a run that is at work on this version, and which version it started from

Files are written once and never changed. Two runs at once each write a version that is right by itself; the one that
is named last holds, and what the other learned is learned again. A version goes when no run can be reading it.
"""

import contextlib
import datetime
import os
import posixpath
import socket
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from gristmill.core.errors import EnvironmentProblemError, MissingDataError
from gristmill.core.layout import REPORT_NAME, Layout, storage_error
from pipelines.commit import now
from pipelines.dedup.band_index import IndexFile

CURRENT, LEASE = "current.json", "lease.json"
_CLUSTERS = "duplicate_clusters"
_STALE_LEASE = datetime.timedelta(days=2)  # of a run on a machine that can't be asked whether it still lives
_FORMAT = 1
_FILE = {"path": str, "kind": str, "sha256": str, "rows": int, "bytes": int, "number": int}
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Segment:
    """What is known of one segment."""

    fingerprint: str  # of its signatures
    rows: int
    ordinals: Mapping[str, int]  # name of each part to the number that its nodes begin with
    index: tuple[IndexFile, ...] = ()
    members: str | None = None  # path, below the state, of the documents that are in clusters
    files: tuple[Mapping[str, Any], ...] = ()  # duplicates and representatives, as reports describe them, and `path`

    @property
    def paths(self) -> list[str]:
        """Every file of it, below the state."""
        own = [file.path for file in self.index] + [str(file["path"]) for file in self.files]
        return own + ([self.members] if self.members else [])

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> "Segment":
        """Read it from a manifest; what is malformed raises one of _MALFORMED."""
        index, files = tuple(IndexFile(**file) for file in value["index"]), tuple(value["files"])
        for file in files:
            _require_types({name: file[name] for name in _FILE}, _FILE)
        for file in index:
            _require_types(file.to_plain(), {"path": str, "keys": int, "range": int, "ranges": int})
        _require_types({"members": value["members"] or ""}, {"members": str})
        ordinals = {str(name): int(ordinal) for name, ordinal in value["ordinals"].items()}
        return cls(str(value["fingerprint"]), int(value["rows"]), ordinals, index, value["members"], files)


@dataclass(frozen=True)
class State:
    """One version: every segment, by `corpus|segment`."""

    segments: Mapping[str, Segment] = field(default_factory=dict[str, Segment])
    next_ordinal: int = 0
    version: str | None = None

    def to_plain(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return {"format": _FORMAT, "created_at": now(), **asdict(self)}

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> "State":
        """Read a manifest; what is malformed raises one of _MALFORMED."""
        segments = {key: Segment.from_plain(segment) for key, segment in value["segments"].items()}
        return cls(segments, int(value["next_ordinal"]), str(value["version"]))


class StateFolder:
    """One run's hold on a state: use as a context manager, write below `folder`, then `commit`."""

    def __init__(self, layout: Layout, path: str, *, is_anew: bool = False) -> None:
        self._layout, self.path, self._is_anew = layout, path, is_anew
        self._version = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"
        self.folder = posixpath.join(path, self._version)
        self.state = State()
        self._is_committed = False

    def __enter__(self) -> "StateFolder":
        while True:  # until no other run changed what holds while the lease was written
            version = self._current()
            self._layout.write_json(self._at(LEASE), _lease(version))
            if self._current() == version:
                break
        self.state = State() if self._is_anew else self._load(version)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            if not self._is_committed:
                self._remove(self.folder)
            elif self._layout.fs.exists(self._at(LEASE)):
                self._layout.fs.rm(self._at(LEASE))
            if self._layout.is_local:
                self._layout.fs.rmdir(self.path)  # refused where another version lies

    def full(self, path: str) -> str:
        """A path below the state as the storage knows it."""
        return posixpath.join(self.path, path)

    def paths_of(self, kind: str) -> dict[str, str]:
        """`corpus|segment` to its file of one kind, where it has one."""
        return {
            key: self.full(str(file["path"]))
            for key, segment in self.state.segments.items()
            for file in segment.files
            if file["kind"] == kind
        }

    def relative(self, path: str) -> str:
        """The other way round."""
        return posixpath.relpath(path, self.path)

    def commit(self, segments: Mapping[str, Segment], next_ordinal: int) -> State:
        """Make this version the one that holds, and remove what nobody can need any more."""
        self.state = State(segments, next_ordinal, self._version)
        self._layout.write_json(self._at(REPORT_NAME), self.state.to_plain())
        self._layout.write_json(self.full(CURRENT), {"version": self._version})
        self._is_committed = True
        with contextlib.suppress(OSError):  # what can't be removed now is removed by the next run
            self._clean()
        return self.state

    @property
    def is_in_use(self) -> bool:
        """Whether another run is at work on any version."""
        leases = (self._lease_of(version) for version in self._versions() if version != self._version)
        return any(lease is not None and _is_alive(lease) for lease in leases)

    def remove(self) -> None:
        """Remove the state as a whole."""
        self._remove(self.path)

    def _at(self, name: str) -> str:
        return posixpath.join(self.folder, name)

    def _current(self) -> str | None:
        version = (_small(self._layout, self.full(CURRENT)) or {}).get("version")
        return version if isinstance(version, str) else None

    def _load(self, version: str | None) -> State:
        """The version's manifest; an empty state where it, or a file it names, is gone: all is then made again."""
        state = self._manifest(version) if version else None
        if state is None:
            return State()
        folders = {posixpath.dirname(path) for segment in state.segments.values() for path in segment.paths}
        found = {self.relative(path) for folder in folders for path in self._layout.parts(self.full(folder))}
        is_whole = all(path in found for segment in state.segments.values() for path in segment.paths)
        return state if is_whole else State()

    def _manifest(self, version: str) -> State | None:
        value = _small(self._layout, self.full(f"{version}/{REPORT_NAME}"))
        if value is None or value.get("format") != _FORMAT:
            return None
        try:
            return State.from_plain(value)
        except _MALFORMED:
            return None

    def _clean(self) -> None:
        """Remove files of versions that neither hold nor are read; folders of runs that were killed."""
        others = [version for version in self._versions() if version != self._version]
        leases = {version: lease for version in others if (lease := self._lease_of(version)) is not None}
        alive = {version for version, lease in leases.items() if _is_alive(lease)}
        read = {self._current(), self._version} | {str(leases[version].get("reads")) for version in alive}
        keep: set[str] = set()
        for version in read - {None}:
            manifest = self._manifest(str(version))
            for segment in manifest.segments.values() if manifest else ():
                keep.update(segment.paths)
        for version in self._versions():
            if version in alive or version in read:
                continue
            if not any(path.startswith(f"{version}/") for path in keep):
                self._remove(self.full(version))
                continue
            for path in cast(list[str], self._layout.fs.find(self.full(version))):
                if self.relative(path) not in keep:
                    self._layout.fs.rm(path)

    def _versions(self) -> Iterator[str]:
        for entry in cast(list[dict[str, Any]], self._layout.fs.ls(self.path, detail=True)):
            if entry["type"] == "directory":
                yield posixpath.basename(str(entry["name"]).rstrip("/"))

    def _lease_of(self, version: str) -> dict[str, Any] | None:
        return _small(self._layout, self.full(f"{version}/{LEASE}"))

    def _remove(self, folder: str) -> None:
        if self._layout.fs.exists(folder):
            try:
                self._layout.fs.rm(folder, recursive=True)
            except FileNotFoundError:
                pass  # another run removed it as well
            except OSError as error:
                raise storage_error(error, folder) from error


def remove_unused_states(layout: Layout, path: str, corpus: str) -> None:
    """Remove the corpus's states, and those of all corpora, that no committed clusters were written from.

    Those of the scope that is not in force too, or a change of it would leave them for good. A state that a run works
    on stays, and what can't be removed is left to the next run.

    Args:
        layout: the root.
        path: of the state that was just used.
        corpus: that was clustered.
    """
    folders = [layout.cluster_states_dir(scope) for scope in (corpus, None)]
    idle = [state for folder in folders for state in _idle_states(layout, folder) if state.path != path]
    # Asked after the leases: a run that ended in between has committed its report.
    committed = (layout.partition_dir(_CLUSTERS, partition) for partition in layout.committed(_CLUSTERS))
    reports = (_small(layout, posixpath.join(folder, REPORT_NAME)) for folder in committed)
    used = {layout.join(str(report["state"])) for report in reports if report and report.get("state")}
    for state in idle:
        with contextlib.suppress(OSError, EnvironmentProblemError):
            if state.path not in used and not state.is_in_use:
                state.remove()
    for folder in folders if layout.is_local else ():
        with contextlib.suppress(OSError):
            layout.fs.rmdir(folder)  # refused where a state lies


def _idle_states(layout: Layout, folder: str) -> Iterator[StateFolder]:
    for path in layout.parts(folder, suffix=""):
        with contextlib.suppress(OSError):
            state = StateFolder(layout, path)
            if not state.is_in_use:
                yield state


def _small(layout: Layout, path: str) -> dict[str, Any] | None:
    """A JSON object; None where it is not there or damaged, which for a state comes to the same: it is made again."""
    try:
        return layout.read_json(path)
    except MissingDataError:
        return None


def _require_types(value: Mapping[str, Any], types: Mapping[str, type]) -> None:
    for name, kind in types.items():
        if not isinstance(value[name], kind):
            raise TypeError(f"{name} is {value[name]!r}")


def _lease(reads: str | None) -> dict[str, Any]:
    return {"reads": reads, "host": socket.gethostname(), "process": os.getpid(), "since": now()}


def _is_alive(lease: Mapping[str, Any]) -> bool:
    """Whether the run may still be at work: its process is there, or it is another machine's and not old.

    A lease that says neither is nobody's.
    """
    try:
        if lease.get("host") != socket.gethostname():
            since = datetime.datetime.fromisoformat(str(lease["since"]))
            return datetime.datetime.now(datetime.UTC) - since < _STALE_LEASE
        os.kill(int(lease["process"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except _MALFORMED:
        return False
    return True
