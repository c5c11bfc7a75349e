"""Where in a partition a page lies: made from its parts on first use, kept beside the root, never stale.

`<root>/index/<asset>/corpus=<c>/segment=<s>/<content>.<kind>.npy` holds, as two rows of uint64 of one length, keys in
rising order and the place of each: number of the file and of the row group in it. It is named after the content of the
files (names and sha256 of the partition's report), so that an index of other files is never taken for theirs. It says
where to look, and what lies there is compared, so that an answer is that of a scan. It may be removed at any time.

Kinds: `ids` of doc_id, `urls` of every spelling of a URL, `hosts` of a host (each place once). pipelines.report.keys
has the keys. Indexed are the first stage's documents and what it rejected: together every page of the corpus.
"""

import contextlib
import hashlib
import io
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import EnvironmentProblemError
from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading
from pipelines.report.keys import Keys, hashed, hosts_in, id_keys, spellings_as_one

KINDS = ("ids", "urls", "hosts")
_GROUP_BITS = np.uint64(32)
_NAME_LENGTH = 32
Index = npt.NDArray[np.uint64]  # of shape (2, entries): keys in rising order, places


@dataclass(frozen=True, order=True)
class Place:
    """A row group."""

    path: str
    group: int


@dataclass(frozen=True)
class PageIndex:
    """The indexes of one partition."""

    partition: Partition
    paths: tuple[str, ...]  # by number
    indexes: dict[str, Index]

    def places(self, kind: str, keys: Iterable[int]) -> list[Place]:
        """Where rows of one of the keys lie, each place once, in the order of the files."""
        index = self.indexes[kind]
        wanted = np.unique(np.fromiter(keys, np.uint64))
        first = np.searchsorted(index[0], wanted, "left")
        stop = np.searchsorted(index[0], wanted, "right")
        return self._places(index, zip(first.tolist(), stop.tolist(), strict=True))

    def places_between(self, kind: str, low: int, high: int) -> list[Place]:
        """Where rows of the keys low…high lie."""
        index = self.indexes[kind]
        first = int(np.searchsorted(index[0], np.uint64(low), "left"))
        return self._places(index, [(first, int(np.searchsorted(index[0], np.uint64(high), "right")))])

    def _places(self, index: Index, runs: Iterable[tuple[int, int]]) -> list[Place]:
        found = [index[1, first:stop] for first, stop in runs if stop > first]
        numbers = np.unique(np.concatenate(found)).tolist() if found else []
        return [Place(self.paths[number >> 32], number & 0xFFFFFFFF) for number in numbers]


def page_index(
    layout: Layout,
    asset: str,
    partition: Partition,
    report: dict[str, Any],
    on_making: Callable[[], object] | None = None,
) -> PageIndex:
    """The index of a committed partition: as it was kept, else made and kept.

    Args:
        layout: the root.
        asset: a stage of documents.
        partition: committed.
        report: its report.
        on_making: called before an index is made.

    Raises:
        MissingDataError: a part can't be read.
    """
    files = _files(layout, asset, partition, report)
    paths = tuple(path for path, _ in files)
    content = hashlib.sha256(json.dumps([(posixpath.basename(p), mark) for p, mark in files]).encode()).hexdigest()
    folder = layout.index_dir(asset, partition)
    names = {kind: posixpath.join(folder, f"{content[:_NAME_LENGTH]}.{kind}.npy") for kind in KINDS}
    kept = {kind: _load(layout, name) for kind, name in names.items()}
    if all(index is not None for index in kept.values()):
        return PageIndex(partition, paths, cast(dict[str, Index], kept))
    if on_making is not None:
        on_making()
    made = _made(layout, paths)
    _keep(layout, folder, {names[kind]: index for kind, index in made.items()})
    return PageIndex(partition, paths, made)


def rows_at(
    layout: Layout, places: Sequence[Place], columns: Sequence[str] | None = None
) -> Iterator[tuple[Place, pa.Table]]:
    """Each place and its row group, of which `columns` are read; those that a file lacks are left out.

    Raises:
        MissingDataError: a part can't be read.
    """
    by_path: dict[str, list[Place]] = {}
    for place in places:
        by_path.setdefault(place.path, []).append(place)
    for path, some in by_path.items():
        with reading(path), layout.fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(cast(Any, file))
            names = [n for n in parquet.schema_arrow.names if columns is None or n in columns]
            for place in some:
                yield place, parquet.read_row_group(place.group, names, use_threads=False)


def _files(layout: Layout, asset: str, partition: Partition, report: dict[str, Any]) -> list[tuple[str, str]]:
    """Paths of the partition's parts, kept ones before rejected ones, each with what tells its content."""
    found: list[tuple[str, str]] = []
    for folder, key in (
        (layout.partition_dir(asset, partition), "files"),
        (layout.quarantine_dir(asset, partition), "quarantine_files"),
    ):
        listed = {str(f["name"]): str(f["sha256"]) for f in report.get(key) or ()}
        if not listed:  # data put there by hand: size and time tell one file from another
            facts = {p: cast(dict[str, Any], layout.fs.info(p)) for p in layout.parts(folder)}
            found += [(p, repr((f.get("size"), f.get("mtime"), f.get("ETag")))) for p, f in facts.items()]
            continue
        found += [(posixpath.join(folder, name), listed[name]) for name in sorted(listed)]
    return found


def _made(layout: Layout, paths: Sequence[str]) -> dict[str, Index]:
    keys: dict[str, list[Keys]] = {kind: [] for kind in KINDS}
    places: dict[str, list[Keys]] = {kind: [] for kind in KINDS}

    def add(kind: str, found: Keys, place: int) -> None:
        keys[kind].append(found)
        places[kind].append(np.full(len(found), place, np.uint64))

    for number, path in enumerate(paths):
        with reading(path), layout.fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(cast(Any, file))
            names = [name for name in ("doc_id", "url") if name in parquet.schema_arrow.names]
            for group in range(parquet.num_row_groups):
                place = number << int(_GROUP_BITS) | group
                table = parquet.read_row_group(group, names, use_threads=False)
                columns: dict[str, Any] = {name: table.column(name).drop_null().combine_chunks() for name in names}
                if "doc_id" in columns:
                    add("ids", id_keys(columns["doc_id"]), place)
                if "url" in columns:
                    spelled = spellings_as_one(columns["url"])
                    add("urls", hashed(spelled), place)
                    add("hosts", hashed(pc.unique(hosts_in(spelled))), place)
    return {kind: _sorted(keys[kind], places[kind]) for kind in KINDS}


def _sorted(keys: list[Keys], places: list[Keys]) -> Index:
    if not keys:
        return np.empty((2, 0), np.uint64)
    joined = np.stack([np.concatenate(keys), np.concatenate(places)])
    return np.ascontiguousarray(joined[:, np.argsort(joined[0], kind="stable")])


def _load(layout: Layout, path: str) -> Index | None:
    """A kept index; None where it is missing or damaged."""
    try:
        if layout.is_local:  # a search of a mapped file reads a few of its pages
            index = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            index = np.load(io.BytesIO(cast(bytes, layout.fs.cat_file(path))), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    is_ours = index.dtype == np.uint64 and index.ndim == 2 and index.shape[0] == 2
    return index if is_ours else None


def _keep(layout: Layout, folder: str, indexes: dict[str, Index]) -> None:
    """Write the indexes, and remove those of other content; a root that can't be written is looked through all the
    same."""
    with contextlib.suppress(EnvironmentProblemError, OSError):
        for path, index in indexes.items():
            data = io.BytesIO()
            np.save(data, index, allow_pickle=False)
            layout.write_bytes(path, data.getvalue())
        for path in layout.parts(folder, ".npy"):
            if path not in indexes:
                layout.fs.rm_file(path)
