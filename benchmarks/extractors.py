"""One extractor over the pages of a JSONL file, timed: `python extractors.py NAME PAGES.jsonl TEXTS.jsonl [LIMIT]`.

Runs under the Python of whoever owns the extractor, and uses nothing but it. HTML comes decoded, for all alike. The
first pages are done twice, once unmeasured, so that imports and caches are not in the figure. Writes one JSON text a
page and prints {"pages", "failed", "cpu"}: CPU seconds of this process.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

WARM_UP_PAGES = 5

Extract = Callable[[str], str | None]


def ours() -> Extract:
    """Gristmill's page path."""
    from pipelines.crawl.markup import MarkupSettings, parse_page

    settings = MarkupSettings()
    return lambda html: parse_page(html, None, settings).text


def trafilatura(**options: Any) -> Extract:
    """trafilatura without readers' comments, which no gold text holds."""
    from trafilatura import extract

    return lambda html: extract(html, include_comments=False, **options)


def resiliparse() -> Extract:
    """resiliparse's main content by its defaults, less images' alternative texts (which lower it everywhere)."""
    from resiliparse.extract.html2text import extract_plain_text

    return lambda html: extract_plain_text(html, main_content=True, alt_texts=False)


def readability() -> Extract:
    """readability-lxml's summary; resiliparse makes text of it."""
    from readability import Document
    from resiliparse.extract.html2text import extract_plain_text

    return lambda html: extract_plain_text(Document(html).summary(), alt_texts=False)


EXTRACTORS: dict[str, Callable[[], Extract]] = {
    "ours": ours,
    "trafilatura": trafilatura,
    "trafilatura-fast": lambda: trafilatura(fast=True),
    "trafilatura-precision": lambda: trafilatura(favor_precision=True),
    "resiliparse": resiliparse,
    "readability-lxml": readability,
}


def main() -> None:
    name, source, target = sys.argv[1:4]
    limit = int(sys.argv[4]) if len(sys.argv) > 4 else None
    extract = EXTRACTORS[name]()
    with open(source, encoding="utf-8") as file:  # noqa: PTH123 - a program of its own
        pages = [json.loads(line)["html"] for line in file][:limit]
    texts, failed = [], 0
    for html in pages[:WARM_UP_PAGES]:
        _text(extract, html)
    started = time.process_time()
    for html in pages:
        text = _text(extract, html)
        failed += text is None
        texts.append(text or "")
    cpu = time.process_time() - started
    with open(target, "w", encoding="utf-8") as file:  # noqa: PTH123
        for text in texts:
            file.write(json.dumps(text) + "\n")
    print(json.dumps({"pages": len(pages), "failed": failed, "cpu": cpu}))


def _text(extract: Extract, html: str) -> str | None:
    """The page's text; None where the extractor raises, which counts as finding nothing."""
    try:
        return extract(html) or ""
    except Exception:  # a peer may raise anything
        return None


if __name__ == "__main__":
    main()
