"""HTML pages that need nothing but themselves: styles and pictures inside, every value escaped."""

import base64
import posixpath
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.core.layout import REPORT_NAME, Layout

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_NAME = "index.html"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def render(template: str, **values: Any) -> str:
    """Fill one of the templates beside this module; text from the crawl or a model can't become markup."""
    return _environment().get_template(template).render(**values)


def data_uri(png: bytes) -> str:
    """A picture as the value of an `src` attribute."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def human_bytes(count: float) -> str:
    """Bytes in the unit a person would choose: 1,530,000 -> 1.5 MB."""
    index = 0
    while abs(count) >= 999.5 and index < len(_UNITS) - 1:  # 999,700 B is 1.0 MB, not 1000 kB
        count, index = count / 1000, index + 1
    return f"{count:.1f} {_UNITS[index]}" if index else f"{count:.0f} B"


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
