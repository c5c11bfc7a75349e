"""One Spark session for all tests that need one."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dedup_corpus import FRAMES, ONE_TASK

from pipelines.spark.session import SparkSettings, spark_session


@pytest.fixture(scope="session")
def spark() -> Iterator[object]:
    """A session on two local cores, started as the worker starts it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with spark_session(SparkSettings(master="local[2]", shuffle_partitions=4), "tests") as session:
            yield session


@pytest.fixture
def single_task_rows(spark: Any) -> Iterator[Callable[[int], None]]:
    """Set how many edges and candidates clustering joins in one task, for one test."""

    def limit(rows: int) -> None:
        spark.sparkContext._conf.set("spark.gristmill.singleTaskRows", str(rows))

    yield limit
    limit(ONE_TASK)


@pytest.fixture(params=[ONE_TASK, FRAMES], ids=["one task", "frames"])
def each_way(request: pytest.FixtureRequest, single_task_rows: Callable[[int], None]) -> None:
    """Clustering joins in one task, then by shuffles."""
    single_task_rows(request.param)
