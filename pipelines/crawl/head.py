"""What a page's head says: title, canonical URL, language, opt-outs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from pipelines.crawl.prescan import language_tag
from pipelines.crawl.urls import clean_url

LOOK_BYTES = 1 << 16  # of a page, where the names of meta and link tags are looked for before the tree is
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


def read_head(tree: Any, html: str, url: str | None, agents: tuple[str, ...]) -> Head:
    """Read the head of a parsed page.

    Args:
        tree: of resiliparse.
        html: the page, whose first 64 kB say what is worth looking for.
        url: the page's address, which relative ones are resolved against.
        agents: lower-case names of meta tags that hold robots directives, `robots` among them.
    """
    begin = html[:LOOK_BYTES].lower()
    metas: dict[str, list[str]] = {}
    if "tdm-" in begin or "content-language" in begin or any(agent in begin for agent in (*agents, "x-robots-tag")):
        for name, content in _metas(tree):
            metas.setdefault(name, []).append(content)
    robots = [
        content if name in ("robots", "x-robots-tag") else f"{name}: {content}"
        for name in ("x-robots-tag", *agents)
        for content in metas.get(name, ())
    ]
    return Head(
        title=_line(str(tree.title or ""), TITLE_CHARACTERS),
        canonical_url=_canonical(tree, url) if "canonical" in begin else None,
        language=_language(tree, metas),
        robots=_line("; ".join(robots), ROBOTS_CHARACTERS),
        tdm=_line(", ".join(metas.get(_TDM[0], ())), 40),
        tdm_policy=_line(next(iter(metas.get(_TDM[1], ())), ""), 200),
    )


def _line(text: str, limit: int) -> str | None:
    """`text` on one line, without control characters; None where nothing is left."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    return " ".join(shown.split())[:limit].rstrip() or None


def _metas(tree: Any) -> Iterator[tuple[str, str]]:
    for tag in tree.document.get_elements_by_tag_name("meta"):
        content = tag.getattr("content")
        for attribute in ("name", "property", "http-equiv"):
            name = tag.getattr(attribute)
            if name and content:
                yield str(name).strip().lower(), str(content)


def _canonical(tree: Any, url: str | None) -> str | None:
    """The first rel=canonical link of the head as an absolute http(s) URL (RFC 6596)."""
    if tree.head is None:
        return None
    for link in tree.head.get_elements_by_tag_name("link"):
        if "canonical" in str(link.getattr("rel") or "").lower().split():
            return _absolute(tree, url, str(link.getattr("href") or ""))
    return None


def _absolute(tree: Any, url: str | None, href: str) -> str | None:
    href = href.strip()
    if not href:
        return None
    base = url or ""
    try:
        for tag in tree.head.get_elements_by_tag_name("base")[:1]:
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
