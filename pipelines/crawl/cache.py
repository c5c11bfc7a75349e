"""The download folder: what was fetched stays until it is no longer needed, so that a killed run fetches nothing twice.

<folder>/files/<key>-<name>.data    bytes fetched so far, appended to
<folder>/files/<key>-<name>.json    which version of which file they are, and whether they are all there
<folder>/files/<key>-<name>.lock    held alone by whoever fetches or removes, together by those who read
<folder>/hosts/                     see pipelines.crawl.politeness
"""

import contextlib
import hashlib
import json
import posixpath
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter
from gristmill.core.settings import resolve
from pipelines.commit import unfinished_name
from pipelines.crawl.answers import ChangedError, Version
from pipelines.crawl.download import SECTION, Client, DownloadSettings
from pipelines.crawl.politeness import locked

_SHOWN_BYTES = 1_000_000  # of a download that is worth a progress line
_LEFT_SECONDS = 7 * 86400.0  # since the last byte of a download whose corpus was perhaps given up
_RESTARTS = 3  # of a file that changes while it is fetched
_FACTS = ("etag", "modified", "total")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class Span:
    """Bytes `start` to before `stop` of a remote file; all of it where both are None."""

    url: str
    start: int | None = None
    stop: int | None = None

    @property
    def begin(self) -> int:
        """The first byte."""
        return self.start or 0

    @property
    def end(self) -> int:
        """One past the last byte, of a span that has an end."""
        assert self.stop is not None
        return self.stop


def download_settings(layout: Layout) -> DownloadSettings:
    """The settings that hold under a root: section `downloads` of its settings file."""
    return resolve(DownloadSettings, SECTION, layout.root, None, {})


def download_folder(layout: Layout, settings: DownloadSettings) -> Path:
    """Where downloads lie: on this machine, whatever the home is."""
    if settings.folder:
        return Path(settings.folder)
    if layout.is_local:
        return Path(layout.downloads_dir())
    home = hashlib.sha256(layout.root.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"gristmill-downloads-{home}"


class DownloadCache:
    """Fetched bytes, one entry per whole file or list of spans."""

    def __init__(self, folder: Path, settings: DownloadSettings, reporter: Reporter | None = None) -> None:
        self.folder, self.settings = folder, settings
        self._reporter = reporter or Reporter()
        self._files = folder / "files"
        self._files.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextlib.contextmanager
    def open(self, spans: Sequence[Span], label: str) -> Iterator[IO[bytes]]:
        """The bytes of `spans`, one after the other, as an open local file; fetched now unless they are here.

        Two processes that want the same entry fetch it once: the second waits, then reads the same file.

        Raises:
            CorpusError: a server refuses or fails for too long; what was fetched is kept.
        """
        entry = _Entry.of(self._files, spans)
        while True:
            if not entry.is_complete():
                self._make_room()
                with locked(entry.lock, is_waiting=True):
                    if not entry.is_complete():
                        self._fill(entry, spans, label)
            with locked(entry.lock, is_waiting=True, is_shared=True):
                if entry.is_complete():  # it may have been removed between the two locks
                    with entry.data.open("rb") as file:
                        yield file
                    entry.note({"is_complete": True, "is_read": True})
                    return

    def release(self, spans: Sequence[Span]) -> None:
        """Remove an entry, unless somebody is at it or everything is kept."""
        if self.settings.keep != "always":
            _Entry.of(self._files, spans).remove()

    def _fill(self, entry: "_Entry", spans: Sequence[Span], label: str) -> None:
        with Client(self.settings, self.folder) as client:
            for restart in range(_RESTARTS + 1):
                try:
                    self._append(client, entry, spans, label)
                    return
                except ChangedError as error:
                    if restart == _RESTARTS:
                        raise CorpusError(f"{error}, again and again: use a mirror that serves one version") from None
                    self._reporter.warning(f"{error}: fetching it from its beginning")
                    entry.clear()

    def _append(self, client: Client, entry: "_Entry", spans: Sequence[Span], label: str) -> None:
        state = entry.facts()
        here = entry.size() if state else 0
        sizes = [None if span.stop is None else span.stop - span.begin for span in spans]
        known_total = sum(size or 0 for size in sizes)
        with entry.data.open("r+b" if here else "wb") as file:
            file.seek(here)
            begin = 0  # of the span among all
            for index, (span, size) in enumerate(zip(spans, sizes, strict=True)):
                is_noted = state.get("span") == index
                version = Version(*(state.get(name) for name in _FACTS)) if is_noted else Version()
                end = size if size is not None else version.total
                if end is not None and here >= begin + end:  # fetched before
                    begin += end
                    continue
                for data in client.fetch(span.url, span.begin + here - begin, span.stop, version):
                    if not is_noted:
                        is_noted = True
                        entry.note({"span": index, **asdict(version)})
                    file.write(data)
                    file.flush()  # what the kernel has survives the process
                    here += len(data)
                    total = known_total or version.total or here + 1
                    if total >= _SHOWN_BYTES:
                        self._reporter.progress(f"downloading {label}", here / 1e6, total / 1e6, "MB")
                begin = here
        entry.note({"is_complete": True})

    def _make_room(self) -> None:
        """While the folder is over its limit: remove what was read to its end or left for long, oldest first."""
        sizes = {path: path.stat() for path in self._files.glob("*.data")}
        held = sum(s.st_size for s in sizes.values())
        for path in sorted(sizes, key=lambda p: sizes[p].st_mtime_ns):
            if held <= self.settings.max_folder_bytes:
                return
            entry = _Entry(path)
            is_left = time.time() - sizes[path].st_mtime > _LEFT_SECONDS
            if (is_left or entry.facts().get("is_read")) and entry.remove():
                held -= sizes[path].st_size


class _Entry:
    """The files of one entry."""

    def __init__(self, data: Path) -> None:
        self.data, self.state, self.lock = data, data.with_suffix(".json"), data.with_suffix(".lock")

    @classmethod
    def of(cls, folder: Path, spans: Sequence[Span]) -> "_Entry":
        """The entry of `spans`."""
        key = hashlib.sha256(repr([(s.url, s.start, s.stop) for s in spans]).encode()).hexdigest()[:32]
        name = _UNSAFE.sub("_", posixpath.basename(urlsplit(spans[0].url).path))[-80:]
        return cls(folder / f"{key}-{name}.data")

    def facts(self) -> dict[str, Any]:
        try:
            value: object = json.loads(self.state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return cast(dict[str, Any], value) if isinstance(value, dict) else {}

    def note(self, facts: dict[str, Any]) -> None:
        """Write what is known of the entry, whole or not at all."""
        unfinished = Path(unfinished_name(str(self.state)))
        unfinished.write_text(json.dumps(facts), encoding="utf-8")
        unfinished.replace(self.state)

    def size(self) -> int:
        return self.data.stat().st_size if self.data.exists() else 0

    def is_complete(self) -> bool:
        return self.data.exists() and self.facts().get("is_complete") is True

    def clear(self) -> None:
        """Forget what was fetched."""
        for path in (self.state, self.data):
            path.unlink(missing_ok=True)

    def remove(self) -> bool:
        """Remove the entry unless somebody is at it; says whether it is gone."""
        if not self.lock.exists():
            return True
        with locked(self.lock, is_waiting=False) as is_mine:
            if is_mine:
                self.clear()
                self.lock.unlink()
            return is_mine
