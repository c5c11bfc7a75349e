"""From HTML to main text with resiliparse, guarded against pages that are made to cost hours."""

import re
from dataclasses import dataclass
from typing import Any, cast

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

# Tags as the HTML standard's tokenizer reads them: a quote counts only where a value begins.
_ATTRIBUTE_SOURCE = r"""[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+|(?=>)))?+"""
_ATTRIBUTE = re.compile(_ATTRIBUTE_SOURCE)
_TAG = re.compile(rf"<(/?)([A-Za-z][^\s/>]*+)((?:[\s/]++|{_ATTRIBUTE_SOURCE})*+)")
# Elements that hold nothing, and those that the parser closes by itself when the next one begins.
# fmt: off
_FLAT = frozenset([
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr", "frame", "p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot",
    "colgroup", "html", "head", "body", "a", "script", "style", "rp", "rt",
])
# fmt: on
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff\ufeff]")
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_BLANK_LINES = re.compile(r"[ \t\u00a0]*\n\s*")


@dataclass(frozen=True)
class Page:
    """What a page says."""

    text: str
    is_whole: bool  # all visible text rather than the main content
    title: str | None
    robots: str | None  # contents of meta tags for robots, joined by commas
    tdm: str | None  # content of the meta tag tdm-reservation


@dataclass(frozen=True)
class Shape:
    """What decides how long a page takes to parse."""

    depth: int  # of nested elements, roughly: open tags less closing tags
    attributes: int  # of the widest tag


def shape(html: str, depth: int, attributes: int) -> Shape:
    """Measure `html` where it could exceed `depth` or `attributes`, and only until it does; else zeros."""
    is_maybe_deep = html.count("<") > depth
    # So many attributes make a long stretch without `>`, unless values hold it, which takes a `=` for each.
    is_maybe_wide = max(map(len, html.split(">"))) > 2 * attributes or html.count("=") > attributes
    if not is_maybe_deep and not is_maybe_wide:
        return Shape(0, 0)
    open_, deepest, widest = 0, 0, 0
    for match in _TAG.finditer(html):
        inside = match[3]
        if len(inside) > 2 * attributes:
            widest = max(widest, sum(1 for _ in _ATTRIBUTE.finditer(inside)))
        if match[2].lower() not in _FLAT:
            if match[1]:
                open_ = max(open_ - 1, 0)
            elif not inside.endswith("/"):
                open_ += 1
                deepest = max(deepest, open_)
        if deepest > depth or widest > attributes:
            break
    return Shape(deepest, widest)


def parse_page(html: str, *, is_main_content: bool, is_falling_back: bool, has_comments: bool) -> Page:
    """Parse `html` and take its text: images' alternative texts, links and forms left out.

    Raises:
        ValueError: the parser gave up.
    """
    tree = cast(Any, HTMLTree.parse(html))
    text = _plain_text(tree, is_main_content=is_main_content, has_comments=has_comments)
    is_whole = not is_main_content or (not text and is_falling_back)
    if not text and is_whole and is_main_content:
        text = _plain_text(tree, is_main_content=False, has_comments=has_comments)
    head = html[: 1 << 16].lower()
    return Page(
        text=text,
        is_whole=is_whole,
        title=normalise(str(tree.title or "")).replace("\n", " ")[:500] or None,
        robots=_meta(tree, ("robots", "ccbot")) if "robots" in head or "ccbot" in head else None,
        tdm=_meta(tree, ("tdm-reservation",)) if "tdm-reservation" in head else None,
    )


def _plain_text(tree: Any, *, is_main_content: bool, has_comments: bool) -> str:
    # On 130 hand-made main contents (mozilla/readability; 4-word shingles, macro F1): .932 like this, .929
    # without bullets, .907 with alternative texts.
    text = extract_plain_text(
        tree,
        preserve_formatting=True,
        main_content=is_main_content,
        list_bullets=True,
        alt_texts=False,
        links=False,
        form_fields=False,
        noscript=False,
        comments=has_comments,
    )
    return normalise(text)


def _meta(tree: Any, names: tuple[str, ...]) -> str | None:
    contents = [
        str(tag.getattr("content") or "")
        for tag in tree.document.get_elements_by_tag_name("meta")
        if str(tag.getattr("name") or "").strip().lower() in names
    ]
    return ", ".join(contents)[:1000] or None


def normalise(text: str) -> str:
    """Text with a paragraph to a line: no blank lines, no white space at line ends, no control characters.

    The line rules of FineWeb and Gopher were tuned on text of that form, which is what trafilatura writes.
    """
    text = _CONTROL.sub("", _LINE_END.sub("\n", text))
    return _BLANK_LINES.sub("\n", text).strip()
