"""Where everything lies under GRISTMILL_HOME. No other module joins a path of its own.

<root>/corpora/<corpus>.json                                   the registration of a corpus
<root>/corpora/<corpus>.<hash>.pages.parquet                   pages of it chosen from Common Crawl's index
<root>/downloads/                                              crawl files until their partition is committed
<root>/<asset>/corpus=<c>/segment=<s>/part-*.parquet           documents, with report.json as the commit
<root>/quarantine/<asset>/corpus=<c>/segment=<s>/part-*.parquet
<root>/signals/<asset>/corpus=<c>/segment=<s>/part-*.parquet   what was measured of every document, kept or not
<root>/cluster_state/<scope>/<settings>/<version>/             what clustering remembers: pipelines.dedup.cluster_state;
                                                               may be removed when nothing runs, and is made again
<root>/cache/                                                  may be removed at any time
<root>/index/                                                  where pages lie: made on first use, may be removed too
<root>/tokenizer/<version>/                                    tokenizer.json and its companions
<root>/token_shards/corpus=<c>/segment=<s>/                    shard-*.arrow, spans-*.parquet, manifest.json
<root>/models/<asset>/<run id>/                                checkpoints/, final/, metrics.jsonl, report.json
<root>/models/spans/<sha256>.parquet                           spans of every shard that a run was given
"""

import json
import os
import posixpath
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import fsspec

from gristmill.core.errors import EnvironmentProblemError, MissingDataError, SettingsError

HOME_VARIABLE = "GRISTMILL_HOME"
DEFAULT_HOME = "./data"
REPORT_NAME = "report.json"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_safe_name(name: str) -> bool:
    """Say whether `name` can be a corpus or segment: one path component, no dots that climb."""
    return bool(_SAFE_NAME.fullmatch(name)) and ".." not in name


@dataclass(frozen=True, order=True)
class Partition:
    """One cell of the grid corpus × segment; `segment` is None for what exists once per corpus."""

    corpus: str
    segment: str | None = None

    def __post_init__(self) -> None:
        for part in (self.corpus, self.segment):
            if part is not None and not is_safe_name(part):
                raise SettingsError(
                    f"{part!r} can't name a corpus or segment: use letters, digits, '.', '_' and '-' only"
                )

    @property
    def key(self) -> str:
        """The Dagster partition key: `corpus|segment`, or `corpus` alone."""
        return self.corpus if self.segment is None else f"{self.corpus}|{self.segment}"

    @property
    def path(self) -> str:
        """The Hive-style relative folder."""
        tail = "" if self.segment is None else f"/segment={self.segment}"
        return f"corpus={self.corpus}{tail}"

    @classmethod
    def parse(cls, key: str) -> "Partition":
        """Read a Dagster partition key back."""
        corpus, _, segment = key.partition("|")
        return cls(corpus, segment or None)


class Layout:
    """Paths and small files under one root, which may be a local folder or any fsspec URL."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = os.fspath(root) if root is not None else os.environ.get(HOME_VARIABLE, DEFAULT_HOME)
        self.fs, base = cast(tuple[fsspec.AbstractFileSystem, str], fsspec.core.url_to_fs(self.root))
        self.base = base.rstrip("/") or "/"
        self.is_local = "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))

    def __reduce__(self) -> tuple[type["Layout"], tuple[str]]:
        """Travel to Spark's workers as the root alone."""
        return Layout, (self.root,)

    def join(self, *parts: str) -> str:
        """Join below the root; the result belongs to `self.fs`."""
        return posixpath.join(self.base, *parts)

    # -- documents -------------------------------------------------------------------------------
    def partition_dir(self, asset: str, partition: Partition) -> str:
        """Folder of one partition of one asset."""
        return self.join(asset, partition.path)

    def quarantine_dir(self, asset: str, partition: Partition) -> str:
        """Folder of the rows that `asset` rejected in `partition`."""
        return self.join("quarantine", asset, partition.path)

    def signals_dir(self, asset: str, partition: Partition) -> str:
        """Folder of the signals that `asset` measured in `partition`."""
        return self.join("signals", asset, partition.path)

    def cache_path(self, name: str) -> str:
        """A file that saves work and nothing else: it may be missing, or removed at any time."""
        return self.join("cache", name)

    def index_dir(self, asset: str, partition: Partition) -> str:
        """Folder of the indexes of one partition, which save work and nothing else."""
        return self.join("index", asset, partition.path)

    def cluster_states_dir(self, corpus: str | None) -> str:
        """Folder of the states of clustering one corpus by itself; None: of clustering all of them together."""
        return self.join("cluster_state", "all" if corpus is None else Partition(corpus).path)

    def new_temporary_dir(self, asset: str, partition: Partition) -> str:
        """A folder nobody reads, below the root so that a rename into place stays on one device."""
        return self.join(".tmp", asset, partition.path, uuid.uuid4().hex[:12])

    def temporary_dir(self, asset: str, partition: Partition) -> str:
        """The folder that holds every unfinished attempt at `partition`."""
        return self.join(".tmp", asset, partition.path)

    def parts(self, folder: str, suffix: str = ".parquet") -> list[str]:
        """Files of a folder that end in `suffix`, sorted by name; empty if the folder is not there."""
        if not self.fs.exists(folder):
            return []
        return sorted(p for p in cast(list[str], self.fs.ls(folder, detail=False)) if p.endswith(suffix))

    def report(self, asset: str, partition: Partition) -> dict[str, Any] | None:
        """The committed report of a partition, or None where nothing is committed."""
        return self.read_json(self.join(self.partition_dir(asset, partition), REPORT_NAME))

    def require_report(self, asset: str, partition: Partition) -> dict[str, Any]:
        """The committed report, or an error that says what to materialize."""
        report = self.report(asset, partition)
        if report is None:
            raise MissingDataError(
                f"{asset} {partition.key} is not materialized under {self.root}: "
                f"run `gristmill run {partition.corpus} --through {asset}` first"
            )
        return report

    def committed(self, asset: str) -> Iterator[Partition]:
        """Every committed partition of `asset`, in sorted order."""
        pattern = self.join(asset, "corpus=*", "**", REPORT_NAME)
        found: set[Partition] = set()
        for path in cast(list[str], self.fs.glob(pattern)):
            keys = dict(p.split("=", 1) for p in path.split("/") if p.startswith(("corpus=", "segment=")))
            found.add(Partition(keys["corpus"], keys.get("segment")))
        yield from sorted(found, key=lambda p: (p.corpus, p.segment or ""))

    # -- things that exist once --------------------------------------------------------------------
    def corpus_path(self, corpus: str) -> str:
        """The registration of a corpus."""
        return self.join("corpora", f"{Partition(corpus).corpus}.json")

    def selection_path(self, name: str) -> str:
        """A file of the registry that lists chosen pages; `name` is one path component."""
        return self.join("corpora", name)

    def downloads_dir(self) -> str:
        """Where crawl files from web servers lie until they are no longer needed."""
        return self.join("downloads")

    def singleton_dir(self, asset: str) -> str:
        """Folder of an asset without partitions that is neither a model nor versioned."""
        return self.join(asset)

    def tokenizer_dir(self, version: str) -> str:
        """Folder of one tokenizer version."""
        return self.join("tokenizer", version)

    def model_dir(self, asset: str, run_id: str) -> str:
        """Folder of one training run."""
        if not is_safe_name(run_id):
            raise SettingsError(f"{run_id!r} can't name a run: use letters, digits, '.', '_' and '-' only")
        return self.join("models", asset, run_id)

    def kept_spans_path(self, sha256: str) -> str:
        """The spans of a shard that a training run was given, by content: they outlive the shard."""
        return self.join("models", "spans", f"{sha256}.parquet")

    def latest(self, folder: str) -> tuple[str, dict[str, Any]] | None:
        """The committed child of `folder` that was made, or chosen again, last: (name, report).

        A run whose inputs and settings were already there is not made twice; its `selected_at` is renewed (`select`).
        """
        best: tuple[str, str, dict[str, Any]] | None = None
        for path in cast(list[str], self.fs.glob(posixpath.join(folder, "*", REPORT_NAME))):
            report = self.read_json(path)
            if report is not None:
                candidate = (
                    str(report.get("selected_at") or report.get("created_at", "")),
                    posixpath.basename(posixpath.dirname(path)),
                    report,
                )
                if best is None or candidate[:2] > best[:2]:
                    best = candidate
        return None if best is None else (best[1], best[2])

    def with_fingerprint(self, folder: str, fingerprint: str) -> dict[str, Any] | None:
        """The report of the committed child of `folder` that was made of just that, None where there is none."""
        for path in sorted(cast(list[str], self.fs.glob(posixpath.join(folder, "*", REPORT_NAME)))):
            report = self.read_json(path)
            if report is not None and report.get("fingerprint") == fingerprint:
                return report
        return None

    def select(self, folder: str, report: dict[str, Any], moment: str) -> dict[str, Any]:
        """Make `folder`, whose committed report this is, what `latest` finds; returns the new report."""
        renewed = report | {"selected_at": moment}
        self.write_json(posixpath.join(folder, REPORT_NAME), renewed)
        return renewed

    # -- small files -------------------------------------------------------------------------------
    def read_json(self, path: str) -> dict[str, Any] | None:
        """Read a JSON object, None where the file is not there."""
        try:
            with self.fs.open(path, "rb") as file:
                value: object = json.load(file)
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise storage_error(error, self.root) from None
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MissingDataError(f"{path} is not valid JSON ({error}): remove it and run again") from None
        except IsADirectoryError:
            raise MissingDataError(f"{path} is a folder, no file: remove it and run again") from None
        if not isinstance(value, dict):
            raise MissingDataError(f"{path} holds no JSON object: remove it and run again")
        return cast(dict[str, Any], value)

    def write_json(self, path: str, value: object) -> None:
        """Write JSON whole or not at all (local: rename; object stores put whole objects anyway)."""
        data = (json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True, default=str) + "\n").encode()
        self.write_bytes(path, data)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a small file whole or not at all."""
        try:
            self.fs.makedirs(posixpath.dirname(path), exist_ok=True)
            if not self.is_local:
                self.fs.pipe_file(path, data)
                return
            temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
            try:
                with self.fs.open(temporary, "wb") as file:
                    cast(Any, file).write(data)
                Path(temporary).replace(path)
            finally:
                if self.fs.exists(temporary):
                    self.fs.rm(temporary)
        except OSError as error:
            raise storage_error(error, path) from error


def storage_error(error: OSError, path: str) -> EnvironmentProblemError:
    """Turn an operating-system error on `path` into a line with a way out."""
    return EnvironmentProblemError(
        f"can't write {path}: {error.strerror or error}; free space there, mend its permissions, "
        f"or point {HOME_VARIABLE} elsewhere, then run the same command again"
    )
