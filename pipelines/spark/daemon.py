"""The process that Spark's Python workers are forked from: `python -m pipelines.spark.daemon pyspark.worker`.

PySpark's own daemon, but for where it finds PySpark. Spark puts its zip of it before all else on the path, and of what
is imported from a zip no bytecode is kept: the daemon and every worker compiled it anew, 1.3 CPU-seconds for the first
worker. Here the installed one is taken, which is the same, and the workers' program is imported before they are forked.
It starts no threads; pyarrow does, and a fork would lose them, so that workers import that and all else by themselves.
"""

import importlib
import sys
from pathlib import Path

_ZIPS = ("python", "lib")  # below SPARK_HOME


def without_zips(path: list[str]) -> list[str]:
    """`path` without Spark's own archives of PySpark and Py4J."""
    return [entry for entry in path if not (entry.endswith(".zip") and Path(entry).parent.parts[-2:] == _ZIPS)]


def main() -> None:
    """Serve as PySpark's daemon does."""
    sys.path[:] = without_zips(sys.path)
    importlib.import_module("pyspark.worker")  # for those that are forked
    importlib.import_module("pyspark.daemon").manager()


if __name__ == "__main__":
    main()
