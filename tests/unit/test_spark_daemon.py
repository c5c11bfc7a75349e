"""Where Spark's Python workers come from, and when its processes count as gone."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from pipelines.spark import daemon, processes


def test_only_sparks_own_archives_leave_the_path() -> None:
    path = ["", "/x/pyspark/python/lib/pyspark.zip", "/x/pyspark/python/lib/py4j-0.10-src.zip", "/y/ours.zip", "/z"]
    assert daemon.without_zips(path) == ["", "/y/ours.zip", "/z"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_imported_before_the_fork_starts_no_thread() -> None:
    program = (
        "import os, sys; from pipelines.spark.daemon import import_for_workers; import_for_workers();"
        "print(len(os.listdir('/proc/self/task')), 'numpy' in sys.modules)"
    )
    for threads, expected in (("1", "1 True"), ("2", "1 False")):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads}
        answer = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert answer.stdout.strip() == expected


def test_a_process_that_nobody_has_asked_for_is_not_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)

    def never(timeout: float | None = None) -> int:
        raise AssertionError(f"waited {timeout} s for a process that has ended")

    process.wait = never
    processes.end([process], grace=60)
    child.wait()
