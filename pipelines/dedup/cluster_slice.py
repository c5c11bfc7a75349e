"""What the state says of one corpus, as the files that its partition of `duplicate_clusters` commits."""

import hashlib
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from gristmill.core.layout import Layout, Partition
from pipelines.dedup.cluster_inputs import Inputs
from pipelines.dedup.cluster_state import StateFolder
from pipelines.dedup.duplicate_files import (
    REPRESENTATIVE_FOLDER,
    FixedGroupWriter,
    duplicate_path,
    representative_path,
)
from pipelines.dedup.state_damage import damaged_state, reading_state
from pipelines.schema import DUPLICATE_SCHEMA

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipelines.spark.session import Spark

_BLOCK = 8 << 20  # bytes of a file that are in memory while it is copied
_FILES_OF_TASK = 64


@dataclass(frozen=True)
class Copy:
    """A file of the state, where it goes, and what it was when it was written."""

    root: str
    source: str
    target: str
    bytes: int
    sha256: str


def write_slice(
    spark: "Spark | SparkSession", layout: Layout, state: StateFolder, folder: str, inputs: Inputs
) -> dict[str, Any]:
    """Copy the files of the corpus's segments into `folder`; returns the numbers and files of the report.

    Raises:
        MissingDataError, or Spark's error that holds it: a file is not the one that the state describes.
    """
    copies: list[Copy] = []
    files: list[dict[str, Any]] = []
    segments = sorted(inputs.own)
    layout.fs.makedirs(posixpath.join(folder, REPRESENTATIVE_FOLDER), exist_ok=True)
    for index, segment in enumerate(segments):
        for file in state.state.segments[Partition(inputs.corpus, segment).key].files:
            target = (duplicate_path if file["kind"] == "kept" else representative_path)(folder, index)
            source = state.full(str(file["path"]))
            copies.append(Copy(layout.root, source, target, int(file["bytes"]), str(file["sha256"])))
            files.append(
                {key: file[key] for key in ("rows", "bytes", "sha256", "kind", "number")}
                | {"segment": segment, "name": posixpath.basename(target)}
            )
    tasks = -(-len(copies) // _FILES_OF_TASK)
    if tasks:
        spark.sparkContext.parallelize(copies, tasks).foreach(copy_file)
    files.sort(key=lambda file: (file["kind"], file["segment"]))
    if not any(file["kind"] == "kept" for file in files):  # a folder of Parquet has a schema, with nothing in it too
        empty = FixedGroupWriter(layout, duplicate_path(folder, 0), DUPLICATE_SCHEMA).close()
        files.insert(0, empty | {"kind": "kept", "segment": segments[0], "number": 0})
    return _summary(files)


def copy_file(copy: Copy) -> None:
    """Copy one file, if it is still what was written.

    Raises:
        MissingDataError: it is gone, or its bytes are others.
    """
    layout, digest, size = Layout(copy.root), hashlib.sha256(), 0
    with (
        reading_state(copy.source),
        layout.fs.open(copy.source, "rb") as source,
        layout.fs.open(copy.target, "wb") as target,
    ):
        while block := cast(bytes, source.read(_BLOCK)):
            digest.update(block)
            size += len(block)
            cast(Any, target).write(block)
    if (size, digest.hexdigest()) != (copy.bytes, copy.sha256):
        what = f"{copy.source} has {size:,} bytes that are not the {copy.bytes:,} that were written"
        raise damaged_state(copy.source, what)


def _summary(files: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of the report, added up over the files."""
    duplicates = [file for file in files if file["kind"] == "kept"]
    heads = [file for file in files if file["kind"] == "representatives"]
    exact = sum(int(file["number"]) for file in duplicates)
    every = [{key: value for key, value in file.items() if key != "number"} for file in files]
    return {
        "clusters": sum(int(file["rows"]) for file in heads),
        "exact": exact,
        "near": sum(int(file["rows"]) for file in duplicates) - exact,
        "largest_cluster": max((int(file["number"]) for file in heads), default=0),
        "files": every,
        "quarantine_files": [],
        "bytes": sum(int(file["bytes"]) for file in every),
    }
