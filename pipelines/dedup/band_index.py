"""The band index: which document was met under which key, as Parquet files sorted by key.

A segment has one file for each range of keys (as many ranges, a power of two, as its size asks for), and in each
file one entry per key and text: documents that share both are joined when the file is written, so that a bucket of a
million documents is one entry. Where candidates are not verified, what the text is does not matter: it is 0 in all
entries. Row groups are small and the file says each one's first key: looking a few keys up reads a few row groups.
Nothing here holds more than the keys of one range in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from pipelines.commit import unfinished_name
from pipelines.dedup.band_keys import Int64s, Keys, concatenate, is_exact, nothing
from pipelines.dedup.state_damage import reading_state

KEYS_IN_MEMORY = 1 << 20  # of a run, a range or a lookup: about 100 MB while they are sorted
GROUP_KEYS = 4096  # of a row group: 64 kB to read for one key that is looked up
_GROUPS_AT_ONCE = 64
_FIRST_KEYS = b"first_keys"
CANDIDATE_SCHEMA = pa.schema([("key", pa.int64()), ("node", pa.int64()), ("text", pa.int64())])
EDGE_SCHEMA = pa.schema([("node", pa.int64()), ("other", pa.int64())])
Edges = npt.NDArray[np.int64]  # shape (edges, 2): node and the lesser one it hangs on


@dataclass(frozen=True)
class IndexFile:
    """One file of the index."""

    path: str  # below the folder of the state
    keys: int
    range: int = 0  # which of the `ranges` equal parts of all keys it holds
    ranges: int = 1

    def to_plain(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return asdict(self)

    def may_hold(self, number: int, ranges: int) -> bool:
        """Whether its keys overlap part `number` of `ranges`."""
        return self.range * ranges < (number + 1) * self.ranges and number * self.ranges < (self.range + 1) * ranges


def ranges_for(keys: int, least: int = 1) -> int:
    """Into how many ranges so many keys are cut: a power of two, at least `least`."""
    wanted = max(least, -(-keys // KEYS_IN_MEMORY), 1)
    return 1 << (wanted - 1).bit_length()


def bounds(number: int, ranges: int) -> tuple[int, int]:
    """The least and the greatest key of part `number` of `ranges`, a power of two."""
    width = (1 << 64) // ranges
    first = number * width - (1 << 63)
    return first, first + width - 1


def join_equals(entries: Keys) -> tuple[Keys, Edges]:
    """Of sorted entries the first of each (key, text), and edges that hang the others on it."""
    if not len(entries):
        return entries, no_edges()
    is_first = np.ones(len(entries), bool)
    is_first[1:] = (np.diff(entries.key) != 0) | (np.diff(entries.text) != 0)
    first = entries.take(is_first)
    leader = first.node[np.cumsum(is_first) - 1]
    return first, distinct_edges(entries.node[~is_first], leader[~is_first])


def distinct_edges(node: Int64s, other: Int64s) -> Edges:
    """Each pair once, the greater node first; no loops."""
    pairs = np.stack([np.maximum(node, other), np.minimum(node, other)], axis=1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs = pairs[order]
    is_new = np.ones(len(pairs), bool)
    is_new[1:] = (np.diff(pairs, axis=0) != 0).any(axis=1)
    return pairs[is_new]


def no_edges() -> Edges:
    """No edges."""
    return np.empty((0, 2), np.int64)


def write_index(layout: Layout, path: str, entries: Keys) -> None:
    """Write sorted entries."""
    first = entries.key[::GROUP_KEYS].astype("<i8").tobytes()
    table = pa.table(
        [entries.key, entries.node, entries.text], schema=CANDIDATE_SCHEMA.with_metadata({_FIRST_KEYS: first})
    )
    _write(layout, path, table, GROUP_KEYS)


def write_edges(layout: Layout, path: str, edges: Edges) -> None:
    """Write edges (EDGE_SCHEMA)."""
    columns = [np.ascontiguousarray(edges[:, 0]), np.ascontiguousarray(edges[:, 1])]
    _write(layout, path, pa.table(columns, schema=EDGE_SCHEMA), 1 << 18)


def _write(layout: Layout, path: str, table: pa.Table, rows: int) -> None:
    aside = unfinished_name(path)
    pq.write_table(table, aside, row_group_size=rows, filesystem=layout.fs, compression="zstd", use_dictionary=False)
    layout.fs.mv(aside, path)


def read_range(layout: Layout, path: str, first: int, last: int) -> Keys:
    """The entries of one file with first <= key <= last."""
    blocks = list(_read(layout, path, np.array([[first, last]], np.int64)))
    entries = concatenate(blocks)
    start, end = np.searchsorted(entries.key, [first]), np.searchsorted(entries.key, [last], "right")
    return entries.take(slice(int(start[0]), int(end[0])))


def read_keys(layout: Layout, path: str, wanted: Int64s) -> Iterator[Keys]:
    """The entries of one file whose key is among `wanted` (sorted, distinct), some row groups at a time."""
    if not len(wanted):
        return
    for entries in _read(layout, path, np.stack([wanted, wanted], axis=1)):
        place = np.minimum(np.searchsorted(wanted, entries.key), len(wanted) - 1)
        yield entries.take(wanted[place] == entries.key)


def _read(layout: Layout, path: str, spans: npt.NDArray[np.int64]) -> Iterator[Keys]:
    """The row groups that may hold a key of one of the spans (first, last)."""
    with reading_state(path), layout.fs.open(path, "rb") as opened:
        file = pq.ParquetFile(cast(Any, opened))
        firsts = np.frombuffer((file.schema_arrow.metadata or {}).get(_FIRST_KEYS, b""), "<i8")
        if not len(firsts):
            return
        # A key that a row group begins with may also end the one before.
        start = np.maximum(np.searchsorted(firsts, spans[:, 0], "left") - 1, 0)
        end = np.searchsorted(firsts, spans[:, 1], "right")
        change = np.zeros(len(firsts) + 1, np.int64)
        is_inside = end > start
        np.add.at(change, start[is_inside], 1)
        np.add.at(change, end[is_inside], -1)
        groups: list[int] = np.flatnonzero(np.cumsum(change)[:-1]).tolist()
        for place in range(0, len(groups), _GROUPS_AT_ONCE):
            table = file.read_row_groups(groups[place : place + _GROUPS_AT_ONCE])
            yield Keys(*(np.asarray(table.column(name).combine_chunks()) for name in ("key", "node", "text")))


def merge_runs(layout: Layout, runs: Sequence[str], number: int, ranges: int) -> tuple[Keys, Edges]:
    """One range of a segment's index out of the runs of its parts, and the edges between these."""
    blocks = [read_range(layout, path, *bounds(number, ranges)) for path in runs]
    return join_equals(concatenate(blocks).sorted())


def new_entries(layout: Layout, paths: Iterable[str], number: int, ranges: int) -> Keys:
    """The entries of new documents in one range, sorted."""
    return concatenate([read_range(layout, path, *bounds(number, ranges)) for path in paths]).sorted()


def old_entries(layout: Layout, paths: Iterable[str], entries: Keys) -> Iterator[Keys]:
    """Block by block, what the index has under the keys of `entries`."""
    wanted = np.unique(entries.key)
    return (block for path in paths for block in read_keys(layout, path, wanted) if len(block))


def write_candidates(layout: Layout, path: str, blocks: Iterable[Keys]) -> int:
    """Write entries (CANDIDATE_SCHEMA) as they come; returns how many."""
    aside, rows = unfinished_name(path), 0
    with pq.ParquetWriter(aside, CANDIDATE_SCHEMA, filesystem=layout.fs, compression="zstd") as writer:
        for block in blocks:
            writer.write_table(pa.table([block.key, block.node, block.text], schema=CANDIDATE_SCHEMA))
            rows += len(block)
    layout.fs.mv(aside, path)
    return rows


def exact_edges(entries: Keys, old: Iterable[Keys]) -> Edges:
    """Edges between documents of equal text alone."""
    return bucket_edges(entries.take(is_exact(entries)), (block.take(is_exact(block)) for block in old))


def bucket_edges(entries: Keys, old: Iterable[Keys]) -> Edges:
    """Edges of the buckets that new entries are in; documents of one bucket are joined as they are.

    One old document stands for all of a bucket: the others were joined with it before.
    """
    if not len(entries):
        return no_edges()
    keys, start = np.unique(entries.key, return_index=True)
    size = np.diff([*start, len(entries)])
    least_new = np.minimum.reduceat(entries.node, start)
    least_old = np.full(len(keys), np.iinfo(np.int64).max)
    for block in old:
        np.minimum.at(least_old, np.searchsorted(keys, block.key), block.node)
    least = np.minimum(least_new, least_old)
    is_known = least_old < np.iinfo(np.int64).max
    nodes = np.concatenate([entries.node, least_old[is_known]])
    return distinct_edges(nodes, np.concatenate([np.repeat(least, size), least[is_known]]))


def candidates(entries: Keys, old: Iterable[Keys]) -> Iterator[Keys]:
    """All members of the buckets that hold new entries and two texts or more; equal texts are joined elsewhere."""
    keys, start = np.unique(entries.key, return_index=True)
    if not len(keys):
        return
    number = np.repeat(np.arange(len(keys)), np.diff([*start, len(entries)]))
    text = entries.text[start]
    is_mixed = np.zeros(len(keys), bool)
    is_mixed[number[entries.text != text[number]]] = True
    held: list[Keys] = []
    for block in old:
        place = np.searchsorted(keys, block.key)
        is_mixed[place[block.text != text[place]]] = True
        held.append(block)
        if sum(map(len, held)) > KEYS_IN_MEMORY:  # whichever turn out to be of one text, the verification leaves out
            yield concatenate(held)
            held = []
    for block in (concatenate(held), entries):
        yield block.take(is_mixed[np.searchsorted(keys, block.key)]) if len(block) else nothing()
