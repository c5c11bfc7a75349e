"""One page from bytes to text and facts: what runs in the child process, see `pipelines.crawl.sandbox`."""

from collections.abc import Callable
from typing import Any

from gristmill.core.settings import build
from pipelines.crawl.charset import decode_html
from pipelines.crawl.markup import MarkupSettings, parse_page, shape


def open_reader(values: dict[str, Any]) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """The reader of pages for the fields of `MarkupSettings` given.

    The reader takes `url`, `charset` (of the HTTP header) and the page's bytes; it returns JSON-ready facts, with
    `reason`, `score`, `threshold` and `detail` where the page is rejected, and its text in UTF-8.
    """
    settings = build(MarkupSettings, values, "page settings")

    def read(facts: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        html, codec = decode_html(body, facts.get("charset"))
        measured = shape(html, settings.max_depth, settings.max_attributes)
        for reason, value, limit in (
            ("broken_too_deep", measured.depth, settings.max_depth),
            ("broken_attributes", measured.attributes, settings.max_attributes),
        ):
            if value > limit:
                return {"charset": codec, "reason": reason, "score": float(value), "threshold": float(limit)}, b""
        try:
            page = parse_page(html, facts.get("url"), settings)
        except (ValueError, RuntimeError) as error:
            return {"charset": codec, "reason": "broken_html", "detail": type(error).__name__}, b""
        return {"charset": codec, "extractor": page.extractor, **vars(page.head)}, page.text.encode("utf-8", "replace")

    return read
