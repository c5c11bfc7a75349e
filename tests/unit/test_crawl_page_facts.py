"""What a page says of itself: charset, type, title, canonical URL, language, opt-outs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from gristmill.core.settings import scoring_names, to_plain
from pipelines.crawl.charset import decode_html
from pipelines.crawl.extraction import Settings
from pipelines.crawl.head import Head, read_head
from pipelines.crawl.http import fill_from_http, media_type, parse_header
from pipelines.crawl.lines import normalise
from pipelines.crawl.markup import MarkupSettings
from pipelines.crawl.optout import TRAINING_AGENTS, OptOutSettings, opt_out
from pipelines.crawl.pages import open_reader
from pipelines.crawl.prescan import declared_charset, language_tag
from pipelines.crawl.rows import Row

URL = "http://x.org/a/b.html"


def head_of(html: str, url: str | None = URL) -> Head:
    return read_head(HTMLTree.parse(html), url, TRAINING_AGENTS)


@pytest.mark.parametrize(
    ("head", "charset"),
    [
        (b"<meta charset=koi8-r>", "koi8-r"),
        (b"<META  CHARSET = 'koi8-r' >", "koi8-r"),
        (b"<meta/charset=koi8-r/>", "koi8-r/"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">', "koi8-r"),
        (b"<meta content=\"text/html;charset='koi8-r'\" http-equiv=content-type>", "koi8-r"),
        (b"<meta content='text/html; charset = koi8-r'>", None),  # without http-equiv it says nothing
        (b"<meta name=description content='charset=koi8-r'>", None),
        (b"<!-- <meta charset=koi8-r> --><meta charset=big5>", "big5"),
        (b"<!-- <meta charset=koi8-r>", None),
        (b"<!--><meta charset=koi8-r>", "koi8-r"),
        (b"<a title='<meta charset=koi8-r>'><meta charset=big5>", "big5"),
        (b'<a title="> <meta charset=koi8-r>"><meta charset=big5>', "big5"),
        (b"</p class='<meta charset=koi8-r>'><meta charset=big5>", "big5"),
        (b"<!doctype html><?php '<meta charset=koi8-r>' ?><meta charset=big5>", "big5"),
        (b"<metal charset=koi8-r>", None),
        (b"<meta charset=''><meta charset=big5>", "big5"),
        (b"<meta charset=koi8-r charset=big5>", "koi8-r"),
        (b" " * 1024 + b"<meta charset=koi8-r>", None),
        (b"<?xml version='1.0' encoding='koi8-r'?><html>", "koi8-r"),
        (b"<?xml version='1.0' encoding='koi8-r'?><meta charset=big5>", "big5"),
        (b"<meta charset=", None),
        (b"<", None),
        (b"", None),
    ],
)
def test_the_charset_that_a_page_declares(head: bytes, charset: str | None) -> None:
    assert declared_charset(head) == charset


@given(
    st.lists(
        st.sampled_from([b"<", b"meta", b" charset", b"=", b"'", b'"', b">", b"<!--", b"-->", b"/", b"x", b"\xff"])
    )
)
@settings(max_examples=300, deadline=None)
def test_any_beginning_is_prescanned(parts: list[bytes]) -> None:
    declared_charset(b"".join(parts))


def test_prescanning_takes_no_time_whatever_the_page_holds() -> None:
    for unit in (b"<meta ", b"<!-", b"<a x=", b"<meta content='charset' ", b"<!", b"</"):
        declared_charset(unit * 200_000)


JAPANESE, KOREAN, RUSSIAN = (
    "これは①日本語の文章です。",
    "이것은 똠 한국어 문장입니다.",
    "Это предложение на русском языке.",
)
CHINESE, TAIWANESE = "这是一个中文句子。", "這是一個中文句子。"


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        (JAPANESE, "cp932"),
        (JAPANESE.replace("①", ""), "euc-jp"),
        (JAPANESE.replace("①", ""), "iso2022_jp"),
        (KOREAN, "cp949"),
        (CHINESE, "gb18030"),
        (TAIWANESE, "big5hkscs"),
        (RUSSIAN, "koi8-r"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "cp866"),
        ("Größe „Maß“ €", "cp1252"),
        ("Zażółć gęślą jaźń", "cp1250"),
        ("Θέλω να μάθω", "cp1253"),
        ("ภาษาไทย“”", "cp874"),
        ("שלום עולם", "cp1255"),
    ],
)
def test_charsets_as_declared_in_header_or_page(text: str, codec: str) -> None:
    labels = {
        "cp932": "Shift_JIS",
        "cp949": "euc-kr",
        "big5hkscs": "Big5",
        "cp874": "tis-620",
        "iso2022_jp": "iso-2022-jp",
    }
    label = labels.get(codec, codec.replace("cp125", "windows-125").replace("cp866", "ibm866"))
    assert decode_html(text.encode(codec), label)[0] == text
    page = f"<meta charset={label}><p>".encode() + text.encode(codec)
    assert decode_html(page, None)[0].endswith(text)
    assert decode_html(page, "no-such-charset")[0].endswith(text)


def test_utf_16_that_nothing_says() -> None:
    for text in ("<html><p>Some text</p></html>", "<html><p>" + CHINESE):
        for codec in ("utf-16-le", "utf-16-be"):
            assert decode_html(text.encode(codec), "utf-8") == (text, codec)
    assert decode_html(b"a\0b\0\0\0\0plain with some NULs", "utf-8")[1] == "utf-8"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["text/html; charset=UTF-8"], ("text/html", "utf-8")),
        (["Text/HTML;Charset='koi8-r'"], ("text/html", "koi8-r")),
        (["text/html; charset=big5", "text/html"], ("text/html", "big5")),
        (["text/html; charset=big5", "text/plain"], ("text/plain", None)),
        (["text/html, application/xhtml+xml;charset=x"], ("application/xhtml+xml", "x")),
        (["text/html; charset=utf-8", "nonsense"], ("text/html", "utf-8")),
        (['text/html; x="a,b"; charset=utf-8'], ("text/html", "utf-8")),
        (["nonsense"], ("nonsense", None)),
        ([""], (None, None)),
        ([], (None, None)),
        (["text/html" + "," * 60_000], ("text/html", None)),
    ],
)
def test_content_types_as_browsers_take_them(values: list[str], expected: tuple[str | None, str | None]) -> None:
    assert media_type(values) == expected


def test_http_headers_as_they_come() -> None:
    first, fields = parse_header(b"HTTP/1.1 200 OK\r\nA: 1\nb : 2\r\n folded\r\nnonsense\r\na:3\r\nC: \xe9\r\n:\r\n")
    assert first == "HTTP/1.1 200 OK"
    assert fields == {"a": ["1", "3"], "b": ["2 folded"], "c": ["é"], "": [""]}
    row = fill_from_http(Row(0), b"HTTP/1.1 200 OK\nContent-Type: text/html\n\nbody\r\n\r\nmore", 60, 1 << 20)
    assert (row.http_status, row.content_type) == (200, "text/html")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"X: " + b"y" * 70_000 + b"\r\n\r\n", "broken_http_header"),
        (b"X: y\r\n" * 20_000 + b"\r\n", "broken_http_header"),
        (b"X: y\r\n" * 5_000 + b"\r\n", None),
        (b"", None),
        (b"X: y", None),
    ],
)
def test_http_headers_without_end(header: bytes, reason: str | None) -> None:
    message = b"HTTP/1.1 200 OK\r\n" + header + b"<p>text</p>" * 10
    assert fill_from_http(Row(0), message, len(message), 1 << 20).broken == reason


@pytest.mark.parametrize(
    ("html", "url", "canonical"),
    [
        ("<link rel=canonical href=http://y.org/c>", URL, "http://y.org/c"),
        ("<link rel='nofollow Canonical' href='../c?x=1'>", URL, "http://x.org/c?x=1"),
        ("<base href=/d/><link rel=canonical href=c>", URL, "http://x.org/d/c"),
        ("<base href=https://z.org/d/><link rel=canonical href=c>", None, "https://z.org/d/c"),
        ("<link rel=canonical href=//y.org/c>", "https://x.org/", "https://y.org/c"),
        ("<link rel=canonical href='a b'>", URL, "http://x.org/a/a%20b"),
        ("<link rel=canonical href=''>", URL, None),
        ("<link rel=canonical>", URL, None),
        ("<link rel=canonical href=c>", None, None),
        ("<link rel=canonical href=javascript:x>", URL, None),
        ("<link rel=canonical href=http://[bad>", URL, None),
        ("<link rel=canonical-x href=/c>", URL, None),
        ("<body><p>x<link rel=canonical href=/c>", URL, None),  # anyone's comment could name it there
        ("<link rel=canonical href=/first><link rel=canonical href=/second>", URL, "http://x.org/first"),
    ],
)
def test_canonical_urls(html: str, url: str | None, canonical: str | None) -> None:
    assert head_of(f"<head>{html}", url).canonical_url == canonical


@pytest.mark.parametrize(
    ("raw", "tag"),
    [
        ("en", "en"),
        ("EN_us", "en-US"),
        (" de-DE ", "de-DE"),
        ("zh-hant-TW", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("sr-latn", "sr-Latn"),
        ("de-DE-u-co-phonebk", "de-DE-u-co-phonebk"),
        ("english", "english"),
        ("de, en", None),
        ("{{lang}}", None),
        ("x", None),
        ("e n", None),
        ("abcd", None),
        ("en-", None),
        ("", None),
        (None, None),
    ],
)
def test_language_tags(raw: str | None, tag: str | None) -> None:
    assert language_tag(raw) == tag


@pytest.mark.parametrize(
    ("html", "language"),
    [
        ("<html lang=de><p>x", "de"),
        ("<!-- x --><!doctype html><HTML LANG='pt-br'><p>x", "pt-BR"),
        ("<html xml:lang=fr><p>x", "fr"),
        ("<html lang=''><meta http-equiv=Content-Language content=it><p>x", "it"),
        ("<html><meta http-equiv=content-language content='it, en'><p>x", None),
        ("<p lang=de>x", None),
    ],
)
def test_the_language_that_a_page_declares(html: str, language: str | None) -> None:
    assert head_of(html).language == language


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<title> A\n\tB \x00\x01&#xD800; c </title>", "A B \ufffd c"),
        ("<title></title>", None),
        ("<p>x", None),
        ("<title>" + "x" * 9999 + "</title>", "x" * 500),
    ],
)
def test_titles(html: str, title: str | None) -> None:
    assert (head_of(html).title or "").replace(" \ufffd \ufffd", " \ufffd") == (title or "")


ALL_ON = OptOutSettings(is_honouring_noindex=True)


@pytest.mark.parametrize(
    ("robots", "by_default", "with_noindex"),
    [
        ("noai", "noai", "noai"),
        ("index, NoAI ,follow", "noai", "noai"),
        ("noai noimageai", "noai", "noai"),
        ('"noai"', "noai", "noai"),
        ("noai;noimageai", "noai", "noai"),
        ("noimageai", None, None),
        ("gptbot: noai", "noai", "noai"),
        ("SomeBot : noai", "noai", "noai"),
        ("googlebot: noindex", None, None),
        ("googlebot: noindex; noindex", None, "noindex"),
        ("googlebot: noindex, nofollow; ccbot: none", None, "none"),
        ("CCBot: noindex", None, "noindex"),
        ("*: noindex", None, "noindex"),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST, noindex", None, "noindex"),
        ("max-snippet:20, none", None, "none"),
        ("noaix, xnoai, no-ai", None, None),
        ("all", None, None),
        ("", None, None),
    ],
)
def test_robots_directives(robots: str, by_default: str | None, with_noindex: str | None) -> None:
    for options, expected in ((OptOutSettings(), by_default), (ALL_ON, with_noindex)):
        assert opt_out(robots, None, options) == (f"robots: {expected}" if expected else None)


@pytest.mark.parametrize(
    ("tdm", "counts"),
    [
        ("1", True),
        (" 1 ", True),
        ('"1"', True),
        ("0, 1", True),
        ("0", False),
        ("11", False),
        ("true", False),
        ("", False),
    ],
)
def test_tdm_reservation(tdm: str, counts: bool) -> None:
    assert opt_out(None, tdm, OptOutSettings()) == ("tdm-reservation: 1" if counts else None)
    found = opt_out(None, tdm, OptOutSettings(), "https://x.org/p.json")
    assert found == ("tdm-reservation: 1, policy https://x.org/p.json" if counts else None)


def test_opt_outs_of_http_headers_in_any_case_and_number() -> None:
    header = b"x-ROBOTS-tag: googlebot: nofollow\r\nX-Robots-Tag: NOAI\r\ntdm-RESERVATION: 1\r\nTDM-Policy: https://x.org/p\r\n"
    row = fill_from_http(Row(0), b"HTTP/1.1 200 OK\r\n" + header + b"\r\n", 200, 1 << 20)
    assert (row.robots, row.tdm, row.tdm_policy) == ("googlebot: nofollow; NOAI", "1", "https://x.org/p")
    assert opt_out(row.robots, None, OptOutSettings()) == "robots: noai"


@pytest.mark.parametrize(
    ("html", "detail"),
    [
        ("<meta name=Robots content='index, NoAI'>", "robots: noai"),
        ("<meta name=GPTBot content=noai>", "robots: noai"),
        ("<meta property=robots content=noai>", "robots: noai"),
        ("<meta http-equiv=X-Robots-Tag content=noai>", "robots: noai"),
        ("<meta name=robots content=all><meta name=robots content=noai>", "robots: noai"),
        ("<meta name=TDM-Reservation content=' 1'><meta name=tdm-POLICY content=/p>", "tdm-reservation: 1, policy /p"),
        ("<body><meta name=robots content=noai>", "robots: noai"),
        ("<meta name=description content=noai>", None),
        ("<meta name=googlebot content=noindex>", None),
        ("<!-- <meta name=robots content=noai> -->", None),
    ],
)
def test_opt_outs_of_meta_tags(html: str, detail: str | None) -> None:
    head = head_of(html)
    assert opt_out(head.robots, head.tdm, OptOutSettings(), head.tdm_policy) == detail


def test_a_head_of_endless_meta_tags_is_read_in_part() -> None:
    padding = "<meta name=x content=y>" * 5000
    assert head_of("<meta name=robots content=noai>" + padding).robots == "noai"
    assert head_of(padding + "<meta name=robots content=noai>").robots is None
    assert head_of("<!--" + "x" * 100_000 + "--><meta name=robots content=noai>").robots == "noai"


def test_no_setting_can_be_decided_again_from_signals() -> None:
    assert not scoring_names(Settings)


def test_normalising_takes_time_in_proportion_to_the_text() -> None:
    assert normalise("a" + " " * 4_000_000 + "b" + "\u00a0" * 4_000_000) == "a" + " " * 4_000_000 + "b"
    assert normalise("\n \t" * 1_000_000) == ""


@given(st.binary(max_size=200), st.one_of(st.none(), st.text(max_size=20)))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read(body: bytes, charset: str | None) -> None:
    read = open_reader(to_plain(MarkupSettings()))
    for before in (b"", b"<html lang=\xff><title>", b"<link rel=canonical href=", b"<meta name=robots content="):
        facts, text = read({"url": URL, "charset": charset}, before + body)
        assert text.decode() is not None
        assert all(isinstance(v, str | float | None) and (not isinstance(v, str) or v.encode()) for v in facts.values())
