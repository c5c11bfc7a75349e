"""The Dagster instance that the command line and the UI share, as the command line opens it."""

import os
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData
from sqlalchemy.exc import SQLAlchemyError

from assets.waiting_partitions import HOME_VARIABLE, instance_home, offer_waiting
from gristmill.core.errors import EnvironmentProblemError
from gristmill.core.layout import Layout


def open_instance(layout: Layout) -> dg.DagsterInstance:
    """Open the instance of `layout`, and let everything started from here use the same one."""
    home = instance_home(layout)
    os.environ[HOME_VARIABLE] = str(home)
    try:
        instance = dg.DagsterInstance.from_ref(_reference(home))
        offer_waiting(instance, home)
        return instance
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


def _reference(home: Path) -> InstanceRef:
    """The instance in `home` as a process should open it that executes runs itself.

    Its compute logs are written beside this process's own output instead of in its place, and SQLite's connections are
    kept. What a deployment has put in the place of either is left as it is.
    """
    found = InstanceRef.from_dir(str(home))
    logs, storage = found.compute_logs_data, found.storage_data
    if logs.class_name == "LocalComputeLogManager":
        logs = ConfigurableClassData("assets.logs", "QuietComputeLogManager", logs.config_yaml)
    if storage is not None and storage.class_name == "DagsterSqliteStorage":
        storage = ConfigurableClassData("assets.records", "KeptSqliteStorage", storage.config_yaml)
    return found._replace(compute_logs_data=logs, storage_data=storage)
