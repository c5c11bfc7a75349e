"""An archive of Spark's loaded classes, which a JVM maps into memory instead of reading and checking them again.

Class data sharing (JEP 350) takes the start of a session from 6 to 3 CPU-seconds. `make setup` makes the archive once,
by `python -m pipelines.spark.class_archive`, beside this environment's libraries; it belongs to one Java and one Spark,
and its name says which. Where there is none, or the JVM finds that it does not fit, Spark starts as ever.
"""

import hashlib
import sys
from pathlib import Path

from pipelines.spark.java import version_lines

_FOLDER = Path(sys.prefix) / "share" / "gristmill"
_QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"  # what does not fit is not used; nobody has to hear of it
_DUMP_SECONDS = 120.0


def archive_of(java: Path) -> Path:
    """Where the archive for `java` and the Spark of this environment lies, if there is one."""
    import pyspark

    facts = "\0".join(
        (str(java.resolve()), version_lines(java), pyspark.__version__, str(Path(pyspark.__file__).parent))
    )
    return _FOLDER / f"spark-classes-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.jsa"


def java_options(java: Path) -> str:
    """The JVM's options that use the archive; empty where there is none."""
    archive = archive_of(java)
    # A path with a space can't be given: Spark splits the options at spaces.
    is_usable = archive.is_file() and " " not in str(archive)
    return f"-XX:SharedArchiveFile={archive} {_QUIET}" if is_usable else ""


def main() -> int:
    """Make the archive unless it is there; returns the exit code. Failing costs nothing but the time it would save."""
    from pipelines.spark.java import find_java
    from pipelines.spark.session import SparkSettings, start_spark

    archive = archive_of(find_java())
    if archive.is_file():
        return 0
    archive.parent.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_suffix(".tmp")
    unfinished.unlink(missing_ok=True)
    options = f"-XX:ArchiveClassesAtExit={unfinished} {_QUIET}"
    with start_spark(
        SparkSettings(master="local[1]"), "gristmill", java_options=options, farewell_seconds=_DUMP_SECONDS
    ) as spark:
        spark.sparkContext.parallelize(["a"], 1).map(str.upper).collect()
        spark.session.range(2).repartition(2).groupBy("id").count().collect()
    if not unfinished.is_file():
        print("note: this Java keeps no archive of classes; Spark starts a little slower", file=sys.stderr)
        return 0
    unfinished.rename(archive)
    return 0


if __name__ == "__main__":
    sys.exit(main())
