"""A Common Crawl id as a corpus: the listing, the two indexes, and pages read as the whole files would give them."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from common_crawl import CRAWL, Page, SmallCrawl, generated_warcs, make_crawl
from crawl_server import CrawlServer, Fault, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import CorpusError
from gristmill.core.layout import Layout
from pipelines.crawl.cdx_index import blocks_between
from pipelines.crawl.columnar_index import files_between
from pipelines.crawl.commoncrawl import BASE_VARIABLE, CrawlChoice
from pipelines.crawl.corpora import Corpus, add_corpus
from pipelines.crawl.opening import release_downloads
from pipelines.crawl.page_filter import PageFilter, page_filter
from pipelines.crawl.records import read_records
from pipelines.crawl.selection import BUNDLE_PAGES, Bundle

LIMIT = 1 << 26
INDEXES = f"cc-index/collections/{CRAWL}/indexes"
TABLE = f"cc-index/table/cc-main/warc/crawl={CRAWL}/subset=warc"
QUICK = (
    "downloads: {delay_seconds: 0, first_backoff_seconds: 0.02, max_backoff_seconds: 0.1, stall_seconds: 0.5, "
    "attempts: 4}\n"
)


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> SmallCrawl:
    return make_crawl(tmp_path_factory.mktemp("crawl"), generated_warcs(4, 40))


@pytest.fixture
def server(crawl: SmallCrawl, monkeypatch: pytest.MonkeyPatch) -> Iterator[CrawlServer]:
    with serving(crawl.root) as running:
        monkeypatch.setenv(BASE_VARIABLE, running.base)
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Layout:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "settings.yaml").write_text(QUICK)
    return Layout(tmp_path / "home")


def choose(home: Layout, name: str = CRAWL, max_files: int | None = None, **options: Any) -> Corpus:
    return add_corpus(home, name, [CRAWL], choice=CrawlChoice(page_filter(**options), max_files))


def documents(home: Layout, corpus: Corpus) -> list[dict[str, Any]]:
    rows = [
        row
        for file in corpus.files
        for batch in read_records(corpus.name, file, LIMIT, Counter(), home)
        for row in batch.to_pylist()
    ]
    return sorted(rows, key=lambda row: (row["warc_file"], row["warc_offset"]))


def local_documents(crawl: SmallCrawl, name: str = CRAWL) -> dict[tuple[str, int], dict[str, Any]]:
    """What the WARC files hold when they are read whole, from the disk."""
    from pipelines.crawl.corpora import CrawlFile

    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for warc in crawl.warc_files:
        file = CrawlFile(warc, str(crawl.root / warc), "00000", 0, "warc", "")
        for batch in read_records(name, file, LIMIT, Counter()):
            rows |= {(row["warc_file"], row["warc_offset"]): row for row in batch.to_pylist()}
    return rows


def assert_equal_but_segment(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [{**row, "segment": ""} for row in found] == [{**row, "segment": ""} for row in expected]


def test_common_crawls_own_segments_are_kept(server: CrawlServer, crawl: SmallCrawl, home: Layout) -> None:
    corpus = add_corpus(home, CRAWL, [])
    assert corpus.segments == ("00000", "00001")
    assert [f.name for f in corpus.files] == crawl.warc_files
    assert {f.name.split("/")[3] for f in corpus.files_of("00000")} == {"170.0"}
    assert len(add_corpus(home, "other", [CRAWL], segments=4).segments) == 4
    first = add_corpus(home, "first", [CRAWL], choice=CrawlChoice(max_files=1))
    assert [f.name for f in first.files] == crawl.warc_files[:1]


def test_whole_files_come_once_through_every_fault(server: CrawlServer, crawl: SmallCrawl, home: Layout) -> None:
    plan = [Fault(cut_after=700), Fault(status=503), Fault(status=429, headers={"Retry-After": "0"}),
            Fault(status=500), Fault(stall_after=300, stall_seconds=0.8), Fault(cut_after=10)]  # fmt: skip
    corpus = add_corpus(home, CRAWL, [])
    for warc in crawl.warc_files:
        server.faults[warc] = list(plan)
    assert_equal_but_segment(documents(home, corpus), list(local_documents(crawl).values()))
    assert {warc: server.served[warc] for warc in crawl.warc_files} == {
        warc: (crawl.root / warc).stat().st_size for warc in crawl.warc_files
    }
    assert not any(server.faults.values())


FILTERS: dict[str, tuple[dict[str, Any], Callable[[Page, str], bool]]] = {
    "host": ({"hosts": ["example.org"]}, lambda _, host: host in ("example.org", "www.example.org")),
    "host below": ({"hosts": ["*.example.org"]}, lambda _, host: host.endswith("example.org") and host[0] != "n"),
    "two hosts": ({"hosts": ["haus.is", "WWW.example.com"]}, lambda _, host: host in ("haus.is", "example.com")),
    "host beyond the last": ({"hosts": ["zeit.zz"]}, lambda _, host: host == "zeit.zz"),
    "idn": ({"hosts": ["müller.de"]}, lambda _, host: host == "xn--mller-kva.de"),
    "tld": ({"tlds": ["is"]}, lambda _, host: host.endswith(".is")),
    "tlds": ({"tlds": [".DE", "zz"]}, lambda _, host: host.endswith((".de", ".zz"))),
    "language": ({"languages": ["de"]}, lambda page, _: page.language.startswith("deu")),
    "mime": ({"mimes": ["text/plain"]}, lambda page, _: page.mime == "text/plain"),
    "mimes": ({"mimes": ["text/*"]}, lambda page, _: page.mime.startswith("text/")),
    "tld and language": (
        {"tlds": ["org"], "languages": ["eng", "is"]},
        lambda page, host: host.endswith(".org") and page.language in ("eng", "isl"),
    ),
    "host, language and mime": (
        {"hosts": ["*.example.org"], "languages": ["de"], "mimes": ["text/*"]},
        lambda page, host: (
            host.endswith("example.org")
            and host[0] != "n"
            and page.language[:3] == "deu"
            and page.mime.startswith("text/")
        ),
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_chosen_pages_are_what_the_whole_files_hold(
    server: CrawlServer, crawl: SmallCrawl, home: Layout, name: str
) -> None:
    options, passes = FILTERS[name]
    wanted = {(p.warc_file, p.offset) for p in crawl.pages if passes(p, urlsplit(p.url).hostname or "")}
    if "hosts" in options and not str(options["hosts"][0]).startswith("*"):
        wanted -= {(p.warc_file, p.offset) for p in crawl.pages if urlsplit(p.url).port}
    assert wanted
    corpus = choose(home, **options)
    whole = local_documents(crawl)
    assert_equal_but_segment(documents(home, corpus), [whole[key] for key in sorted(wanted)])
    index = "cc-index/table" if "hosts" in options else INDEXES
    assert not [path for path in server.served if path.startswith(index)]  # the other index is not touched


def test_chosen_pages_are_fetched_once_and_near_ones_together(
    server: CrawlServer, crawl: SmallCrawl, home: Layout
) -> None:
    corpus = choose(home, tlds=["is"])
    server.requests.clear()
    first = documents(home, corpus)
    assert sum(server.count(warc) for warc in crawl.warc_files) == len(crawl.warc_files)  # within the gap: one request
    assert documents(home, corpus) == first
    assert sum(server.count(warc) for warc in crawl.warc_files) == len(crawl.warc_files)
    release_downloads(home, corpus.files)
    assert not list(Path(home.downloads_dir(), "files").iterdir())


def test_pages_far_apart_come_alone(server: CrawlServer, crawl: SmallCrawl, home: Layout) -> None:
    Path(home.root, "settings.yaml").write_text("downloads: {delay_seconds: 0, gap_bytes: 0}\n")
    corpus = choose(home, tlds=["zz"])
    documents(home, corpus)
    chosen = [p for p in crawl.pages if p.url.startswith("http://zeit.zz")]
    assert sum(server.served[warc] for warc in crawl.warc_files) == sum(p.length for p in chosen) == corpus.bytes


def test_chosen_pages_survive_faults(server: CrawlServer, crawl: SmallCrawl, home: Layout) -> None:
    server.faults["*"] = [Fault(cut_after=50), Fault(status=503), Fault(cut_after=200), Fault(status=500)] * 4
    corpus = choose(home, hosts=["example.org"])
    assert [row["url"] for row in documents(home, corpus)]
    assert all(row["_broken"] is None for row in documents(home, corpus))


def test_only_files_that_are_needed_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Layout) -> None:
    crawl = make_crawl(tmp_path / "big", generated_warcs(4, 150), index_files=150, block=2)
    with serving(crawl.root) as server:
        monkeypatch.setenv(BASE_VARIABLE, server.base)
        choose(home, "table", tlds=["de"])
        opened = {path for path in server.served if path.startswith(TABLE)}
        holding = sum(1 for i in range(150) if any(p.surt.startswith("de,") for p in crawl.pages[i * 4 : i * 4 + 4]))
        assert len(opened) <= holding + 18  # two binary searches over 150
        assert not [path for path in server.served if "subset=crawldiagnostics" in path]
        choose(home, "cdx", hosts=["haus.is"])
        opened = {path for path in server.served if path.startswith(f"{INDEXES}/cdx-")}
        of_host = {i for i in range(150) if any(p.surt.startswith("is,haus") for p in crawl.pages[i * 4 : i * 4 + 4])}
        assert len(opened) <= len(of_host) + 1


def test_only_columns_that_are_needed_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Layout
) -> None:
    crawl = make_crawl(tmp_path / "big", generated_warcs(2, 1500), index_files=1, block=1000)
    with serving(crawl.root) as server:
        monkeypatch.setenv(BASE_VARIABLE, server.base)
        monkeypatch.setattr("pipelines.crawl.remote._TAIL_BYTES", 8 << 10)
        choose(home, tlds=["zz"])
        (path,) = [path for path in server.served if path.startswith(TABLE)]
        assert server.served[path] < 0.6 * (crawl.root / path).stat().st_size


def test_limits(server: CrawlServer, crawl: SmallCrawl, home: Layout) -> None:
    rows = documents(home, choose(home, "few", limit=7, languages=["en"]))
    assert len(rows) == 7
    rows = documents(home, choose(home, "host", limit=3, hosts=["example.org"]))
    assert len(rows) == 3
    rows = documents(home, choose(home, "files", max_files=2, tlds=["is"]))
    assert {row["warc_file"] for row in rows} == set(crawl.warc_files[:2])
    assert len(documents(home, choose(home, "any", limit=5))) == 5


def test_the_same_choice_again_changes_nothing_and_another_takes_its_place(server: CrawlServer, home: Layout) -> None:
    first = choose(home, "c", hosts=["example.org"])
    assert choose(home, "c", hosts=["www.example.org"]) == first
    with pytest.raises(CorpusError, match="already registered"):
        choose(home, "c", hosts=["haus.is"])
    assert documents(home, first)
    add_corpus(home, "c", [CRAWL], choice=CrawlChoice(page_filter(["haus.is"])), is_replacing=True)
    lists = [path for path in home.parts(home.join("corpora")) if ".pages." in path]
    assert len(lists) == 1
    with pytest.raises(CorpusError, match="list of chosen pages, can't be read"):
        documents(home, first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts": ["nowhere.example"]}, r"no page of CC-MAIN-2024-10 passes the filter \(host nowhere.example\)"),
        ({"tlds": ["com"], "languages": ["fao"]}, "no page of .* passes"),
        ({"hosts": ["a b"]}, "--host 'a b' can't be one: give one such as example.org"),
        ({"hosts": ["a" * 64 + ".org"]}, "no host name"),
        ({"hosts": ["http://example.org/"]}, "can't be one"),
        ({"tlds": ["co.uk"]}, "--tld 'co.uk' can't be one: give one label"),
        ({"languages": ["german"]}, "--language 'german' is no language code"),
        ({"mimes": ["html"]}, "--mime 'html' can't be one"),
        ({"limit": 0}, "--limit 0: give 1 page or more"),
        ({"max_files": 0}, "--limit-files 0: give 1 file or more"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_filters_that_can_not_be(server: CrawlServer, home: Layout, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError, match=message) as caught:
        choose(home, **options)
    assert "\n" not in str(caught.value)
    assert not home.parts(home.join("corpora"), "")


def test_filters_are_for_crawls_only(home: Layout, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="give one in place of a path"):
        add_corpus(home, "c", [str(tmp_path)], choice=CrawlChoice(page_filter(["x.org"])))


def test_an_id_that_does_not_exist(server: CrawlServer, home: Layout) -> None:
    for choice in (None, CrawlChoice(page_filter(["x.org"])), CrawlChoice(page_filter(tlds=["de"]))):
        with pytest.raises(CorpusError, match=r"has no crawl CC-MAIN-2019-01 \(.* answers 404\): check the id"):
            add_corpus(home, "c", ["CC-MAIN-2019-01"], choice=choice)
    assert len(server.requests) == 3  # 404 is an answer: it is not asked again


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"not gzip", "is not a gzip file of paths"),
        (gzip.compress(b"\xff\xfe"), "is not a gzip file of paths"),
        (gzip.compress(b"<html>hello</html>"), r"is no listing of WARC files \(it holds '<html>hello</html>'\)"),
        (gzip.compress(b"crawl-data/../../etc/passwd\n"), "is no listing of WARC files"),
        (gzip.compress(b"crawl-data/X/segments/../warc/x.warc.gz\n"), "is no listing of WARC files"),
        (gzip.compress(b"x" * 1000)[:-30], "is cut short"),
        (gzip.compress(b""), "lists no file"),
    ],
    ids=["text", "binary", "page", "climbing", "dots", "cut", "empty"],
)
def test_garbage_in_place_of_a_listing(server: CrawlServer, home: Layout, body: bytes, message: str) -> None:
    server.faults[f"crawl-data/{CRAWL}/warc.paths.gz"] = [Fault(body=body)]
    with pytest.raises(CorpusError, match=message) as caught:
        add_corpus(home, CRAWL, [])
    assert "\n" not in str(caught.value)


def test_damaged_indexes_are_one_line(server: CrawlServer, crawl: SmallCrawl, home: Layout) -> None:
    for body in (
        b"x\n" * 5,
        b"a\tb\tc\td\n",
        b"org,a)/ 2\t../x\t0\t5\t1\n",
        b"org,a)/ 2\tcdx\t-1\t5\t1\n",
        b"\xff" * 99,
    ):
        server.faults[f"{INDEXES}/cluster.idx"] = [Fault(body=body)]
        with pytest.raises(CorpusError, match=r"cluster.idx of the crawl is damaged|no page"):
            choose(home, hosts=["example.org"])
    server.faults[f"{INDEXES}/cdx-00001.gz"] = server.faults[f"{INDEXES}/cdx-00002.gz"] = [Fault(body=b"\0" * 9999)]
    with pytest.raises(CorpusError, match="is damaged"):
        choose(home, hosts=["example.org"])
    for number in range(4):
        server.faults[f"{TABLE}/part-{number:05d}.gz.parquet"] = [Fault(body=b"PAR1" + b"\0" * 99 + b"PAR1")]
    with pytest.raises(CorpusError, match="is no Parquet file"):
        choose(home, languages=["de"])
    good = (crawl.root / f"{TABLE}/part-00000.gz.parquet").read_bytes()
    bad = good[:4] + bytes(len(good) // 2) + good[4 + len(good) // 2 :]
    server.faults[f"{TABLE}/part-00000.gz.parquet"] = [Fault(body=bad)]
    with pytest.raises(CorpusError, match=r"part-00000.gz.parquet is damaged"):
        choose(home, languages=["de"])
    paths = gzip.compress(b"cc-index/collections/x/indexes/cdx-00000.gz\n")
    for name, options, message in (
        ("cc-index.paths.gz", {"hosts": ["x.org"]}, "lists no cluster.idx"),
        ("cc-index-table.paths.gz", {"tlds": ["de"]}, "lists no columnar index"),
    ):
        server.faults[f"crawl-data/{CRAWL}/{name}"] = [Fault(body=paths)]
        with pytest.raises(CorpusError, match=message):
            choose(home, **options)


def test_a_page_that_is_not_where_the_index_says_is_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Layout
) -> None:
    crawl = make_crawl(tmp_path / "crawl", generated_warcs(1, 30))
    with serving(crawl.root) as server:
        monkeypatch.setenv(BASE_VARIABLE, server.base)
        corpus = choose(home, hosts=["example.org"])
        warc = crawl.root / crawl.warc_files[0]
        first = next(p for p in crawl.pages if p.surt.startswith("org,example)"))
        data = bytearray(warc.read_bytes())
        data[first.offset + 12 : first.offset + 300] = bytes(288)
        warc.write_bytes(bytes(data))
        rows = documents(home, corpus)
    broken = [row for row in rows if row["_broken"]]
    assert [row["warc_offset"] for row in broken] == [first.offset]
    assert len(rows) > 3


def test_a_folder_may_be_a_mirror(crawl: SmallCrawl, home: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BASE_VARIABLE, f"file://{crawl.root}")
    whole = local_documents(crawl)
    assert_equal_but_segment(documents(home, add_corpus(home, CRAWL, [])), list(whole.values()))
    for options in ({"hosts": ["haus.is"]}, {"tlds": ["zz"]}):
        rows = documents(home, choose(home, next(iter(options)), **options))
        assert rows
        assert all(row["_broken"] is None and row["url"] for row in rows)
    with pytest.raises(CorpusError, match=r"can't reach Common Crawl.*No such file"):
        add_corpus(home, "CC-MAIN-2019-01", [])


def test_a_listing_of_90_000_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Layout) -> None:
    lines = [
        f"crawl-data/{CRAWL}/segments/17076{i // 900:08d}.{i // 900}/warc/{CRAWL}-20240220-{i:05d}.warc.gz"
        for i in range(90_000)
    ]
    folder = tmp_path / "crawl-data" / CRAWL
    folder.mkdir(parents=True)
    (folder / "warc.paths.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    monkeypatch.setenv(BASE_VARIABLE, str(tmp_path))
    corpus = add_corpus(home, CRAWL, [])
    assert len(corpus.files) == 90_000
    assert len(corpus.segments) == 100
    assert len(corpus.files_of("00007")) == 900


def test_a_large_choice_is_several_bundles(home: Layout) -> None:
    import pyarrow as pa

    from pipelines.crawl.selection import PAGES_SCHEMA, read_bundle, write_selection

    count = BUNDLE_PAGES * 2 + 10
    rows = [{"warc_file": f"w{i % 3}", "offset": i, "length": 10, "url": None} for i in range(count)]
    files = write_selection(home, "c", "http://x", pa.Table.from_pylist([*rows[::-1], *rows[:5]], PAGES_SCHEMA))
    assert [f.name for f in files] == ["pages-00000", "pages-00001", "pages-00002"]
    assert sum(f.bytes for f in files) == 10 * count
    pages = [page for file in files for page in read_bundle(home, file.path).pages]
    assert len(pages) == count
    (path,) = home.parts(home.join("corpora"))
    assert pq.ParquetFile(path).num_row_groups == 3


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5000), st.integers(1, 400))), st.integers(0, 500))
@settings(max_examples=60, deadline=None)
def test_spans_cover_every_page_once(places: list[tuple[int, int, int]], gap: int) -> None:
    pages = [
        {"warc_file": str(file), "offset": offset, "length": length} for file, offset, length in sorted(set(places))
    ]
    spans = Bundle("b", pages).spans(gap)
    for page in pages:
        assert any(
            s.url == f"b/{page['warc_file']}" and s.begin <= page["offset"] <= page["offset"] + page["length"] <= s.end
            for s in spans
        )
    assert len({(s.url, s.begin) for s in spans}) == len(spans)


KEYS = st.text("abc,)", min_size=1, max_size=5)


@given(st.lists(KEYS, min_size=1, max_size=400), KEYS, KEYS, st.sampled_from([16, 1 << 16]))
@settings(max_examples=80, deadline=None)
def test_blocks_are_found_by_binary_search(keys: list[str], one: str, two: str, window: int) -> None:
    import io

    import pipelines.crawl.cdx_index as cdx

    keys.sort()
    low, high = sorted((one, two))
    blocks = [keys[i : i + 3] for i in range(0, len(keys), 3)]
    cluster = "".join(f"{block[0]} 2024\tcdx\t{i}\t1\t{i}\n" for i, block in enumerate(blocks)).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cdx, "_WINDOW_BYTES", window)
        patch.setattr(cdx, "_PROBE_BYTES", 8)
        found = {block.offset for block in blocks_between(io.BytesIO(cluster), low, high)}
    assert {i for i, block in enumerate(blocks) if any(low <= key < high for key in block)} <= found
    assert len(found) <= len([b for b in blocks if low <= b[0] < high]) + 1


@given(st.lists(KEYS, min_size=1, max_size=60), KEYS, KEYS)
@settings(max_examples=80, deadline=None)
def test_index_files_are_found_by_binary_search(keys: list[str], one: str, two: str) -> None:
    keys.sort()
    low, high = sorted((one, two))
    parts = [keys[i : i + 3] for i in range(0, len(keys), 3)]
    needed = files_between(lambda i: (parts[i][0], parts[i][-1]), len(parts), [(low, high)])
    assert {i for i, part in enumerate(parts) if any(low <= key < high for key in part)} <= set(needed)


def test_index_files_without_order_or_statistics_are_all_opened() -> None:
    assert files_between(lambda _: None, 5, [("a", "b")]) == [0, 1, 2, 3, 4]
    bounds = [("x", "z"), ("a", "b"), ("m", "n"), ("a", "z")]
    assert files_between(lambda i: bounds[i], 4, [("a", "b")]) == [0, 1, 2, 3]


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_host_or_one_clear_line(text: str) -> None:
    try:
        found = page_filter([text])
    except CorpusError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert all(low < high for low, high in found.key_ranges())


def test_a_filter_describes_itself() -> None:
    assert page_filter(["b.org", "a.org"], languages=["de"]).describe() == "host a.org or b.org, language deu"
    assert PageFilter().describe() == "every page"
    assert PageFilter().is_empty
    assert json.dumps(page_filter(tlds=["de"]).key_ranges()) == '[["de,", "de-"]]'


def test_an_interrupted_search_goes_on_behind_the_index_files_that_are_done(
    server: CrawlServer, crawl: SmallCrawl, home: Layout
) -> None:
    server.faults[f"{TABLE}/part-00002.gz.parquet"] = [Fault(status=404)]
    with pytest.raises(CorpusError, match=r"part-00002.gz.parquet answers 404"):
        choose(home, languages=["de"])
    assert not home.parts(home.join("corpora"), "")
    corpus = choose(home, languages=["de"])
    for number in range(4):
        path = f"{TABLE}/part-{number:05d}.gz.parquet"
        assert server.served[path] == (crawl.root / path).stat().st_size  # a small file is its own footer's request
    wanted = [p for p in crawl.pages if p.language.startswith("deu")]
    assert len(documents(home, corpus)) == len(wanted)
    assert not list(Path(home.downloads_dir(), "index").iterdir())
    limited = choose(home, "limited", languages=["de"], limit=len(wanted) - 1)
    assert len(documents(home, limited)) == len(wanted) - 1


def test_hosts_within_the_first_files(server: CrawlServer, crawl: SmallCrawl, home: Layout) -> None:
    rows = documents(home, choose(home, hosts=["example.org"], max_files=1))
    assert {row["warc_file"] for row in rows} == set(crawl.warc_files[:1])


def test_too_many_pages_are_refused(server: CrawlServer, home: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.crawl.commoncrawl.MAX_PAGES", 10)
    for options in ({"hosts": ["*.example.org"]}, {"languages": ["en"]}):
        with pytest.raises(CorpusError, match=r"more than 10 pages of CC-MAIN-2024-10 pass .*: give --limit"):
            choose(home, **options)
    assert len(documents(home, choose(home, languages=["en"], limit=9))) == 9


@pytest.mark.parametrize("base", ["data.example.org", "://data.example.org", "/nowhere/at/all"])
def test_a_base_without_a_scheme_is_one_clear_line(home: Layout, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BASE_VARIABLE, base)
    with pytest.raises(CorpusError, match=f"^{BASE_VARIABLE} is .*neither a URL"):
        choose(home)
