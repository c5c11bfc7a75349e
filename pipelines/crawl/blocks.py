"""A page as a list of text blocks and the boxes that hold them, read in one pass over the parser's own HTML.

A walk over the DOM from Python costs about 2.5 µs a node; the parser writes its tree as HTML in compiled code, and one
regular expression splits that in a tenth of the time: what it writes is well-formed, however broken the page was.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from pipelines.crawl.markers import TAG_MARKS, marks_of

# Gone before the tree is written: the parser writes the inside of the first ones unescaped; the last are controls.
_SILENT = (
    "script, style, iframe, noembed, noframes, xmp, plaintext, svg, math annotation, template, head, title, textarea, "
    "select, datalist, button, dialog, object, audio, video, canvas, map"
)
_AROUND = ("nav", "footer")
MAX_AROUND = 2000
"""Characters of a navigation or a footer that is not read at all (a quarter of the boxes of news pages); longer ones
may hold a page whose author misunderstood them, and are read and marked."""
# What the parser writes: comments, which read as inline elements, and tags with what follows up to the next one.
_TOKEN = re.compile(r'<(?:!--.*?--|(/?[^\s>]+)([^>"]*+(?:"[^"]*"[^>"]*+)*+))>([^<]*)', re.DOTALL)
# Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese: scripts that write no spaces, and say more by the character.
_DENSE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")

BOX, BOX_END, CELL, CELL_END, BREAK, LINK, LINK_END, RULE = range(1, 9)
_BOXES = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "legend",
    "li",
    "main",
    "menu",
    "nav",
    "noscript",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "tr",
    "ul",
    "caption",
    "listing",
    "dir",
]
_KIND = {"td": CELL, "th": CELL, "/td": CELL_END, "/th": CELL_END, "br": BREAK, "a": LINK, "/a": LINK_END, "hr": RULE}
_MAX_ATTRIBUTES = 1000  # characters of a tag that are looked at, and kept for the next such tag
_MAX_ROW = 8  # pieces of text; cells after more of them begin a line of their own: the table is layout
_KIND.update((tag, BOX) for tag in _BOXES)
_KIND.update(("/" + tag, BOX_END) for tag in _BOXES)

# Boxes whose names say nothing, or no more than those around them (+3, 0, 0, +1, and a third of the time).
_UNMARKED = frozenset(
    ["tr", "tbody", "thead", "dd", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "body", "summary"]
)


@dataclass(slots=True)
class Blocks:
    """Blocks in document order, and boxes (block-level elements), each with the range of blocks inside it."""

    texts: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # characters; those of dense scripts count several times
    links: list[int] = field(default_factory=list)  # of them inside links
    boxes: list[int] = field(default_factory=list)  # innermost box of each block
    tags: list[str] = field(default_factory=list)  # of boxes, from here on, in document order
    parents: list[int] = field(default_factory=list)  # the box around; -1 for the outermost
    starts: list[int] = field(default_factory=list)  # first block
    ends: list[int] = field(default_factory=list)  # the block after the last
    marks: list[int] = field(default_factory=list)  # see `pipelines.crawl.markers`


def written_body(tree: Any) -> str:
    """The body of a resiliparse tree as HTML without scripts, styles and other silent elements.

    The tree is changed: these elements are no longer in it afterwards.
    """
    body = tree.body
    if body is None:
        return ""
    for element in body.query_selector_all(", ".join((_SILENT, *_AROUND))).values():
        if element.tag not in _AROUND or len(element.text) <= MAX_AROUND:
            element.remove()  # not decompose(): that frees what lies inside too, and some of it comes next
    return body.html


def read_blocks(html: str) -> Blocks:  # noqa: PLR0912, PLR0915 - one loop, the hottest of the crawl
    """Split the HTML of a body that `written_body` wrote."""
    page = Blocks()
    texts, sizes, links, boxes = page.texts, page.sizes, page.links, page.boxes
    tags, parents, starts, ends, marks = page.tags, page.parents, page.starts, page.ends, page.marks
    kinds, known_marks, tag_marks = _KIND, marks_of, TAG_MARKS
    parts: list[str] = []
    linked, is_link, pre, box = 0, False, 0, -1
    prefix = ""

    def flush() -> None:
        nonlocal linked, prefix
        text = "".join(parts)
        parts.clear()
        if not pre:
            text = " ".join(text.split())
        elif text.isspace():
            text = ""
        if text:
            if "&" in text:
                text = (
                    text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()
                )
            size = len(text)
            if not text.isascii():
                size += 2 * len(_DENSE.findall(text))
                linked = linked * size // len(text)
            texts.append(prefix + text if prefix else text)
            sizes.append(size)
            links.append(min(linked, size))
            boxes.append(box)
            prefix = ""
        linked = 0

    for name, attributes, text in _TOKEN.findall(html):
        kind = kinds.get(name)
        if kind is None:
            pass
        elif kind == LINK:
            is_link = "href=" in attributes and 'href="javascript:' not in attributes  # nor is an anchor, nor a button
        elif kind == LINK_END:
            is_link = False
        elif kind == BOX:
            if parts:
                flush()
            if name == "li":
                prefix = "• "
            elif name == "pre":
                pre += 1
                prefix = ""
            elif name in {"ul", "ol"}:
                prefix = ""
            tags.append(name)
            parents.append(box)
            starts.append(len(texts))
            ends.append(-1)
            marks.append(
                known_marks(name, attributes[:_MAX_ATTRIBUTES])
                if attributes and name not in _UNMARKED
                else tag_marks.get(name, 0)
            )
            box = len(tags) - 1
        elif kind == BOX_END:
            if parts:
                flush()
            if name == "/pre":
                pre -= 1
            elif name == "/li":
                prefix = ""
            ends[box] = len(texts)
            box = parents[box]
        elif kind == CELL:
            if len(parts) > _MAX_ROW:
                flush()
            tags.append(name)
            parents.append(box)
            starts.append(len(texts))
            ends.append(-1)
            marks.append(0)
            box = len(tags) - 1
        elif kind == CELL_END:
            ends[box] = len(texts) + (1 if parts else 0)
            box = parents[box]
            if parts:
                parts.append(" ")
        elif kind == BREAK:
            if pre:
                parts.append("\n")
            elif parts:
                flush()
        elif parts:
            flush()
        if text and (pre or not text.isspace()):
            if is_link:
                linked += len(text)
            parts.append(text)
        elif text and parts:
            parts.append(" ")
    if parts:
        flush()
    return page
