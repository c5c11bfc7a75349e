"""What every training worker's command line shares: root, settings, reporting, exit codes."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from gristmill.core.errors import GristmillError, SettingsError, one_line
from gristmill.core.layout import Layout
from gristmill.core.progress import Reporter, open_reporter
from gristmill.core.settings import build, default_settings_path, read_settings_file

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
    """Defaults, then the settings file's section, then the overrides (a JSON object).

    Raises:
        SettingsError: a file, a name or a value is wrong; the message names it.
    """
    try:
        given: object = json.loads(overrides)
    except json.JSONDecodeError as error:
        raise SettingsError(f"--settings is not valid JSON: {error}") from None
    if not isinstance(given, dict):
        raise SettingsError('--settings must be a JSON object such as {"steps": 100}')
    values: dict[str, Any] = {}
    path = settings_file or default_settings_path(layout.root)
    if path is not None:
        values = read_settings_file(path).get(section, {})
        build(cls, values, f"settings file {path}, section {section}")
    return build(cls, values | {k: v for k, v in given.items() if v is not None}, f"settings of {section}")


def run_worker(work: Callable[[Reporter], int | None]) -> int:
    """Run `work` with a reporter; returns the exit code, having said in one line what the user can mend."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))  # so that temporary files are cleaned up
    with open_reporter() as reporter:
        try:
            return work(reporter) or 0
        except GristmillError as error:
            reporter.error(one_line(error))
            return error.exit_code
