"""Which document each token of a shard came from, kept for as long as the models that read it.

A shard lies beside its spans, and both go when the shard is made again. A training run therefore keeps the spans of
every shard it is given, by their content: `<root>/models/spans/<sha256>.parquet`, a hard link where that is possible.
Spans name documents by doc_id and hold no text.
"""

import contextlib
import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, storage_error
from training.digests import file_sha256
from training.shards import Shard

MANIFEST_NAME = "manifest.json"  # as pipelines.tokens.files writes it
COLUMNS = ("sequence", "start", "length", "doc_id", "doc_offset")
_SEGMENT = re.compile(r"/segment=([^/]+)/")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, order=True)
class Span:
    """Tokens of one document in one row of a shard."""

    sequence: int  # row of the shard
    start: int  # position in the row
    length: int  # tokens, the end-of-text token included
    doc_id: str
    doc_offset: int  # token of the document that lies at `start`


def keep_spans(layout: Layout, mixture: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the spans of every shard of a mixture, and say of each shard in it which spans are its.

    Args:
        layout: a local root.
        mixture: as mixture.json has it; one of an older version names no spans.

    Returns:
        The mixture with `spans` in each entry of `shards`.

    Raises:
        MissingDataError: a shard is not the one that the mixture speaks of, or its spans are gone or damaged.
        EnvironmentProblemError: the spans can't be written.
    """
    manifests: dict[str, dict[str, Any]] = {}
    shards: list[dict[str, Any]] = []
    for entry in mixture["shards"]:
        found = entry.get("spans") or current_spans(layout, str(entry["path"]), str(entry["sha256"]), manifests)
        if found is None:
            raise MissingDataError(
                f"shard {entry['path']} is not the one that training_mixture speaks of any more: "
                "run `gristmill run CORPUS --through training_mixture` again"
            )
        _keep(layout, str(found["path"]), str(found["sha256"]))
        shards.append(
            dict(entry) | {"spans": {"path": found["path"], "rows": found["rows"], "sha256": found["sha256"]}}
        )
    return dict(mixture) | {"shards": shards}


def current_spans(
    layout: Layout, shard: str, sha256: str, manifests: dict[str, dict[str, Any]] | None = None
) -> dict[str, Any] | None:
    """Path below the root, rows and sha256 of the spans beside a shard; None unless the shard is that of `sha256`.

    Args:
        layout: the root.
        shard: its path below the root.
        sha256: of the shard.
        manifests: those read so far, by folder; takes the ones that are read now.
    """
    manifests = {} if manifests is None else manifests
    folder, name = posixpath.split(shard)
    if folder not in manifests:
        manifests[folder] = layout.read_json(layout.join(folder, MANIFEST_NAME)) or {}
    splits: dict[str, Any] = manifests[folder].get("splits") or {}
    try:
        for split in splits.values():
            for entry in split.get("shards", ()):
                if entry["name"] == name and entry["sha256"] == sha256:
                    spans = entry["spans"]
                    facts = {"rows": spans["rows"], "sha256": spans["sha256"]}
                    return {"path": posixpath.join(folder, spans["name"]), **facts}
    except (KeyError, TypeError, AttributeError) as error:
        raise MissingDataError(
            f"{layout.join(folder, MANIFEST_NAME)} is not a manifest of shards ({type(error).__name__}: {error}): "
            "run `gristmill run CORPUS --through token_shards --force` to make it again"
        ) from None
    return None


def spans_file(layout: Layout, shard: Shard, manifests: dict[str, dict[str, Any]]) -> str | None:
    """The file that has the spans of a run's shard: kept, else beside the shard if it is still the same; else None.

    Args:
        layout: the root.
        shard: of the run's own mixture.
        manifests: as `current_spans`.
    """
    if shard.spans is not None:
        kept = layout.kept_spans_path(shard.spans.sha256)
        if layout.fs.exists(kept):
            return kept
    beside = current_spans(layout, shard.path, shard.sha256, manifests)
    if beside is None:
        return None
    path = layout.join(str(beside["path"]))
    return path if layout.fs.exists(path) else None


def segment_of(shard: str) -> str | None:
    """The segment whose shard lies at this path."""
    found = _SEGMENT.search(shard)
    return found[1] if found else None


def spans_of_rows(layout: Layout, path: str, rows: Collection[int]) -> list[Span]:
    """The spans of some rows of a shard, in the order of their tokens; row groups of other rows are not read.

    Raises:
        MissingDataError: the file can't be read.
    """
    wanted = pa.array(sorted(set(rows)), pa.int64())
    low, high = min(rows, default=0), max(rows, default=-1)
    found: list[Span] = []
    with _open_spans(layout, path) as parquet:
        for group in range(parquet.num_row_groups):
            statistics: Any = parquet.metadata.row_group(group).column(0).statistics
            if statistics is not None and statistics.has_min_max and (statistics.min > high or statistics.max < low):
                continue
            table = parquet.read_row_group(group, list(COLUMNS), use_threads=False)
            found += _spans(table.filter(pc.is_in(table.column("sequence"), wanted)))
    return sorted(found)


def spans_of_documents(layout: Layout, path: str, doc_ids: Collection[str]) -> list[Span]:
    """The spans of some documents in a shard, in the order of their tokens.

    Raises:
        MissingDataError: the file can't be read.
    """
    wanted = pa.array(sorted(set(doc_ids)), pa.string())
    found: list[Span] = []
    with _open_spans(layout, path) as parquet:
        for group in range(parquet.num_row_groups):
            mask: Any = pc.is_in(parquet.read_row_group(group, ["doc_id"], use_threads=False).column(0), wanted)
            if pc.any(mask).as_py():
                found += _spans(parquet.read_row_group(group, list(COLUMNS), use_threads=False).filter(mask))
    return sorted(found)


@contextlib.contextmanager
def _open_spans(layout: Layout, path: str) -> Iterator[pq.ParquetFile]:
    """A file of spans; damage is one line that names it, wherever in the file it shows."""
    try:
        with layout.fs.open(path, "rb") as file:
            yield pq.ParquetFile(cast(Any, file))
    except (pa.ArrowException, OSError, KeyError) as error:  # OSError: also Arrow's, of bytes that don't decompress
        raise MissingDataError(f"spans {path} can't be read ({' '.join(str(error).split())[:200]})") from None


def _spans(table: pa.Table) -> list[Span]:
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    return [Span(*row) for row in zip(*columns, strict=True)]


def _keep(layout: Layout, path: str, sha256: str) -> None:
    if not _SHA256.fullmatch(sha256):
        raise MissingDataError(f"spans {path} have no sha256 in the mixture: make training_mixture again")
    source, target = Path(layout.join(path)), Path(layout.kept_spans_path(sha256))
    if target.is_file():
        return
    unfinished = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = file_sha256(source)
        if digest != sha256:
            raise MissingDataError(
                f"spans {source} have sha256 {digest}, the mixture says {sha256}: "
                "run `gristmill run CORPUS --through training_mixture --force` again"
            )
        try:
            os.link(source, unfinished)  # a shard that is made again replaces its files, it does not write into them
        except OSError:
            shutil.copyfile(source, unfinished)
        unfinished.replace(target)
    except FileNotFoundError:
        raise MissingDataError(
            f"spans {source} are not there: run `gristmill run CORPUS --through token_shards --force` again"
        ) from None
    except OSError as error:
        raise storage_error(error, str(target)) from error
    finally:
        unfinished.unlink(missing_ok=True)
