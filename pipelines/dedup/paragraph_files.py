"""Which documents lose which paragraphs to another, found on Spark; one file per segment.

`_repeated_paragraphs/part-<n>.parquet` beside the duplicates of the n-th segment lists documents of it that stay and
the lines they lose (REPEATED_SCHEMA). Of equal paragraphs the first stays, in the order in which documents of a
cluster stand (corpus preference, quality, fetch time, content hash, doc_id), and within a document from the top: no
order of arrival and no sharding plays a part. A task reads one part of texts and its signatures, and sends on one
row per different paragraph: a footer that a million pages have is a row per part, not a million, in the shuffle.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading
from pipelines.dedup.duplicate_files import FixedGroupWriter
from pipelines.dedup.paragraphs import Paragraphs, paragraphs

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TEXTS, SIGNATURES = "quality_filtered_documents", "minhash_signatures"
FOLDER = "_repeated_paragraphs"
KIND = "repeated_paragraphs"
REPEATED_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("lines", pa.list_(pa.int32())),  # numbers of the lines that go, ascending
        ("hashes", pa.list_(pa.int64())),  # what each of them says: a text that was made anew is not cut blindly
    ]
)
_ROW_SCHEMA = "hash bigint, part int, is_settled boolean, standing binary, segment int, line int"
_FILE_SCHEMA = "name string, rows bigint, bytes bigint, sha256 string, kind string, segment string, number bigint"
_STANDING_BYTES = 34  # before the doc_id
_READ_ROWS = 512
_WRITE_ROWS = 4096
_NEVER = np.iinfo(np.int64).max  # a document without a fetch time is taken for the youngest


@dataclass(frozen=True)
class Source:
    """One part of texts, what is known of its documents, and which of them went as duplicates."""

    text: str  # path below quality_filtered_documents
    signatures: str  # of the same documents
    duplicates: str | None  # of the segment; None, or a path where nothing lies, says that it has none
    segment: int  # index in the list of segments
    preference: int  # of its corpus: less is preferred


def repeated_path(folder: str, index: int) -> str:
    """The file of the paragraphs that documents of the `index`-th segment of a corpus lose."""
    return posixpath.join(folder, FOLDER, f"part-{index:05d}.parquet")


def write_repeated_paragraphs(
    spark: "SparkSession",
    layout: Layout,
    folder: str,
    corpus: str,
    segments: Sequence[Partition],
    *,
    duplicates: Mapping[Partition, str],
    preferred_corpora: Sequence[str] = (),
    min_characters: int = 0,
) -> list[dict[str, Any]]:
    """Find the paragraphs that documents of `corpus` lose, and write them below `folder`.

    Args:
        spark: the session.
        layout: where the texts and signatures lie.
        folder: that the files of `corpus` are written to, of the attempt.
        corpus: whose segments get a file each.
        segments: of all corpora that are compared, those of `corpus` included.
        duplicates: the file of the duplicates (DUPLICATE_SCHEMA) of each segment that has any; only documents that
            are not in it keep a paragraph from others, or lose one.
        preferred_corpora: earlier ones keep their paragraphs; those not named come after, all alike.
        min_characters: of a normalised paragraph; shorter ones stay wherever they are.

    Returns:
        One description per segment of `corpus` that loses any: name, rows (documents), bytes, sha256, kind, segment,
        number (paragraphs).

    Raises:
        MissingDataError: a segment has no texts; or, from the tasks, a part can't be read.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    ordered = sorted(segments, key=lambda p: (p.corpus, p.segment or ""))
    names = [str(p.segment) for p in ordered if p.corpus == corpus]
    first = next(index for index, p in enumerate(ordered) if p.corpus == corpus)
    parts = _parts(layout, ordered, duplicates, preferred_corpora)
    layout.fs.makedirs(posixpath.join(folder, FOLDER), exist_ok=True)
    root = layout.root

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for index in batch.column("id").to_pylist():
                yield from paragraph_rows(root, parts[index], index, min_characters)

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for file in write_files(root, folder, names, batches):
            yield pa.RecordBatch.from_pylist([file])

    rows = spark.range(0, len(parts), 1, max(len(parts), 1)).mapInArrow(read, _ROW_SCHEMA)
    # What is settled within its part is spread over the parts, so that no paragraph makes one task the longest.
    origin = f.when(f.col("is_settled"), f.col("part")).otherwise(-1)
    # A rank: a record that lies in two parts of one segment is one document, which can't keep and lose a paragraph.
    place = f.rank().over(Window.partitionBy("hash", origin).orderBy("standing", "segment", "line"))
    lost = (
        rows.withColumn("place", place)
        .where("(is_settled OR place > 1)")
        .where(f.col("segment").between(first, first + len(names) - 1))
        .select(
            (f.col("segment") - first).alias("segment"),
            f.expr(f"cast(substring(standing, {_STANDING_BYTES + 1}) as string)").alias("doc_id"),
            "line",
            "hash",
        )
    )
    found = _collected(lost.repartition("segment").sortWithinPartitions("segment", "doc_id", "line"), write)
    return sorted(found, key=lambda file: file["segment"])


def _collected(frame: "DataFrame", write: Any) -> list[dict[str, Any]]:
    return [row.asDict() for row in frame.mapInArrow(write, _FILE_SCHEMA).collect()]


def _parts(
    layout: Layout, segments: Sequence[Partition], duplicates: Mapping[Partition, str], preferred: Sequence[str]
) -> list[Source]:
    ranks = {name: rank for rank, name in reversed(list(enumerate(preferred)))}
    for partition in segments:
        layout.require_report(TEXTS, partition)
    return [
        Source(
            path,
            posixpath.join(layout.partition_dir(SIGNATURES, partition), posixpath.basename(path)),
            duplicates.get(partition),
            index,
            ranks.get(partition.corpus, len(preferred)),
        )
        for index, partition in enumerate(segments)
        for path in layout.parts(layout.partition_dir(TEXTS, partition))
    ]


def paragraph_rows(root: str, part: Source, index: int, min_characters: int) -> Iterator[pa.RecordBatch]:
    """The paragraphs of a part's documents that stay (_ROW_SCHEMA): of equal ones the first is still open.

    The others of equal ones are settled: whoever keeps the paragraph in the end, they don't. Memory is 16 bytes a
    paragraph, and the identities of the part's documents.
    """
    layout = Layout(root)
    standing = _standing(layout, part)
    keys = pa.array(list(standing), pa.string())
    order = np.argsort(np.argsort(np.array(list(standing.values()), object))) if standing else np.empty(0, np.int64)
    owners: list[npt.NDArray[np.int32]] = []
    pieces: list[Paragraphs] = []
    seen: set[int] = set()
    with reading(part.text), layout.fs.open(part.text, "rb") as file:
        for batch in pq.ParquetFile(cast(Any, file)).iter_batches(_READ_ROWS, columns=["doc_id", "text"]):
            places: Any = pc.index_in(batch.column("doc_id"), keys)
            for place, text in zip(places.to_pylist(), batch.column("text").to_pylist(), strict=True):
                if place is not None and text and place not in seen:
                    seen.add(place)  # twice in one part it is one document too
                    pieces.append(paragraphs(text, min_characters))
                    owners.append(np.full(len(pieces[-1].lines), place, np.int32))
    if not pieces:
        return
    owner = np.concatenate(owners)
    line, hashes = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("lines", "hashes"))
    sequence = np.lexsort((line, order[owner], hashes))
    owner, line, hashes = owner[sequence], line[sequence], hashes[sequence]
    is_settled = np.concatenate([[False], hashes[1:] == hashes[:-1]])
    standings: Any = pa.array(standing.values(), pa.binary())
    for start in range(0, len(owner), 1 << 16):
        cut = slice(start, start + (1 << 16))
        count = len(owner[cut])
        yield pa.record_batch(
            {
                "hash": hashes[cut],
                "part": np.full(count, index, np.int32),
                "is_settled": pa.array(is_settled[cut]),
                "standing": standings.take(pa.array(owner[cut])),
                "segment": np.full(count, part.segment, np.int32),
                "line": line[cut],
            }
        )


def _standing(layout: Layout, part: Source) -> dict[str, bytes]:
    """doc_id to what orders documents as bytes, of the documents of a part that are no duplicates."""
    columns = ["doc_id", "quality", "fetched_at", "content_hash"]
    with reading(part.signatures), layout.fs.open(part.signatures, "rb") as file:
        table = pq.ParquetFile(cast(Any, file)).read(columns)
    if part.duplicates is not None and layout.fs.exists(part.duplicates):
        with reading(part.duplicates), layout.fs.open(part.duplicates, "rb") as file:
            gone = pq.ParquetFile(cast(Any, file)).read(["doc_id"]).column("doc_id")
        table = table.filter(pc.invert(pc.is_in(table.column("doc_id"), gone)))
    ids = table.column("doc_id").to_pylist()
    return dict(zip(ids, standings(table, part.preference), strict=True))


def standings(signatures: pa.Table, preference: int) -> list[bytes]:
    """What the representative of a cluster is chosen by, as bytes that compare alike; the doc_id is their end.

    Args:
        signatures: columns doc_id, quality, fetched_at and content_hash.
        preference: of the corpus; less is preferred.
    """
    count = signatures.num_rows
    fixed = np.empty(count, [("preference", ">u2"), ("quality", ">u8"), ("fetched", ">u8"), ("hash", "S16")])
    assert fixed.itemsize == _STANDING_BYTES
    fixed["preference"] = preference
    quality = np.nan_to_num(np.asarray(signatures.column("quality").fill_null(0.0)), nan=0.0)
    bits = (0.0 - quality).view(np.int64)  # a positive number's bits ascend with it, a negative one's descend
    fixed["quality"] = _ascending(np.where(bits < 0, bits ^ np.int64(_NEVER), bits))
    fetched = signatures.column("fetched_at").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).fill_null(_NEVER)
    fixed["fetched"] = _ascending(np.asarray(fetched).astype(np.int64))
    fixed["hash"] = [value or b"" for value in signatures.column("content_hash").to_pylist()]
    data = fixed.tobytes()
    ids = signatures.column("doc_id").to_pylist()
    size = _STANDING_BYTES
    return [data[row * size : (row + 1) * size] + str(ids[row]).encode() for row in range(count)]


def _ascending(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Unsigned numbers in the order of signed ones."""
    return values.view(np.uint64) ^ np.uint64(1 << 63)


def write_files(
    root: str, folder: str, segments: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> Iterator[dict[str, Any]]:
    """Write rows (segment, doc_id, line, hash), sorted by all but the last; describes each file."""
    for index, documents in groupby(_documents(batches), key=lambda document: document[0]):
        writer = FixedGroupWriter(Layout(root), repeated_path(folder, index), REPEATED_SCHEMA)
        number = 0
        while some := list(islice(documents, _WRITE_ROWS)):
            _, ids, lines, hashes = map(list, zip(*some, strict=True))
            number += sum(map(len, lines))
            writer.write(pa.record_batch([ids, lines, hashes], schema=REPEATED_SCHEMA))
        yield writer.close() | {"kind": KIND, "segment": segments[index], "number": number}


def _documents(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, str, list[int], list[int]]]:
    """The rows of each document together, however the batches cut them."""
    rows = (
        row
        for batch in batches
        for row in zip(*(batch.column(name).to_pylist() for name in ("segment", "doc_id", "line", "hash")), strict=True)
    )
    for (segment, doc_id), group in groupby(rows, key=lambda row: row[:2]):
        lines = dict(row[2:] for row in group)  # once each, where a record lies in two parts
        yield segment, doc_id, list(lines), list(lines.values())
