"""What a partition needs: nothing, a decision, or everything. Told from reports and fingerprints, without Spark."""

import posixpath
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gristmill.core.errors import EnvironmentProblemError, GristmillError, SettingsError
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import scoring_values, to_plain
from pipelines.fingerprint import fingerprint, input_fingerprints, score_fingerprint
from pipelines.named_files import content_hashes
from pipelines.parts import PartTask
from pipelines.signals import has_signals
from pipelines.stages import Stage
from pipelines.takedowns.committed import mark_of, standing
from pipelines.takedowns.file import load as load_takedowns

if TYPE_CHECKING:
    from pipelines.crawl.corpora import CrawlFile

SettingsOf = Callable[[str | None], Any]
"""The settings of a stage for a corpus: each may have a recipe of its own."""

_FILES_OF_PART, _BYTES_OF_PART = 2000, 64 << 20  # of single documents: a task and a part each would be too small
_CONCURRENT_READS = 8  # of reports, which may lie on an object store


@dataclass(frozen=True)
class Plan:
    """One partition of a map or pack stage: the tasks, and what would make them needless."""

    stage: Stage
    partition: Partition
    settings: dict[str, Any]
    tasks: tuple[PartTask, ...]  # without their folder
    inputs: dict[str, str]
    files: dict[str, str]  # path of each file that the settings name, to its content's hash
    fingerprint: str
    score_fingerprint: str | None = None  # only where signals are stored
    committed: dict[str, Any] | None = None  # the report that stands
    is_forced: bool = False
    is_to_carve: bool = False  # all that is new is what was taken down since: pipelines.takedowns.carving

    @property
    def is_current(self) -> bool:
        """Whether the committed partition is what the tasks would write."""
        return not self.is_forced and (self.committed or {}).get("fingerprint") == self.fingerprint

    @property
    def has_memory(self) -> bool:
        """Whether the tasks recall signals that were measured before."""
        return any(task.known for task in self.tasks)


def plan_all(
    layout: Layout, stage_row: Stage, partitions: Sequence[Partition], settings_of: SettingsOf, *, is_forced: bool
) -> tuple[list[Plan], GristmillError | None]:
    """The plan of each partition that has all it needs, and the first problem of those that have not.

    Raises:
        EnvironmentProblemError: what the machine lacks, none of the partitions has.
    """

    def one(partition: Partition) -> Plan | GristmillError:
        try:
            return plan(layout, stage_row, partition, settings_of(partition.corpus), is_forced=is_forced)
        except EnvironmentProblemError:
            raise
        except GristmillError as error:
            return error

    with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
        found = list(pool.map(one, partitions))
    problems = [outcome for outcome in found if isinstance(outcome, GristmillError)]
    return [outcome for outcome in found if isinstance(outcome, Plan)], problems[0] if problems else None


def plan(layout: Layout, stage_row: Stage, partition: Partition, settings: Any, *, is_forced: bool = False) -> Plan:
    """What has to be done for one partition.

    Raises:
        MissingDataError: the stage before has not been run on it.
        SettingsError: it is no segment, or a file that a setting names is not there.
    """
    if partition.segment is None:
        raise SettingsError(f"{stage_row.name} works on segments: give --partition '{partition.corpus}|SEGMENT'")
    module, plain = stage_row.load(), to_plain(settings)
    files = content_hashes(layout, module, stage_row.name, settings)
    facts: dict[str, str] = module.facts(settings) if hasattr(module, "facts") else {}
    files |= facts
    tasks, inputs = _tasks(layout, stage_row, partition, plain)
    tasks = tuple(replace(task, facts=facts) for task in tasks)
    committed = layout.report(stage_row.name, partition)
    made = Plan(
        stage_row,
        partition,
        plain,
        tasks,
        inputs,
        files,
        fingerprint(stage_row, plain, inputs, files),
        committed=committed,
        is_forced=is_forced,
    )
    if not stage_row.reads:
        return _with_takedowns(layout, made)
    if stage_row.kind != "map" or not has_signals(module):
        return made
    mark = score_fingerprint(stage_row, scoring_values(settings), files)
    if committed is not None and committed.get("score_fingerprint") == mark and not is_forced:
        folder = layout.signals_dir(stage_row.name, partition)
        sums = {str(file["name"]): str(file["sha256"]) for file in committed.get("signal_files", ())}
        tasks = tuple(
            replace(task, known=posixpath.join(folder, task.part), known_sha256=sums[task.part])
            if task.part in sums
            else task
            for task in tasks
        )
    return replace(made, tasks=tasks, score_fingerprint=mark)


def _with_takedowns(layout: Layout, made: Plan) -> Plan:
    """The plan of a segment of crawl, by what is taken down of it; a new one is told of that when it is committed."""
    takedowns = load_takedowns(layout)  # a damaged file is said before the crawl is read, not after
    if made.committed is None:
        return made
    found = standing(layout, made.partition, made.committed, takedowns)
    then, now = (
        fingerprint(made.stage, made.settings, made.inputs, made.files | mark_of(keys))
        for keys in (found.then, found.now)
    )
    is_all = made.committed.get("fingerprint") == then and not found.returning and not made.is_forced
    return replace(made, fingerprint=now, is_to_carve=is_all and found.is_stale)


def _tasks(
    layout: Layout, stage_row: Stage, partition: Partition, settings: dict[str, Any]
) -> tuple[tuple[PartTask, ...], dict[str, str]]:
    """The tasks of a partition (without their folder) and the fingerprints of what they read."""

    def task(source: str, part: str) -> PartTask:
        segment = partition.segment or ""
        return PartTask(stage_row.name, layout.root, partition.corpus, segment, source, part, "", settings)

    if not stage_row.reads:
        from pipelines.crawl.corpora import load_corpus

        files = load_corpus(layout, partition.corpus).files_of(partition.segment or "")
        groups = _grouped(files)
        tasks = tuple(
            replace(task(group[0].path, f"part-{index:05d}.parquet"), also=tuple(file.path for file in group[1:]))
            for index, group in enumerate(groups)
        )
        return tasks, {f"file {file.name}": file.fingerprint for file in files}
    inputs = input_fingerprints(layout, stage_row, partition)
    source = layout.partition_dir(stage_row.reads[0], partition)
    if stage_row.kind == "pack":
        return (task(source, "segment"),), inputs
    return tuple(task(path, posixpath.basename(path)) for path in layout.parts(source)), inputs


def _grouped(files: Sequence["CrawlFile"]) -> list[list["CrawlFile"]]:
    """The files of each part: one, or many where a file is a single document (a book, a source file)."""
    groups: list[list[CrawlFile]] = []
    size = 0
    for file in files:
        is_joining = groups and file.kind == groups[-1][0].kind == "text"
        if is_joining and len(groups[-1]) < _FILES_OF_PART and size + file.bytes <= _BYTES_OF_PART:
            groups[-1].append(file)
            size += file.bytes
        else:
            groups.append([file])
            size = file.bytes
    return groups
