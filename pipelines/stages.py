"""The stage table: every document stage, in the order of the flow.

A stage is added in four moves: its module (settings, score, decide, reasons), its row here, its asset
in `assets/`, and one test text per reason. The name is the same in the graph, in the folder names, in
the data and in the reports.

The module of a `cluster` stage has `run(spark, layout, partition, settings, reporter, *, is_forced)`, of a `pack`
stage `pack_segment(task)`, of a `single` stage `run(layout, settings, reporter, *, is_forced)`; all have Settings,
REASONS and LIBRARIES. The module of a map stage holds:
    Settings          a frozen dataclass; every threshold a named, cited field; a field whose default is given by
                      `gristmill.core.settings.scoring` changes the signals, any other only the decision
    REASONS           reason -> one line that says it to a person
    score(batch, settings[, side]) -> batch with signal columns; "_"-prefixed columns are never written
    decide(batch, settings) -> verdicts (pipelines.schema.VERDICT_SCHEMA), null reason = keep; columns beyond these
                              go with the kept rows: what follows from signals and settings together
    edit(batch, settings) -> batch  only where kept documents' text changes; it sees the kept rows alone
    files(settings) -> paths        only where settings name files whose content changes the result
    facts(settings) -> names to values    only where the result depends on more, such as a secret's check value
    read(task, settings, tally) -> iterator of record batches only where the source is not the stage before;
                                                              `tally` is a Counter for what is not a row
    load_side_input(layout, partition) -> object              only where the decision needs another asset
    tally(batch) -> mapping of counters                       only where the report adds its own numbers
    cpu_seconds() -> seconds so far                           only where the stage has processes of its own
    LIBRARIES         distributions whose version changes the result
Where Settings has scoring fields, the signals of all rows are stored (pipelines.signals), and `decide` and `edit` must
do with these and the source's columns: when they are recalled there are no scratch columns. Then the module may have
    READS             the columns of the source that `score` reads; all, where it does not say
    FILLS             columns of the source that `score` sets; new ones need not be named
    rules(settings[, families]) -> rules where it decides by rules (pipelines.decisions); FAMILIES where they have any
    SETTINGS_OF_REASONS   where it does not: reason -> the setting that its limit is
    limit(settings, reason, detail)     and that limit, as a person is told it
"""

import hashlib
import importlib
import importlib.metadata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Literal

from gristmill.core.errors import SettingsError

Kind = Literal["map", "cluster", "pack", "single"]


@dataclass(frozen=True)
class Stage:
    """One row of the table."""

    name: str
    group: str
    module: str
    kind: Kind
    reads: tuple[str, ...]  # the first is the source of rows, the others are side inputs
    is_partitioned: bool = True  # by corpus × segment; else see `kind`

    def load(self) -> ModuleType:
        """Import the stage's module."""
        return importlib.import_module(self.module)

    @property
    def settings_class(self) -> type:
        """The stage's settings dataclass."""
        return self.load().Settings

    @property
    def libraries(self) -> dict[str, str]:
        """Distribution name to version, for what changes the stage's result."""
        names: tuple[str, ...] = getattr(self.load(), "LIBRARIES", ())
        return {name: _version(name) for name in names}

    @property
    def code_version(self) -> str:
        """Hash of the source of the stage's room and of what every stage uses: over-cautious, never stale."""
        return _source_hash(self.module.rsplit(".", 1)[0])


STAGES: tuple[Stage, ...] = (
    Stage("extracted_documents", "crawl", "pipelines.crawl.extraction", "map", ()),
    Stage("language_filtered_documents", "filter", "pipelines.filters.language", "map", ("extracted_documents",)),
    Stage(
        "quality_filtered_documents",
        "filter",
        "pipelines.filters.quality",
        "map",
        ("language_filtered_documents",),
    ),
    Stage(
        "quality_classifier",
        "filter",
        "pipelines.filters.classifier_training",
        "single",
        ("language_filtered_documents",),
        False,
    ),
    Stage("minhash_signatures", "dedup", "pipelines.dedup.signatures", "map", ("quality_filtered_documents",)),
    Stage("duplicate_clusters", "dedup", "pipelines.dedup.clusters", "cluster", ("minhash_signatures",), False),
    Stage(
        "deduplicated_documents",
        "dedup",
        "pipelines.dedup.representatives",
        "map",
        ("quality_filtered_documents", "duplicate_clusters"),
    ),
    Stage("clean_documents", "privacy", "pipelines.privacy.redaction", "map", ("deduplicated_documents",)),
    Stage("tokenizer", "tokenize", "pipelines.tokens.tokenizer", "single", ("clean_documents",), False),
    Stage("token_shards", "tokenize", "pipelines.tokens.shards", "pack", ("clean_documents", "tokenizer")),
    Stage("training_mixture", "tokenize", "pipelines.tokens.mixture", "single", ("token_shards",), False),
)
_PROGRAMS = ("worker.py", "serve.py")  # start stages, and change nothing that they write
BY_NAME = {stage.name: stage for stage in STAGES}


def stage(name: str) -> Stage:
    """Look a stage up by its name."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise SettingsError(f"unknown stage {name!r}; known are {', '.join(BY_NAME)}") from None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"  # optional, such as the carrier of a model that a setting replaces


@lru_cache
def _source_hash(package: str) -> str:
    digest = hashlib.sha256()  # of source and of what comes with it as YAML, such as the default recognizers
    for name in sorted({"pipelines", package}):
        folder = Path(importlib.import_module(name).__file__ or "").parent
        for source in sorted({*folder.glob("*.py"), *folder.glob("*.yaml")} - {folder / name for name in _PROGRAMS}):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]
