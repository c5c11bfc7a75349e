"""Files of the state that were whole when they were written and are not any more."""

import contextlib
from collections.abc import Iterator

from gristmill.core.errors import MissingDataError
from pipelines.damage import reading


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
        raise MissingDataError(
            f"{what}: remove the folder cluster_state, which is made again, and run the same command again"
        ) from None
