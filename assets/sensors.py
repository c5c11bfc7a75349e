"""What is watched. Stopped until somebody turns it on."""

import json
import time
from pathlib import Path
from typing import cast

import dagster as dg

from assets.compared import changes
from assets.jobs import curate_job
from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import Layout, is_safe_name
from pipelines.crawl.corpora import add_corpus

INBOX = "inbox"
COMPLETE_NAME = "_SUCCESS"  # the customary sign that a folder is whole
SETTLED_SECONDS = 60.0  # without it, a folder is taken as whole when nothing in it has changed for so long


@dg.sensor(
    job=curate_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Watches inbox/ below GRISTMILL_HOME: a folder that arrives there, and is whole, is registered as a corpus "
        f"of its name and curated. Whole is a folder that holds {COMPLETE_NAME} or has not changed for a minute."
    ),
)
def inbox_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Take in corpora that arrive as folders."""
    layout = Layout()
    if not layout.is_local:
        return dg.SkipReason(f"{layout.root} is not a local folder: use `gristmill corpus add` for new corpora")
    seen = cast(dict[str, str], json.loads(context.cursor or "{}"))
    requests: list[dg.RunRequest] = []
    partitions: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    notes: list[str] = []
    for folder in arrivals(Path(layout.join(INBOX))):
        mark = state_of(folder)
        if seen.get(folder.name) == mark:
            continue
        try:
            if not is_safe_name(folder.name):
                raise GristmillError(f"{folder.name!r} can't name a corpus: use letters, digits, '.', '_' and '-'")
            corpus = add_corpus(layout, folder.name, [str(folder)], is_replacing=folder.name in seen)
        except GristmillError as error:
            notes.append(f"{folder.name}: {one_line(error)}")
            context.log.warning(notes[-1])
        else:
            partitions.append(dg.AddDynamicPartitionsRequest("corpus", [corpus.name]))
            partitions.append(dg.AddDynamicPartitionsRequest("segment", list(corpus.segments)))
            requests.append(dg.RunRequest(run_key=f"{corpus.name}:{mark}", partition_key=corpus.name))
        seen[folder.name] = mark  # said once; tried again when the folder changes
    if not requests:
        context.update_cursor(json.dumps(seen, sort_keys=True))
        return dg.SkipReason("; ".join(notes) or f"nothing new that is whole in {layout.join(INBOX)}")
    return dg.SensorResult(
        run_requests=requests, dynamic_partitions_requests=partitions, cursor=json.dumps(seen, sort_keys=True)
    )


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Observes compared_corpora, so that clusters with `scope: all` show as stale when another corpus changed by "
        "other ways than Dagster's: a worker run by hand, or data that was put there or taken away."
    ),
)
def compared_corpora_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Notice corpora that changed outside Dagster; runs and `gristmill corpus remove` tell of theirs themselves."""
    try:
        found = changes(context.instance, Layout())
    except GristmillError as error:
        return dg.SkipReason(one_line(error))
    return dg.SensorResult(asset_events=found) if found else dg.SkipReason("no corpus in scope has changed")


def arrivals(inbox: Path) -> list[Path]:
    """The folders of `inbox` that are whole, by name."""
    if not inbox.is_dir():
        return []
    return [f for f in sorted(inbox.iterdir()) if f.is_dir() and not f.name.startswith(".") and is_whole(f)]


def is_whole(folder: Path) -> bool:
    """Whether nobody is still copying into `folder`."""
    if (folder / COMPLETE_NAME).exists():
        return True
    newest = max((path.stat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)
    return time.time() - newest >= SETTLED_SECONDS


def state_of(folder: Path) -> str:
    """Changes when a file of `folder` does: number of files, bytes, newest modification in nanoseconds."""
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return f"{len(files)}:{sum(f.st_size for f in files)}:{max((f.st_mtime_ns for f in files), default=0)}"
