"""What a page's head says: title, canonical URL, language, opt-outs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from pipelines.crawl.prescan import language_tag
from pipelines.crawl.urls import clean_url

MAX_TAGS = 2000  # meta or link tags that are read of a page; the rest of a longer head is padding
TITLE_CHARACTERS = 500
ROBOTS_CHARACTERS = 1000
_TDM = ("tdm-reservation", "tdm-policy")


@dataclass(frozen=True)
class Head:
    """Facts of a page."""

    title: str | None = None
    canonical_url: str | None = None
    language: str | None = None
    robots: str | None = None  # directives of meta tags, joined by semicolons, `agent: directive` but for `robots`
    tdm: str | None = None  # contents of meta tags tdm-reservation, joined by commas
    tdm_policy: str | None = None


def read_head(tree: Any, url: str | None, agents: tuple[str, ...]) -> Head:
    """Read the head of a parsed page.

    Args:
        tree: of resiliparse.
        url: the page's address, which relative ones are resolved against.
        agents: lower-case names of meta tags that hold robots directives, `robots` among them.
    """
    metas: dict[str, list[str]] = {}
    for name, content in _metas(tree):
        metas.setdefault(name, []).append(content)
    robots = [
        content if name in ("robots", "x-robots-tag") else f"{name}: {content}"
        for name in ("x-robots-tag", *agents)
        for content in metas.get(name, ())
    ]
    return Head(
        title=_line(str(tree.title or ""), TITLE_CHARACTERS),
        canonical_url=_canonical(tree, url),
        language=_language(tree, metas),
        robots=_line("; ".join(robots), ROBOTS_CHARACTERS),
        tdm=_line(", ".join(metas.get(_TDM[0], ())), 40),
        tdm_policy=_line(next(iter(metas.get(_TDM[1], ())), ""), 200),
    )


def _line(text: str, limit: int) -> str | None:
    """`text` on one line, without control characters; None where nothing is left."""
    shown = text[: 4 * limit]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else " " for c in shown)
    return " ".join(shown.split())[:limit].rstrip() or None


def _metas(tree: Any) -> Iterator[tuple[str, str]]:
    for tag in _select(tree.document, "meta[content]"):
        content = tag.getattr("content")
        for attribute in ("name", "property", "http-equiv"):
            name = tag.getattr(attribute)
            if name and content:
                yield str(name).strip().lower(), str(content)


def _select(element: Any, selector: str) -> list[Any]:
    """The first elements that match, in document order; walking a resiliparse collection takes its length's square."""
    return element.query_selector_all(selector).values()[:MAX_TAGS]


def _canonical(tree: Any, url: str | None) -> str | None:
    """The first rel=canonical link of the head as an absolute http(s) URL (RFC 6596)."""
    if tree.head is None:
        return None
    for link in _select(tree.head, "link[rel*=canonical i]"):
        if "canonical" in str(link.getattr("rel") or "").lower().split():
            return _absolute(tree, url, str(link.getattr("href") or ""))
    return None


def _absolute(tree: Any, url: str | None, href: str) -> str | None:
    href = href.strip()
    if not href:
        return None
    base = url or ""
    try:
        tag = tree.head.query_selector("base")
        if tag is not None:
            base = urljoin(base, str(tag.getattr("href") or "").strip())
        absolute = urljoin(base, href)
    except ValueError:
        return None
    return clean_url(absolute) if absolute.lower().startswith(("http://", "https://")) else None


def _language(tree: Any, metas: dict[str, list[str]]) -> str | None:
    """Of the root element, else of the pragma `content-language`, which counts with one language only."""
    root = tree.document.first_element_child
    if root is not None:
        tag = language_tag(str(root.getattr("lang") or root.getattr("xml:lang") or ""))
        if tag is not None:
            return tag
    return next((language_tag(content) for content in metas.get("content-language", ())), None)
