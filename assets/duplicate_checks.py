"""A check of duplicate_clusters across corpora: nothing is dropped for a document that is dropped itself."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, cast

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.partitions import corpus_partitions, existing
from assets.resources import Workers
from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading

ASSET = "duplicate_clusters"
_NAMED = 5  # corpora and documents in a description
_ROWS = 1 << 16
_compute = cast(Any, pc)


@dg.asset_check(
    asset=ASSET,
    partitions_def=corpus_partitions,
    description=(
        "With `scope: all`, the representative of a duplicate may lie in another corpus. That corpus must not reject "
        "it as a duplicate too, or no copy would be left; it can where its clusters were made with other settings."
    ),
)
def representatives_are_kept(context: dg.AssetCheckExecutionContext, workers: Workers) -> dg.AssetCheckResult:
    """What a corpus repeats of another one is kept there."""
    layout = workers.layout
    try:
        return all_are_kept(layout, existing(layout, context.partition_keys)[0])
    except GristmillError as error:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=one_line(error))


def all_are_kept(layout: Layout, corpora: Sequence[Partition]) -> dg.AssetCheckResult:
    """Look for the representatives that `corpora` have elsewhere among the duplicates of those corpora."""
    lines: list[str] = []
    lost = elsewhere = 0
    for partition in corpora:
        for other, wanted in representatives_elsewhere(layout, partition.corpus).items():
            elsewhere += len(wanted)
            rejected = _rejected(layout, other, wanted)
            if rejected:
                lost += len(rejected)
                lines.append(
                    f"{len(rejected):,} documents of {other}, such as {rejected[0]}, stand for duplicates in "
                    f"{partition.corpus} and are rejected as duplicates in {other} itself"
                )
    description = f"{elsewhere:,} representatives in other corpora, none is rejected there"
    if lines:
        first = corpora[0].corpus
        description = (
            f"{'; '.join(lines[:_NAMED])}: the clusters were made with other settings or at other times. Give all "
            f"corpora the same scope, preferred_corpora and verified_jaccard, then run `gristmill run CORPUS --through "
            f"deduplicated_documents` for each of them, {first} last"
        )
    return dg.AssetCheckResult(
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata={"representatives_elsewhere": elsewhere, "representatives_rejected": lost},
    )


def representatives_elsewhere(layout: Layout, corpus: str) -> dict[str, pa.Array]:
    """The representatives that duplicates of `corpus` have in other corpora: corpus to distinct doc_ids."""
    found: defaultdict[str, list[pa.Array]] = defaultdict(list)
    for batch in _rows(layout, corpus, ["representative_corpus", "representative_id"]):
        places = batch.column("representative_corpus")
        for other in cast(list[str | None], _compute.unique(places).to_pylist()):
            if other is not None and other != corpus:
                mine = batch.column("representative_id").filter(_compute.equal(places, other))
                found[other].append(_compute.unique(mine))
    return {other: _compute.unique(pa.chunked_array(ids)) for other, ids in sorted(found.items())}


def _rejected(layout: Layout, corpus: str, wanted: pa.Array) -> list[str]:
    """Which of `wanted` are duplicates in the committed clusters of `corpus`, sorted."""
    if layout.report(ASSET, Partition(corpus)) is None:
        return []  # none committed: nothing of it is rejected
    found: set[str] = set()
    for batch in _rows(layout, corpus, ["doc_id"]):
        ids = batch.column("doc_id")
        found.update(ids.filter(_compute.is_in(ids, value_set=wanted)).to_pylist())
    return sorted(found)


def _rows(layout: Layout, corpus: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for path in layout.parts(layout.partition_dir(ASSET, Partition(corpus))):
        with reading(path), layout.fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(cast(Any, file))
            if set(columns) <= set(parquet.schema_arrow.names):  # of clusters made before scopes there were, none
                yield from parquet.iter_batches(_ROWS, columns=columns)
