"""What a pattern may be, which documents it means, and the file that holds them."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout
from pipelines.crawl.urls import host_of
from pipelines.takedowns import Takedowns, file, load, parse
from pipelines.takedowns.file import TakedownError
from pipelines.takedowns.patterns import normal_url

ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("written", "kind", "pattern"),
    [
        ("Example.ORG.", "host", "example.org"),
        ("example.org:443", "host", "example.org"),
        ("Bücher.example", "host", "xn--bcher-kva.example"),
        ("192.0.2.7", "host", "192.0.2.7"),
        ("https://Example.org:443/a/./b/../%7euser#top", "url", "example.org/a/~user"),
        ("http://example.org", "url", "example.org/"),
        ("http://example.org:8080/x", "url", "example.org:8080/x"),
        ("http://me:secret@example.org/x?b=2&a=1", "url", "example.org/x?b=2&a=1"),
        ("example.org/private/*", "url", "example.org/private/*"),
        ("https://bücher.example/é", "url", "xn--bcher-kva.example/%C3%A9"),
        ("http://[2001:DB8::1]:80/x", "url", "[2001:db8::1]/x"),
        ("ftp://example.org/x", "url", "ftp://example.org/x"),
        (ID.upper(), "doc_id", ID),
    ],
)
def test_patterns_have_one_form(written: str, kind: str, pattern: str) -> None:
    found = parse(written)
    assert (found.kind, found.pattern) == (kind, pattern)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "empty"),
        ("*", "without `\\*`"),
        ("com", "public suffix"),
        ("co.uk", "public suffix"),
        ("github.io", "public suffix"),
        ("*.example.org", "write it without"),
        ("https://example.org*", "the host must be whole"),
        ("https://*", "the host must be whole"),
        ("https:///x", "no address"),
        ("https://example.org/a*b", "at the end alone"),
        ("example.org:8080", "has no port"),
        ("me@example.org", "no host"),
        ("exa mple.org", "no host"),
        ("10.0.0", "whole IP address"),
        ("x" * 10_000, "longer than"),
        ("example.org\nevil", "control characters"),
    ],
)
def test_what_is_no_pattern_or_means_too_much_is_refused(written: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        parse(written)


def test_a_public_suffix_can_be_meant() -> None:
    assert parse("github.io", is_broad=True).pattern == "github.io"


@pytest.mark.parametrize(
    ("pattern", "url", "is_meant"),
    [
        ("example.org", "https://www.example.org/x", True),
        ("example.org", "https://notexample.org/x", False),
        ("example.org", "https://example.org.evil.test/", False),
        ("example.org", "http://EXAMPLE.org.:8080/", True),
        ("xn--bcher-kva.example", "https://bücher.example/", True),
        ("192.0.2.7", "http://1.192.0.2.7/", False),
        ("https://example.org/page", "http://example.org/page#part", True),
        ("https://example.org/page", "https://example.org/page?x=1", False),
        ("https://example.org/page", "https://www.example.org/page", False),
        ("https://example.org/private/*", "https://example.org/private/a/b?c", True),
        ("https://example.org/private/*", "https://example.org/x/../private/a", True),
        ("https://example.org/private/*", "https://example.org/privateer", False),
        ("https://example.org/?id=*", "https://example.org/?id=7", True),
        ("https://example.org/a%2Ab", "https://example.org/a*b", True),
        ("https://example.org:8443/*", "https://example.org/x", False),
    ],
)
def test_what_a_pattern_means(pattern: str, url: str, is_meant: bool) -> None:
    takedowns = Takedowns([parse(pattern)])
    assert (takedowns.matching("", url) is not None) == is_meant
    assert rows(takedowns, [("", url)]) == [0 if is_meant else -1]


def rows(takedowns: Takedowns, pages: list[tuple[str, str | None]]) -> list[int]:
    hosts = [host_of(url) if url else None for _, url in pages]
    columns = {"doc_id": [doc_id for doc_id, _ in pages], "url": [url for _, url in pages], "host": hosts}
    schema = pa.schema([(name, pa.string()) for name in columns])
    return takedowns.matches(pa.table(columns, schema=schema)).tolist()


def test_the_first_pattern_of_the_file_is_the_one_named() -> None:
    patterns = [parse(p) for p in ("https://example.org/a/*", "example.org", ID)]
    for order in (patterns, patterns[::-1]):
        takedowns = Takedowns(order)
        assert takedowns.matching(ID, "https://example.org/a/b") is order[0]
        assert rows(takedowns, [(ID, "https://example.org/a/b"), (ID, None), ("", None)]) == [
            0,
            order.index(patterns[2]),
            -1,
        ]


HOSTS = st.sampled_from(["a.example", "b.a.example", "c.example", "a.example.test"])
PATHS = st.text(alphabet="ab/.%2Ee*?", max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(HOSTS, PATHS, st.sampled_from(["host", "url", "beginning"])), max_size=8), HOSTS, PATHS)
def test_rows_and_single_documents_are_judged_alike(given_: list[tuple[str, str, str]], host: str, path: str) -> None:
    patterns = [
        parse(h if kind == "host" else f"https://{h}/{p.replace('*', '')}{'*' if kind == 'beginning' else ''}")
        for h, p, kind in given_
    ]
    takedowns = Takedowns(patterns)
    url = f"http://{host}/{path}"
    found = takedowns.matching("x", url)
    [number] = rows(takedowns, [("x", url)])
    assert (None if number < 0 else takedowns.patterns[number]) is found
    normal = normal_url(url) or ""
    meant = [
        p
        for p in patterns
        if (p.kind == "host" and (host == p.pattern or host.endswith(f".{p.pattern}")))
        or (p.kind == "url" and (normal.startswith(p.pattern[:-1]) if p.is_prefix else normal == p.pattern))
    ]
    assert found is (meant[0] if meant else None)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_an_address_in_normal_form_stays_as_it_is(path: str) -> None:
    normal = normal_url(f"https://example.org/{path}")
    if normal is not None:
        assert normal_url(f"https://{normal}") == normal


def test_adding_and_removing_leave_the_rest_as_it_was(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    path = tmp_path / "takedowns.yaml"
    path.write_text("# ours\n- one.example   # by hand\n\n- pattern: two.example\n  note: 'it''s: odd'\n")
    assert file.add(layout, parse("https://three.example/a?b=c#d", note='She said "no": #1\nand more'))
    assert not file.add(layout, parse("Two.example.")), "it is there"
    assert [p.pattern for p in load(layout).patterns] == ["one.example", "two.example", "three.example/a?b=c"]
    assert load(layout).patterns[2].note == 'She said "no": #1 and more'
    assert path.read_text().startswith("# ours\n- one.example   # by hand\n\n- pattern: two.example\n")
    assert file.remove(layout, "two.example").note == "it's: odd"
    assert path.read_text().startswith("# ours\n- one.example   # by hand\n\n- pattern: ")
    with pytest.raises(TakedownError, match=r"no pattern two\.example"):
        file.remove(layout, "two.example")
    for pattern in ("one.example", "http://three.example/a?b=c"):
        file.remove(layout, pattern)
    assert not load(layout)


def test_a_file_in_another_style_is_written_anew(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (tmp_path / "takedowns.yaml").write_text('[{pattern: one.example, note: n}, "two.example"]\n')
    assert file.add(layout, parse("three.example"))
    assert [p.pattern for p in load(layout).patterns] == ["one.example", "two.example", "three.example"]
    assert file.remove(layout, "two.example")
    assert [(p.pattern, p.note) for p in load(layout).patterns] == [("one.example", "n"), ("three.example", "")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- one.example\n- pattern: com\n", "line 2: pattern com is a public suffix"),
        ("- one.example\n- note: why\n", "line 2: the entry has no `pattern`"),
        ("- pattern: one.example\n  patern: x\n", "line 2: 'patern' is no field"),
        ("- pattern: a.example\n  pattern: b.example\n", "line 2: 'pattern' is given twice"),
        ("- pattern: [a.example]\n", "line 1: 'pattern' must be text"),
        ("- one.example\n- [x]\n", "line 2: an entry must be"),
        ("one.example\n", "line 1: the file must be a list"),
        ("patterns:\n- x\n", "line 1: the file must be a list"),
        ("- a.example\n---\n- b.example\n", "line 2: a second YAML document"),
        ("- 'a.example\n", "not valid YAML"),
        ("- a.example\n  - b: : c\n\t", "line"),
        ("- pattern: a.example\n  kind: site\n", "line 1: .*kind 'site' is unknown"),
        ("- pattern: a.example\n  broad: maybe\n", "line 1: broad is"),
        ("- pattern: ''\n", "line 1: a pattern is empty"),
        ("- &a x.example\n- *a\n", "line 2: an entry must be"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line_with_its_number(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "takedowns.yaml").write_text(text)
    with pytest.raises(TakedownError, match=why) as raised:
        load(Layout(tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [b"\xff\xfe- x", b"- \xc3\x28\n"], ids=["utf-16", "not-utf-8"])
def test_a_file_that_is_no_utf_8(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "takedowns.yaml").write_bytes(data)
    with pytest.raises(TakedownError, match="no UTF-8"):
        load(Layout(tmp_path))


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]\n", "---\n", "- a.example\n---\n"], ids=range(5))
def test_files_of_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "takedowns.yaml").write_text(text)
    if "a.example" in text:
        with pytest.raises(TakedownError):
            load(Layout(tmp_path))
    else:
        assert not load(Layout(tmp_path))


def test_notes_and_times_do_not_change_what_is_taken_down() -> None:
    one, other = (Takedowns([parse("a.example", note=n, added_at=n)]) for n in ("x", "y"))
    assert one.version == other.version != Takedowns().version
