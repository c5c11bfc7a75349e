"""What is added to and taken from the box of the main content: the first paragraph, teasers, copies, lists of links.

Numbers in comments: see `pipelines.crawl.content_root`.
"""

from itertools import accumulate

from pipelines.crawl.blocks import Blocks
from pipelines.crawl.markers import UNSEEN

MIN_LEAD = 80
"""Characters of a first paragraph that stands outside the box (without it: 0, -4, -16, -2)."""
MIN_TEASERS, MAX_TEASER, TEASER_SHARE = 3, 700, 0.6
"""Items headed by a link that make a list one of teasers: at least so many, of so many characters each at most, and
this share of the list (+0, +4, 0, 0). A list that holds half of the running text or more is kept."""
MIN_TEASER = 60
MAX_PARTS, MIN_LINK = 20, 12
"""Blocks of such an item at most, and characters of the link at its head at least."""
LINKED = 0.8
"""Share of link text that makes a box a list of links, or a line a link (0.6: 0, -1, 0, -3)."""
HEADINGS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
_PARTS_OF_LISTS = HEADINGS | {"tr", "td", "th", "li"}


def lead(page: Blocks, root: int, mass: list[float]) -> list[int]:
    """Running text between the last main heading and the root: many sites set the first paragraph apart."""
    start = page.starts[root]
    heading = start
    for box in range(root - 1, -1, -1):
        if page.tags[box] == "h1" and page.starts[box] < page.ends[box] <= start:
            heading = page.ends[box]
            break
    return [i for i in range(heading, start) if mass[i] > 0 and page.sizes[i] >= MIN_LEAD]


def without_teasers(page: Blocks, root: int, kept: list[int], mass: list[float]) -> list[int]:
    """Without lists of other articles: lists whose items are each headed by a link."""
    starts, ends, parents = page.starts, page.ends, page.parents
    items: dict[int, int] = {}
    teasers: dict[int, int] = {}
    for box in range(root + 1, len(page.tags)):
        if starts[box] >= ends[root]:
            break
        if page.tags[box] in ("li", "article") and ends[box] > starts[box]:
            above = parents[box]
            items[above] = items.get(above, 0) + 1
            if _is_teaser(page, starts[box], ends[box], mass):
                teasers[above] = teasers.get(above, 0) + 1
    dropped: set[int] = set()
    for box, count in teasers.items():
        if box != root and count >= MIN_TEASERS and count >= TEASER_SHARE * items[box]:
            dropped.update(range(starts[box], ends[box]))
    if sum(mass[i] for i in dropped) > 0.5 * sum(mass[i] for i in kept):
        return kept
    return [i for i in kept if i not in dropped]


def _is_teaser(page: Blocks, start: int, end: int, mass: list[float]) -> bool:
    if (
        not 2 <= end - start <= MAX_PARTS
        or sum(page.sizes[start:end]) > MAX_TEASER
        or not any(mass[i] and page.sizes[i] >= MIN_TEASER for i in range(start, end))
    ):
        return False
    return any(page.links[i] >= LINKED * page.sizes[i] >= MIN_LINK for i in range(start, end))


def without_hidden_copies(page: Blocks, root: int, kept: list[int]) -> list[int]:
    """Pages hold their text twice, for scripts to show: what is hidden and also in sight goes (+4, 0, 0, 0)."""
    hidden: set[int] = set()
    upto = 0
    for box in range(root + 1, len(page.tags)):
        if page.starts[box] >= page.ends[root]:
            break
        if page.marks[box] & UNSEEN and page.starts[box] >= upto:
            upto = page.ends[box]
            hidden.update(range(page.starts[box], upto))
    if not hidden:
        return kept
    in_sight = {page.texts[i] for i in kept if i not in hidden}
    return [i for i in kept if i not in hidden or page.texts[i] not in in_sight]


def without_link_lists(page: Blocks, root: int, kept: list[int]) -> list[int]:
    """Without boxes of nearly nothing but links; a linked heading, row or item among others stays."""
    sizes, linked = [0, *accumulate(page.sizes)], [0, *accumulate(page.links)]
    is_linked = bytearray(len(page.texts))
    upto = 0
    for box in range(root + 1, len(page.tags)):
        start, end = page.starts[box], page.ends[box]
        if start >= page.ends[root]:
            break
        if end <= start or start < upto or page.tags[box] in _PARTS_OF_LISTS:
            continue
        if linked[end] - linked[start] > LINKED * (sizes[end] - sizes[start]):
            is_linked[start:end] = b"\x01" * (end - start)
            upto = end
    return [i for i in kept if not is_linked[i]]
