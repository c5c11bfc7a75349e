"""One Spark session for a worker, on this machine or on a cluster."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gristmill.core.errors import EnvironmentProblemError
from pipelines.spark.java import find_java_home

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MASTER_VARIABLE = "GRISTMILL_SPARK_MASTER"


@dataclass(frozen=True)
class SparkSettings:
    """How Spark is started."""

    master: str = "local[*]"  # or spark://host:7077; GRISTMILL_SPARK_MASTER where the flag is not given
    driver_memory: str = "1g"
    shuffle_partitions: int = 8  # per local core this is plenty; raise it with the cluster

    def __post_init__(self) -> None:
        if not self.master.startswith(("local", "spark://", "yarn", "k8s://")):
            raise ValueError(f"master is {self.master!r}; give local[N], spark://host:port, yarn or k8s://…")


@contextlib.contextmanager
def spark_session(settings: SparkSettings, name: str) -> Iterator["SparkSession"]:
    """Start Spark, yield the session, stop it and remove its scratch folder."""
    java_home = find_java_home()
    os.environ["JAVA_HOME"] = str(java_home)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    scratch = tempfile.mkdtemp(prefix="gristmill-spark-")
    is_local = settings.master.startswith("local")
    if is_local:  # nothing listens beyond this machine
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    # C1 alone starts a third faster, and the JVM only schedules and shuffles: the work is in Python.
    jvm = "-XX:+UseSerialGC -Dlog4j2.level=ERROR" + (" -XX:TieredStopAtLevel=1" if is_local else "")
    log_config = Path(__file__).with_name("log4j2.properties")
    builder = (
        SparkSession.builder.master(settings.master)  # pyright: ignore[reportAttributeAccessIssue]
        .appName(name)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", settings.driver_memory)
        .config("spark.driver.extraJavaOptions", f"{jvm} -Dlog4j2.configurationFile={log_config}")
        .config("spark.sql.shuffle.partitions", str(settings.shuffle_partitions))
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", f"{scratch}/warehouse")
        .config("spark.local.dir", scratch)
        .config("spark.task.maxFailures", "4")
    )
    if is_local:
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    try:
        try:
            session = builder.getOrCreate()
        except (PySparkRuntimeError, OSError) as error:
            raise EnvironmentProblemError(
                f"Spark could not start with the Java in {java_home}: {' '.join(str(error).split())[:300]}; "
                "install Java 17 or 21, or unset JAVA_HOME to use the bundled one"
            ) from error
        try:
            yield session
        finally:
            session.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if java_home.name.startswith("gristmill-java-"):
            shutil.rmtree(java_home, ignore_errors=True)
