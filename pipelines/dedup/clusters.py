"""`duplicate_clusters`: which documents repeat which, and the one of each cluster that stays.

Documents with equal content hash, or with an equal band of their signatures (Broder 1997; LSH after Indyk and Motwani
1998), lie in one bucket, and what hangs together is a cluster. A run compares the segments that came since the last
one with what is known (`pipelines.dedup.cluster_state`, `pipelines.dedup.cluster_job`); the first finds an empty state
and all segments new. The partition of a corpus says of its documents what the state says of them, and is the same
bytes whether they came at once or one after the other. Of each cluster the best document stays: of the most
preferred corpus, then of the highest quality, then the oldest, then of the least content hash, then of the least
doc_id.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gristmill.core.errors import CorpusError, MissingDataError
from gristmill.core.layout import Layout, Partition, is_safe_name
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.commit import Attempt, now
from pipelines.crawl.corpora import known_corpus
from pipelines.dedup.cluster_inputs import Inputs, inputs_of
from pipelines.dedup.paragraph_files import write_repeated_paragraphs
from pipelines.dedup.scope import SOURCE, Scope
from pipelines.dedup.state_damage import is_of_state
from pipelines.fingerprint import fingerprint
from pipelines.stages import stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipelines.spark.session import Spark

REASONS: Mapping[str, str] = {}
LIBRARIES = ("numpy", "pyspark", "pyarrow", "regex")


@dataclass(frozen=True)
class Settings:
    """Bands, rows and shingles are the signatures' own settings: nothing here can disagree with them."""

    scope: Scope = "corpus"  # or all: compared with every corpus whose signatures have the same settings
    preferred_corpora: tuple[str, ...] = ()
    """With scope `all`, whose documents represent a cluster: the first named corpus before the second, and all of
    them before any that is not named; such as a curated corpus before a crawled one."""
    verified_jaccard: float = 0.7
    """Documents with an equal band repeat each other only if their sets of shingles have this Jaccard similarity or
    more. On 10,188 pages of Debian's documentation, precision at 0.7 is .9963 (raw words; 1.0000 without case and
    punctuation) at a recall of .9964 (.9997) of the pairs of 0.8 and more; unverified, .954 (.952) at .9955 (.9994).
    0: unverified, as datatrove does; texts are not read."""
    # Also take paragraphs out of documents that another document has, as CCNet does (Wenzek et al. 2019,
    # arXiv:1911.00359, 3): every text is read again whenever a segment is new.
    repeated_paragraphs: bool = False
    # Shorter ones, normalised, stay wherever they are; CCNet has no such limit, and takes headings, cells of tables and
    # lines of code too. On 2,720 pages 50 left half of the repeated lines, which were 14 % of the repeated characters.
    paragraph_min_characters: int = 50

    def __post_init__(self) -> None:
        wrong = [corpus for corpus in self.preferred_corpora if not is_safe_name(corpus)]
        if wrong:
            raise ValueError(f"preferred_corpora has {wrong[0]!r}, which can't name a corpus; give registered names")
        if len(set(self.preferred_corpora)) < len(self.preferred_corpora):
            raise ValueError("preferred_corpora names a corpus twice; give each once")
        if self.paragraph_min_characters < 0:
            raise ValueError(f"paragraph_min_characters is {self.paragraph_min_characters}; give 0 or more")
        if not 0 <= self.verified_jaccard <= 1:
            raise ValueError(f"verified_jaccard is {self.verified_jaccard}; give a number from 0 (unverified) to 1")


def run(
    spark: "Spark | SparkSession",
    layout: Layout,
    partition: Partition,
    settings: Settings,
    reporter: Reporter,
    *,
    is_forced: bool = False,
) -> dict[str, Any]:
    """Cluster the committed segments of the corpus of `partition`; returns the committed report.

    Where a file of the state is damaged, everything is compared again from an empty one.

    Raises:
        MissingDataError: no signatures are there, segments were signed with different settings, or signatures were
            made again meanwhile.
    """
    row, corpus = stage("duplicate_clusters"), Partition(partition.corpus)
    inputs = inputs_of(layout, corpus.corpus, settings.scope)
    for line in _notes(layout, inputs, settings):
        reporter.info(line)
    if not is_forced and (committed := reusable(layout, corpus, settings)) is not None:
        reporter.info(f"{row.name} {corpus.key}: already there for the same inputs, settings and code")
        return committed | {"is_reused": True}
    try:
        return _compared(spark, layout, inputs, settings, reporter, is_anew=is_forced)
    except Exception as error:  # of Spark too, around what its worker said
        if is_forced or not is_of_state(error):
            raise
        why = "a file of what clustering remembers is damaged"
        reporter.info(f"note: {row.name} {corpus.key}: {why}; everything is compared again")
    return _compared(spark, layout, inputs, settings, reporter, is_anew=True)


def _compared(
    spark: "Spark | SparkSession",
    layout: Layout,
    inputs: Inputs,
    settings: Settings,
    reporter: Reporter,
    *,
    is_anew: bool,
) -> dict[str, Any]:
    """Bring the state up to date, or make it anew, and commit what it says of the corpus."""
    from pipelines.dedup.cluster_job import ClusterJob
    from pipelines.dedup.cluster_slice import write_slice
    from pipelines.dedup.cluster_state import StateFolder, remove_unused_states
    from pipelines.spark.run import engine

    row, corpus = stage("duplicate_clusters"), Partition(inputs.corpus)
    started = time.monotonic()
    path = inputs.state_path(layout, settings, f"{row.code_version} {row.libraries}")
    with Attempt(layout, row.name, corpus) as attempt, StateFolder(layout, path, is_anew=is_anew) as state:
        job = ClusterJob(
            spark,
            layout,
            f"{attempt.folder}/work",
            inputs,
            reporter,
            preferred=settings.preferred_corpora,
            verified_jaccard=settings.verified_jaccard or None,
        )
        job.update(state, lambda: _require_unchanged(layout, inputs, settings))
        found = write_slice(spark, layout, state, attempt.output, inputs)
        if settings.repeated_paragraphs:
            found = _with_paragraphs(found, spark, layout, state.paths_of("kept"), attempt.output, inputs, settings)
        _require_unchanged(layout, inputs, settings)
        report = _report(found, inputs, settings) | {
            "tally": {"exact": found["exact"], "near": found["near"], **job.numbers},
            "state": path.removeprefix(f"{layout.base}/"),
            "fingerprint": _mark(inputs, settings),
            "engine": engine(spark),
            "seconds": round(time.monotonic() - started, 3),
            "created_at": now(),
        }
        attempt.commit(report)
    remove_unused_states(layout, path, corpus.corpus)
    return report


def reusable(layout: Layout, partition: Partition, settings: Settings) -> dict[str, Any] | None:
    """The committed report if it still stands, so that no Spark is needed to say so; None if not.

    Raises:
        MissingDataError: as `run`.
    """
    committed = layout.report("duplicate_clusters", Partition(partition.corpus))
    inputs = inputs_of(layout, partition.corpus, settings.scope)
    is_same = committed is not None and committed.get("fingerprint") == _mark(inputs, settings)
    return committed if is_same else None


def notes(layout: Layout, partition: Partition, settings: Settings) -> list[str]:
    """What a person should know of these settings even if the committed report still stands: lines `note: …`.

    Raises:
        MissingDataError: as `run`.
    """
    return list(_notes(layout, inputs_of(layout, partition.corpus, settings.scope), settings))


def _notes(layout: Layout, inputs: Inputs, settings: Settings) -> Iterator[str]:
    head = f"note: duplicate_clusters {inputs.corpus}: "
    for other, why in inputs.not_compared.items():
        yield f"{head}not compared with {other}: {why}"
    for name in settings.preferred_corpora:
        if not _is_corpus(layout, name):
            yield f"{head}preferred_corpora names {name}, which is no registered corpus"


def _is_corpus(layout: Layout, name: str) -> bool:
    """Whether it is registered, or has data that was put there by hand."""
    try:
        return known_corpus(layout, name) is not None or layout.fs.exists(layout.partition_dir(SOURCE, Partition(name)))
    except CorpusError:
        return True  # there is a registration, that can't be read


def _mark(inputs: Inputs, settings: Settings) -> str:
    return fingerprint(stage("duplicate_clusters"), to_plain(settings), inputs.fingerprints)


def _report(found: Mapping[str, Any], inputs: Inputs, settings: Settings) -> dict[str, Any]:
    row = stage("duplicate_clusters")
    rows_in = sum(int(report["rows_kept"]) for report in inputs.own.values())
    return dict(found) | {
        "stage": row.name,
        "corpus": inputs.corpus,
        "segment": None,
        "segments": sorted(inputs.own),
        "scope": settings.scope,
        "compared_with": inputs.compared_with,
        "not_compared": dict(inputs.not_compared),
        "rows_in": rows_in,
        "rows_kept": rows_in - found["exact"] - found["near"],
        "rows_rejected": {},
        "settings": to_plain(settings),
        "signature_settings": dict(inputs.signed_with),
        "code_version": row.code_version,
        "libraries": row.libraries,
        "inputs": inputs.fingerprints,
    }


def _with_paragraphs(
    found: Mapping[str, Any],
    spark: "Spark | SparkSession",
    layout: Layout,
    duplicates: Mapping[str, str],
    folder: str,
    inputs: Inputs,
    settings: Settings,
) -> dict[str, Any]:
    """`found` with the files of repeated paragraphs, beside those of duplicates."""
    from pipelines.spark.session import sql_session

    written = write_repeated_paragraphs(
        sql_session(spark),
        layout,
        folder,
        inputs.corpus,
        inputs.partitions,
        duplicates={p: duplicates[p.key] for p in inputs.partitions if p.key in duplicates},
        preferred_corpora=settings.preferred_corpora,
        min_characters=settings.paragraph_min_characters,
    )
    files = [{key: value for key, value in file.items() if key != "number"} for file in written]
    return dict(found) | {
        "files": [*found["files"], *files],
        "bytes": found["bytes"] + sum(int(file["bytes"]) for file in files),
        "repeated_paragraphs": sum(int(file["number"]) for file in written),
    }


def _require_unchanged(layout: Layout, inputs: Inputs, settings: Settings) -> None:
    """Signatures that were made again while they were read could be half one and half the other."""
    if inputs_of(layout, inputs.corpus, settings.scope).fingerprints != inputs.fingerprints:
        raise MissingDataError(
            f"signatures that {inputs.corpus} is compared with were made again or removed meanwhile: "
            f"run `gristmill run {inputs.corpus} --through duplicate_clusters` again"
        )
