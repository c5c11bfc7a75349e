"""The main text of a page: fast where the page's running text is plain to see, more careful where it is not."""

from dataclasses import dataclass
from typing import Any

from resiliparse.extract.html2text import extract_plain_text

from pipelines.crawl.blocks import read_blocks, written_body
from pipelines.crawl.content_root import content_blocks
from pipelines.crawl.lines import normalise

FAST, CAREFUL, ALL_TEXT = "blocks", "resiliparse main content", "resiliparse all text"


@dataclass(frozen=True)
class MainContentSettings:
    """What of a page's text is taken."""

    is_main_content: bool = True
    """Leave navigation, headers, footers and side bars out; otherwise all visible text."""
    is_falling_back: bool = True
    """Take all visible text where no main content is found; the quality rules know what to do with what is left."""
    has_comments: bool = False
    """Take comment sections for main content where the careful way is taken."""


def main_text(tree: Any, html: str, settings: MainContentSettings) -> tuple[str, str]:
    """Text of a resiliparse HTML tree, normalised, and the name of the way that found it.

    The tree is changed: scripts, styles and other elements of the body that show no text are gone afterwards. The
    head is left as it was. `html` is the page that the tree was parsed from.
    """
    if settings.is_main_content:
        page = read_blocks(written_body(tree))
        text = normalise("\n".join(page.texts[i] for i in content_blocks(page)))
        if text:
            return text, FAST
        text = _plain_text(tree, settings, is_main_content=True)
        if text or not settings.is_falling_back:
            return text, CAREFUL
    return _plain_text(tree, settings, is_main_content=False), ALL_TEXT


def _plain_text(tree: Any, settings: MainContentSettings, *, is_main_content: bool) -> str:
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
