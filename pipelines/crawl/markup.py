"""From HTML to main text with resiliparse, guarded against pages that are made to cost hours."""

import re
from dataclasses import dataclass
from typing import Any, cast

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from pipelines.crawl.head import Head, read_head
from pipelines.crawl.optout import OptOutSettings

MAIN_CONTENT, ALL_TEXT = "resiliparse main content", "resiliparse all text"

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


@dataclass(frozen=True)
class MarkupSettings(OptOutSettings):
    """How a page is read."""

    max_depth: int = 1000
    """Nested elements; Blink builds no deeper tree than 512. resiliparse takes time with the square of the depth:
    0.07 s at 2,000, 9 s at 20,000."""
    max_attributes: int = 2000
    """Of one tag; parsing takes time with the square of it: 0.01 s at 2,000, 0.8 s at 20,000."""
    is_main_content: bool = True
    """Leave navigation, headers, footers and side bars out; otherwise all visible text."""
    is_falling_back: bool = True
    """Take all visible text where no main content is found (27 of 10,397 development pages, among them one of
    52,000 characters); the quality rules know what to do with what is left."""
    has_comments: bool = False
    """Take comment sections for main content."""


@dataclass(frozen=True)
class Page:
    """What a page says."""

    text: str
    extractor: str  # which way the text was found
    head: Head


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


def parse_page(html: str, url: str | None, settings: MarkupSettings) -> Page:
    """Parse `html` and take its text: images' alternative texts, links and forms left out.

    Raises:
        ValueError: the parser gave up.
    """
    tree = cast(Any, HTMLTree.parse(html))
    text, extractor = "", ALL_TEXT
    if settings.is_main_content:
        text, extractor = _plain_text(tree, settings, is_main_content=True), MAIN_CONTENT
    if not settings.is_main_content or (not text and settings.is_falling_back):
        text, extractor = _plain_text(tree, settings, is_main_content=False), ALL_TEXT
    return Page(text, extractor, read_head(tree, html, url, settings.opt_out_agents))


def _plain_text(tree: Any, settings: MarkupSettings, *, is_main_content: bool) -> str:
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
        comments=settings.has_comments,
    )
    return normalise(text)


def normalise(text: str) -> str:
    """Text with a paragraph to a line: no blank lines, no white space at line ends, no control characters.

    The line rules of FineWeb and Gopher were tuned on text of that form, which is what trafilatura writes.
    """
    lines = _CONTROL.sub("", _LINE_END.sub("\n", text)).split("\n")
    # Time in proportion to the text whatever it holds; `\s*\n\s*` takes the square of a run of spaces.
    return "\n".join(line for line in (line.strip() for line in lines) if line)
