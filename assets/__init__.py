"""When it happens: the Dagster code location. Imports neither pyspark nor torch."""

import warnings

# Parts of Dagster that we use knowingly though it calls them beta: a warning each would bury a user's terminal.
# By message alone, since naming the category would import dagster into every worker's supervisor.
for _used in (
    "Class `MultiToSingleDimensionPartitionMapping` is currently in beta",
    "Parameter `backfill_policy` of function `asset` is currently in beta",
    "Parameter `owners` of initializer `SensorDefinition.__init__` is currently in beta",
    "Specifying a partitions_def on an AssetCheckSpec is currently in preview",
):
    warnings.filterwarnings("ignore", message=_used)
