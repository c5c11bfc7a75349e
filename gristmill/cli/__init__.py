"""The command line."""

import gc

# Before anything else is imported: Python's own limit (700 containers) has it search for garbage a thousand times while
# Dagster is imported, a third of what starting costs.
gc.set_threshold(50_000, 20, 20)
