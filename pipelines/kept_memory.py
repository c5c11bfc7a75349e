"""Let the C library keep what was freed for the next page or batch."""

import ctypes
import sys
from functools import cache

# mallopt(3). Numbers of glibc's malloc.h; the first threshold can't be higher on 64 bits.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_BYTES, _TRIM_BYTES = 32 << 20, 128 << 20


@cache
def keep_freed_memory() -> None:
    """Hand free memory back to the system only beyond 128 MB of it; nothing where the C library has no such setting.

    By default every text of a page's size is mapped and unmapped by itself, and the kernel fills its pages with zeros
    each time: a third of the system time of reading pages.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
