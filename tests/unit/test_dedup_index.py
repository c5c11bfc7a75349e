"""Keys of bands and texts, and an index that finds what plain sets find."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout
from pipelines.dedup import band_index
from pipelines.dedup.band_index import (
    IndexFile,
    bounds,
    bucket_edges,
    candidates,
    exact_edges,
    join_equals,
    merge_runs,
    new_entries,
    old_entries,
    ranges_for,
    write_index,
)
from pipelines.dedup.band_keys import Keys, band_keys, document_keys, is_exact
from pipelines.dedup.buckets import KeysTask, SignaturePart, write_runs


def packed(*signatures: list[int] | None, kind: str = "<u4") -> pa.Array:
    return pa.array([None if s is None else np.array(s, kind).tobytes() for s in signatures], pa.binary())


@pytest.mark.parametrize("kind", ["<u4", "<u8"])
def test_band_keys_agree_where_a_band_agrees_and_only_in_the_same_band(kind: str) -> None:
    keys = band_keys(packed([1, 2, 3, 4], None, [1, 2, 9, 4], [1, 2, 3, 4], kind=kind), bands=2)
    assert keys.shape == (3, 2)
    assert keys[0, 0] == keys[1, 0] == keys[2, 0]
    assert keys[0, 1] == keys[2, 1] != keys[1, 1]
    same = band_keys(packed([7, 8, 7, 8], kind=kind), bands=2)
    assert same[0, 0] != same[0, 1]
    assert band_keys(packed([7, 8, 9], [7, 8, 9], kind=kind), bands=3).shape == (2, 3)
    assert len(band_keys(packed(None), bands=2)) == 0


def test_documents_of_one_text_are_banded_once() -> None:
    hashes = pa.array([b"x" * 16, b"x" * 16, b"y" * 16, None, b"x" * 16], pa.binary())
    signatures = packed([1, 2], [1, 2], [1, 5], None, [1, 9])
    keys = document_keys(np.arange(10, 15), hashes, signatures, bands=2)
    exact = keys.take(is_exact(keys))
    assert sorted(exact.node.tolist()) == [10, 11, 12, 14]
    banded = keys.take(~is_exact(keys))
    assert sorted(banded.node.tolist()) == [10, 10, 12, 12, 14, 14]  # 14 has the text of 10, and other values
    assert (np.diff(keys.key) >= 0).all()


def entries(pairs: list[tuple[int, int, int]]) -> Keys:
    spread = [(key * 0x9E3779B97F4A7C15 % 2**64 - 2**63, node, text) for key, node, text in pairs]
    columns = np.array(spread or np.empty((0, 3)), np.int64).reshape(-1, 3)
    return Keys(*(np.ascontiguousarray(column) for column in columns.T))


def sets_of(edges: Any, nodes: set[int]) -> set[frozenset[int]]:
    parent = {node: node for node in nodes}

    def find(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in edges:
        parent[find(int(a))] = find(int(b))
    groups: dict[int, set[int]] = {}
    for node in nodes:
        groups.setdefault(find(node), set()).add(node)
    return {frozenset(group) for group in groups.values()}


def sharing(rows: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    return [(a[1], b[1]) for a, b in itertools.combinations(rows, 2) if a[0] == b[0]]


ENTRIES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40), st.integers(0, 2)), max_size=60)


@settings(max_examples=40, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=4), ENTRIES, st.sampled_from([1, 2, 8]), st.booleans())
def test_lookups_join_what_shares_a_key(tmp_path_factory, segments, new, ranges: int, has_texts: bool) -> None:
    layout = Layout(str(tmp_path_factory.mktemp("index")))
    edges: list[Any] = []
    old: list[tuple[str, IndexFile]] = []

    def written(name: str, rows: list[tuple[int, int, int]]) -> str:
        given = entries(rows)
        run, found = join_equals((given if has_texts else given.without_texts()).sorted())
        edges.extend(found)
        write_index(layout, layout.join(name), run)
        return layout.join(name)

    for number, rows in enumerate(segments):
        runs = [written(f"{number}-{run}.run", rows[run::2]) for run in range(2)]
        for part in range(ranges):
            merged, found = merge_runs(layout, runs, part, ranges)
            edges.extend(found)
            path = layout.join(f"{number}-{part}.index")
            write_index(layout, path, merged)
            old.append((path, IndexFile(path, len(merged), part, ranges)))
    of_new = written("new.run", new)
    lookups, unverified = 4, []
    for number in range(lookups):
        met = new_entries(layout, [of_new], number, lookups)
        paths = [path for path, file in old if file.may_hold(number, lookups)]
        edges.extend((exact_edges if has_texts else bucket_edges)(met, old_entries(layout, paths, met)))
        unverified += list(candidates(met, old_entries(layout, paths, met)))
    rows = [row for segment in [*segments, new] for row in segment]
    nodes = {node for _, node, _ in rows}
    if not has_texts:
        known = [row for segment in segments for row in segment]
        edges += sharing(known)  # found when the later of the two came
        joined = sharing(rows)
        assert sets_of(edges, nodes) == sets_of(joined, nodes)
        return
    texts: dict[int, set[int]] = {}
    for key, _, text in rows:
        texts.setdefault(key, set()).add(text)
    mixed = {key for key, *_ in new if len(texts[key]) > 1}
    found = {(key, text) for block in unverified for key, text in zip(block.key, block.text, strict=True)}
    expected = entries([(key, 0, text) for key in mixed for text in texts[key]])
    assert found == set(zip(expected.key, expected.text, strict=True))


def test_ranges_are_powers_of_two_that_cover_all_keys() -> None:
    assert [ranges_for(keys) for keys in (0, 1, 1 << 20, (1 << 20) + 1, 5 << 20)] == [1, 1, 1, 2, 8]
    assert ranges_for(1, least=3) == 4
    for ranges in (1, 4):
        borders = [bounds(number, ranges) for number in range(ranges)]
        assert borders[0][0] == -(2**63)
        assert borders[-1][1] == 2**63 - 1
        assert all(b[0] == a[1] + 1 for a, b in itertools.pairwise(borders))
    half = IndexFile("", 1, 1, 2)
    assert [half.may_hold(number, 8) for number in range(8)] == [False] * 4 + [True] * 4
    assert half.may_hold(0, 1)


def test_a_lookup_reads_few_row_groups(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(band_index, "GROUP_KEYS", 16)
    layout = Layout(str(tmp_path))
    keys = np.sort(np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 4000))
    write_index(layout, layout.join("i"), Keys(keys, np.arange(4000), np.zeros(4000, np.int64)))
    spans = np.stack([keys[[5, 2000]], keys[[5, 2000]]], axis=1)
    assert sum(map(len, band_index._read(layout, layout.join("i"), spans))) <= 4 * 16
    found = list(band_index.read_keys(layout, layout.join("i"), keys[[5, 2000]]))
    assert sorted(node for block in found for node in block.node.tolist()) == [5, 2000]


def test_a_part_with_other_rows_than_its_report_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "minhash_signatures" / "corpus=c" / "segment=s" / "part-00000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"content_hash": [b"x" * 16], "signature": packed([1, 2])}), path)
    task = KeysTask(str(tmp_path), str(tmp_path), 1, True)
    assert [run["keys"] for run in write_runs(task, SignaturePart(str(path), 0, 0, rows=1))] == [2]
    with pytest.raises(MissingDataError, match=r"1 rows in place of the 2 .* --through minhash_signatures --force"):
        write_runs(task, SignaturePart(str(path), 0, 0, rows=2))
