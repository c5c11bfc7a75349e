"""What comes round by the clock. Stopped until somebody turns it on."""

import os

import dagster as dg

from assets.jobs import curate_job
from assets.partitions import register_partitions
from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout, Partition
from pipelines.crawl.corpora import Corpus, add_corpus, list_corpora

FOLLOW_VARIABLE = "GRISTMILL_FOLLOW_CRAWLS"  # Common Crawl ids to take in as soon as they are out, by comma
LAST_CURATED = "clean_documents"


@dg.schedule(
    job=curate_job,
    cron_schedule="0 3 * * 1",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=(
        "Mondays at 3: curates every registered corpus that is not there yet. Common Crawl ids named in "
        f"{FOLLOW_VARIABLE} are registered as soon as Common Crawl publishes their list of files."
    ),
)
def weekly_crawl_schedule(
    context: dg.ScheduleEvaluationContext,
) -> list[dg.RunRequest] | dg.SkipReason:
    """Look for new crawls once a week."""
    layout = Layout()
    notes = _register_followed(layout)
    try:
        missing = [corpus for corpus in list_corpora(layout) if not is_curated(layout, corpus)]
    except GristmillError as error:
        return dg.SkipReason(one_line(error))
    if not missing:
        return dg.SkipReason("; ".join(["every registered corpus is curated", *notes]))
    for corpus in missing:
        register_partitions(context.instance, corpus)
    return [
        # A corpus that grows is asked for again; a failed one is left to a person, not tried every week.
        dg.RunRequest(run_key=f"{corpus.name}:{len(corpus.files)}:{corpus.created_at}", partition_key=corpus.name)
        for corpus in missing
    ]


def is_curated(layout: Layout, corpus: Corpus) -> bool:
    """Whether every segment of `corpus` has clean documents."""
    return all(layout.report(LAST_CURATED, Partition(corpus.name, s)) is not None for s in corpus.segments)


def _register_followed(layout: Layout) -> list[str]:
    notes: list[str] = []
    known = {corpus.name for corpus in list_corpora(layout)}
    for crawl in filter(None, (name.strip() for name in os.environ.get(FOLLOW_VARIABLE, "").split(","))):
        if crawl not in known:
            try:
                add_corpus(layout, crawl, [])
            except GristmillError as error:
                notes.append(one_line(error))
    return notes
