"""`gristmill dev`: the Dagster UI and daemon on this machine alone."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gristmill.cli.output import HomeOption, console, plain
from gristmill.core.errors import EnvironmentProblemError, SettingsError
from gristmill.core.layout import HOME_VARIABLE, Layout

ADDRESS = "127.0.0.1"  # the UI has no log-in: whoever reaches it can run code
DEFAULT_PORT = 3000
_HIGHEST_PORT = 65535


def dev(
    port: Annotated[int, typer.Option(help="Port of the web UI.")] = DEFAULT_PORT,
    home: HomeOption = None,
) -> None:
    """Open the Dagster UI, with the daemon that schedules need, over the same instance that `run` uses."""
    if not 1 <= port <= _HIGHEST_PORT:
        raise SettingsError(f"--port {port}: give a port from 1 to {_HIGHEST_PORT}")
    _require_free(port)
    layout = Layout(home)
    from assets.waiting_partitions import instance_home

    environment = os.environ | {
        HOME_VARIABLE: layout.root if not layout.is_local else str(Path(layout.root).resolve()),
        "DAGSTER_HOME": str(instance_home(layout)),
        # `dg dev` wants a dg project; what it starts is the same.
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
    }
    console(is_error=True).print(
        f"Dagster UI over {plain(layout.root)}: [bold]http://{ADDRESS}:{port}[/] (Ctrl-C ends it)"
    )
    dagster = [sys.executable, "-m", "dagster", "dev", *_code(), "-h", ADDRESS, "-p", str(port)]
    # In this process's place: the supervisor ends the web server, the daemon and their runs, whichever signal comes.
    os.execve(sys.executable, [sys.executable, "-m", "assets.supervisor", *dagster], environment)  # noqa: S606  (that is the point)


def _code() -> list[str]:
    """Where the code is; a checkout's workspace.yaml, so that plain `dagster dev` there shows the same location."""
    spec = importlib.util.find_spec("assets")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (workspace := Path(folder).parent / "workspace.yaml").is_file():
            return ["-w", str(workspace)]
    return ["-m", "assets.definitions"]


def _require_free(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just let go is free
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise EnvironmentProblemError(
                f"port {port} of {ADDRESS} can't be used ({error.strerror}): give another with --port"
            ) from None
