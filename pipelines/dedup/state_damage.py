"""Files of the state that were whole when they were written and are not any more."""

import contextlib
import re
from collections.abc import Iterator

from gristmill.core.errors import MissingDataError
from pipelines.damage import reading

_STATE = re.compile(r".*/cluster_state/(?:all|corpus=[^/]+)/[^/]+")  # as `gristmill.core.layout` puts it
_WAY_OUT = "remove the folder {}, which clustering makes again, and run the same command again"
_MARK = "which clustering makes again"


@contextlib.contextmanager
def reading_state(path: str) -> Iterator[None]:
    """While a file of the state is read: damage of it is one line with the way out, which is to do without it.

    Raises:
        MissingDataError: the file is gone, or is no Parquet file with the columns that are asked for.
    """
    try:
        with reading(path):
            yield
    except MissingDataError as error:
        what, _, _ = str(error).rpartition(": run ")
        raise damaged_state(path, what) from None


def damaged_state(path: str, what: str) -> MissingDataError:
    """The error of a file of the state, or of a run's own work on it.

    Args:
        path: of the file.
        what: names it and says what is wrong.
    """
    folder = _STATE.match(path)
    return MissingDataError(f"{what}: {_WAY_OUT.format(folder[0]) if folder else 'run the same command again'}")


def is_of_state(error: BaseException) -> bool:
    """Whether it is damage of a state, said here or by a worker of Spark: a state made from nothing mends it."""
    return _MARK in str(error)
