"""Gold sets for extraction: pages with the text that a perfect extractor would give.

    python -m benchmarks.gold [--shared DIR] --out debdocs.jsonl.gz

Three sources: the pages of mozilla/readability with their hand-made main content; pages of documentation packages
whose generator's markup names the main content (made here, from the development data; no page is kept in the
repository); and any JSONL file of {"id", "html", "text"}.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.crawl.charset import decode_html

SHARED = Path(os.environ.get("GRISTMILL_SHARED", Path(__file__).resolve().parents[2] / "shared"))
PAGES_PER_FAMILY = 48
MIN_CHARACTERS = 400  # shorter pages are indexes and stubs, where nobody can say what the main content is
MAX_HTML_BYTES = 500_000  # a few manuals are one page; they would be most of the time and none of the score

# fmt: off
_INLINE = frozenset([
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i",
    "ins", "kbd", "label", "mark", "nobr", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike",
    "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
])
# fmt: on
_SILENT = "script, style, noscript, template, head, nav, button, select, form, svg, iframe"
_SPACE = re.compile(r"[\s\u00a0]+")
_LINES = re.compile(r"\s*\n\s*")


@dataclass(frozen=True)
class GoldPage:
    """A page and its gold text; `family` is the generator that made it or the set that it comes from."""

    id: str
    html: str
    text: str
    family: str = ""


@dataclass(frozen=True)
class Family:
    """A documentation generator: how its pages are told, where its markup puts the main content, what is not of it."""

    name: str
    is_it: re.Pattern[str]
    main: str  # CSS selector; all elements that match it and lie in no other match are the main content
    without: str = ""  # CSS selector of navigation inside it


# The selectors say what the generator's own templates call content; tables of contents are navigation.
FAMILIES = (
    Family(
        "django-sphinx",
        re.compile(r'<div id="yui-main">'),
        "#yui-main > .yui-b",
        "a.headerlink, .contents, .viewcode-link",
    ),
    Family(
        "sphinx",
        re.compile(r'<div class="body" role="main">'),
        'div[role="main"]',
        "a.headerlink, .viewcode-link, nav.contents, div.contents.topic, .toctree-wrapper",
    ),
    Family("asciidoc", re.compile(r'name="generator" content="AsciiDoc'), "#header, #content", "#toc, #footer"),
    Family(
        "apache",
        re.compile(r'<div id="page-content">'),
        "#page-content",
        ".toplang, .bottomlang, #quickview, .top, .lang-toggle, a.permalink",
    ),
    Family(
        "publican",
        re.compile(r'name="generator" content="publican'),
        "body > div.section, body > div.chapter, body > div.appendix, body > div.preface",
        ".toc, .docnav, .indexterm",
    ),
    Family(
        "docbook",
        re.compile(r'content="DocBook XSL'),
        "body > div.sect1, body > div.chapter, body > div.appendix, body > div.preface, body > div.section, "
        "body > div.refentry, body > div.article",
        ".toc, .navheader, .navfooter, .indexterm",
    ),
    Family("libreoffice", re.compile(r'<div id="DisplayArea"'), "#DisplayArea", ".noteicon"),
    Family(
        "sqlite",
        re.compile(r"Small\. Fast\. Reliable\.<br>"),
        "body",
        "div.nosearch:first-child, .menu, .searchmenu, .tagline, #toc_header, #toc, .fancy_toc",
    ),
    Family("drupal", re.compile(r'<div class="content clear-block">'), "div.content.clear-block", ".book-navigation"),
)


def element_text(element: Any, without: str = "") -> str:
    """Text of a resiliparse DOM element, a block to a line; what `without` selects and what never shows is removed."""
    for node in element.query_selector_all(", ".join(filter(None, (_SILENT, without)))):
        if node.parent is not None:
            node.parent.remove_child(node)
    parts: list[str] = []
    _collect(element, parts, is_preformatted=False)
    return _LINES.sub("\n", "".join(parts)).strip()


def _collect(node: Any, parts: list[str], *, is_preformatted: bool) -> None:
    from resiliparse.parse.html import NodeType

    child = node.first_child  # not `child_nodes`, which finds each child from the beginning again
    while child is not None:
        if child.type == NodeType.TEXT:
            parts.append(child.value if is_preformatted else _SPACE.sub(" ", child.value))
        elif child.type == NodeType.ELEMENT:
            border = "" if child.tag in _INLINE else " " if child.tag in ("td", "th") else "\n"
            parts.append(border)
            _collect(child, parts, is_preformatted=is_preformatted or child.tag == "pre")
            parts.append(border)
        child = child.next


def html_text(html: str) -> str:
    """All text of a fragment of HTML."""
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(html)
    return element_text(tree.body) if tree.body is not None else ""


def main_text(html: str) -> tuple[str, str]:
    """Name of the family and gold text of a documentation page; empty where no family's markup is in it."""
    from resiliparse.parse.html import HTMLTree

    family = next((family for family in FAMILIES if family.is_it.search(html)), None)
    if family is None:
        return "", ""
    document: Any = HTMLTree.parse(html).document
    elements = list(document.query_selector_all(family.main))
    return family.name, "\n".join(element_text(element, family.without) for element in elements).strip()


def readability_pages(shared: Path = SHARED) -> Iterator[GoldPage]:
    """The test pages of mozilla/readability; their gold is the text of the hand-made `expected_html`."""
    for row in _rows(shared / "data/extraction/readability.jsonl.gz"):
        yield GoldPage(row["id"], row["html"], html_text(row["expected_html"]), "readability")


def file_pages(path: Path) -> Iterator[GoldPage]:
    """The pages of a JSONL file of {"id", "html", "text"}, gzip or not."""
    for row in _rows(path):
        yield GoldPage(str(row["id"]), row["html"], row["text"], row.get("family") or path.name.partition(".")[0])


def debdocs_pages(shared: Path = SHARED) -> Iterator[GoldPage]:
    """A fixed sample of the documentation pages: PAGES_PER_FAMILY of each generator, its packages in turn.

    Pages come in the order of the hash of their URL, so that neither a file's order nor a clock chooses.
    """
    packages: dict[str, list[tuple[str, bytes, str | None]]] = defaultdict(list)
    for url, body, charset in _responses(shared / "data/crawls/debdocs"):
        if len(body) <= MAX_HTML_BYTES:
            packages[url.split("/")[3]].append((url, body, charset))
    turns: dict[str, list[tuple[int, str, GoldPage]]] = defaultdict(list)
    for package in sorted(packages):
        counts: Counter[str] = Counter()
        for page in _package_pages(packages[package]):
            if counts[page.family] < PAGES_PER_FAMILY:
                turns[page.family].append((counts[page.family], package, page))
                counts[page.family] += 1
            elif counts.total() >= PAGES_PER_FAMILY:
                break
    for family in sorted(turns):
        in_turn = sorted(turns[family], key=lambda turn: turn[:2])
        yield from (page for _, _, page in in_turn[:PAGES_PER_FAMILY])


def _package_pages(responses: list[tuple[str, bytes, str | None]]) -> Iterator[GoldPage]:
    for url, body, charset in sorted(responses, key=lambda response: hashlib.sha256(response[0].encode()).digest()):
        html, _ = decode_html(body, charset)
        family, text = main_text(html)
        if len(text) >= MIN_CHARACTERS:
            yield GoldPage(url, html, text, family)


def _responses(folder: Path) -> Iterator[tuple[str, bytes, str | None]]:
    """URL, body and declared charset of every response of the WARC files in `folder`."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response):
                yield record.headers["WARC-Target-URI"], record.reader.read(), record.http_charset


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    is_gzip = path.suffix == ".gz"
    with gzip.open(path, "rt", encoding="utf-8") if is_gzip else path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write_pages(pages: Iterable[GoldPage], path: Path) -> Counter[str]:
    """Write pages as JSONL (gzip where the name ends so); returns how many there are of each family."""
    counts: Counter[str] = Counter()
    is_gzip = path.suffix == ".gz"
    with gzip.open(path, "wt", encoding="utf-8") if is_gzip else path.open("w", encoding="utf-8") as file:
        for page in pages:
            file.write(json.dumps(asdict(page), ensure_ascii=False) + "\n")
            counts[page.family] += 1
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the development data")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    for family, count in write_pages(debdocs_pages(given.shared), given.out).items():
        print(f"{family:16} {count:>5,} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
