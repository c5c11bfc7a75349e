"""A crawl file as record batches: one row per page, document or unreadable record."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.core.layout import Layout
from pipelines.crawl.arc import arc_rows
from pipelines.crawl.corpora import CrawlFile
from pipelines.crawl.documents import jsonl_rows, parquet_rows, text_rows
from pipelines.crawl.kinds import Kind
from pipelines.crawl.opening import open_crawl_file
from pipelines.crawl.rows import RECORD_SCHEMA, Row, document_id, host_of
from pipelines.crawl.selection import SelectedPages
from pipelines.crawl.warc import warc_rows

__all__ = ["RECORD_SCHEMA", "document_id", "read_records"]

BATCH_ROWS = 64
BATCH_BYTES = 16 << 20  # of bodies; with one body more at most, this bounds the memory of a task
_READERS: dict[Kind, Callable[[Any, int, Counter[str]], Iterator[Row]]] = {
    "warc": warc_rows,
    "wet": warc_rows,
    "arc": arc_rows,
    "jsonl": jsonl_rows,
    "parquet": parquet_rows,
    "text": text_rows,
}


def read_records(
    corpus: str, file: CrawlFile, max_body_bytes: int, tally: Counter[str], layout: Layout | None = None
) -> Iterator[pa.RecordBatch]:
    """Read one crawl file; at least one batch, of no rows where the file holds none.

    What can't be read is a row with a reason in `_broken`, in its place among its neighbours.

    Args:
        corpus: name of the corpus, part of every doc_id.
        file: as registered.
        max_body_bytes: larger payloads are `broken_oversized` and never held whole.
        tally: counts `record_<type>` and other facts that are not rows.
        layout: where lists of chosen pages and downloads lie.

    Yields:
        Batches of RECORD_SCHEMA, up to BATCH_ROWS rows and about BATCH_BYTES of bodies.

    Raises:
        OSError: the file can't be opened or its storage fails.
    """
    rows: list[Row] = []
    held = 0
    is_empty = True
    with open_crawl_file(file, layout) as stored:
        is_selection = isinstance(stored, SelectedPages)
        read = stored.rows if is_selection else partial(_READERS[file.kind], stored)
        for row in read(max_body_bytes, tally):
            tally.update(row.notes)
            rows.append(row)
            held += len(row.body or b"")
            if len(rows) >= BATCH_ROWS or held >= BATCH_BYTES:
                yield _batch(corpus, file, rows)
                rows, held, is_empty = [], 0, False
    if rows or is_empty:
        yield _batch(corpus, file, rows)


def _batch(corpus: str, file: CrawlFile, rows: list[Row]) -> pa.RecordBatch:
    columns: dict[str, list[Any]] = {
        "doc_id": [document_id(corpus, row.warc_file or file.name, row.offset, row.number) for row in rows],
        "url": [row.url for row in rows],
        "host": [host_of(row.url) if row.url else None for row in rows],
        "corpus": [corpus] * len(rows),
        "segment": [file.segment] * len(rows),
        "warc_file": [row.warc_file or file.name for row in rows],
        "warc_offset": [row.offset for row in rows],
        "fetched_at": [row.fetched_at for row in rows],
        "http_status": [row.http_status for row in rows],
        "content_type": [row.content_type for row in rows],
        "charset": [row.charset for row in rows],
        "warc_record": [row.number for row in rows],
        "body_bytes": [None if row.body is None else len(row.body) for row in rows],
        "_title": [row.title for row in rows],
        "_is_text": [row.is_text for row in rows],
        "_is_revisit": [row.is_revisit for row in rows],
        "_robots": [row.robots for row in rows],
        "_tdm": [row.tdm for row in rows],
        "_tdm_policy": [row.tdm_policy for row in rows],
        "_content_language": [row.content_language for row in rows],
        "_broken": [row.broken for row in rows],
        "_score": [row.score for row in rows],
        "_threshold": [row.threshold for row in rows],
        "_detail": [row.detail for row in rows],
    }
    bodies = _large_binary([row.body for row in rows])
    return pa.record_batch(
        [bodies if f.name == "_body" else pa.array(columns[f.name], f.type) for f in RECORD_SCHEMA],
        schema=RECORD_SCHEMA,
    )


def _large_binary(values: list[bytes | None]) -> Any:
    """A large_binary array; pyarrow's own conversion makes room for megabytes by copying them again and again."""
    held = [value or b"" for value in values]
    offsets = np.zeros(len(held) + 1, np.int64)
    np.cumsum([len(value) for value in held], out=offsets[1:])
    is_valid = pa.array([value is not None for value in values], pa.bool_()).buffers()[1]
    buffers = [is_valid, pa.py_buffer(offsets), pa.py_buffer(b"".join(held))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(held), buffers)
