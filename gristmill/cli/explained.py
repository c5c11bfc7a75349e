"""What `gristmill explain` found out, for people and for programs."""

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from gristmill.cli.output import counted
from gristmill.cli.untrusted import escaped, escaped_line

if TYPE_CHECKING:
    from pipelines.report.explanation import Decision, Explanation
    from pipelines.report.raw_record import RawRecord
    from training.history import DocumentReads
    from training.past_runs import TrainingRun

_STEPS_SHOWN = 12
_SPANS_SHOWN = 8
_CHARACTERS_SHOWN = 120  # of a title and the like; --json has all
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


@dataclass(frozen=True)
class Model:
    """What a training run had of a document."""

    run: "TrainingRun"
    reads: "DocumentReads"
    problem: str  # why it can't be said
    grown: tuple[tuple[str, str], ...] = ()  # (asset, run id) of what was grown from it, adapters among it


class Answer:
    """An explanation, what the models had of it, and the same of its representative."""

    def __init__(self, explanation: "Explanation", models: list[Model]) -> None:
        self.explanation, self.models = explanation, models
        self.representative: Answer | None = None

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values; docs/history.md names them."""
        other = self.representative
        models = {"models": [plain_model(model) for model in self.models]}
        return self.explanation.to_plain() | models | {"representative": None if other is None else other.to_plain()}


def show(out: Console, answer: Answer) -> None:
    """A page's way, what the models had of it, and the same of the document that it repeats."""
    explanation, capture = answer.explanation, answer.explanation.capture
    line(out, escaped_line(capture.url or "(no URL)"), "bold")
    line(out, f"  doc_id {capture.doc_id}, corpus {capture.corpus}, segment {capture.segment}")
    place = f"  {escaped_line(capture.warc_file or 'no file')} at byte {capture.warc_offset}"
    if capture.warc_record:
        place += f", record {capture.warc_record} there"
    when = f", fetched {capture.fetched_at[:19].replace('T', ' ')} UTC" if capture.fetched_at else ""
    line(out, place + when)
    width = max(len(decision.stage) for decision in explanation.decisions)
    for decision in explanation.decisions:
        _show_decision(out, decision, width)
    _show_cluster(out, answer)
    for span in explanation.spans[:_SPANS_SHOWN]:
        until = span.start + span.length
        line(
            out, f"  {span.shard} row {span.sequence} [{span.start}, {until}): tokens from {span.doc_offset:,} of it on"
        )
    if (more := len(explanation.spans) - _SPANS_SHOWN) > 0:
        line(out, f"  … {counted(more, 'more span')} (--json for all)")
    if explanation.split == "heldout":
        line(out, "  held out: losses are measured on it, no training step reads it", "yellow")
    show_models(out, answer.models)
    if not answer.models:
        line(out, "  in the shards of no training run")
    if answer.representative is not None:
        line(out, f"Its representative, which {_fate(answer.representative.explanation)}:")
        show(out, answer.representative)


def _show_decision(out: Console, decision: "Decision", width: int) -> None:
    shown = Text(f"  {decision.stage:<{width}}  ")
    shown.append(f"{decision.outcome:<11}", _STYLES.get(decision.outcome, "dim"))
    details: list[str] = []
    for name in _SIGNALS_SHOWN.get(decision.stage, ()):
        value = decision.signals.get(name)
        if value is not None:
            details.append(f"{name} {_shortened(escaped_line(_value(value)))}")
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
    shown.append(", ".join(details))
    out.print(shown, soft_wrap=True)
    if decision.reason is not None:
        indent = " " * (width + 15)
        line(out, f"{indent}{_meaning(decision)}", "dim")
        if set(decision.failed_rules) - {decision.reason}:
            line(out, f"{indent}fails {escaped_line(', '.join(decision.failed_rules))}", "dim")


def _shortened(text: str) -> str:
    return text if len(text) <= _CHARACTERS_SHOWN else f"{text[:_CHARACTERS_SHOWN]}…"


def _meaning(decision: "Decision") -> str:
    """A reason in words, from the stage alone that gave it."""
    from pipelines.report.reasons import ANY_STAGE_REASONS
    from pipelines.stages import stage

    reasons: dict[str, str] = getattr(stage(decision.stage).load(), "REASONS", {})
    return reasons.get(decision.reason or "") or ANY_STAGE_REASONS.get(decision.reason or "", "")


def _show_cluster(out: Console, answer: Answer) -> None:
    cluster = answer.explanation.cluster
    if cluster is None:
        return
    if cluster.kind is None:
        line(out, f"  represents a cluster of {cluster.size:,} documents (gristmill duplicates shows them)")
        return
    alike = f", similarity {cluster.similarity:.3f}" if cluster.similarity is not None else ""
    line(
        out,
        f"  repeats {cluster.representative_id} of corpus {cluster.representative_corpus} "
        f"({cluster.kind}{alike}), in a cluster of {cluster.size:,}",
    )


def _fate(explanation: "Explanation") -> str:
    rejection = explanation.rejection
    if rejection is not None:
        return f"{rejection.stage} rejected as {rejection.reason}"
    return "is in the shards" if explanation.spans else "is not in the shards either"


def show_models(out: Console, models: list[Model]) -> None:
    """Which runs had the document, and at which steps they read it."""
    for model in models:
        run, reads = model.run, model.reads
        state = f"{run.steps_made:,} steps" if run.is_finished else f"unfinished, at step {run.steps_made:,}"
        head = f"  {run.name} ({state} of {run.steps:,}): " if not run.is_finished else f"  {run.name} ({state}): "
        steps = sorted({read.step for read in reads.reads})
        if steps:
            shown = ", ".join(f"{step:,}" for step in steps[:_STEPS_SHOWN])
            more = f" and {len(steps) - _STEPS_SHOWN:,} more" if len(steps) > _STEPS_SHOWN else ""
            line(out, f"{head}read at {'step' if len(steps) == 1 else 'steps'} {shown}{more}", "bold")
        elif reads.trained:
            line(out, f"{head}in its shards, no step has read it")
        elif reads.held_out:
            line(out, f"{head}held out: no step read it")
        if reads.skipped:
            batches = ", ".join(f"{batch:,}" for batch in reads.skipped[:_STEPS_SHOWN])
            line(out, f"    skipped, after the run had diverged, with batches {batches} of its data")
        if steps and model.grown:
            line(out, f"    and so did what was grown from it: {', '.join('/'.join(name) for name in model.grown)}")
        if model.problem:
            line(out, f"{head}{model.problem}", "yellow")
        if reads.unknown:
            line(
                out,
                f"{head}not known of {counted(len(reads.unknown), 'shard')}: they are gone, and this run, of an older "
                "version, did not keep their spans",
                "yellow",
            )


def show_raw(raw: "RawRecord", most: int) -> None:
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


def plain_raw(raw: "RawRecord", most: int) -> dict[str, Any]:
    """A record, JSON-ready, with `most` bytes of its payload; 0 for all."""
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


def plain_model(model: Model) -> dict[str, Any]:
    """What a run had of the document, JSON-ready."""
    reads = model.reads
    return model.run.to_plain() | {
        "steps_read": sorted({read.step for read in reads.reads}),
        "reads": [read.to_plain() for read in reads.reads],
        "spans_in_training_shards": reads.trained,
        "spans_held_out": reads.held_out,
        "unknown_shards": list(reads.unknown),
        "problem": model.problem or None,
        "grown_from_it": ["/".join(name) for name in model.grown],
    }


def line(out: Console, text: str, style: str = "") -> None:
    """One line that is not folded, without any markup."""
    out.print(Text(text, style=style), soft_wrap=True)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
