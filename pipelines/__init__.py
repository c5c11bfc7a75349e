"""What happens to documents: Spark, Arrow and plain Python. Never imports dagster."""

import gc

# Python's own limit (700 containers) has it search for garbage at every few rows that are made; what is in cycles here
# is little, and waits.
gc.set_threshold(50_000, 20, 20)
