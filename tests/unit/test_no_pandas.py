"""pyarrow makes its arrays without pandas, which can be imported nevertheless."""

import subprocess
import sys

import pytest


def test_pandas_stays_out_until_it_is_asked_for() -> None:
    pytest.importorskip("pandas")
    program = (
        "import sys, pyarrow as pa; from pipelines.no_pandas import without_pandas; without_pandas();"
        "assert pa.array(['a', None]).to_pylist() == ['a', None] and 'pandas' not in sys.modules;"
        "import pandas; assert pandas.Series([1]).sum() == 1"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_session_of_spark_learns_of_numpy_without_pandas() -> None:
    pytest.importorskip("pandas")
    program = (
        "import sys; from pipelines.spark.session import _know_numpy; _know_numpy();"
        "from pyspark.testing.utils import have_numpy; assert have_numpy; assert 'pandas' not in sys.modules;"
        "import pandas"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
