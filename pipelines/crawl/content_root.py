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
ALONE, PAIRED = 0.4, 0.6
"""Weight of running text that stands alone in its box or with one more: a teaser, a comment, a cell. Articles keep
their paragraphs together (+10, +2, 0, -1)."""
DESCENT, DESCENT_MARKED = 0.75, 0.5
"""Share of a box's running text that a box inside it must hold to take its place; less where its markup says that it
is the content."""
SHARE_OF_ALL = 0.4
"""Of the page's running text, which the main content holds at least."""
LINKED = 0.8
"""Share of link text that makes a box a list of links."""
_LIMITS = {
    SHARE: 0.4, ADVERT: 0.4, NOTICE: 0.4, HIDDEN: 0.4, CONTROL: 0.4, SIDE: 0.4, FRAME: 0.6, COMMENT: 0.6,
    RELATED: 0.2, CAPTION: 0.2, NAVIGATION: 0.2, META: 0.1, AUTHOR: 0.1, TEASER: 0.05, UNSEEN: 0.0, MEDIA: 0.0,
}  # fmt: skip
"""No mark is trusted blindly: a box that holds more of the page's running text than this is kept whatever it says."""
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
    kept = [i for i in range(page.starts[root], page.ends[root]) if not is_out[i]]
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
    weights = (0.0, ALONE, PAIRED)
    return [
        characters * (weights[count[box]] if count[box] < 3 else 1.0) if characters else 0.0
        for characters, box in zip(good, group, strict=True)
    ]


def _without_marked(page: Blocks, mass: list[float]) -> bytearray:
    """Blocks inside boxes whose marks say that they are no content; their mass is taken away."""
    sums = [0.0, *accumulate(mass)]
    is_out = bytearray(len(mass))
    known: dict[int, float] = {0: -1.0}
    upto = 0
    for box, marks in enumerate(page.marks):
        if not marks or page.starts[box] < upto or marks & BODY or page.tags[box] in _TRUSTED:
            continue
        limit = known.get(marks)
        if limit is None:
            limit = known[marks] = max((limit for mark, limit in _LIMITS.items() if marks & mark), default=-1.0)
        start, end = page.starts[box], page.ends[box]
        if end > start and sums[end] - sums[start] <= limit * sums[-1]:
            for i in range(start, end):
                is_out[i], mass[i] = 1, 0.0
            upto = end
    return is_out


def _root(page: Blocks, mass: list[float]) -> int:
    sums = [0.0, *accumulate(mass)]
    tags, parents, starts, ends = page.tags, page.parents, page.starts, page.ends
    root, held = 0, sums[-1]
    for box in range(1, len(tags)):
        # Boxes come in document order: the first that holds enough is the only one, as any share is over a half.
        if parents[box] == root and tags[box] in _DESCENDED:
            inside = sums[ends[box]] - sums[starts[box]]
            is_marked = page.marks[box] & (BODY | CONTENT) or tags[box] in ("article", "main")
            if inside >= (DESCENT_MARKED if is_marked else DESCENT) * held and inside >= SHARE_OF_ALL * sums[-1]:
                root, held = box, inside
    return root


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
