"""The main text of a page: fast where its running text is plain to see, carefully where it is not, else all of it."""

from dataclasses import dataclass
from typing import Any

from resiliparse.extract.html2text import extract_plain_text

from pipelines.crawl.blocks import Blocks, read_blocks, written_body
from pipelines.crawl.content_root import content_blocks, unmarked_blocks
from pipelines.crawl.lines import normalise
from pipelines.crawl.markers import COMMENT

FAST, CAREFUL, ALL_TEXT = "main content", "unmarked text", "all text"
"""Names of the ways: the box of the running text; all blocks but those marked as no content; all visible text."""


@dataclass(frozen=True)
class MainContentSettings:
    """What of a page's text is taken."""

    is_main_content: bool = True
    """Leave navigation, headers, footers and side bars out; otherwise all visible text."""
    is_falling_back: bool = True
    """Take all visible text where no main content is found; the quality rules know what to do with what is left."""
    has_comments: bool = False
    """Take comment sections for main content; threads of forums, which are nothing else, always are."""
    doubtful_characters: int = 300
    """Fewer of main content, where they are also less than `doubtful_share` of the page, are looked at again. That
    takes 1 page of 100, toys and pages of pictures (thousandths of F1 on scrapinghub's, mozilla's, trafilatura's and
    WCXB's gold: 0, +15, 0, 0); looking again at more pages gained nothing."""
    doubtful_share: float = 0.1
    """Of the page's text outside links."""


def main_text(tree: Any, html: str, settings: MainContentSettings) -> tuple[str, str]:
    """Text of a resiliparse HTML tree, normalised, and the name of the way that found it.

    The tree is changed: scripts, styles, navigation and other elements of the body are gone afterwards. The head is
    left as it was. `html` is the page that the tree was parsed from.
    """
    if not settings.is_main_content:
        return _all_text(tree), ALL_TEXT
    page = read_blocks(written_body(tree))
    if settings.has_comments:
        page.marks = [marks & ~COMMENT for marks in page.marks]
    blocks, way = content_blocks(page), FAST
    if _is_doubtful(page, blocks, settings):
        blocks, way = unmarked_blocks(page), CAREFUL
    text = normalise("\n".join([page.texts[i] for i in blocks]))
    if text or not settings.is_falling_back:
        return text, way
    return _all_text(html), ALL_TEXT


def _is_doubtful(page: Blocks, blocks: list[int], settings: MainContentSettings) -> bool:
    characters = sum(page.sizes[i] - page.links[i] for i in blocks)
    if not characters:
        return True
    all_characters = sum(page.sizes) - sum(page.links)
    return characters < settings.doubtful_characters and characters < settings.doubtful_share * all_characters


def _all_text(page: Any) -> str:
    """All visible text of a tree or of HTML, but for images' alternative texts and form fields."""
    text = extract_plain_text(
        page,
        preserve_formatting=True,
        main_content=False,
        list_bullets=True,
        alt_texts=False,
        links=False,
        form_fields=False,
        noscript=False,
    )
    return normalise(text)
