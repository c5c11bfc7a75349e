"""One Spark session for a worker, on this machine or on a cluster."""

import contextlib
import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from gristmill.core.errors import EnvironmentProblemError
from pipelines.hidden_imports import hidden
from pipelines.spark import class_archive, daemon
from pipelines.spark.java import find_java, write_shim
from pipelines.spark.processes import children, end, scratch_folder
from pipelines.spark.settings import TASK_ATTEMPTS, SparkSettings

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

MASTER_VARIABLE = "GRISTMILL_SPARK_MASTER"
JVM_FAREWELL_SECONDS = 5.0  # it leaves when its standard input ends; what stays is ended by force
_SINGLE_TASK_ROWS = "spark.gristmill.singleTaskRows"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Spark:
    """Spark as started for a worker: enough for tasks, with SQL for those who ask for it.

    A SQL session costs the JVM 1.4 CPU-seconds more than the context does, and a map stage has no use for it.
    """

    def __init__(self, context: "SparkContext") -> None:
        self.sparkContext = context  # called as in a session, so that either can run tasks
        self.version = context.version  # known without asking a JVM that may be gone by then

    @property
    def session(self) -> "SparkSession":
        """The SQL session, made when first asked for."""
        from pyspark.sql import SparkSession

        return cast(Any, SparkSession.builder).getOrCreate()


def sql_session(spark: "Spark | SparkSession") -> "SparkSession":
    """The SQL session of either."""
    return spark.session if isinstance(spark, Spark) else spark


def single_task_rows(spark: "Spark | SparkSession") -> int:
    """The setting `single_task_rows` that Spark was started with."""
    return int(spark.sparkContext.getConf().get(_SINGLE_TASK_ROWS) or SparkSettings.single_task_rows)


@contextlib.contextmanager
def spark_session(settings: SparkSettings, name: str) -> Iterator["SparkSession"]:
    """As `start_spark`, with a SQL session at once."""
    with start_spark(settings, name) as spark:
        yield spark.session


@contextlib.contextmanager
def start_spark(
    settings: SparkSettings,
    name: str,
    *,
    java_options: str | None = None,
    farewell_seconds: float = JVM_FAREWELL_SECONDS,
) -> Iterator[Spark]:
    """Start Spark, yield it, stop it, wait for its processes and remove its scratch folder.

    Args:
        settings: how to start it.
        name: of the application.
        java_options: for the driver's JVM; default: those that map the archive of Spark's classes.
        farewell_seconds: how long the JVM may take to end by itself.

    Raises:
        EnvironmentProblemError: no Java, or Spark does not start with it.
    """
    java = find_java()
    before = {process.pid for process in children()}
    with scratch_folder() as scratch, _environment(settings, write_shim(java, scratch / "java")):
        started: list[Any] = []
        try:
            options = class_archive.java_options(java) if java_options is None else java_options
            spark = Spark(_start(settings, name, scratch, java, options))
            started = [process for process in children() if process.pid not in before]
            yield spark
        finally:
            started += [p for p in children() if p.pid not in before and p not in started]
            try:
                _stop(farewell_seconds)
            finally:
                end(started)


@contextlib.contextmanager
def _environment(settings: SparkSettings, java_home: Path) -> Iterator[None]:
    import pyspark

    wanted = {
        "JAVA_HOME": str(java_home),
        "SPARK_HOME": str(Path(pyspark.__file__).parent),  # another Spark's JVM would not speak with this one
        "SPARK_LAUNCHER_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    if settings.is_local:
        wanted |= {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    elif "PYSPARK_PYTHON" not in os.environ:  # a cluster may keep its Python elsewhere
        wanted |= {"PYSPARK_PYTHON": sys.executable}
    if _stays_here(settings.master):
        wanted |= {"SPARK_LOCAL_IP": "127.0.0.1"}
    saved = {variable: os.environ.get(variable) for variable in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for variable, value in saved.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value


def _stays_here(master: str) -> bool:
    """Whether nothing beyond this machine has to reach the driver, which then listens on loopback alone."""
    return master.startswith("local") or urlsplit(master).hostname in _LOOPBACK


def _start(settings: SparkSettings, name: str, scratch: Path, java: Path, java_options: str) -> "SparkContext":
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException

    _know_numpy()
    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # a broken pipe at the end is how the JVM is told to go
    log_config = Path(__file__).with_name("log4j2.properties")
    # C1 alone starts a third faster, and the JVM only schedules and shuffles: the work is in Python.
    jvm = "-XX:+UseSerialGC" + (" -XX:TieredStopAtLevel=1" if settings.is_local else "")
    options = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.extraJavaOptions": f"{jvm} {java_options} -Dlog4j2.configurationFile=file:{log_config}",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": f"{scratch}/warehouse",
        "spark.local.dir": str(scratch),
        _SINGLE_TASK_ROWS: str(settings.single_task_rows),
        "spark.task.maxFailures": str(TASK_ATTEMPTS),
    }
    if _stays_here(settings.master):
        options |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    if settings.is_local:
        options |= {"spark.python.daemon.module": daemon.__name__}
    conf = SparkConf().setMaster(settings.retrying_master).setAppName(name).setAll(list(options.items()))
    try:
        return SparkContext(conf=conf)
    except (PySparkException, Py4JError, OSError) as error:
        raise EnvironmentProblemError(
            f"Spark could not start with {settings.master} and {java}: {' '.join(str(error).split())[:300]}; "
            "see the lines above, check the master, or install Java 17 or 21"
        ) from error


def _know_numpy() -> None:
    """Let PySpark find out whether there is numpy, which it does for the first value that it hands to the JVM.

    It does so with its tools for tests, which would import pandas: a third of a CPU-second, and nothing here tests with
    pandas. A stage that wants pandas can still import it.
    """
    with hidden("pandas"), contextlib.suppress(ImportError):
        importlib.import_module("pyspark.testing.utils")


def _stop(farewell_seconds: float) -> None:
    """Stop the session and the JVM behind it, which PySpark would leave until this process ends."""
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    context: Any = SparkContext
    session: Any = cast(Any, SparkSession)._instantiatedSession  # asking for the active one asks the JVM
    with contextlib.suppress(Py4JError, OSError):  # the JVM may be gone already: killed, or told by the same signal
        if session is not None:
            session.stop()
        elif (running := context._active_spark_context) is not None:
            running.stop()
    gateway = context._gateway
    if gateway is None:
        return
    try:
        with contextlib.suppress(Py4JError, OSError):
            gateway.shutdown()
        with contextlib.suppress(OSError):
            gateway.proc.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            gateway.proc.wait(timeout=farewell_seconds)
    finally:  # whatever is wrong with this JVM, the next session gets another
        context._gateway = context._jvm = context._active_spark_context = None
        cast(Any, SparkSession)._instantiatedSession = None
