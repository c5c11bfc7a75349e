"""From HTML to main text with resiliparse, guarded against pages that are made to cost hours."""

import re
from dataclasses import dataclass
from itertools import accumulate
from operator import sub
from typing import Any, cast

from resiliparse.parse.html import HTMLTree

from pipelines.crawl.head import Head, read_head
from pipelines.crawl.main_content import MainContentSettings, main_text
from pipelines.crawl.optout import OptOutSettings

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
# In lower case, which is quick: `<BR>` seems to nest, and sends a page written so to the exact look.
_NESTING = re.compile(rf"<(/?)(?!(?:{'|'.join(sorted(_FLAT, key=len))})[\s/>])[A-Za-z]")


@dataclass(frozen=True)
class MarkupSettings(OptOutSettings, MainContentSettings):
    """How a page is read."""

    max_depth: int = 1000
    """Nested elements; Blink builds no deeper tree than 512. resiliparse takes time with the square of the depth:
    0.07 s at 2,000, 9 s at 20,000."""
    max_attributes: int = 2000
    """Of one tag; parsing takes time with the square of it: 0.01 s at 2,000, 0.8 s at 20,000."""


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
    """Measure `html` where it seems to exceed `depth` or `attributes`, and only until it does; else zeros.

    What seems to is told by quick looks that take quoted values for markup. A page may be made to slip through them,
    and then costs what one page may cost (`Settings.max_cpu_seconds`).
    """
    if not _seems_deep(html, depth) and not _seems_wide(html, attributes):
        return Shape(0, 0)
    open_, deepest, widest = 0, 0, 0
    for match in _TAG.finditer(html):
        inside = match[3]
        widest = max(widest, _attributes(inside, attributes))
        if match[2].lower() not in _FLAT:
            if match[1]:
                open_ = max(open_ - 1, 0)
            elif not inside.endswith("/"):
                open_ += 1
                deepest = max(deepest, open_)
        if deepest > depth or widest > attributes:
            break
    return Shape(deepest, widest)


def _attributes(inside: str, limit: int) -> int:
    """Of a tag; 0 where it is too short to have more than `limit`."""
    return sum(1 for _ in _ATTRIBUTE.finditer(inside)) if len(inside) > 2 * limit else 0


def _seems_deep(html: str, depth: int) -> bool:
    tags = html.count("<")
    if tags <= depth or tags - html.count("</") <= depth:
        return False
    found: list[str] = _NESTING.findall(html)
    if found.count("") <= depth:
        return False
    steps = [-1 if slash else 1 for slash in found]
    # Closing tags without an element to close count for nothing: the depth is what was opened since the lowest point.
    sums = list(accumulate(steps, initial=0))
    return max(map(sub, sums, accumulate(sums, min))) > depth


def _seems_wide(html: str, attributes: int) -> bool:
    """Look for a long stretch without `>`, unless values hold it, which takes a `=` for each."""
    # Time in proportion to the square: ten times as many attributes are read in a second still.
    if html.count("=") > 10 * attributes:
        return True
    at = 0
    while at + attributes <= len(html):  # a stretch of twice as many characters holds one of these windows
        at, begin = at + attributes, at
        if html.find(">", begin, at) >= 0:
            continue
        begin, at = html.rfind(">", 0, begin) + 1, html.find(">", at)
        at = len(html) if at < 0 else at
        if any(_attributes(match[3], attributes) > attributes for match in _TAG.finditer(html, begin, at)):
            return True
    return False


def parse_page(html: str, url: str | None, settings: MarkupSettings) -> Page:
    """Parse `html` and take its text and what its head says.

    Raises:
        ValueError: the parser gave up.
    """
    tree = cast(Any, HTMLTree.parse(html))
    head = read_head(tree, url, settings.opt_out_agents)  # first: looking for the text changes the tree
    return Page(*main_text(tree, html, settings), head)
