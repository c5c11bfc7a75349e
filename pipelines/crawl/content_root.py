"""Which blocks of a page are its main content: the box that holds the running text, less what is marked as no part.

Every rule was held against six sets of hand-made gold: 181 news pages of scrapinghub's benchmark, the 130 of
mozilla/readability, 474 of trafilatura's evaluation, 492 of WCXB (seven kinds of page), 23 of newspaper4k (twelve
languages) and 69 Chinese ones. Numbers in comments are thousandths of F1 on the first four, in that order; none is
tuned finer than the sets agree.
"""

from itertools import accumulate

from pipelines.crawl.blocks import Blocks
from pipelines.crawl.content_trim import HEADINGS, lead, without_hidden_copies, without_link_lists, without_teasers
from pipelines.crawl.markers import (
    ADVERT,
    AUTHOR,
    BODY,
    CAPTION,
    COMMENT,
    CONTENT,
    CONTROL,
    FRAME,
    HIDDEN,
    MEDIA,
    META,
    NAVIGATION,
    NOTICE,
    RELATED,
    SHARE,
    SIDE,
    TEASER,
    UNSEEN,
)

MIN_GOOD = 20
"""Characters outside links that make a block running text (40: 0, -5, -5, -1)."""
MAX_LINKED = 0.4
"""Share of link text in running text."""
WEIGHTS = (0.0, 0.6, 0.7)
"""Of running text that stands alone in its box, or with one more: a teaser, a comment, a cell. Articles keep their
paragraphs together (all alike: -10, -2, 0, -1)."""
ITEM_WEIGHT = 0.25
"""Of running text in a list item, where lists of other articles have theirs (1: 0, -6, 0, 0)."""
DESCENT, DESCENT_MARKED, DESCENT_DOUBTFUL = 0.8, 0.5, 0.9
"""Share of a box's running text that a box inside it must hold to take its place; less where its markup says that it
is the content, more where it says that it is none. An articleBody has no better box inside (0.4: -2, 0, 0, -1)."""
SHARE_OF_ALL = 0.4
"""Of the page's running text, which the main content holds at least."""
LIMITS = {
    **dict.fromkeys((SHARE, ADVERT, NOTICE, HIDDEN, CONTROL, SIDE), 0.4),
    FRAME: 0.6,
    COMMENT: 0.5,
    **dict.fromkeys((RELATED, CAPTION, NAVIGATION), 0.2),
    **dict.fromkeys((META, AUTHOR), 0.1),
    **dict.fromkeys((TEASER, MEDIA), 0.05),
    UNSEEN: 0.0,
}
"""No mark is trusted blindly: a box that holds more than this of the page's running text is kept whatever it says.
The looser the word, the smaller the share: "header" is the class of a first paragraph as often as of a masthead."""
LIMIT_TOGETHER = 0.7
"""A mark that takes more than this in all is a word that the site uses for something else (0, 0, +1, +4)."""
FORUM_TEXT = 1500
"""Comments are the content where they are most of the text and leave less than this many characters (forums of WCXB:
.488 to .713)."""
_MARKED = sum(LIMITS)
_DESCENDED = frozenset(
    ["div", "section", "article", "main", "td", "center", "form", "table", "tbody", "tr", "fieldset"]
)
_ROWS = frozenset(["table", "tbody", "tr"])
_TRUSTED = frozenset(["body", "main", "article", "h1"])
_ITEM_DEPTH = 4


def content_blocks(page: Blocks) -> list[int]:
    """Indices of the blocks of the main content, in document order; empty where no running text is found."""
    mass = running_text(page)
    is_out = marked_out(page, mass)
    if not any(mass):
        return []
    root = content_root(page, mass)
    kept = [i for i in range(page.starts[root], page.ends[root]) if not is_out[i]]
    kept = without_teasers(page, root, kept, mass)
    kept = without_hidden_copies(page, root, kept)
    kept = without_link_lists(page, root, kept)
    while kept and page.tags[page.boxes[kept[-1]]] in HEADINGS:
        kept.pop()
    return lead(page, root, mass) + kept


def unmarked_blocks(page: Blocks) -> list[int]:
    """Indices of all blocks but those marked as no content and lists of links: for pages without running text."""
    is_out = marked_out(page, running_text(page))
    return without_link_lists(page, 0, [i for i in range(len(page.texts)) if not is_out[i]])


def running_text(page: Blocks) -> list[float]:
    """Characters of running text of each block, weighted by how much of it stands together."""
    tags, parents, starts, ends = page.tags, page.parents, page.starts, page.ends
    groups = [-1] * len(page.texts)
    count = [0] * len(tags)
    for i, (size, linked, box) in enumerate(zip(page.sizes, page.links, page.boxes, strict=True)):
        if size - linked < MIN_GOOD or linked > MAX_LINKED * size or tags[box] in HEADINGS:
            continue
        group = box
        if ends[box] - starts[box] <= 1 and parents[box] >= 0:
            group = parents[box]
            if tags[group] in ("blockquote", "li") and parents[group] >= 0:
                group = parents[group]
        groups[i] = group
        count[group] += 1
    mass = [0.0] * len(groups)
    for i, group in enumerate(groups):
        if group >= 0:
            weight = WEIGHTS[count[group]] if count[group] < len(WEIGHTS) else 1.0
            if _is_item(page, group):
                weight = min(weight, ITEM_WEIGHT)
            mass[i] = weight * (page.sizes[i] - page.links[i])
    return mass


def _is_item(page: Blocks, box: int) -> bool:
    for _ in range(_ITEM_DEPTH):
        if box < 0:
            return False
        if page.tags[box] == "li":
            return True
        box = page.parents[box]
    return False


def marked_out(page: Blocks, mass: list[float]) -> bytearray:
    """1 for the blocks in boxes whose marks say that they are no content; their `mass` is set to 0."""
    sums = [0.0, *accumulate(mass)]
    total = sums[-1]
    starts, ends = page.starts, page.ends
    marked = [
        (box, marks & _MARKED, sums[ends[box]] - sums[starts[box]])
        for box, marks in enumerate(page.marks)
        if marks & _MARKED and not marks & BODY and page.tags[box] not in _TRUSTED and ends[box] > starts[box]
    ]
    limits = _believed(page, marked, total)
    is_out = bytearray(len(mass))
    known: dict[int, float] = {}
    upto = 0
    for box, marks, inside in marked:
        start, end = starts[box], ends[box]
        if start < upto:
            continue
        limit = known.get(marks)
        if limit is None:
            limit = known[marks] = max(limit for mark, limit in limits.items() if marks & mark)
        if inside <= limit * total:
            is_out[start:end] = b"\x01" * (end - start)
            mass[start:end] = [0.0] * (end - start)
            upto = end
    return is_out


def _believed(page: Blocks, marked: list[tuple[int, int, float]], total: float) -> dict[int, float]:
    """LIMITS without the marks (limit -1) that together would take too much of the page."""
    together = dict.fromkeys(LIMITS, 0.0)
    upto = dict.fromkeys(LIMITS, 0)
    for box, marks, inside in marked:
        if inside:
            for mark, limit in LIMITS.items():
                if marks & mark and page.starts[box] >= upto[mark] and inside <= limit * total:
                    together[mark] += inside
                    upto[mark] = page.ends[box]
    limits = dict(LIMITS)
    for mark, inside in together.items():
        if mark == COMMENT:
            if inside > LIMITS[COMMENT] * total and total - inside < FORUM_TEXT:
                limits[mark] = -1.0
        elif inside > LIMIT_TOGETHER * total:
            limits[mark] = -1.0
    return limits


def content_root(page: Blocks, mass: list[float]) -> int:
    """The innermost box that still holds nearly all of the running text of the box around it, and so on."""
    sums = [0.0, *accumulate(mass)]
    root, held = 0, sums[-1]
    for box in range(1, len(page.tags)):
        # Boxes come in document order: the first that holds enough is the only one, as a half is the least.
        if page.parents[box] != root or page.tags[box] not in _DESCENDED:
            continue
        marks = page.marks[box]
        share = DESCENT_DOUBTFUL if marks & _MARKED else DESCENT
        if marks & (BODY | CONTENT) or page.tags[box] in ("article", "main"):
            share = DESCENT_MARKED
        inside = sums[page.ends[box]] - sums[page.starts[box]]
        if inside >= share * held and inside >= SHARE_OF_ALL * sums[-1]:
            root, held = box, inside
            if marks & BODY:
                break
    while page.tags[root] in _ROWS:  # a table of data is part of the content, not its border
        root = page.parents[root]
    return root
