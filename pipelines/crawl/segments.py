"""Which file goes to which segment: balanced by size, the same for the same set of files in any order."""

import heapq
from collections.abc import Mapping

SEGMENT_BYTES = 1_000_000_000  # one Common Crawl WARC file is about 1 GB compressed


def default_segments(sizes: Mapping[str, int]) -> int:
    """One segment for each SEGMENT_BYTES of input, at least 1, at most one per file."""
    return max(1, min(len(sizes), round(sum(sizes.values()) / SEGMENT_BYTES)))


def assign(sizes: Mapping[str, int], segments: int) -> dict[str, str]:
    """Give each file a segment: the largest file first, each to the emptiest segment so far (LPT; Graham 1969).

    Args:
        sizes: file name to bytes.
        segments: how many; more than there are files leaves no empty segment behind.

    Returns:
        File name to segment name; segments are numbered by the first name they hold.
    """
    count = max(1, min(segments, len(sizes)))
    loads = [(0, 0, index) for index in range(count)]  # bytes, files, index: files break ties of unknown sizes
    groups: list[list[str]] = [[] for _ in range(count)]
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        load, files, index = heapq.heappop(loads)
        groups[index].append(name)
        heapq.heappush(loads, (load + sizes[name], files + 1, index))
    return number_groups(groups)


def number_groups(groups: list[list[str]]) -> dict[str, str]:
    """Name to segment (`00000`, `00001`, …) for groups of names, ordered by each group's first name."""
    ordered = sorted(sorted(group) for group in groups if group)
    return {name: f"{number:05d}" for number, group in enumerate(ordered) for name in group}
