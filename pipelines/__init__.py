"""What happens to documents: Spark, Arrow and plain Python. Never imports dagster."""
