"""HTML pages that need nothing but themselves: styles and pictures inside, every value escaped."""

import base64
import posixpath
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.core.layout import REPORT_NAME, Layout
from gristmill.core.quantities import human_bytes

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_NAME = "index.html"


def render(template: str, **values: Any) -> str:
    """Fill one of the templates beside this module; text from the crawl or a model can't become markup."""
    return _environment().get_template(template).render(**values)


def data_uri(png: bytes) -> str:
    """A picture as the value of an `src` attribute."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def commit_page(layout: Layout, asset: str, html: str, report: dict[str, Any]) -> str:
    """Write a report's page, then its report.json, which is the commit; returns the page's path."""
    folder = layout.singleton_dir(asset)
    page = posixpath.join(folder, PAGE_NAME)
    layout.write_bytes(page, html.encode())
    layout.write_json(posixpath.join(folder, REPORT_NAME), report | {"page": PAGE_NAME})
    return page


@lru_cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # always, not by file name: every value may come from a hostile page
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"human_bytes": human_bytes, "count": lambda n: f"{n:,}"}  # pyright: ignore[reportAttributeAccessIssue]
    return environment
