"""What every training worker's command line shares: root, settings, reporting, exit codes."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter, open_reporter
from gristmill.core.settings import read_overrides, resolve

T = TypeVar("T")
STOPPED = 143  # 128 + SIGTERM, the shell's code for it


def worker_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """The arguments every worker takes."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--root", help="GRISTMILL_HOME; default: the environment's, else ./data")
    parser.add_argument("--settings-file", help="YAML; default: settings.yaml under the root")
    parser.add_argument("--settings", default="{}", metavar="JSON", help="overrides for this asset")
    parser.add_argument("--force", action="store_true", help="make again what is already there")
    return parser


def resolve_settings(cls: type[T], section: str, layout: Layout, settings_file: str | None, overrides: str) -> T:
    """Defaults, then the settings file's section, then the overrides (a JSON object)."""
    return resolve(cls, section, layout.root, settings_file, read_overrides(overrides))


def run_worker(work: Callable[[Reporter], int | None]) -> int:
    """Run `work` with a reporter; returns the exit code, having said in one line what the user can mend."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))  # so that temporary files are cleaned up
    with open_reporter() as reporter:
        try:
            return work(reporter) or 0
        except GristmillError as error:
            reporter.error(one_line(error))
            return error.exit_code


def leave(code: int) -> NoReturn:
    """End this process with `code`, everything being written, without taking Python and its libraries down first.

    A rank whose work was done was now and then aborted ("terminate called without an active exception") when the
    interpreter freed communicators under their own threads.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
