"""One Spark session for all tests that need one."""

import warnings
from collections.abc import Iterator

import pytest

from pipelines.spark.session import SparkSettings, spark_session


@pytest.fixture(scope="session")
def spark() -> Iterator[object]:
    """A session on two local cores, started as the worker starts it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with spark_session(SparkSettings(master="local[2]", shuffle_partitions=4), "tests") as session:
            yield session
