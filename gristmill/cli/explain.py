"""`gristmill explain`: a page's way through every stage, and each training step that read it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gristmill.cli.output import HomeOption, JsonOption, console, counted, print_json, said_once
from gristmill.cli.untrusted import escaped, escaped_line
from gristmill.core.errors import GristmillError, MissingDataError, one_line
from gristmill.core.layout import Layout

if TYPE_CHECKING:
    from pipelines.report.captures import Capture
    from pipelines.report.explanation import Decision, Explanation
    from pipelines.report.raw_record import RawRecord
    from training.history import DocumentReads, TrainingRun

INDEXING = "making an index of pages, once for each segment: some seconds a million pages"
_STEPS_SHOWN = 12
_SPANS_SHOWN = 8
_STYLES = {"kept": "green", "rejected": "red"}
_SIGNALS_SHOWN = {
    "extracted_documents": ("http_status", "content_type", "html_bytes", "title"),
    "language_filtered_documents": ("language", "language_score"),
    "quality_filtered_documents": ("characters", "words"),
    "minhash_signatures": ("quality",),
    "deduplicated_documents": ("cluster_size", "repeated_paragraphs"),
    "clean_documents": ("pii_total",),
    "token_shards": ("split", "tokens", "spans"),
}


def explain(
    page: Annotated[
        str, typer.Argument(metavar="URL_OR_DOC_ID", help="A URL, a doc_id, or the first six characters of one.")
    ],
    corpus: Annotated[str | None, typer.Option(help="Look in this corpus only; in all of them by default.")] = None,
    is_raw: Annotated[
        bool, typer.Option("--raw", help="Read the original record again, from the crawl file, by its offset.")
    ] = False,
    raw_bytes: Annotated[int, typer.Option(min=0, help="With --raw: bytes of the payload; 0 for all.")] = 4096,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """What became of a page: every stage's decision, its cluster, its tokens, and each training step that read it."""
    from pipelines.report.captures import ID_LENGTH, Pages, is_doc_id
    from training.history import training_runs

    layout = Layout(home)
    found = Pages(layout, corpus, said_once(INDEXING)).find(page)
    runs = training_runs(layout)
    out = console()
    if not found.captures:
        if is_doc_id(page) and len(page) == ID_LENGTH and (models := _models(runs, page, corpus, None)):
            _explain_lost(out, page, models, is_json=is_json)
            return
        raise _unknown(layout, page, corpus, found.near)
    answers = [_answer(layout, runs, capture) for capture in found.captures]
    raws = [_read(layout, capture) if is_raw else None for capture in found.captures]
    if is_json:
        documents = [
            answer.to_plain() | ({} if raw is None else {"raw": _plain_raw(raw, raw_bytes)})
            for answer, raw in zip(answers, raws, strict=True)
        ]
        print_json({"asked": page, "is_exact": found.is_exact, "documents": documents})
        return
    if not found.is_exact:
        _line(out, "no page has just that address; spelled a little otherwise there is:", "yellow")
    for number, (answer, raw) in enumerate(zip(answers, raws, strict=True)):
        if number:
            out.print()
        _show(out, answer)
        if raw is not None:
            _show_raw(raw, raw_bytes)


@dataclass(frozen=True)
class Model:
    """What a training run had of a document."""

    run: "TrainingRun"
    reads: "DocumentReads"
    problem: str  # why it can't be said


class _Answer:
    """An explanation, what the models had of it, and the same of its representative."""

    def __init__(self, explanation: "Explanation", models: list[Model]) -> None:
        self.explanation, self.models = explanation, models
        self.representative: _Answer | None = None

    def to_plain(self) -> dict[str, Any]:
        other = self.representative
        models = {"models": [_plain_model(model) for model in self.models]}
        return self.explanation.to_plain() | models | {"representative": None if other is None else other.to_plain()}


def _answer(layout: Layout, runs: "Sequence[TrainingRun]", capture: "Capture") -> _Answer:
    from gristmill.core.layout import Partition
    from pipelines.report.captures import Pages
    from pipelines.report.explanation import explain as follow

    answer = _Answer(follow(layout, capture), _models(runs, capture.doc_id, capture.corpus, capture.segment))
    cluster = answer.explanation.cluster
    if cluster is not None and cluster.kind is not None:
        where = Partition(cluster.representative_corpus, cluster.representative_segment)
        found = Pages(layout, where.corpus).of_ids(where, [cluster.representative_id])
        if head := found.get(cluster.representative_id):
            models = _models(runs, head.doc_id, head.corpus, head.segment)
            answer.representative = _Answer(follow(layout, head), models)
    return answer


def _models(runs: "Sequence[TrainingRun]", doc_id: str, corpus: str | None, segment: str | None) -> list[Model]:
    """The runs that had the document, or may have had it: their spans are gone, or the run can't be read."""
    from training.history import DocumentReads, reads_of

    found: list[Model] = []
    for run in runs:
        try:
            reads, problem = reads_of(run, [doc_id], corpus, segment), ""
        except GristmillError as error:  # one damaged run must not hide the others
            reads, problem = DocumentReads(), one_line(error)
        if problem or reads.trained or reads.held_out or reads.unknown:
            found.append(Model(run, reads, problem))
    return found


def _unknown(layout: Layout, page: str, corpus: str | None, near: Sequence[str]) -> MissingDataError:
    where = f"corpus {corpus}" if corpus else f"any corpus under {layout.root}"
    if near:
        return MissingDataError(f"no page {page!r} in {where}; did you mean {' or '.join(near)}?")
    return MissingDataError(
        f"no page {page!r} in {where}, kept or rejected: give a URL as it was crawled, or a doc_id, or its first six "
        "characters"
    )


def _read(layout: Layout, capture: "Capture") -> "RawRecord":
    from pipelines.report.raw_record import read_raw

    return read_raw(layout, capture)


def _explain_lost(out: Console, doc_id: str, models: list[Model], *, is_json: bool) -> None:
    """A document that no stage has any more, but that a model was given."""
    if is_json:
        lost = {"document": {"doc_id": doc_id}, "stages": [], "models": [_plain_model(model) for model in models]}
        print_json({"asked": doc_id, "is_exact": True, "documents": [lost]})
        return
    _line(out, f"{doc_id} is in no corpus any more; what models had of it is known from the spans they kept", "yellow")
    _show_models(out, models)


def _show(out: Console, answer: _Answer) -> None:
    explanation, capture = answer.explanation, answer.explanation.capture
    _line(out, escaped_line(capture.url or "(no URL)"), "bold")
    _line(out, f"  doc_id {capture.doc_id}, corpus {capture.corpus}, segment {capture.segment}")
    place = f"  {escaped_line(capture.warc_file or 'no file')} at byte {capture.warc_offset}"
    if capture.warc_record:
        place += f", record {capture.warc_record} there"
    when = f", fetched {capture.fetched_at[:19].replace('T', ' ')} UTC" if capture.fetched_at else ""
    _line(out, place + when)
    width = max(len(decision.stage) for decision in explanation.decisions)
    for decision in explanation.decisions:
        _show_decision(out, decision, width)
    _show_cluster(out, answer)
    for span in explanation.spans[:_SPANS_SHOWN]:
        until = span.start + span.length
        _line(
            out, f"  {span.shard} row {span.sequence} [{span.start}, {until}): tokens from {span.doc_offset:,} of it on"
        )
    if (more := len(explanation.spans) - _SPANS_SHOWN) > 0:
        _line(out, f"  … {counted(more, 'more span')} (--json for all)")
    if explanation.split == "heldout":
        _line(out, "  held out: losses are measured on it, no training step reads it", "yellow")
    _show_models(out, answer.models)
    if not answer.models:
        _line(out, "  in the shards of no training run")
    if answer.representative is not None:
        _line(out, f"Its representative, which {_fate(answer.representative.explanation)}:")
        _show(out, answer.representative)


def _show_decision(out: Console, decision: "Decision", width: int) -> None:
    line = Text(f"  {decision.stage:<{width}}  ")
    line.append(f"{decision.outcome:<11}", _STYLES.get(decision.outcome, "dim"))
    details: list[str] = []
    for name in _SIGNALS_SHOWN.get(decision.stage, ()):
        value = decision.signals.get(name)
        if value is not None:
            details.append(f"{name} {escaped_line(_value(value))}")
    if decision.stage == "clean_documents":
        found = [n for n, v in decision.signals.items() if n.startswith("pii_") and isinstance(v, int) and v]
        details += [f"{name} {decision.signals[name]}" for name in found if name != "pii_total"]
    if decision.reason is not None:
        details.append(escaped_line(decision.reason))
        if decision.score is not None:
            details.append(f"score {_value(decision.score)}")
        if decision.threshold is not None:
            details.append(f"threshold {_value(decision.threshold)}")
        if decision.detail:
            details.append(escaped_line(decision.detail))
    if decision.is_stale:
        details.append("made from other inputs than there are now: run it again")
    line.append(", ".join(details))
    out.print(line, soft_wrap=True)
    if decision.reason is not None:
        indent = " " * (width + 15)
        _line(out, f"{indent}{_meaning(decision)}", "dim")
        if set(decision.failed_rules) - {decision.reason}:
            _line(out, f"{indent}fails {escaped_line(', '.join(decision.failed_rules))}", "dim")


def _meaning(decision: "Decision") -> str:
    """A reason in words, from the stage alone that gave it."""
    from pipelines.report.reasons import ANY_STAGE_REASONS
    from pipelines.stages import stage

    reasons: dict[str, str] = getattr(stage(decision.stage).load(), "REASONS", {})
    return reasons.get(decision.reason or "") or ANY_STAGE_REASONS.get(decision.reason or "", "")


def _show_cluster(out: Console, answer: _Answer) -> None:
    cluster = answer.explanation.cluster
    if cluster is None:
        return
    if cluster.kind is None:
        _line(out, f"  represents a cluster of {cluster.size:,} documents (gristmill duplicates shows them)")
        return
    alike = f", similarity {cluster.similarity:.3f}" if cluster.similarity is not None else ""
    _line(
        out,
        f"  repeats {cluster.representative_id} of corpus {cluster.representative_corpus} "
        f"({cluster.kind}{alike}), in a cluster of {cluster.size:,}",
    )


def _fate(explanation: "Explanation") -> str:
    rejection = explanation.rejection
    if rejection is not None:
        return f"{rejection.stage} rejected as {rejection.reason}"
    return "is in the shards" if explanation.spans else "is not in the shards either"


def _show_models(out: Console, models: list[Model]) -> None:
    for model in models:
        run, reads = model.run, model.reads
        state = f"{run.steps_made:,} steps" if run.is_finished else f"unfinished, at step {run.steps_made:,}"
        head = f"  {run.name} ({state} of {run.steps:,}): " if not run.is_finished else f"  {run.name} ({state}): "
        steps = sorted({read.step for read in reads.reads})
        if steps:
            shown = ", ".join(f"{step:,}" for step in steps[:_STEPS_SHOWN])
            more = f" and {len(steps) - _STEPS_SHOWN:,} more" if len(steps) > _STEPS_SHOWN else ""
            _line(out, f"{head}read at {'step' if len(steps) == 1 else 'steps'} {shown}{more}", "bold")
        elif reads.trained:
            _line(out, f"{head}in its shards, no step has read it")
        elif reads.held_out:
            _line(out, f"{head}held out: no step read it")
        if model.problem:
            _line(out, f"{head}{model.problem}", "yellow")
        if reads.unknown:
            _line(
                out,
                f"{head}not known of {counted(len(reads.unknown), 'shard')}: they are gone, and this run, of an older "
                "version, did not keep their spans",
                "yellow",
            )


def _show_raw(raw: "RawRecord", most: int) -> None:
    """The record as stored, below a line that says where it lies."""
    print(f"\n── {escaped_line(raw.path)} at byte {raw.offset}, {raw.content_length:,} bytes of content ──")
    for warning in raw.warnings:
        print(f"warning: {escaped_line(warning)}")
    for block in (raw.header, raw.http_header):
        if block:
            print(escaped(block.decode("utf-8", "replace").replace("\r\n", "\n")).rstrip("\n") + "\n")
    body = raw.body[: most or None]
    print(escaped(_decoded(body, raw.charset).replace("\r\n", "\n")))
    if len(body) < len(raw.body) or raw.is_cut:
        more = "more" if raw.is_cut else f"{len(raw.body) - len(body):,} bytes more"
        print(f"── {more} (--raw-bytes 0 for all that is read) ──")


def _decoded(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8", "replace")
    except LookupError:  # a page may declare any charset
        return data.decode("utf-8", "replace")


def _plain_raw(raw: "RawRecord", most: int) -> dict[str, Any]:
    return {
        "path": raw.path,
        "offset": raw.offset,
        "content_length": raw.content_length,
        "header": raw.header.decode("utf-8", "replace"),
        "http_header": raw.http_header.decode("utf-8", "replace"),
        "body_base64": base64.b64encode(raw.body[: most or None]).decode("ascii"),
        "body_bytes": len(raw.body),
        "charset": raw.charset,
        "is_cut": raw.is_cut or bool(most and len(raw.body) > most),
        "warnings": list(raw.warnings),
    }


def _plain_model(model: Model) -> dict[str, Any]:
    reads = model.reads
    return model.run.to_plain() | {
        "steps_read": sorted({read.step for read in reads.reads}),
        "reads": [read.to_plain() for read in reads.reads],
        "spans_in_training_shards": reads.trained,
        "spans_held_out": reads.held_out,
        "unknown_shards": list(reads.unknown),
        "problem": model.problem or None,
    }


def _line(out: Console, line: str, style: str = "") -> None:
    out.print(Text(line, style=style), soft_wrap=True)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
