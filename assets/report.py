"""Pages a person reads: what became of the corpora, and how good the models are."""

import dagster as dg

from assets.listener import listener
from assets.metadata import numbers, picture
from assets.resources import Workers


@dg.asset(deps=["clean_documents", "token_shards"], group_name="report", kinds={"python"})
def corpus_report(context: dg.AssetExecutionContext, workers: Workers) -> None:
    """An HTML page with the funnel of every corpus: what each stage kept, and why the others went."""
    from pipelines.crawl.corpora import list_corpora
    from pipelines.report.corpus_report import write_corpus_report
    from pipelines.report.funnel import compute_funnel
    from pipelines.report.plots import funnel_plot

    layout = workers.layout
    listener().started("corpus_report", [])
    report = write_corpus_report(layout)
    for corpus in list_corpora(layout):
        funnel = compute_funnel(layout, corpus.name)
        context.add_asset_metadata({f"funnel/{corpus.name}": picture(funnel_plot(funnel), f"funnel of {corpus.name}")})
    page = layout.join("corpus_report", "index.html")
    context.add_asset_metadata({"page": dg.MetadataValue.path(page), "corpora": len(report["corpora"])})
    listener().finished("corpus_report", {"corpus_report": report})


@dg.asset(
    deps=["pretrained_model", "lora_adapter", "qlora_adapter"],
    group_name="report",
    kinds={"python"},
)
def evaluation_report(context: dg.AssetExecutionContext, workers: Workers) -> None:
    """An HTML page that compares the models: held-out loss, samples, and what each run cost."""
    from pipelines.report.evaluation_report import write_evaluation_report

    layout = workers.layout
    listener().started("evaluation_report", [])
    report = write_evaluation_report(layout)
    page = layout.join("evaluation_report", "index.html")
    context.add_asset_metadata(numbers(report) | {"page": dg.MetadataValue.path(page)})
    listener().finished("evaluation_report", {"evaluation_report": report})
