"""Stands in for the workers where a test is about Dagster: writes what they would write, in no time."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from assets.counts import rows_of
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import to_plain
from pipelines.stages import BY_NAME

RECORDS = 7  # in every crawl file


class ToyWorkers:
    """Called in the place of `run_worker`; remembers the commands."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.commands: list[list[str]] = []
        self.fails_at: str | None = None
        self.loses_a_row_at: str | None = None
        self.contents: dict[tuple[str, str], str] = {}  # (asset, partition key) to what its documents are made from
        self.scope = "corpus"  # of the clusters

    def __call__(
        self, context: dg.AssetExecutionContext, command: Sequence[str], *, patience: float = 0.0
    ) -> dict[str, Any]:
        self.commands.append(list(command))
        asset = context.asset_key.path[-1]
        if asset == self.fails_at:
            raise dg.Failure("disk full: make room", allow_retries=False)
        keys = [command[i + 1] for i, word in enumerate(command) if word == "--partition"]
        for partition in map(Partition.parse, keys):
            self._partition(asset, partition)
        if not keys:
            self._single(asset)
        return {}

    def hosted(self, context: dg.AssetExecutionContext, arguments: Sequence[str]) -> dict[str, Any]:
        """In the place of `run_hosted`."""
        return self(context, ["-m", "pipelines.worker", *arguments])

    def stages(self) -> list[str]:
        return [c[2] for c in self.commands if c[1] == "pipelines.worker"]

    def partitions_of(self, stage: str) -> list[str]:
        [command] = [c for c in self.commands if c[2] == stage]
        return [command[i + 1] for i, word in enumerate(command) if word == "--partition"]

    def _partition(self, asset: str, partition: Partition) -> None:
        row, layout = BY_NAME[asset], self.layout
        rows_in = rows_of(layout, layout.partition_dir(row.reads[0], partition)) if row.reads else RECORDS
        rejected = min(1, rows_in) if asset == "language_filtered_documents" else 0
        salt = self.contents.get((asset, partition.key), "")
        file = self._write(
            layout.partition_dir(asset, partition), rows_in - rejected - (asset == self.loses_a_row_at), salt
        )
        self._write(layout.quarantine_dir(asset, partition), rejected)
        segments = [p.segment for p in layout.committed("minhash_signatures") if p.corpus == partition.corpus]
        report = {
            "rows_in": rows_in,
            "rows_kept": rows_in - rejected,
            "rows_rejected": {"language": rejected} if rejected else {},
            "seconds": 0.5,
            "fingerprint": f"f{len(self.commands)}",  # another each time: what is fresh is told by content
            "segments": segments,
            "files": [file],
            "settings": {"scope": self.scope} if asset == "duplicate_clusters" else {},
        }
        layout.write_json(f"{layout.partition_dir(asset, partition)}/report.json", report)

    def _single(self, asset: str) -> None:
        folder = self.layout.join(asset, "v1") if asset == "tokenizer" else self.layout.join(asset)
        settings = to_plain(BY_NAME[asset].settings_class()) if asset in BY_NAME else {}
        report = {"created_at": "2026", "fingerprint": "f", "tokens": 5, "settings": settings}
        self.layout.write_json(f"{folder}/report.json", report)

    def _write(self, folder: str, rows: int, salt: str = "") -> dict[str, Any]:
        self.layout.fs.makedirs(folder, exist_ok=True)
        table = pa.table({"doc_id": [f"{i:032x}" for i in range(rows)], "url": ["http://a/"] * rows})
        table = table.replace_schema_metadata({"content": salt})
        path = Path(folder, "part-00000.parquet")
        pq.write_table(table, path)
        return {
            "name": path.name,
            "rows": rows,
            "kind": "kept",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
