"""Parts that were whole when they were committed and are not any more."""

import contextlib
from collections.abc import Iterator

import pyarrow as pa

from gristmill.core.errors import MissingDataError


@contextlib.contextmanager
def reading(path: str, way_out: str) -> Iterator[None]:
    """While a Parquet file is read: damage of it is one line that names it, and `way_out`.

    What the machine refuses (permission, too many files) goes through, as it is no damage.

    Raises:
        MissingDataError: the file is gone, is a folder, or is no Parquet file with the columns that are asked for.
    """
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, FileNotFoundError, IsADirectoryError) as e:
        raise _damaged(path, way_out, e) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(path, way_out, error) from None  # Arrow's, of bytes that can't be decompressed


def _damaged(path: str, way_out: str, error: BaseException) -> MissingDataError:
    why = "it is not there" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
    return MissingDataError(f"{path} can't be read ({why.rstrip('.')[:200]}): {way_out}")
