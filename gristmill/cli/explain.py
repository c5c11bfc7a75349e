"""`gristmill explain`: a page's way through every stage, and each training step that read it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gristmill.cli.explained import Answer, Model, line, plain_model, plain_raw, show, show_models, show_raw
from gristmill.cli.output import HomeOption, JsonOption, console, print_json, said_once
from gristmill.core.errors import GristmillError, MissingDataError, one_line
from gristmill.core.layout import Layout

if TYPE_CHECKING:
    from pipelines.report.captures import Capture
    from pipelines.report.raw_record import RawRecord
    from training.past_runs import TrainingRun

Grown = Mapping[tuple[str, str], Sequence[tuple[str, str]]]  # (asset, run id) of a run to those grown from it
INDEXING = "making an index of pages, once for each segment: some seconds a million pages"


def explain(
    page: Annotated[
        str, typer.Argument(metavar="URL_OR_DOC_ID", help="A URL, a doc_id, or six or more of its first characters.")
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
    from training.lineage import grown_from
    from training.past_runs import training_runs

    layout = Layout(home)
    found = Pages(layout, corpus, said_once(INDEXING)).find(page)
    runs = training_runs(layout)
    grown = grown_from(layout) if runs else {}
    out = console()
    if not found.captures:
        if is_doc_id(page) and len(page) == ID_LENGTH and (models := _models(runs, grown, page, corpus, None)):
            _explain_lost(out, page, models, is_json=is_json)
            return
        raise _unknown(layout, page, corpus, found.near)
    answers = [_answer(layout, runs, grown, capture) for capture in found.captures]
    raws = [_read(layout, capture) if is_raw else None for capture in found.captures]
    if is_json:
        documents = [
            answer.to_plain() | ({} if raw is None else {"raw": plain_raw(raw, raw_bytes)})
            for answer, raw in zip(answers, raws, strict=True)
        ]
        print_json({"asked": page, "is_exact": found.is_exact, "documents": documents})
        return
    if not found.is_exact:
        line(out, "no page has just that address; spelled a little otherwise there is:", "yellow")
    for number, (answer, raw) in enumerate(zip(answers, raws, strict=True)):
        if number:
            out.print()
        show(out, answer)
        if raw is not None:
            show_raw(raw, raw_bytes)


def _answer(layout: Layout, runs: "Sequence[TrainingRun]", grown: Grown, capture: "Capture") -> Answer:
    from gristmill.core.layout import Partition
    from pipelines.report.captures import Pages
    from pipelines.report.explanation import explain as follow

    answer = Answer(follow(layout, capture), _models(runs, grown, capture.doc_id, capture.corpus, capture.segment))
    cluster = answer.explanation.cluster
    if cluster is not None and cluster.kind is not None:
        where = Partition(cluster.representative_corpus, cluster.representative_segment)
        found = Pages(layout, where.corpus).of_ids(where, [cluster.representative_id])
        if head := found.get(cluster.representative_id):
            models = _models(runs, grown, head.doc_id, head.corpus, head.segment)
            answer.representative = Answer(follow(layout, head), models)
    return answer


def _models(
    runs: "Sequence[TrainingRun]", grown: Grown, doc_id: str, corpus: str | None, segment: str | None
) -> list[Model]:
    """The runs that had the document, or may have had it: their spans are gone, or the run can't be read."""
    from training.history import DocumentReads, reads_of

    found: list[Model] = []
    for run in runs:
        try:
            reads, problem = reads_of(run, [doc_id], corpus, segment), ""
        except GristmillError as error:  # one damaged run must not hide the others
            reads, problem = DocumentReads(), one_line(error)
        if problem or reads.trained or reads.held_out or reads.unknown:
            found.append(Model(run, reads, problem, tuple(grown.get((run.asset, run.run_id), ()))))
    return found


def _unknown(layout: Layout, page: str, corpus: str | None, near: Sequence[str]) -> MissingDataError:
    where = f"corpus {corpus}" if corpus else f"any corpus under {layout.root}"
    if near:
        return MissingDataError(f"no page {page!r} in {where}; did you mean {' or '.join(near)}?")
    return MissingDataError(
        f"no page {page!r} in {where}, kept or rejected: give a URL as it was crawled, or a doc_id, or six or "
        "more of its first characters"
    )


def _read(layout: Layout, capture: "Capture") -> "RawRecord":
    from pipelines.report.raw_record import read_raw

    return read_raw(layout, capture)


def _explain_lost(out: Console, doc_id: str, models: list[Model], *, is_json: bool) -> None:
    """A document that no stage has any more, but that a model was given."""
    if is_json:
        lost = {"document": {"doc_id": doc_id}, "stages": [], "models": [plain_model(model) for model in models]}
        print_json({"asked": doc_id, "is_exact": True, "documents": [lost]})
        return
    line(out, f"{doc_id} is in no corpus any more; what models had of it is known from the spans they kept", "yellow")
    show_models(out, models)
