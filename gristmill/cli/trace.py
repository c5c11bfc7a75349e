"""`gristmill trace`: the documents in the batch of a training step, back to URL, WARC file and offset."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gristmill.cli.explain import INDEXING
from gristmill.cli.explained import line
from gristmill.cli.output import HomeOption, JsonOption, console, counted, print_json, said_once
from gristmill.cli.untrusted import escaped, escaped_line
from gristmill.core.layout import Layout, Partition

if TYPE_CHECKING:
    from pipelines.report.captures import Capture
    from training.history import TracedSequence
    from training.past_runs import TrainingRun
    from training.seen_text import Piece

Origins = dict[tuple[str, str], "Capture"]  # by corpus and doc_id
_METRICS_SHOWN = ("loss", "grad_norm", "learning_rate")


def trace(
    model_run: Annotated[
        str, typer.Argument(metavar="MODEL_RUN", help="A run's id, the beginning of it, or `latest`; or ASSET/ID.")
    ],
    step: Annotated[
        int | None, typer.Option(help="Optimizer step as metrics.jsonl and the log count them: 1 is the first.")
    ] = None,
    batch_number: Annotated[
        int | None,
        typer.Option("--batch", help="In place of --step: a batch of the data, 0 is the first; also a skipped one."),
    ] = None,
    asset: Annotated[str | None, typer.Option(help="Of this asset's runs only, such as pretrained_model.")] = None,
    place: Annotated[
        int | None, typer.Option(min=0, help="Only this sequence of the global batch; 0 is the first.")
    ] = None,
    is_with_text: Annotated[
        bool, typer.Option("--text", help="Show the text as the model saw it, decoded from the tokens.")
    ] = False,
    home: HomeOption = None,
    is_json: JsonOption = False,
) -> None:
    """The documents in a training step's batch: which tokens of each, from which URL, WARC file and offset."""
    from gristmill.core.errors import SettingsError
    from training.history import trace as traced
    from training.history import trace_batch
    from training.past_runs import find_run

    if (step is None) == (batch_number is None):
        raise SettingsError("give --step N, counted from 1, or --batch N, counted from 0: one of them")
    layout = Layout(home)
    run = find_run(layout, model_run, asset)
    if step is not None:
        batch = traced(run, step)
        batch_number = run.cursor.batch_of(step)
    else:
        assert batch_number is not None
        batch = trace_batch(run, batch_number)
        step = run.cursor.step_of(batch_number)
    if place is not None and place >= len(batch):
        raise SettingsError(f"--place {place}: a batch of {run.name} has places 0 to {len(batch) - 1}")
    chosen = batch if place is None else [batch[place]]
    origins = _origins(layout, chosen)
    pieces = _pieces(run, chosen, is_with_text=is_with_text)
    if is_json:
        print_json(_plain(run, step, batch_number, chosen, origins, pieces))
        return
    out = console()
    _show_head(out, run, step, batch_number, chosen)
    for sequence, text in zip(chosen, pieces, strict=True):
        _show_sequence(out, sequence, origins)
        if text is not None:
            _show_text(text)


def _origins(layout: Layout, batch: "list[TracedSequence]") -> Origins:
    """Where the documents of a batch were crawled; those that no stage has any more are left out."""
    from pipelines.report.captures import Pages

    wanted: dict[Partition, set[str]] = {}
    for sequence in batch:
        for span in sequence.spans or ():
            wanted.setdefault(Partition(sequence.ref.corpus, sequence.segment), set()).add(span.doc_id)
    if not wanted:
        return {}
    pages = Pages(layout, on_indexing=said_once(INDEXING))
    return {
        (partition.corpus, doc_id): capture
        for partition, ids in sorted(wanted.items())
        for doc_id, capture in pages.of_ids(partition, ids).items()
    }


def _pieces(
    run: "TrainingRun", batch: "list[TracedSequence]", *, is_with_text: bool
) -> "list[list[Piece] | str | None]":
    if not is_with_text:
        return [None for _ in batch]
    from training.seen_text import SeenTexts

    texts = SeenTexts(run)
    return [texts.pieces(sequence) for sequence in batch]


def _show_head(
    out: Console, run: "TrainingRun", step: int | None, batch_number: int, batch: "list[TracedSequence]"
) -> None:
    documents = {(s.ref.corpus, span.doc_id) for s in batch for span in s.spans or ()}
    metrics = {} if step is None else run.metrics(step)
    numbers = [f"{name} {metrics[name]:.4g}" for name in _METRICS_SHOWN if isinstance(metrics.get(name), int | float)]
    state = f"batch {batch_number:,} (skipped, in no step)" if step is None else f"step {step:,} of {run.steps:,}"
    if step is not None and step > run.steps_made:
        state += f" (not made: the run is at step {run.steps_made:,})"
    line(out, f"{run.name}, {state}{': ' if numbers else ''}{', '.join(numbers)}", "bold")
    line(
        out,
        f"{counted(len(batch), 'sequence')} of {run.mixture.sequence_length:,} tokens, "
        f"{counted(len(documents), 'document')}; step 1 is the first, and reads the loader's batch 0",
    )
    for skip in run.cursor.skips:
        last = skip.first_batch + skip.batches - 1
        if skip.first_batch <= batch_number <= last or (step is not None and step > skip.after_step):
            reads = "" if step is None else f"; this step reads batch {batch_number:,}"
            line(
                out,
                f"batches {skip.first_batch:,} to {last:,} were skipped after step {skip.after_step:,}, since step "
                f"{skip.diverged_at:,} had diverged ({skip.problem}){reads}",
                "yellow",
            )
    if not run.is_order_proven:
        line(
            out, "a run of an older version, which kept no mark of its order: told is what this version reads", "yellow"
        )


def _show_sequence(out: Console, sequence: "TracedSequence", origins: Origins) -> None:
    ref = sequence.ref
    line(out, f"\nplace {ref.place}: {ref.source}, epoch {ref.epoch}, {ref.path} row {ref.row}", "bold")
    if sequence.spans is None:
        line(
            out,
            "  its documents are not known: the shard is gone, and this run, of an older version, did not keep its "
            "spans",
            "yellow",
        )
    for span in sequence.spans or ():
        origin = origins.get((ref.corpus, span.doc_id))
        where = "in no corpus any more"
        if origin is not None:
            record = f", record {origin.warc_record} there" if origin.warc_record else ""
            where = (
                f"{escaped_line(origin.url or '(no URL)')}  {escaped_line(origin.warc_file or 'no file')} "
                f"at byte {origin.warc_offset}{record}"
            )
        line(out, f"  [{span.start:>5}, {span.start + span.length:>5})  {span.doc_id}  {where}")


def _show_text(pieces: "list[Piece] | str") -> None:
    if isinstance(pieces, str):
        print(f"  {escaped_line(pieces)}")
        return
    for piece in pieces:
        whose = "padding or unknown" if piece.doc_id is None else piece.doc_id
        print(f"── [{piece.start}, {piece.start + piece.length}) {whose} ──")
        print(escaped(piece.text))


def _plain(
    run: "TrainingRun",
    step: int | None,
    batch_number: int,
    batch: "list[TracedSequence]",
    origins: Origins,
    pieces: "list[list[Piece] | str | None]",
) -> dict[str, Any]:
    sequences: list[dict[str, Any]] = []
    for sequence, text in zip(batch, pieces, strict=True):
        ref = sequence.ref
        row: dict[str, Any] = {
            "place": ref.place,
            "corpus": ref.corpus,
            "source": ref.source,
            "segment": sequence.segment,
            "epoch": ref.epoch,
            "shard": ref.path,
            "row": ref.row,
            "spans": None,
        }
        if sequence.spans is not None:
            row["spans"] = [_plain_span(span, origins.get((ref.corpus, span.doc_id))) for span in sequence.spans]
        if text is not None:
            row["text"] = None if isinstance(text, str) else [vars(piece) for piece in text]
            row["text_problem"] = text if isinstance(text, str) else None
        sequences.append(row)
    return {
        "run": run.to_plain(),
        "step": step,
        "loader_step": batch_number,
        "is_made": step is not None and step <= run.steps_made,
        "skips": [skip.to_plain() for skip in run.cursor.skips],
        "sequence_length": run.mixture.sequence_length,
        "tokenizer_version": run.mixture.tokenizer_version,
        "metrics": {} if step is None else run.metrics(step),
        "sequences": sequences,
    }


def _plain_span(span: Any, origin: "Capture | None") -> dict[str, Any]:
    names = ("url", "warc_file", "warc_offset", "warc_record", "fetched_at")
    place = {name: None if origin is None else getattr(origin, name) for name in names}
    found = {"start": span.start, "length": span.length, "doc_id": span.doc_id, "doc_offset": span.doc_offset}
    return found | {"is_known": origin is not None} | place
