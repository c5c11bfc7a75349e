"""The process that Spark's Python workers are forked from: `python -m pipelines.spark.daemon pyspark.worker`.

PySpark's own daemon, but for where it finds PySpark. Spark puts its zip of it before all else on the path, and of what
is imported from a zip no bytecode is kept: the daemon and every worker compiled it anew, 1.3 CPU-seconds for the first
worker. Here the installed one is taken, which is the same, and the workers' program is imported before they are forked,
with what every task imports. None of it starts threads; pyarrow does, and a fork would lose them, so that workers
import that and what needs it by themselves.
"""

import importlib
import os
import sys
from pathlib import Path

_ZIPS = ("python", "lib")  # below SPARK_HOME
_OF_EVERY_TASK = ("pyspark.worker", "gristmill.core.layout", "gristmill.core.settings", "pipelines.crawl.corpora")


def without_zips(path: list[str]) -> list[str]:
    """`path` without Spark's own archives of PySpark and Py4J."""
    return [entry for entry in path if not (entry.endswith(".zip") and Path(entry).parent.parts[-2:] == _ZIPS)]


def import_for_workers() -> None:
    """Import what those that are forked would import one by one."""
    for name in _OF_EVERY_TASK:
        importlib.import_module(name)
    if os.environ.get("OPENBLAS_NUM_THREADS") == "1":  # else numpy starts threads
        importlib.import_module("numpy")


def main() -> None:
    """Serve as PySpark's daemon does."""
    sys.path[:] = without_zips(sys.path)
    import_for_workers()
    importlib.import_module("pyspark.daemon").manager()


if __name__ == "__main__":
    main()
