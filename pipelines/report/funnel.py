"""The funnel of a corpus: how many documents each stage kept, and why the others went.

It reads report.json files alone, never a document, so that it costs the same for a thousand pages as for a
billion, and works while only part of the chain is there.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gristmill.core.errors import SettingsError
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import resolve, to_plain
from pipelines.crawl.corpora import Corpus, load_corpus
from pipelines.stages import STAGES, Stage

LANGUAGE_STAGE = "language_filtered_documents"
LANGUAGE_PREFIX = "language_"
_PER_DOCUMENT = ("map", "pack")  # the kinds of stage that account for every document, segment by segment


@dataclass(frozen=True)
class StageFunnel:
    """What one stage did to the segments that it has done."""

    stage: str
    group: str
    segments_done: tuple[str, ...]
    segments_missing: tuple[str, ...]
    segments_stale: tuple[str, ...]  # done from inputs that have been replaced since
    documents_in: int
    documents_kept: int
    reasons: dict[str, int]  # reason -> documents rejected, most frequent first
    text_bytes_in: int
    text_bytes_kept: int
    stored_bytes: int
    cpu_seconds: float
    tally: dict[str, int]  # counters of the stage's own
    segments_other_settings: tuple[str, ...] = ()  # done with other settings than hold today
    settings_changed: tuple[str, ...] = ()  # which

    @property
    def documents_rejected(self) -> int:
        """Documents that went to the quarantine."""
        return sum(self.reasons.values())

    @property
    def is_balanced(self) -> bool:
        """Whether documents in = kept + rejected."""
        return self.documents_in == self.documents_kept + self.documents_rejected

    @property
    def is_complete(self) -> bool:
        """Whether every segment is done from inputs that still stand."""
        return not self.segments_missing and not self.segments_stale


@dataclass(frozen=True)
class Funnel:
    """A corpus's way through the stages, in the order of the flow."""

    corpus: str
    segments: tuple[str, ...]
    stages: tuple[StageFunnel, ...]
    languages: dict[str, int]  # documents kept per language, most frequent first
    settings_problem: str = ""  # why the settings that hold today are not known

    @property
    def documents_read(self) -> int:
        """Records that entered the first stage."""
        return self.stages[0].documents_in if self.stages else 0

    @property
    def documents_kept(self) -> int:
        """Documents that the last stage done so far kept."""
        done = [stage for stage in self.stages if stage.segments_done]
        return done[-1].documents_kept if done else 0

    def stage(self, name: str) -> StageFunnel:
        """One stage's row by name."""
        return next(stage for stage in self.stages if stage.stage == name)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values, with the sums a program would otherwise compute again."""
        plain = asdict(self)
        for row, stage in zip(plain["stages"], self.stages, strict=True):
            row |= {"documents_rejected": stage.documents_rejected, "is_balanced": stage.is_balanced}
        return plain | {"documents_read": self.documents_read, "documents_kept": self.documents_kept}


def compute_funnel(layout: Layout, corpus: str, segments: Sequence[str] | None = None) -> Funnel:
    """Add up the committed reports of `corpus`.

    Args:
        layout: where the data lies.
        corpus: name of a registered corpus.
        segments: only these; default: all that the corpus has.

    Raises:
        CorpusError: the corpus is not registered.
    """
    registered = load_corpus(layout, corpus)
    wanted = tuple(segments) if segments is not None else registered.segments
    crawl_files = {s: {f"file {f.name}": f.fingerprint for f in registered.files_of(s)} for s in wanted}
    reports: dict[str, dict[str, dict[str, Any]]] = {}
    rows: list[StageFunnel] = []
    problem = ""
    for stage in STAGES:
        if stage.kind not in _PER_DOCUMENT:
            continue
        found = {s: layout.report(stage.name, Partition(corpus, s)) for s in wanted}
        reports[stage.name] = {s: report for s, report in found.items() if report is not None}
        row = _stage_funnel(stage, wanted, reports, crawl_files)
        try:
            row = _compared(layout, registered, stage, row, reports[stage.name])
        except SettingsError as error:  # the numbers stand whatever the settings file says
            problem = problem or str(error)
        rows.append(row)
    tally = next((row.tally for row in rows if row.stage == LANGUAGE_STAGE), {})
    languages = {k.removeprefix(LANGUAGE_PREFIX): n for k, n in tally.items() if k.startswith(LANGUAGE_PREFIX)}
    return Funnel(corpus, wanted, tuple(rows), _most_first(languages), problem)


def _stage_funnel(
    stage: Stage,
    segments: Sequence[str],
    reports: dict[str, dict[str, dict[str, Any]]],
    crawl_files: dict[str, dict[str, str]],
) -> StageFunnel:
    done = reports[stage.name]
    source = reports.get(stage.reads[0], {}) if stage.reads else {}
    stale = tuple(s for s, report in done.items() if _is_stale(report, stage, source.get(s), crawl_files[s]))
    return StageFunnel(
        stage=stage.name,
        group=stage.group,
        segments_done=tuple(done),
        segments_missing=tuple(segment for segment in segments if segment not in done),
        segments_stale=stale,
        documents_in=_sum(done.values(), "rows_in"),
        documents_kept=_sum(done.values(), "rows_kept"),
        reasons=_most_first(_add(report.get("rows_rejected", {}) for report in done.values())),
        text_bytes_in=_sum(done.values(), "text_bytes_in"),
        text_bytes_kept=_sum(done.values(), "text_bytes_out"),
        stored_bytes=_sum(done.values(), "bytes"),
        cpu_seconds=round(sum(float(report.get("cpu_seconds", 0.0)) for report in done.values()), 3),
        tally=_most_first(_add(report.get("tally", {}) for report in done.values())),
    )


def _compared(
    layout: Layout, corpus: Corpus, stage: Stage, row: StageFunnel, reports: dict[str, dict[str, Any]]
) -> StageFunnel:
    """The row with what tells its settings from those that a run would have: defaults, recipe, the root's file."""
    if not reports:
        return row
    recipe = dict(corpus.recipe.of(stage.name)) if corpus.recipe else {}
    today = to_plain(resolve(stage.settings_class, stage.name, layout.root, None, {}, recipe))
    changed: set[str] = set()
    others: list[str] = []
    for segment, report in reports.items():
        then: dict[str, Any] = report.get("settings") or {}
        differ = {name for name, value in today.items() if name in then and then[name] != value}
        changed |= differ
        if differ:
            others.append(segment)
    return replace(row, segments_other_settings=tuple(others), settings_changed=tuple(sorted(changed)))


def _is_stale(report: dict[str, Any], stage: Stage, source: dict[str, Any] | None, crawl_files: dict[str, str]) -> bool:
    """Whether a segment was made from crawl files, or from a segment before it, that are others now."""
    inputs: dict[str, Any] = report.get("inputs") or {}
    if not stage.reads:
        return bool(inputs) and inputs != crawl_files
    return source is not None and inputs.get(stage.reads[0]) not in (None, source.get("fingerprint"))


def _sum(reports: Iterable[dict[str, Any]], field: str) -> int:
    return sum(int(report.get(field, 0)) for report in reports)


def _add(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    """Most frequent first, equal counts by name, so that a table reads the same every time."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
