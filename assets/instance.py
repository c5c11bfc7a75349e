"""The Dagster instance that the command line and the UI share."""

import os
from importlib import resources
from pathlib import Path

import dagster as dg
from dagster._serdes import ConfigurableClassData
from sqlalchemy.exc import SQLAlchemyError

from gristmill.core.errors import EnvironmentProblemError, SettingsError
from gristmill.core.layout import Layout, storage_error

HOME_VARIABLE = "DAGSTER_HOME"


def instance_home(layout: Layout) -> Path:
    """DAGSTER_HOME where it is set, else `dagster/` below a local root; made with our dagster.yaml if new.

    Raises:
        SettingsError: DAGSTER_HOME is not set and the root is not a local folder.
        EnvironmentProblemError: the folder can't be made.
    """
    named = os.environ.get(HOME_VARIABLE)
    if not named and not layout.is_local:
        raise SettingsError(f"the root {layout.root} is not a local folder: set {HOME_VARIABLE} to one for Dagster")
    home = Path(named).expanduser().absolute() if named else Path(layout.join("dagster")).absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        settings = home / "dagster.yaml"
        if not settings.exists():
            settings.write_text(resources.files("assets").joinpath("dagster.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise storage_error(error, str(home)) from error
    return home


def open_instance(layout: Layout) -> dg.DagsterInstance:
    """Open the instance of `layout`, and let everything started from here use the same one."""
    home = instance_home(layout)
    os.environ[HOME_VARIABLE] = str(home)
    try:
        return dg.DagsterInstance.from_config(str(home))
    except (SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise EnvironmentProblemError(
            f"can't write the Dagster instance in {home}: {reason}; free space there, mend its permissions, or point "
            f"{HOME_VARIABLE} elsewhere, then run the same command again"
        ) from None
    except dg.DagsterError as error:
        raise EnvironmentProblemError(
            f"can't open the Dagster instance in {home}: {' '.join(str(error).split())[:300]}; mend its dagster.yaml"
        ) from None


def quiet(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The same instance, its compute logs written beside this process's own output instead of in its place."""
    if not instance.is_persistent:
        return instance
    reference = instance.get_ref()
    logs = reference.compute_logs_data
    if logs.class_name != "LocalComputeLogManager":  # a deployment's own: leave it
        return instance
    ours = ConfigurableClassData("assets.logs", "QuietComputeLogManager", logs.config_yaml)
    return dg.DagsterInstance.from_ref(reference._replace(compute_logs_data=ours))
