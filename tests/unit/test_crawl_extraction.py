"""`extracted_documents`: one tiny record per reason, HTTP encodings, charsets, opt-outs, the guards."""

import gzip
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import brotli
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import CorpusError, SettingsError
from gristmill.core.layout import Layout
from gristmill.core.settings import build, to_plain
from pipelines.crawl.charset import codec_for, decode_html
from pipelines.crawl.corpora import add_corpus, load_corpus
from pipelines.crawl.extraction import REASONS, SCHEMA, Settings, decide, read, score
from pipelines.crawl.http import decode, unchunk
from pipelines.crawl.lines import normalise
from pipelines.crawl.main_content import CAREFUL, FAST
from pipelines.crawl.markup import shape
from pipelines.crawl.optout import opt_out
from pipelines.crawl.rows import RECORD_SCHEMA, Row, document_id
from pipelines.parts import PartTask, run_part
from pipelines.schema import DOCUMENT_SCHEMA

compress = partial(gzip.compress, mtime=0)  # the test ids must be the same in every process

PAGE = b"<html><head><title>A  title</title></head><body><p>One paragraph.</p><p>Another &amp; last.</p></body></html>"
OK = "HTTP/1.1 200 OK"
HTML = {"Content-Type": "text/html"}


def record(
    body: bytes = PAGE,
    status: str = OK,
    headers: Mapping[str, str] = HTML,
    *,
    kind: str = "response",
    url: str = "http://x.org/",
) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = f"{status}\r\n{fields}\r\n".encode() + body
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2020-01-01T00:00:00Z\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(block) + block + b"\r\n\r\n"


def task_for(tmp_path: Path, data: bytes, name: str = "x.warc", **changes: object) -> PartTask:
    layout = Layout(tmp_path / "home")
    source = tmp_path / name
    source.write_bytes(data)
    add_corpus(layout, "c", [str(source)], kind="warc" if name.endswith("warc") else "jsonl")
    plain = to_plain(build(Settings, changes, "test"))
    for folder in ("output", "quarantine", "signals"):
        (tmp_path / "attempt" / folder).mkdir(parents=True)
    folder = str(tmp_path / "attempt")
    return PartTask("extracted_documents", layout.root, "c", "00000", str(source), "part-00000.parquet", folder, plain)


def fate(tmp_path: Path, data: bytes, **changes: object) -> str:
    """The reason that a file of one record is rejected for, or `kept`."""
    result = run_part(task_for(tmp_path, data, **changes))
    assert result.rows_in == 1 == result.rows_kept + sum(result.rejected.values())
    return next(iter(result.rejected), "kept")


NOAI = {**HTML, "X-Robots-Tag": "noai, noimageai"}
TINY: dict[str, bytes] = {
    "kept": record(),
    "revisit": record(kind="revisit"),
    "status": record(status="HTTP/1.1 404 Not Found"),
    "not_html": record(headers={"Content-Type": "image/png"}),
    "opted_out": record(headers=NOAI),
    "empty": record(b"<html><body><img src=a.png></body></html>"),
    "broken_attributes": record(b"<p " + b"a=1 " * 3000 + b">text"),
    "broken_chunking": record(b"5\r\nhello\r\nzz\r\n", headers={**HTML, "Transfer-Encoding": "chunked"}),
    "broken_content_encoding": record(compress(PAGE * 9)[:-30], headers={**HTML, "Content-Encoding": "gzip"}),
    "broken_gzip": compress(record())[:-6] + b"abcdef",
    "broken_http_status": record(status="HTTPX/1.1 200 OK"),
    "broken_oversized": record(b"x" * 3000),
    "broken_record_header": record().replace(b"Content-Length", b"X-Length"),
    "broken_target_uri": record(url="nonsense"),
    "broken_too_deep": record(b"<div>" * 1500 + b"text"),
    "broken_truncated": record()[:-50],
}


@pytest.mark.parametrize("reason", TINY)
def test_one_tiny_record_per_reason(tmp_path: Path, reason: str) -> None:
    limit = 2000 if reason == "broken_oversized" else 1 << 20
    assert fate(tmp_path, TINY[reason], max_body_bytes=limit) == reason


@pytest.mark.parametrize(
    ("line", "reason"), [(b"{", "broken_json"), (b'{"text": 1}', "broken_no_text"), (b'{"text": " "}', "empty")]
)
def test_reasons_of_document_files(tmp_path: Path, line: bytes, reason: str) -> None:
    result = run_part(task_for(tmp_path, line + b"\n", "x.jsonl"))
    assert dict(result.rejected) == {reason: 1}


def test_every_reason_is_explained() -> None:
    assert set(TINY) - {"kept"} <= set(REASONS)
    assert all(line and "\n" not in line for line in REASONS.values())


def score_rows(rows: list[Row], options: Settings | None = None) -> list[dict[str, object]]:
    plain = [
        {
            **{f"_{n}": getattr(r, n) for n in ("body", "title", "is_text", "is_revisit", "robots", "tdm", "broken")},
            **{n: getattr(r, n) for n in ("url", "http_status", "content_type", "charset")},
            "doc_id": document_id("c", "f", r.offset),
            "body_bytes": None if r.body is None else len(r.body),
        }
        for r in rows
    ]
    options = options or Settings()
    scored = score(pa.RecordBatch.from_pylist(plain, schema=RECORD_SCHEMA), options)
    verdict = decide(scored, options)
    return [a | b for a, b in zip(scored.to_pylist(), verdict.to_pylist(), strict=True)]


def page(body: bytes, **facts: object) -> dict[str, object]:
    return score_rows([Row(0, body=body, http_status=200, **{"content_type": "text/html", **facts})])[0]  # pyright: ignore


def test_a_document_has_the_columns_that_everybody_relies_on(tmp_path: Path) -> None:
    task = task_for(tmp_path, record() + TINY["status"] + record(url="http://y.org/"))
    run_part(task)
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "attempt" / "output" / "part-00000.parquet")
    assert table.schema.names[: len(DOCUMENT_SCHEMA)] == DOCUMENT_SCHEMA.names
    assert [f.type for f in table.schema][: len(DOCUMENT_SCHEMA)] == DOCUMENT_SCHEMA.types
    row = table.to_pylist()[0]
    assert row["text"] == "One paragraph.\nAnother & last."
    assert (row["title"], row["extractor"], row["charset"], row["html_bytes"]) == (
        *("A title", CAREFUL, "utf-8"),
        len(PAGE),
    )
    assert (row["language"], row["doc_id"]) == (None, document_id("c", "x.warc", 0))
    rejected = pq.read_table(tmp_path / "attempt" / "quarantine" / "part-00000.parquet").to_pylist()
    assert [(r["reason"], r["score"], r["threshold"]) for r in rejected] == [("status", 404.0, 200.0)]


def test_no_rows_at_all(tmp_path: Path) -> None:
    empty = score(pa.RecordBatch.from_pylist([], schema=RECORD_SCHEMA), Settings())
    assert empty.schema == SCHEMA
    assert decide(empty, Settings()).num_rows == 0
    assert run_part(task_for(tmp_path, record(kind="request"))).rows_in == 0


def test_the_page_readers_cpu_time_is_counted(tmp_path: Path) -> None:
    before = time.process_time()
    result = run_part(task_for(tmp_path, record(b"<p>x" * 100_000)))
    assert result.cpu_seconds > time.process_time() - before


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    data = b"".join(TINY.values())
    one, two = run_part(task_for(tmp_path / "a", data)), run_part(task_for(tmp_path / "b", data))
    assert [f["sha256"] for f in one.files] == [f["sha256"] for f in two.files]


def test_a_file_that_left_the_corpus(tmp_path: Path) -> None:
    task = task_for(tmp_path, record())
    gone = PartTask(**{**task.__dict__, "source": "/elsewhere"})
    with pytest.raises(CorpusError, match="not in segment 00000 of corpus c"):
        read(gone, Settings(), Counter())
    assert load_corpus(task.layout, "c").files[0].path == task.source


def test_settings_out_of_range() -> None:
    for name in ("max_body_bytes", "max_depth", "max_attributes"):
        with pytest.raises(SettingsError, match=name):
            build(Settings, {name: 0}, "test")
    with pytest.raises(SettingsError, match="at least one"):
        build(Settings, {"content_types": []}, "test")


# -- HTTP ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["HTTP/1.1 200 OK", "HTTP/1.1 200", "HTTP/1.0 200 ", "HTTP/2 200", "http/1.1 200 ok", "ICY 200 OK"]
)
def test_readable_status_lines(tmp_path: Path, status: str) -> None:
    assert fate(tmp_path, record(status=status)) == "kept"


@pytest.mark.parametrize(
    ("body", "coding", "expected"),
    [
        (compress(PAGE), "gzip", PAGE),
        (compress(PAGE) + b"\0\0", "gzip", PAGE),
        (compress(b"a") + compress(b"b"), "x-gzip", b"ab"),
        (zlib.compress(PAGE), "deflate", PAGE),
        (zlib.compress(PAGE)[2:-4], "deflate", PAGE),
        (brotli.compress(PAGE), "br", PAGE),
        (zstandard.compress(PAGE), "zstd", PAGE),
        (PAGE, "gzip", PAGE),  # the payload was stored decoded, the header left as it was
        (PAGE, "br", PAGE),
        (PAGE, "aws-chunked", PAGE),
        (b"", "gzip", b""),
        (compress(PAGE)[:-12], "gzip", None),
        (brotli.compress(PAGE)[:-9] + b"\0", "br", None),
        (zstandard.compress(PAGE)[:-9], "zstd", None),
        (b"\x00\x01\x02", "gzip", None),
    ],
)
def test_content_encodings(body: bytes, coding: str, expected: bytes | None) -> None:
    assert decode(body, coding, 1 << 20) == expected


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, brotli.compress, zstandard.compress])
def test_decompression_stops_at_the_limit(pack: object) -> None:
    bomb = pack(bytes(50_000_000))  # pyright: ignore
    coding = {gzip.compress: "gzip", zlib.compress: "deflate", brotli.compress: "br"}.get(pack, "zstd")  # pyright: ignore
    out = decode(bomb, coding, 10_000)
    assert out is not None
    assert 10_000 < len(out) <= 2_000_000


def test_a_bomb_is_oversized(tmp_path: Path) -> None:
    bomb = record(compress(bytes(5_000_000)), headers={**HTML, "Content-Encoding": "gzip"})
    assert fate(tmp_path, bomb, max_body_bytes=100_000) == "broken_oversized"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n", b"hello world"),
        (b"5\r\nhello\r\n", b"hello"),  # the last chunk is missing, as often
        (b"5\nhello\n0\n\n", b"hello"),
        (b"0\r\n\r\n", b""),
        (PAGE, PAGE),  # stored decoded
        (b"face\n" + b"f" * 70_000, b"face\n" + b"f" * 70_000),  # not chunked, only looks so
        (b"5\r\nhello\r\n9\r\nworld", None),
        (b"5\r\nhello\r\nnot a size\r\n", None),
        (b"", b""),
    ],
)
def test_chunked_bodies(body: bytes, expected: bytes | None) -> None:
    assert unchunk(body) == expected


def test_what_the_crawler_cut_may_end_early() -> None:
    assert unchunk(b"5\r\nhello\r\n9\r\nworld", is_cut_by_crawler=True) == b"helloworld"
    assert decode(compress(PAGE * 9)[:-12], "gzip", 9999, is_cut_by_crawler=True)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "zstd", "x"]))
@settings(max_examples=200, deadline=None)
def test_any_payload(data: bytes, coding: str) -> None:
    decode(data, coding, 100)
    unchunk(data)
    unchunk(b"5\r\n" + data)


# -- text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "declared", "text", "codec"),
    [
        ("Grüße".encode(), "utf-8", "Grüße", "utf-8"),
        ("Grüße".encode(), None, "Grüße", "utf-8"),
        ("Grüße".encode("cp1252"), "iso-8859-1", "Grüße", "cp1252"),
        ("„x“ €".encode("cp1252"), "ISO-8859-1", "„x“ €", "cp1252"),
        ("Grüße".encode(), "iso-8859-1", "Grüße", "utf-8"),  # declared wrongly, as often
        (b"\xef\xbb\xbf" + "ü".encode(), "iso-8859-1", "ü", "utf-8"),
        (b"\xff\xfe" + "ü".encode("utf-16-le"), None, "ü", "utf-16-le"),
        (b"\xfe\xff" + "ü".encode("utf-16-be"), "utf-8", "ü", "utf-16-be"),
        (
            b"<meta charset=shift_jis>" + "日本語".encode("shift_jis"),
            None,
            "<meta charset=shift_jis>日本語",
            "cp932",
        ),
        (b"<meta charset='utf-16'>\xc3\xbc", None, "<meta charset='utf-16'>ü", "utf-8"),
        ("Привет".encode("koi8-r"), "koi8-r", "Привет", "koi8-r"),
        ("한국어".encode("euc-kr"), "euc-kr", "한국어", "cp949"),
        ("中文".encode("gb18030"), "gb2312", "中文", "gb18030"),
        (b"plain", "no-such-charset", "plain", "utf-8"),
        (b"", None, "", "utf-8"),
    ],
)
def test_charsets(data: bytes, declared: str | None, text: str, codec: str) -> None:
    assert decode_html(data, declared) == (text, codec)


def test_bytes_that_fit_no_charset_are_replaced_not_raised() -> None:
    text, _ = decode_html(b"\xff\xfe\x00\xd8a\x00", None)
    assert text.encode()
    assert codec_for("no-such-charset") is None
    assert codec_for(None) is None


@given(
    st.binary(max_size=400),
    st.one_of(
        st.none(),
        st.sampled_from(["utf-8", "utf-16", "iso-2022-jp", "gbk", "utf-7", "x-user-defined", "big5"]),
        st.text(),
    ),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_decode_to_valid_text(data: bytes, declared: str | None) -> None:
    for prefix in (b"", b"<meta charset=euc-jp>", b"\xff\xfe"):
        text, codec = decode_html(prefix + data, declared)
        assert text.encode("utf-8") is not None
        assert codec


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_page_becomes_valid_text(text: str) -> None:
    row = page(("<p>" + text).encode("utf-8", "surrogatepass"))
    out = str(row["text"] or "")
    assert not any(ord(c) < 32 and c not in "\n\t" for c in out)
    assert out == out.strip()
    assert "\n\n" not in out


def test_normalise() -> None:
    assert normalise(" a\r\n\r\n\x00b \u00a0\n\n\n\tc\x85d\ud800e ") == "a\nb\nc\nde"


def test_navigation_is_left_out_and_a_page_of_nothing_else_falls_back() -> None:
    nav = b"<nav><a href=/>Home</a><a href=/x>Away</a></nav>"
    row = page(b"<body>" + nav + b"<main><p>" + b"A sentence of the story. " * 20 + b"</p></main></body>")
    assert "Home" not in str(row["text"])
    assert row["extractor"] == FAST


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"<p>fine", True),
        (b"%PDF-1.4 not html", False),
        (b"\x89PNG\r\n\x1a\n", False),
    ],
)
def test_a_declared_type_is_checked_against_the_first_bytes(body: bytes, kept: bool) -> None:
    assert (page(body)["reason"] is None) == kept


def test_a_page_without_a_type_is_looked_at() -> None:
    assert page(PAGE, content_type=None)["reason"] is None
    assert page(b"\x89PNG\r\n\x1a\n" + bytes(100), content_type=None)["reason"] == "not_html"


@pytest.mark.parametrize(
    ("head", "facts", "detail"),
    [
        (b"<meta name=robots content='noai'>", {}, "meta tag robots: noai"),
        (b"<META NAME='CCBot' CONTENT='index, NOAI'>", {}, "meta tag robots: noai"),
        (b"<meta name=tdm-reservation content=1>", {}, "meta tag tdm-reservation: 1"),
        (b"", {"tdm": "1"}, "HTTP header tdm-reservation: 1"),
        (b"", {"robots": "otherbot: noai"}, "HTTP header robots: noai"),
        (b"<meta name=robots content='noindex, noimageai'>", {}, None),
        (b"<meta name=tdm-reservation content=0>", {"tdm": "0", "robots": "all"}, None),
        (b"<meta name=description content='noai robots'>", {}, None),
    ],
)
def test_opt_outs(head: bytes, facts: dict[str, str], detail: str | None) -> None:
    row = page(b"<html><head>" + head + b"</head><body><p>Some text.</body>", **facts)
    assert (row["reason"], row["detail"]) == (("opted_out", detail) if detail else (None, None))


def test_opt_outs_can_be_switched() -> None:
    off = Settings(is_honouring_opt_out=False, is_honouring_tdm_reservation=False)
    assert opt_out("noai, noindex", "1", off) is None
    assert opt_out("noindex", None, Settings(is_honouring_noindex=True)) == "robots: noindex"


@pytest.mark.parametrize(
    ("html", "is_too_much"),
    [
        ("<div>" * 100_000, True),
        ("<b><i>" * 50_000, True),
        ("<p " + " ".join(f"a{i}" for i in range(100_000)) + ">", True),
        ("<p " + " ".join(f"a{i}='>'" for i in range(100_000)) + ">", True),
        ("</b>" * 5000 + "<b>" * 1500, True),
        ("<i>" * 900 + "</i>" * 800 + "<i>" * 950, True),
        ("<p " + "a " * 3000, True),
        ("<div>x</div>" * 50_000, False),
        ("<BR>x" * 50_000, False),
        ("<p>x<li>y<td>z" * 20_000, False),
        ("<a href=x>'" * 20_000, False),
        ("<img src='data:image/png;base64," + "A=" * 50_000 + "'>", False),
        ("<" * 100_000, False),
        ("", False),
    ],
)
def test_pages_that_would_take_hours_are_seen_before_they_are_parsed(html: str, is_too_much: bool) -> None:
    found = shape(html, 1000, 2000)
    assert (found.depth > 1000 or found.attributes > 2000) == is_too_much
