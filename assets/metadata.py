"""What the UI shows of a materialization: numbers it can plot over time, reasons, a preview, pictures."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import dagster as dg

from gristmill.core.layout import Layout, Partition
from pipelines.report.personal_data_rates import PREFIX, rates
from pipelines.stages import Stage

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 200
MOST_TALLIES = 40  # of one partition that are shown as numbers over time; more stay together in one table
TEXT_ASSETS = frozenset({"clean_documents"})  # before privacy, a preview may not show page text
_PREVIEW_COLUMNS = ("doc_id", "url", "language", "language_score", "quality", "pii_total", "text")
_IDENTITY = ("fingerprint", "stage", "asset", "corpus", "segment")  # the page says it already
Metadata = dict[str, Any]


def partition_metadata(layout: Layout, stage: Stage, partition: Partition, report: Mapping[str, Any]) -> Metadata:
    """Metadata of one committed partition of a document stage."""
    found = numbers(report)
    rejected = cast(dict[str, int], report.get("rows_rejected") or {})
    if "rows_in" in report:
        rows_in, kept = int(report["rows_in"]), int(report.get("rows_kept", 0))
        found |= {"rows_rejected": sum(rejected.values()), "share_kept": kept / rows_in if rows_in else 0.0}
        found["dagster/partition_row_count"] = kept
    found |= {f"rejected/{reason}": count for reason, count in rejected.items()}
    if rejected:
        found["reasons"] = reasons_table(stage.name, rejected)
        found["quarantine"] = dg.MetadataValue.path(layout.quarantine_dir(stage.name, partition))
    tally = cast(dict[str, int], report.get("tally") or {})
    if tally:
        found["tally"] = dg.MetadataValue.json(tally)
    shown = {name: count for name, count in tally.items() if not name.startswith(PREFIX)}
    if len(shown) <= MOST_TALLIES:
        found |= {f"tally/{name}": count for name, count in shown.items() if name not in found}
    found |= {f"pii_per_1000/{entity}": round(rate, 3) for entity, rate in rates(report).items() if rate}
    if stage.kind == "cluster":
        found |= cluster_metadata(layout, partition, report)
    if stage.kind in ("map", "cluster"):
        found |= preview(layout, stage.name, partition)
    found["folder"] = dg.MetadataValue.path(layout.partition_dir(stage.name, partition))
    found["settings"] = dg.MetadataValue.json(report.get("settings", {}))
    found["reused"] = bool(report.get("is_reused", False))
    if "is_redecided" in report:
        found["decided again"] = bool(report["is_redecided"])
    return found


def cluster_metadata(layout: Layout, partition: Partition, report: Mapping[str, Any]) -> Metadata:
    """What was compared with what, and how large the clusters are."""
    from pipelines.report.cluster_sizes import cluster_size_plot, cluster_sizes

    found: Metadata = {}
    others = cast(dict[str, Any], report.get("compared_with") or {})
    if report.get("scope"):
        found["compared_with"] = ", ".join(sorted(others)) or "no other corpus"
    left_out = cast(dict[str, str], report.get("not_compared") or {})
    if left_out:
        found["not_compared"] = "; ".join(f"{corpus}: {why}" for corpus, why in sorted(left_out.items()))
    sizes = cluster_sizes(layout, partition)
    if sizes:
        found["cluster_sizes"] = picture(cluster_size_plot(sizes, f"Clusters of {partition.corpus}"), "cluster sizes")
    return found


def empty_metadata(partition: Partition) -> Metadata:
    """Metadata of a cell of the grid that holds nothing."""
    return {
        "dagster/partition_row_count": 0,
        "note": f"no such segment: {partition.corpus} has no segment {partition.segment}; nothing was run",
    }


def numbers(report: Mapping[str, Any]) -> Metadata:
    """The report's own numbers; the UI plots them over time. Infinities and NaN become text."""
    found: Metadata = {}
    for name, value in report.items():
        if isinstance(value, float):
            found[name] = value if math.isfinite(value) else str(value)
        elif isinstance(value, int | str) and name not in _IDENTITY:
            found[name] = value
    return found


def report_metadata(report: Mapping[str, Any], folder: str) -> Metadata:
    """Metadata of an asset without partitions: its numbers, the rest as JSON, and where it lies."""
    nested = {k: v for k, v in report.items() if isinstance(v, dict | list) and k not in ("settings", "inputs")}
    found = numbers(report) | {k: dg.MetadataValue.json(_finite(v)) for k, v in nested.items()}
    found["settings"] = dg.MetadataValue.json(report.get("settings", {}))
    found["folder"] = dg.MetadataValue.path(folder)
    shown = {"training_mixture": mixture_metadata, "tokenizer": tokenizer_metadata}.get(str(report.get("stage")))
    if report.get("asset") == "training_plan":
        found |= plan_metadata(report)
    return found | (shown(report) if shown else {})


def plan_metadata(report: Mapping[str, Any]) -> Metadata:
    """A plan's tables, its memory as a picture, and what of it can be plotted over time."""
    from training.plan_table import memory_plot

    plan = cast(dict[str, Any], report.get("plan") or {})
    if "usable_gb" not in plan or not all("at_peak" in row for row in plan["memory"]):
        return {}  # of a version before there were such rows
    title = f"{plan['parameters']:,} parameters on {plan['gpus']} x {plan['gpu']}, {plan['precision']}"
    return {
        "table": dg.MetadataValue.md(str(report.get("table", ""))),
        "memory": picture(memory_plot(plan["memory"], plan["usable_gb"], title), "memory per GPU"),
        **{name: plan[name] for name in ("parameters", "tokens", "flops", "hours", "gpu_hours") if name in plan},
        **{f"peak_gb/{row['method']}": row["peak_gb"] for row in plan["memory"]},
        "fits": plan["is_fitting"],
        "smallest_change": plan["smallest_change"] or "none needed",
    }


def mixture_metadata(report: Mapping[str, Any]) -> Metadata:
    """The mixture as LLaMA's Table 1 shows one, and as a picture."""
    from pipelines.report.mixture_plot import mixture_plot

    found: Metadata = {"table": dg.MetadataValue.md(str(report.get("table", "")))}
    rows = cast(list[dict[str, Any]], report.get("corpora") or [])
    if rows and all("token_proportion" in row for row in rows):
        found["mixture"] = picture(mixture_plot(rows), "mixture")
        found |= {f"proportion/{row['source']}": row["token_proportion"] for row in rows[:MOST_TALLIES]}
        found |= {f"epochs/{row['source']}": row["epochs"] for row in rows[:MOST_TALLIES]}
    warnings = cast(list[str], report.get("warnings") or [])
    if warnings:
        found["warnings"] = dg.MetadataValue.text("; ".join(warnings))
    return found


def tokenizer_metadata(report: Mapping[str, Any]) -> Metadata:
    """How tight a tokenizer is, by language and beside others: as numbers over time, a table and a picture."""
    from pipelines.report.tokenizer_plot import tokenizer_plot

    measures = cast(dict[str, Any], report.get("measures") or {})
    if "languages" not in measures:  # of a tokenizer made before there were such measures
        return {}
    every = cast(dict[str, dict[str, float]], measures["all"])
    found: Metadata = {
        f"{name}/{tokenizer}": value
        for name in ("bytes_per_token", "tokens_per_word")
        for tokenizer, value in every[name].items()
    }
    notes = [f"- {line}" for line in cast(list[str], report.get("notes") or [])]
    found["table"] = dg.MetadataValue.md("\n".join([str(report.get("table", "")), *notes]))
    found["compression"] = picture(tokenizer_plot(measures, "Bytes per token"), "bytes per token by language")
    return found


def reasons_table(stage_name: str, rejected: Mapping[str, int]) -> dg.MetadataValue[Any]:
    """Why documents were rejected, most frequent first, with what each reason means."""
    from pipelines.report.reasons import explain

    total = sum(rejected.values())
    rows = [
        f"| `{reason}` | {count:,} | {count / total:.1%} | {explain(stage_name, reason).replace('|', '/')} |"
        for reason, count in sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    ]
    head = "| reason | documents | share | meaning |\n|---|---:|---:|---|"
    return dg.MetadataValue.md("\n".join([head, *rows]))


def preview(layout: Layout, asset: str, partition: Partition) -> Metadata:
    """The first documents of a partition; with text only where personal data has been replaced."""
    import pyarrow.parquet as pq

    from pipelines.damage import reading
    from pipelines.redacted_urls import redacted

    rows: list[dict[str, Any]] = []
    for path in layout.parts(layout.partition_dir(asset, partition)):
        with reading(path), layout.fs.open(path, "rb") as file:
            parquet = pq.ParquetFile(cast(Any, file))
            wanted = [c for c in _PREVIEW_COLUMNS if c in parquet.schema_arrow.names]
            wanted = [c for c in wanted if c != "text" or asset in TEXT_ASSETS]
            for batch in parquet.iter_batches(PREVIEW_ROWS, columns=wanted or None):
                rows += batch.slice(0, PREVIEW_ROWS - len(rows)).to_pylist()
                break
        if len(rows) >= PREVIEW_ROWS:
            break
    if not rows:
        return {}
    for row in rows:
        if row.get("url"):
            row["url"] = redacted(row["url"])
    return {"preview": table([{name: _clip(value) for name, value in row.items()} for row in rows])}


def table(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    """Rows as a table; text from the crawl can't become markup there, as it could in Markdown."""
    kinds = {str: "string", int: "int", float: "float", bool: "bool"}
    columns = [dg.TableColumn(name, kinds.get(type(value), "string")) for name, value in rows[0].items()]
    records = [dg.TableRecord(dict(row)) for row in rows]
    return dg.MetadataValue.table(records=records, schema=dg.TableSchema(columns=columns))


def picture(png: bytes, title: str) -> dg.MetadataValue[Any]:
    """A small PNG, shown in the UI."""
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})")


def loss_picture(layout: Layout, model_folder: str, title: str) -> Metadata:
    """The loss curve of a training run, from its metrics.jsonl; nothing where there is none."""
    from pipelines.report.evaluation_report import read_metrics
    from pipelines.report.plots import loss_plot

    training, heldout = read_metrics(layout, model_folder)
    if not training and not heldout:
        return {}
    return {"loss_curve": picture(loss_plot(training, heldout, title), "loss")}


def _clip(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, int | float | bool):
        return value
    text = " ".join(str(value).split())
    return text if len(text) <= PREVIEW_CHARACTERS else f"{text[:PREVIEW_CHARACTERS]}…"


def _finite(value: Any) -> Any:
    """JSON has no NaN: say it in words."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_finite(v) for v in cast(list[Any], value)]
    return value
