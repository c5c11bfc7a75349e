"""The Dagster instance that the command line and the UI share."""

import os

import dagster as dg
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
        instance = dg.DagsterInstance.from_config(str(home))
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
