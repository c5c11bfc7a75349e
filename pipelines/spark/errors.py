"""What went wrong on Spark, as one line a person can act on."""

import errno
import re
import tempfile

from gristmill.core.errors import EnvironmentProblemError, GristmillError, MissingDataError
from gristmill.core.layout import storage_error

MACHINE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE})
"""Errors of the machine, not of the data: trying again changes nothing, and a traceback says nothing."""


_JVM_GONE = re.compile(r"Answer from Java side is empty|Connection(Refused|Reset)Error|Py4JNetworkError")
_KNOWN = re.compile(r"^(?:gristmill\.core\.errors\.)?MissingDataError: ([^\n]+)", re.MULTILINE)  # of a worker
_DAMAGED_PARQUET = re.compile(
    r"Parquet (magic bytes not found|file size is|footer)[^\n]*|Couldn't deserialize thrift[^\n]*|"
    r"(Unexpected end of stream|Corrupt \w+ compressed data)[^\n]*"
)


def explain(error: BaseException, what: str) -> GristmillError | None:
    """The line for an error that is the machine's to mend, None for one that is a fault of ours.

    Args:
        error: an exception from Spark or from the operating system.
        what: what was being done, such as the stage's name.
    """
    if isinstance(error, GristmillError):
        return error
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        is_known = error.errno in MACHINE_ERRORS
        return storage_error(error, str(error.filename or what)) if is_known else None
    text = f"{type(error).__name__}: {error}"
    if re.search(r"No space left on device|Errno 28\b", text):
        return EnvironmentProblemError(
            f"{what}: no space left on device, below the root or in Spark's scratch folder "
            f"({tempfile.gettempdir()}); free space there or set TMPDIR, then run the same command again"
        )
    if known := _KNOWN.search(text):
        return MissingDataError(known[1])
    if damaged := _DAMAGED_PARQUET.search(text):
        return MissingDataError(
            f"{what}: a part that it reads is damaged ({_head(damaged[0])}); run the same command again with --force"
        )
    if re.search(r"java\.lang\.OutOfMemoryError|SparkOutOfMemoryError", text):
        return EnvironmentProblemError(
            f"{what}: Spark's driver ran out of memory; raise `driver_memory` in the section `spark` of the "
            "settings file (default 1g), then run the same command again"
        )
    if _JVM_GONE.search(text):
        return EnvironmentProblemError(
            f"{what}: Spark's JVM was killed, most likely for memory; free memory or use fewer cores "
            "(GRISTMILL_SPARK_MASTER=local[1]), then run the same command again"
        )
    if re.search(r"Python worker (exited unexpectedly|failed to connect)|PYTHON_WORKER", text):
        return EnvironmentProblemError(
            f"{what}: a Python worker of Spark was killed several times over, most likely for memory; "
            "use fewer cores (GRISTMILL_SPARK_MASTER=local[1]) or free memory, then run the same command again"
        )
    if re.search(r"Master removed our application|[Mm]asters are unresponsive|Could not parse Master", text):
        return EnvironmentProblemError(
            f"{what}: the Spark master can't be reached or gave up the application ({_head(text)}); "
            "check GRISTMILL_SPARK_MASTER or `master` in the section `spark` of the settings file, and the cluster's "
            "workers, then run the same command again"
        )
    return None


def in_words(error: Exception, what: str) -> Exception:
    """An error that can be printed after Spark has stopped: Spark's own ask the JVM for their message."""
    from pyspark.errors import PySparkException

    problem = explain(error, what)
    if problem is None and isinstance(error, PySparkException):
        return RuntimeError(f"{what}: {error}")
    return problem or error


def _head(text: str) -> str:
    return " ".join(text.split())[:200]
