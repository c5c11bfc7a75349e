"""Damaged archives: one row per unreadable record, every neighbour read, offsets that lead back."""

import gzip
import http.server
import random
import threading
import zlib
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.crawl.corpora import CrawlFile
from pipelines.crawl.kinds import Kind
from pipelines.crawl.records import document_id, read_records
from pipelines.crawl.rows import clean_url, host_of, parse_time

LIMIT = 20_000


def record(index: int, *, kind: str = "response", content: bytes | None = None, extra: str = "") -> bytes:
    """One WARC record; its page of 1,500 random letters does not compress away."""
    letters = random.Random(index).choices(b"abcdefghijklmnopqrstuvwxyz ", k=1500)
    page = b"<html><p>page %d %s</p></html>" % (index, bytes(letters))
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page if content is None else content
    header = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://x.org/{index}\r\nWARC-Date: 2020-01-02T03:04:05Z\r\n"
        f"{extra}Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return header.encode() + block + b"\r\n\r\n"


def rows_of(path: Path, data: bytes, kind: Kind = "warc") -> list[dict[str, object]]:
    path.write_bytes(data)
    file = CrawlFile(path.name, str(path), "00000", len(data), kind, "")
    batches = list(read_records("c", file, LIMIT, Counter()))
    assert batches
    return [row for batch in batches for row in batch.to_pylist()]


def fates(rows: list[dict[str, object]]) -> list[str]:
    """The path of each readable page, the reason of each that is not."""
    return [str(r["_broken"] or str(r["url"]).removeprefix("http://x.org/")) for r in rows]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.warc"


FORMS = {"gzip": gzip.compress, "zstd": zstd, "plain": bytes}


@pytest.mark.parametrize("form", FORMS)
def test_whole_files(path: Path, form: str) -> None:
    parts = [FORMS[form](record(i)) for i in range(5)]
    rows = rows_of(path, b"".join(parts))
    assert fates(rows) == ["0", "1", "2", "3", "4"]
    assert [r["warc_offset"] for r in rows] == [sum(map(len, parts[:i])) for i in range(5)]
    assert rows[0]["doc_id"] == document_id("c", "x.warc", 0)
    assert len({r["doc_id"] for r in rows}) == 5
    assert str(rows[0]["fetched_at"]) == "2020-01-02 03:04:05+00:00"
    assert (rows[0]["host"], rows[0]["http_status"], rows[0]["content_type"]) == ("x.org", 200, "text/html")


@pytest.mark.parametrize("form", ["gzip", "plain"])
def test_offsets_lead_back_to_the_record(path: Path, form: str) -> None:
    data = b"".join(FORMS[form](record(i)) for i in range(5))
    for row in rows_of(path, data):
        offset = row["warc_offset"]
        assert isinstance(offset, int)
        again = rows_of(path, data[offset:])[0]
        assert (again["url"], again["_body"]) == (row["url"], row["_body"])


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_records_that_share_a_member_have_its_offset_and_their_number(path: Path, form: str) -> None:
    first, second = (FORMS[form](b"".join(record(i) for i in numbers)) for numbers in (range(4), range(4, 6)))
    rows = rows_of(path, first + second)
    assert fates(rows) == ["0", "1", "2", "3", "4", "5"]
    places = [(r["warc_offset"], r["warc_record"]) for r in rows]
    assert places == [(0, 0), (0, 1), (0, 2), (0, 3), (len(first), 0), (len(first), 1)]
    assert len({r["doc_id"] for r in rows}) == 6


def test_members_cut_anywhere_are_one_stream(path: Path) -> None:
    plain = b"".join(record(i) for i in range(6))
    members = b"".join(gzip.compress(plain[i : i + 1000]) for i in range(0, len(plain), 1000))
    assert fates(rows_of(path, members)) == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("flip in the middle", ["0", "broken_gzip", "2", "3"]),
        ("flip in the checksum", ["0", "broken_gzip", "2", "3"]),
        ("magic gone", ["0", "broken_gzip", "2", "3"]),
        ("cut short", ["0", "broken_gzip", "2", "3"]),
        ("empty member", ["0", "2", "3"]),
        ("garbage instead", ["0", "broken_gzip", "2", "3"]),
        ("zeros instead", ["0", "2", "3"]),
        ("content too short", ["0", "broken_truncated", "2", "3"]),
        ("not a record", ["0", "broken_record_header", "2", "3"]),
        ("no length", ["0", "broken_record_header", "2", "3"]),
        ("no end of header", ["0", "broken_truncated", "2", "3"]),
    ],
)
def test_a_damaged_member_costs_itself(path: Path, damage: str, expected: list[str]) -> None:
    members = [bytearray(gzip.compress(record(i))) for i in range(4)]
    victim = members[1]
    match damage:
        case "flip in the middle":
            victim[500] ^= 0xFF
        case "flip in the checksum":
            victim[-6] ^= 0xFF
        case "magic gone":
            victim[0] = 0
        case "cut short":
            del victim[600:]
        case "empty member":
            victim[:] = gzip.compress(b"")
        case "garbage instead":
            victim[:] = b"garbage"
        case "zeros instead":
            victim[:] = bytes(100_000)
        case "content too short":
            victim[:] = gzip.compress(record(1)[:-700])
        case "not a record":
            victim[:] = gzip.compress(b"WARC/1.0\nno record at all, only a line that looks like one\n\n")
        case "no length":
            victim[:] = gzip.compress(record(1).replace(b"Content-Length", b"X-Length"))
        case _:
            victim[:] = gzip.compress(record(1)[:60])
    assert fates(rows_of(path, b"".join(members))) == expected


def test_a_broken_row_still_names_its_url(path: Path) -> None:
    members = [bytearray(gzip.compress(record(i))) for i in range(2)]
    members[0][-6] ^= 0xFF
    row = rows_of(path, b"".join(members))[0]
    assert (row["_broken"], row["url"]) == ("broken_gzip", "http://x.org/0")


def test_damage_in_a_zstd_file(path: Path) -> None:
    frames = [bytearray(zstd(record(i))) for i in range(3)]
    frames[1][300] ^= 0xFF
    assert fates(rows_of(path, b"".join(frames))) == ["0", "broken_zstd", "2"]


@pytest.mark.parametrize(
    ("victim", "expected"),
    [
        (record(1)[:-700], ["0", "broken_truncated", "2"]),
        (record(1).replace(b"Content-Length: 1", b"Content-Length: 999999991"), ["0", "broken_truncated", "2"]),
        (record(1).replace(b"Content-Length: 1", b"Content-Length: -1"), ["0", "broken_record_header", "2"]),
        (b"something else that is no record at all\r\n", ["0", "broken_record_header", "2"]),
        (b"WARC/1.0\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", ["0", "broken_record_header", "2"]),
        (b"tiny\r\n", ["0", "2"]),  # too few bytes to have been a record
        (record(1).replace(b"\r\n", b"\n"), ["0", "broken_truncated", "2"]),  # shorter than its header says
        (record(1).replace(b"\r\n", b"\r\r\n", 7), ["0", "1", "2"]),
    ],
)
def test_an_uncompressed_record_never_swallows_its_neighbour(path: Path, victim: bytes, expected: list[str]) -> None:
    assert fates(rows_of(path, record(0) + victim + record(2))) == expected


def test_a_file_that_ends_early(path: Path) -> None:
    assert fates(rows_of(path, (record(0) + record(1))[:-900])) == ["0", "broken_truncated"]
    data = gzip.compress(record(0)) + gzip.compress(record(1))
    assert fates(rows_of(path, data[:-400])) == ["0", "broken_truncated"]


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 50, b"<html>no archive at all, but a page</html>", b"\x1f\x8b", b"WARC/1.0"]
)
@pytest.mark.parametrize("kind", ["warc", "arc", "jsonl", "parquet", "text", "wet"])
def test_a_file_that_is_not_what_it_says(path: Path, data: bytes, kind: Kind) -> None:
    rows = rows_of(path, data, kind)
    assert len(rows) <= 1
    assert kind == "text" or all(str(r["_broken"]).startswith("broken_") for r in rows)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_random_damage_never_raises_and_spares_the_neighbours(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("warc") / "x.warc"
    form = data.draw(st.sampled_from(sorted(FORMS)))
    parts = [bytearray(FORMS[form](record(i))) for i in range(5)]
    victim = data.draw(st.integers(0, 4))
    part = parts[victim]
    start = data.draw(st.integers(0, len(part) - 1))
    end = data.draw(st.integers(start, min(len(part), start + 600)))
    part[start:end] = data.draw(st.binary(max_size=300))
    found = fates(rows_of(path, b"".join(parts)))
    expected = {str(i) for i in range(5)} - {str(victim)}
    assert expected <= set(found)
    assert len(found) <= 12


@given(st.binary(max_size=2000), st.sampled_from(["warc", "arc", "jsonl", "parquet", "text"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bytes_at_all(tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: Kind, is_packed: bool) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    rows_of(path, gzip.compress(data) if is_packed else data, kind)


def test_only_pages_are_rows_and_the_others_are_counted(path: Path) -> None:
    data = b"".join(
        [
            *(record(i, kind=kind) for i, kind in enumerate(("warcinfo", "request", "metadata", "gossip"))),
            record(4, kind="revisit", extra="WARC-Refers-To-Target-URI: http://x.org/0\r\n"),
            record(5, kind="resource"),
            record(6, kind="conversion").replace(b"application/http; msgtype=response", b"text/plain"),
            record(7).replace(b"application/http; msgtype=response", b"text/dns"),
            record(8, extra="WARC-Truncated: length\r\n"),
        ]
    )
    path.write_bytes(data)
    tally: Counter[str] = Counter()
    file = CrawlFile("x", str(path), "00000", len(data), "warc", "")
    rows = [r for b in read_records("c", file, LIMIT, tally) for r in b.to_pylist()]
    assert [(str(r["url"])[-1], r["_is_revisit"], r["_is_text"]) for r in rows] == [
        *(("4", True, False), ("5", False, False), ("6", False, True), ("8", False, False))
    ]
    assert tally == Counter(
        record_warcinfo=1, record_request=1, record_metadata=1, record_unknown=1, record_revisit=1, record_resource=1,
        record_conversion=1, record_response_without_http=1, record_response=1, cut_by_crawler=1,
    )  # fmt: skip


def test_target_uris_and_dates(path: Path) -> None:
    good = record(1).replace(b"http://x.org/1", b"<http://X.org/a b>").replace(b"2020-01-02", b"yesterday-")
    bad = record(2).replace(b"http://x.org/2", b"nonsense")
    missing = record(3).replace(b"WARC-Target-URI", b"X-Target-URI")
    rows = rows_of(path, good + bad + missing)
    assert [r["_broken"] for r in rows] == [None, "broken_target_uri", "broken_target_uri"]
    assert (rows[0]["url"], rows[0]["host"], rows[0]["fetched_at"]) == ("http://X.org/a%20b", "x.org", None)


def test_oversized_payloads_are_never_held(path: Path) -> None:
    big = record(1, content=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + b"x" * 300_000)
    for data in (record(0) + big + record(2), gzip.compress(record(0)) + gzip.compress(big) + gzip.compress(record(2))):
        rows = rows_of(path, data)
        assert fates(rows) == ["0", "broken_oversized", "2"]
        assert (rows[1]["_threshold"], rows[1]["_body"]) == (LIMIT, None)


def test_batches_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.crawl.records.BATCH_BYTES", 3000)
    path.write_bytes(b"".join(record(i) for i in range(10)))
    file = CrawlFile("x", str(path), "00000", 0, "warc", "")
    sizes = [b.num_rows for b in read_records("c", file, LIMIT, Counter())]
    assert sum(sizes) == 10
    assert max(sizes) == 2


def test_arc_files(path: Path) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>Hello"
    head = b"filedesc://x.arc 0.0.0.0 20080430204825 text/plain 21\n1 0 X\nURL IP-address\n"
    v1 = b"http://x.org/a b 1.2.3.4 20080430204826 text/html %d\n" % len(page) + page + b"\n"
    v2 = b"http://x.org/2 1.2.3.4 20080430204826 text/html 200 - - 0 x.arc %d\n" % len(page) + page + b"\n"
    cut = b"http://x.org/cut 1.2.3.4 null text/html 9000\n" + page + b"\n"
    dns = b"dns:x.org 1.2.3.4 20080430204826 text/dns 4\nabcd\n"
    for data in (head + dns + v1 + cut + v2, b"".join(map(gzip.compress, (head, dns, v1, cut, v2)))):
        assert fates(rows_of(path, data, "arc")) == ["a%20b", "broken_truncated", "2"]


def test_jsonl(path: Path) -> None:
    lines = [
        b'{"text": "one", "url": "http://x.org/1", "date": "2020-01-01T00:00:00Z", "title": "T"}',
        b'{"content": "two", "metadata": {"url": "http://x.org/2"}}',
        b'{"text": "lone \\ud800 surrogate"}',
        b"{broken",
        b"[1]",
        b'{"text": 5}',
        b"",
        b"[" * 5000,
        b'{"text": "' + b"x" * 100_000 + b'"}',
        b'{"text": "last"}',
    ]
    data = b"\n".join(lines)
    for content in (data, gzip.compress(data[:50]) + gzip.compress(data[50:])):
        rows = rows_of(path, content, "jsonl")
        assert [r["_broken"] for r in rows] == [
            *(None, None, None, "broken_json", "broken_json", "broken_no_text"),
            *("broken_json", "broken_oversized", None),
        ]
        assert [r["warc_offset"] for r in rows[:2]] == [0, len(lines[0]) + 1]
        assert (rows[0]["url"], rows[0]["_title"], rows[1]["url"]) == ("http://x.org/1", "T", "http://x.org/2")
        assert rows[2]["_body"] == b"lone ? surrogate"


def test_jsonl_that_ends_early(path: Path) -> None:
    packed = gzip.compress(b"".join(b'{"text": "%d"}\n' % i for i in range(2000)))
    rows = rows_of(path, packed[:-500], "jsonl")
    assert rows[-1]["_broken"] == "broken_truncated"
    assert [r["_body"] for r in rows[:3]] == [b"0", b"1", b"2"]
    assert all(r["_broken"] is None for r in rows[:-1])


def test_parquet_and_text(path: Path) -> None:
    pq.write_table(pa.table({"text": ["one", None], "url": ["http://x.org/1", "http://x.org/2"]}), path)
    rows = rows_of(path, path.read_bytes(), "parquet")
    assert [(r["_broken"], r["_body"]) for r in rows] == [(None, b"one"), ("broken_no_text", None)]
    assert fates(rows_of(path, b"PAR1 broken", "parquet")) == ["broken_parquet"]
    assert rows_of(path, gzip.compress(b"some text"), "text")[0]["_body"] == b"some text"
    assert fates(rows_of(path, gzip.compress(b"some text")[:-4], "text")) == ["broken_truncated"]
    assert fates(rows_of(path, zlib.compress(b"") + bytes(50_000), "text")) == ["broken_oversized"]


@pytest.mark.parametrize(
    ("raw", "url"),
    [
        ("http://x.org/", "http://x.org/"),
        ("<http://x.org/>", "http://x.org/"),
        (" http://x.org/a b\t", "http://x.org/a%20b"),
        ("http://x.org/ü", "http://x.org/ü"),
        ("urn:isbn:1", "urn:isbn:1"),
        ("file:///a b", "file:///a%20b"),
        ("http://", None),
        ("http://[::1", None),
        ("x.org", None),
        ("", None),
        (None, None),
        ("http://x.org/" + "a" * 70_000, None),
    ],
)
def test_clean_url(raw: str | None, url: str | None) -> None:
    assert clean_url(raw) == url


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_url_and_time(text: str) -> None:
    for candidate in (text, "http://" + text):
        url = clean_url(candidate)
        if url is not None:
            assert url.encode()
            host_of(url)
    parse_time(text)
    parse_time("2020-01-01T" + text)


class _NoRanges(http.server.BaseHTTPRequestHandler):
    content = b"".join(gzip.compress(record(i)) for i in range(3))

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_file_on_a_server_that_sends_whole_files_only() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NoRanges) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/x.warc.gz"
            file = CrawlFile("x.warc.gz", url, "00000", 0, "warc", "")
            rows = [r for b in read_records("c", file, LIMIT, Counter()) for r in b.to_pylist()]
        finally:
            server.shutdown()
            thread.join()
    assert fates(rows) == ["0", "1", "2"]


@pytest.mark.parametrize("cut", range(40, 160, 7))
def test_a_cut_gzip_member_is_one_row_and_never_a_page(path: Path, cut: int) -> None:
    """Inflate may run on into the next member up to the record's full length; the checksum tells."""
    members = [gzip.compress(record(i)) for i in range(3)]
    path.write_bytes(members[0] + members[1][:cut] + members[2])
    found = rows_of(path, path.read_bytes())
    assert [bool(row["_broken"]) for row in found] == [False, True, False]


def test_a_gzip_file_that_begins_as_another_format_is_read_on(path: Path) -> None:
    members = [bytearray(gzip.compress(record(i))) for i in range(3)]
    members[0][:4] = b"\x28\xb5\x2f\xfd"
    found = rows_of(path, b"".join(members))
    assert {str(row["url"])[-1] for row in found} >= {"1", "2"}
