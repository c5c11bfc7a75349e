"""Single rows out of Parquet parts, by the value of one column, without reading what lies around them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.layout import Layout
from pipelines.damage import reading

Match = Callable[[Any], Any]
"""A column to a mask of its rows."""


def among(values: Iterable[str]) -> Match:
    """Rows whose value is one of `values`."""
    wanted = pa.array(sorted(set(values)), pa.string())
    return lambda column: pc.is_in(column, wanted)


def beginning(prefix: str) -> Match:
    """Rows whose value begins with `prefix`."""
    return lambda column: pc.starts_with(column, prefix)


def matching(
    layout: Layout, paths: Sequence[str], column: str, match: Match, columns: Sequence[str] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The path and the row, as a dictionary, of each row that `match` takes.

    Of every row group `column` is read, and the rest only where something matches.

    Args:
        layout: where the parts lie.
        paths: the parts, in the order in which they are looked through; stop when you have what you want.
        column: what is compared.
        match: `among` or `beginning`.
        columns: what is wanted of the rows; all by default. Those that a part lacks are left out.

    Raises:
        MissingDataError: a part can't be read.
    """
    for path in paths:
        with reading(path), layout.fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(cast(Any, file))
            names = [name for name in parquet.schema_arrow.names if columns is None or name in columns]
            for group in range(parquet.num_row_groups):
                keys: Any = parquet.read_row_group(group, [column]).column(column)
                mask: Any = pc.fill_null(match(keys), False)
                if not pc.any(mask).as_py():
                    continue
                for batch in _filtered(parquet, group, names, mask):
                    for row in batch.to_pylist():
                        yield path, row


def _filtered(parquet: pq.ParquetFile, group: int, names: list[str], mask: Any) -> Iterator[pa.RecordBatch]:
    """The masked rows of a row group; its texts are held a few at a time."""
    start = 0
    for batch in parquet.iter_batches(512, row_groups=[group], columns=names):
        chosen = batch.filter(mask.slice(start, batch.num_rows).combine_chunks())
        start += batch.num_rows
        if chosen.num_rows:
            yield chosen
