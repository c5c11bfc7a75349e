"""Parts that were whole when they were committed and are not any more."""

import contextlib
import re
from collections.abc import Iterator

import pyarrow as pa

from gristmill.core.errors import MissingDataError

_PLACE = re.compile(r".*?([^/]+)/corpus=([^/]+)/")  # as `gristmill.core.layout` puts it


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """While a part is read: damage of it is one line that names it and the command that makes it again.

    What the machine refuses (permission, too many files) goes through, as it is no damage.

    Raises:
        MissingDataError: the file is gone, is a folder, or is no Parquet file with the columns that are asked for.
    """
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, FileNotFoundError, IsADirectoryError) as e:
        raise _damaged(path, e) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(path, error) from None  # Arrow's, of bytes that can't be decompressed


def remake(stage: str, corpus: str) -> str:
    """The command that makes a stage of a corpus again, and all that it reads."""
    return f"gristmill run {corpus} --through {stage} --force"


def _damaged(path: str, error: BaseException) -> MissingDataError:
    why = "it is not there" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
    place = _PLACE.search(path)
    command = f"`{remake(*place.groups())}`" if place else "the stage that wrote it with --force"
    return MissingDataError(f"{path} can't be read ({why.rstrip('.')[:200]}): run {command} to make it again")
