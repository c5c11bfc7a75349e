"""Keep pyarrow from importing pandas, which it does to look at the first value that it makes an array of.

pandas is in most environments by way of other libraries, costs 0.3 CPU-seconds and 60 MB in each process, and no
document stage has one of its objects. Whoever wants pandas can still import it.
"""

import sys
from functools import cache
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Hidden:
    """Stands before all finders and says that there is no pandas."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@cache
def without_pandas() -> None:
    """Let pyarrow look for pandas now, once and in vain; nothing where pandas is imported already."""
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder = _Hidden()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(finder)
