"""The kinds of page that the demo web holds, and the fate that each deserves.

A fate names the stage that should reject the page, other stages that may rightly do it earlier, and the
reasons it may give (a reason that ends in `.` or `_` stands for all that begin so).
"""

from dataclasses import dataclass

from gristmill.core.errors import SettingsError

KEPT, REJECTED, ONE_OF_CLUSTER = "kept", "rejected", "one of cluster"
EXTRACTION, LANGUAGE, QUALITY, DEDUP = (
    "extracted_documents",
    "language_filtered_documents",
    "quality_filtered_documents",
    "deduplicated_documents",
)
ANY_QUALITY = ("gopher_quality.", "gopher_repetition.", "fineweb.")
NO_TEXT = ("empty",)


@dataclass(frozen=True)
class Kind:
    """One kind of page."""

    name: str
    share: float  # of all pages; the rest are plain stories
    least: int  # pages even in the smallest demo
    fate: str = REJECTED
    stages: tuple[str, ...] = ()  # the stage that should reject it first, then others that may
    reasons: tuple[str, ...] = ()


KINDS = (
    Kind("personal_data", 0.08, 5, KEPT),
    Kind("mirror", 0.03, 1, ONE_OF_CLUSTER, (DEDUP,), ("exact_duplicate", "near_duplicate")),
    Kind("exact_copy", 0.02, 1, ONE_OF_CLUSTER, (DEDUP,), ("exact_duplicate", "near_duplicate")),
    Kind("near_duplicate", 0.045, 2, ONE_OF_CLUSTER, (DEDUP,), ("exact_duplicate", "near_duplicate")),
    Kind("foreign_language", 0.10, 8, REJECTED, (LANGUAGE,), ()),
    Kind("link_farm", 0.02, 1, REJECTED, (QUALITY, EXTRACTION, LANGUAGE), (*ANY_QUALITY, *NO_TEXT, "language")),
    Kind("symbol_soup", 0.02, 1, REJECTED, (QUALITY, LANGUAGE), (*ANY_QUALITY, "language")),
    Kind("boilerplate", 0.015, 1, REJECTED, (QUALITY, EXTRACTION, LANGUAGE), (*NO_TEXT, *ANY_QUALITY, "language")),
    Kind("too_short", 0.025, 1, REJECTED, (QUALITY,), ("gopher_quality.too_few_words", "gopher_repetition.top_")),
    Kind("repetitive", 0.03, 2, REJECTED, (QUALITY,), ("gopher_repetition.", "fineweb.duplicate")),
    Kind("opted_out", 0.02, 3, REJECTED, (EXTRACTION,), ("opted_out",)),
    Kind("not_html", 0.017, 2, REJECTED, (EXTRACTION,), ("not_html",)),
    Kind("http_status", 0.02, 3, REJECTED, (EXTRACTION,), ("status",)),
    Kind("empty", 0.01, 1, REJECTED, (EXTRACTION,), NO_TEXT),
    Kind("broken_chunking", 0.003, 1, REJECTED, (EXTRACTION,), ("broken_",)),
    Kind("broken_gzip", 0.003, 1, REJECTED, (EXTRACTION,), ("broken_",)),
    Kind("broken_length", 0.002, 1, REJECTED, (EXTRACTION,), ("broken_",)),
    Kind("broken_http", 0.002, 1, REJECTED, (EXTRACTION,), ("broken_",)),
    Kind("truncated", 0.003, 2, REJECTED, (EXTRACTION,), ("broken_",)),
)
STORY = Kind("story", 0.0, 0, KEPT)
BY_NAME = {kind.name: kind for kind in (*KINDS, STORY)}
DUPLICATES = ("mirror", "exact_copy", "near_duplicate")
BROKEN_RECORDS = ("broken_length", "truncated")  # made in the archive, not by the server
LEAST_PAGES = 60


def allot(pages: int) -> dict[str, int]:
    """How many pages of each kind a demo of `pages` pages holds.

    Raises:
        SettingsError: fewer pages than it takes to hold every kind.
    """
    if pages < LEAST_PAGES:
        raise SettingsError(f"a demo of {pages} pages can't hold every kind of page: ask for {LEAST_PAGES} or more")
    counts = {kind.name: max(kind.least, round(kind.share * pages)) for kind in KINDS}
    counts[STORY.name] = pages - sum(counts.values())
    return counts
