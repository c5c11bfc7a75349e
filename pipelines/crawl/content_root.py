"""Which blocks of a page are its main content: the box that holds the running text, less what is marked as no part.

Every rule was held against four sets of hand-made gold (181 news pages of scrapinghub's benchmark, 130 of
mozilla/readability, 474 of trafilatura's evaluation, 492 of WCXB: seven kinds of page); numbers in comments are
thousandths of F1 on them in that order.
"""

from itertools import accumulate

from pipelines.crawl.blocks import Blocks
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
)  # fmt: skip

MIN_GOOD = 25
"""Characters outside links that make a block running text."""
ALONE, PAIRED = 0.5, 0.6
"""Weight of running text that stands alone in its box or with one more: a teaser, a comment, a cell. Articles keep
their paragraphs together (+10, +2, 0, -1)."""
DESCENT, DESCENT_MARKED = 0.8, 0.5
"""Share of a box's running text that a box inside it must hold to take its place; less where its markup says that it
is the content."""
SHARE_OF_ALL = 0.4
"""Of the page's running text, which the main content holds at least."""
LINKED = 0.8
"""Share of link text that makes a box a list of links."""
_LIMITS = {
    SHARE: 0.4, ADVERT: 0.4, NOTICE: 0.4, HIDDEN: 0.4, CONTROL: 0.4, SIDE: 0.4, FRAME: 0.6, COMMENT: 0.5,
    RELATED: 0.2, CAPTION: 0.2, NAVIGATION: 0.2, META: 0.1, AUTHOR: 0.1, TEASER: 0.05, UNSEEN: 0.0, MEDIA: 0.0,
}  # fmt: skip
"""No mark is trusted blindly: a box that holds more of the page's running text than this is kept whatever it says."""
_JUNK = sum(_LIMITS)
_UNITED = (COMMENT,)
UNION = 1500
_HEADINGS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
_DESCENDED = frozenset(
    ["div", "section", "article", "main", "td", "center", "form", "table", "tbody", "tr", "body", "fieldset"]
)
_TRUSTED = frozenset(["body", "main", "article", "h1"])


def content_blocks(page: Blocks) -> list[int]:
    """Indices of the blocks of the main content, in document order; empty where no running text is found."""
    mass = _running_text(page)
    is_out = _without_marked(page, mass)
    if not any(mass):
        return []
    root = _root(page, mass)
    kept = _lead(page, root, mass) if LEAD else []
    kept += [i for i in range(page.starts[root], page.ends[root]) if not is_out[i]]
    kept = _without_links(page, root, _without_hidden_copies(page, root, kept))
    while kept and page.tags[page.boxes[kept[-1]]] in _HEADINGS:
        kept.pop()
    return kept


def _running_text(page: Blocks) -> list[float]:
    tags, parents, starts, ends = page.tags, page.parents, page.starts, page.ends
    good = [
        size - linked if size - linked >= MIN_GOOD and 2 * linked <= size and tags[box] not in _HEADINGS else 0
        for size, linked, box in zip(page.sizes, page.links, page.boxes, strict=True)
    ]
    group = [-1] * len(good)
    is_li = bytearray(len(good))
    count = [0] * len(tags)
    for i, characters in enumerate(good):
        if characters:
            box = page.boxes[i]
            if ends[box] - starts[box] <= 1 and parents[box] >= 0:
                box = parents[box]
                if tags[box] in ("blockquote", "li") and parents[box] >= 0:
                    box = parents[box]
            group[i] = box
            count[box] += 1
            if LI < 1:
                up = box
                for _ in range(4):
                    if up < 0:
                        break
                    if tags[up] == "li":
                        is_li[i] = 1
                        break
                    up = parents[up]
    weights = (0.0, ALONE, PAIRED)
    return [
        characters * (min(LI, weights[count[box]] if count[box] < 3 else 1.0) if li else weights[count[box]] if count[box] < 3 else 1.0)
        if characters
        else 0.0
        for characters, box, li in zip(good, group, is_li, strict=True)
    ]


def _without_marked(page: Blocks, mass: list[float]) -> bytearray:
    """Blocks inside boxes whose marks say that they are no content; their mass is taken away."""
    sums = [0.0, *accumulate(mass)]
    total = sums[-1]
    starts, ends = page.starts, page.ends
    marked = [
        (box, marks)
        for box, marks in enumerate(page.marks)
        if marks & _JUNK and not marks & BODY and page.tags[box] not in _TRUSTED and ends[box] > starts[box]
    ]
    unions = dict.fromkeys(_LIMITS, 0.0)
    reached = dict.fromkeys(_LIMITS, 0)
    for box, marks in marked:
        inside = sums[ends[box]] - sums[starts[box]]
        if inside:
            for mark in _UNITED:
                if marks & mark and starts[box] >= reached[mark] and inside < .95 * total:
                    unions[mark] += inside
                    reached[mark] = ends[box]
    limits = {
        mark: 0.0 if unions[mark] > limit * total and total - unions[mark] < UNION else limit
        for mark, limit in _LIMITS.items()
    }
    is_out = bytearray(len(mass))
    known: dict[int, float] = {}
    upto = 0
    for box, marks in marked:
        start, end = starts[box], ends[box]
        if start < upto:
            continue
        limit = known.get(marks)
        if limit is None:
            limit = known[marks] = max(limit for mark, limit in limits.items() if marks & mark)
        if sums[end] - sums[start] <= limit * total:
            for i in range(start, end):
                is_out[i], mass[i] = 1, 0.0
            upto = end
    return is_out


def _root(page: Blocks, mass: list[float]) -> int:
    sums = [0.0, *accumulate(mass)]
    tags, parents, starts, ends = page.tags, page.parents, page.starts, page.ends
    inside = [sums[end] - sums[start] for start, end in zip(starts, ends, strict=True)]
    root, held = 0, sums[-1]
    box, last = 0, len(tags)
    second: dict[int, float] = {}
    if TWIN < 5:
        best: dict[int, float] = {}
        for box in range(1, last):
            up = parents[box]
            m = inside[box]
            if m > best.get(up, 0.0):
                second[up], best[up] = best.get(up, 0.0), m
            elif m > second.get(up, 0.0):
                second[up] = m
    for box in range(1, last):
        # Boxes come in document order: the first that holds enough is the only one, as any share is over a half.
        if parents[box] == root and tags[box] in _DESCENDED:
            marks = page.marks[box]
            is_marked = marks & (BODY | CONTENT) or tags[box] in ("article", "main")
            if is_marked and second.get(root, 0.0) > TWIN * inside[box]:
                is_marked = False
            share = DESCENT_MARKED if is_marked else DESCENT_JUNK if marks & _JUNK else DESCENT
            if inside[box] >= share * held and inside[box] >= SHARE_OF_ALL * sums[-1]:
                root, held = box, inside[box]
                if STOP_BODY and marks & BODY:
                    break
    return root


LEAD = 80
LI = 0.25
DESCENT_JUNK = 0.9
TWIN = 9.0
STOP_BODY = True


def _lead(page: Blocks, root: int, mass: list[float]) -> list[int]:
    """Running text between the last main heading and the root: many sites set the first paragraph apart."""
    start = page.starts[root]
    heading = start
    for box in range(root - 1, -1, -1):
        if page.tags[box] == "h1" and page.ends[box] <= start and page.ends[box] > page.starts[box]:
            heading = page.ends[box]
            break
    return [i for i in range(heading, start) if mass[i] > 0 and page.sizes[i] >= LEAD]


def _without_hidden_copies(page: Blocks, root: int, kept: list[int]) -> list[int]:
    """Pages hold their text twice, for scripts to show: what is hidden and also in sight goes (+4, 0, 0, 0)."""
    hidden: set[int] = set()
    for box in range(root + 1, len(page.tags)):
        if page.starts[box] >= page.ends[root]:
            break
        if page.marks[box] & UNSEEN:
            hidden.update(range(page.starts[box], page.ends[box]))
    if not hidden:
        return kept
    in_sight = {page.texts[i] for i in kept if i not in hidden}
    return [i for i in kept if i not in hidden or page.texts[i] not in in_sight]


def _without_links(page: Blocks, root: int, kept: list[int]) -> list[int]:
    sizes, linked = [0, *accumulate(page.sizes)], [0, *accumulate(page.links)]
    is_linked = bytearray(len(page.texts))
    upto = 0
    for box in range(root + 1, len(page.tags)):
        start, end = page.starts[box], page.ends[box]
        if start >= page.ends[root]:
            break
        if end > start >= upto and page.tags[box] not in _HEADINGS:
            if linked[end] - linked[start] > LINKED * (sizes[end] - sizes[start]):
                is_linked[start:end] = b"\x01" * (end - start)
                upto = end
    return [i for i in kept if not is_linked[i]]
