"""Pages are found by URL and doc_id through an index, which says the same as a look at every row."""

import hashlib
import json
import posixpath
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from pipelines.dedup.xxh64 import xxh64
from pipelines.parts import PartWriter
from pipelines.report.captures import Pages, is_doc_id
from pipelines.report.keys import hashed, hosts_in, id_keys, id_range, spellings_as_one
from pipelines.report.page_index import page_index, rows_at
from pipelines.schema import DOCUMENT_SCHEMA, QUARANTINE_SCHEMA

STAGE = "extracted_documents"
PAGE = "https://www.mill.example/grain/"


def identity(url: str, number: int) -> str:
    return hashlib.blake2b(f"{number} {url}".encode("utf-8", "replace"), digest_size=16).hexdigest()


def commit(
    layout: Layout, partition: Partition, parts: list[list[str | None]], rejected: list[list[str | None]] | None = None
) -> list[str]:
    """Partitions of the first stage: kept and rejected URLs by part; returns the doc_ids."""
    files: dict[str, list[dict[str, Any]]] = {"files": [], "quarantine_files": []}
    ids: list[str] = []
    for key, folder, schema, texts in (
        ("files", layout.partition_dir(STAGE, partition), DOCUMENT_SCHEMA, parts),
        ("quarantine_files", layout.quarantine_dir(STAGE, partition), QUARANTINE_SCHEMA, rejected or []),
    ):
        layout.fs.makedirs(folder, exist_ok=True)
        for number, urls in enumerate(texts):
            writer = PartWriter(layout, posixpath.join(folder, f"part-{number:05d}.parquet"))
            rows = [
                {
                    "doc_id": identity(str(url), len(ids) + i),
                    "url": url,
                    "warc_file": "x.warc.gz",
                    "warc_offset": i,
                }
                for i, url in enumerate(urls)
            ]
            ids += [str(row["doc_id"]) for row in rows]
            writer.write(pa.RecordBatch.from_pylist(rows[: len(rows) // 2], schema=schema))
            writer.flush()  # two row groups
            writer.write(pa.RecordBatch.from_pylist(rows[len(rows) // 2 :], schema=schema))
            files[key].append(writer.close() or {})
    report = {"fingerprint": "one", "inputs": {}, **files}
    layout.write_json(posixpath.join(layout.partition_dir(STAGE, partition), "report.json"), report)
    return ids


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "home")


@pytest.mark.parametrize(
    "url",
    [
        "https://www.mill.example/grain/",
        "http://mill.example/grain",
        "mill.example/grain",
        "https://MILL.example:443/Grain/#flour",
        "https://someone:secret@www.mill.example/grain/index.html",
    ],
)
def test_spellings_of_one_address_have_one_key(url: str) -> None:
    both: Any = spellings_as_one(pa.array([PAGE, url]))
    assert both[0] == both[1]
    assert hosts_in(both).to_pylist() == ["mill.example"] * 2


def test_other_addresses_have_other_keys() -> None:
    urls = [PAGE, PAGE + "?page=2", PAGE + "rye", "https://other.example/grain/", "https://mill.example:8080/grain/"]
    assert len(set(hashed(spellings_as_one(pa.array(urls))).tolist())) == len(urls)


@given(st.lists(st.text(max_size=80), max_size=8))
@settings(max_examples=40, deadline=None)
def test_keys_of_a_sliced_column_are_those_of_its_texts(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    column = pa.array(["before", *texts, "after"]).slice(1, len(texts))
    expected = [int(xxh64(text.encode(), np.array([0]), np.array([len(text.encode())]))[0]) for text in texts]
    assert hashed(column).tolist() == expected
    for text, key in zip(texts, id_keys(column).tolist(), strict=True):
        low, high = id_range(text)
        assert low <= key <= high


@given(st.lists(st.sampled_from(["a", "b", "A/", "c?x=1", "c", "d#e", "d", None]), min_size=1, max_size=30), st.data())
@settings(max_examples=25, deadline=None)
def test_the_index_finds_what_a_scan_finds(names: list[str | None], data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(folder)
        urls = [None if name is None else f"https://mill.example/{name}" for name in names]
        half = len(urls) // 2
        partition = Partition("toy", "00000")
        ids = commit(layout, partition, [urls[:half]], [urls[half:]])
        asked = f"http://mill.example/{data.draw(st.sampled_from(['a', 'b', 'c', 'c?x=1', 'd', 'e']))}"
        wanted = spellings_as_one(pa.array([asked]))[0].as_py()
        spelled = [None if url is None else spellings_as_one(pa.array([url]))[0].as_py() for url in urls]
        expected = sorted(doc_id for doc_id, url in zip(ids, spelled, strict=True) if url == wanted)
        for _ in range(2):  # made, then kept
            assert sorted(c.doc_id for c in Pages(layout).find(asked).captures) == expected
        for doc_id in ids:
            assert [c.doc_id for c in Pages(layout).find(doc_id).captures] == [doc_id]
            assert doc_id in Pages(layout).of_ids(partition, [doc_id, "0" * 32])


def test_every_capture_of_a_url_is_found_kept_or_rejected(layout: Layout) -> None:
    commit(layout, Partition("toy", "00000"), [[PAGE, "https://mill.example/"], [PAGE]], [[None, PAGE]])
    commit(layout, Partition("toy", "00001"), [["https://other.example/", PAGE]])
    found = Pages(layout).find(PAGE)
    assert found.is_exact
    assert sorted((c.segment, c.part) for c in found.captures) == [
        ("00000", "part-00000.parquet"),
        ("00000", "part-00000.parquet"),
        ("00000", "part-00001.parquet"),
        ("00001", "part-00000.parquet"),
    ]


def test_an_exact_address_hides_other_spellings_and_none_shows_them(layout: Layout) -> None:
    commit(layout, Partition("toy", "00000"), [["https://mill.example/grain", "http://mill.example/grain/"]])
    exact = Pages(layout).find("https://mill.example/grain")
    assert exact.is_exact
    assert [c.url for c in exact.captures] == ["https://mill.example/grain"]
    otherwise = Pages(layout).find("https://www.mill.example/grain#mill")
    assert not otherwise.is_exact
    assert len(otherwise.captures) == 2


def test_an_address_is_found_by_its_redacted_form_and_shown_redacted(layout: Layout) -> None:
    asked = "https://mill.example/?email=jane@mill.example&page=2"
    commit(layout, Partition("toy", "00000"), [[asked]], [["https://mill.example/?email=<REDACTED>&page=2"]])
    found = Pages(layout).find(asked)
    assert len(found.captures) == 2
    assert "jane" not in str(found)


def test_near_addresses_of_the_host_are_offered(layout: Layout) -> None:
    urls: list[str | None] = [f"https://mill.example/{name}/page.html" for name in ("grain", "flour", "bread")]
    commit(layout, Partition("toy", "00000"), [[*urls, "https://elsewhere.example/grian/page.html"]])
    found = Pages(layout).find("https://mill.example/grian/page.html")
    assert not found.captures
    assert found.near[0] == "https://mill.example/grain/page.html"
    assert "https://elsewhere.example/grian/page.html" not in found.near


def test_an_index_of_other_content_is_never_used_and_is_removed(layout: Layout) -> None:
    partition = Partition("toy", "00000")
    commit(layout, partition, [["https://mill.example/old", "https://mill.example/both"]])
    assert Pages(layout).find("https://mill.example/old").captures
    before = set(layout.parts(layout.index_dir(STAGE, partition), ".npy"))
    commit(layout, partition, [["https://mill.example/both", "https://mill.example/new", "https://mill.example/x"]])
    assert not Pages(layout).find("https://mill.example/old").captures
    assert Pages(layout).find("https://mill.example/new").captures
    after = set(layout.parts(layout.index_dir(STAGE, partition), ".npy"))
    assert len(after) == 3
    assert not before & after


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"nothing of the kind"])
def test_a_damaged_index_is_made_again(layout: Layout, damage: bytes) -> None:
    partition = Partition("toy", "00000")
    commit(layout, partition, [[PAGE]])
    assert Pages(layout).find(PAGE).captures
    for path in layout.parts(layout.index_dir(STAGE, partition), ".npy"):
        Path(path).write_bytes(damage)
    assert Pages(layout).find(PAGE).captures


def test_a_home_that_can_not_be_written_is_looked_through_all_the_same(layout: Layout) -> None:
    commit(layout, Partition("toy", "00000"), [[PAGE]])
    Path(layout.join("index")).write_text("a file in the way")
    assert Pages(layout).find(PAGE).captures


def test_places_name_row_groups(layout: Layout) -> None:
    partition = Partition("toy", "00000")
    commit(layout, partition, [[f"https://mill.example/{i}" for i in range(8)]])
    index = page_index(layout, STAGE, partition, layout.require_report(STAGE, partition))
    keys = hashed(spellings_as_one(pa.array(["https://mill.example/6"])))
    (place,) = index.places("urls", keys.tolist())
    assert place.group == 1
    ((_, table),) = rows_at(layout, [place], ["url"])
    assert "https://mill.example/6" in table.column("url").to_pylist()
    assert index.places("urls", []) == []


def test_what_a_doc_id_is() -> None:
    assert is_doc_id("0123abcd")
    assert not is_doc_id("0123")
    assert not is_doc_id("0123ABCD")
    assert not is_doc_id("feed.example")


def test_without_documents_the_way_out_is_said(layout: Layout) -> None:
    with pytest.raises(MissingDataError, match="--through extracted_documents"):
        Pages(layout).find(PAGE)
    with pytest.raises(MissingDataError, match="of corpus nowhere"):
        Pages(layout, "nowhere").find(PAGE)


def test_a_damaged_part_is_one_line(layout: Layout) -> None:
    partition = Partition("toy", "00000")
    commit(layout, partition, [[PAGE]])
    (path,) = layout.parts(layout.partition_dir(STAGE, partition))
    Path(path).write_bytes(b"PAR1 no more PAR1")
    with pytest.raises(MissingDataError, match="can't be read"):
        Pages(layout).find(PAGE)


def test_files_put_there_by_hand_are_told_apart_by_size_and_time(layout: Layout) -> None:
    partition = Partition("toy", "00000")
    commit(layout, partition, [[PAGE]])
    path = posixpath.join(layout.partition_dir(STAGE, partition), "report.json")
    report = json.loads(Path(path).read_text())
    layout.write_json(path, {name: value for name, value in report.items() if not name.endswith("files")})
    assert Pages(layout).find(PAGE).captures
