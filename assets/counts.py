"""Counting documents without believing a report: from the footers of the Parquet files themselves."""

from dataclasses import dataclass
from typing import Any, cast

from gristmill.core.layout import Layout, Partition
from pipelines.stages import Stage


@dataclass(frozen=True)
class Balance:
    """Rows of one partition before and after a stage."""

    partition: Partition
    rows_in: int
    rows_kept: int
    rows_rejected: int

    @property
    def is_even(self) -> bool:
        """Whether nothing vanished and nothing was invented."""
        return self.rows_in == self.rows_kept + self.rows_rejected

    def __str__(self) -> str:
        relation = "=" if self.is_even else "≠"
        return f"{self.partition.key}: {self.rows_in:,} in {relation} {self.rows_kept:,} + {self.rows_rejected:,}"


def rows_of(layout: Layout, folder: str) -> int:
    """Rows of all Parquet files of `folder`, from their footers.

    Raises:
        MissingDataError: one can't be read; the line names it and the way out.
    """
    import pyarrow.parquet as pq

    from pipelines.damage import reading

    total = 0
    for path in layout.parts(folder):
        with reading(path), layout.fs.open(path, "rb") as file:
            total += pq.read_metadata(cast(Any, file)).num_rows
    return total


def balance(layout: Layout, stage: Stage, partition: Partition) -> Balance:
    """Count one committed partition of a map stage.

    The input of the first stage is crawl files, whose records nobody can count but by reading them: there
    the count of records comes from the report, and kept and rejected from the files.
    """
    report = layout.require_report(stage.name, partition)
    if stage.reads:
        rows_in = rows_of(layout, layout.partition_dir(stage.reads[0], partition))
    else:
        rows_in = int(report["rows_in"])
    kept = rows_of(layout, layout.partition_dir(stage.name, partition))
    return Balance(partition, rows_in, kept, rows_of(layout, layout.quarantine_dir(stage.name, partition)))
