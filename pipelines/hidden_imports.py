"""Import a library without the heavy ones it would use if it could."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

DEEP_LEARNING = ("torch", "transformers")


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Within, `import` of each of `names` fails as if it were not installed, unless it was imported before.

    spaCy and Presidio import torch and transformers where they find them, for models that no filter loads:
    10 s or more and 300 MB in every worker process. Both take their absence as an ordinary case.
    """
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # pyright: ignore[reportArgumentType]  the documented way to make an import fail
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
