"""`corpus_report`: one HTML page on every corpus, from the funnel to the tokens, and its numbers as JSON."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from gristmill.core.layout import Layout, Partition
from pipelines.commit import now
from pipelines.crawl.corpora import list_corpora, load_corpus
from pipelines.report.funnel import LANGUAGE_STAGE, Funnel, compute_funnel
from pipelines.report.page import commit_page, data_uri, render
from pipelines.report.plots import funnel_plot, language_plot
from pipelines.report.reasons import ANY_STAGE_REASONS, stage_reasons
from pipelines.report.tokenizer_plot import ours_first, tokenizer_plot

ASSET = "corpus_report"
PRIVACY_STAGE = "clean_documents"
SHARD_STAGE = "token_shards"
PERSONAL_PREFIX = "pii_"
LANGUAGE_REASONS = ("language", "language_score")  # their detail names the language


def write_corpus_report(layout: Layout, corpora: Sequence[str] | None = None) -> dict[str, Any]:
    """Write `<root>/corpus_report/{index.html, report.json}`; returns the report.

    Args:
        layout: where the data lies.
        corpora: names of registered corpora; default: all of them. A stage that is not done yet is shown so.

    Raises:
        CorpusError: a corpus that is named is not registered.
    """
    names = (
        [c.name for c in list_corpora(layout)] if corpora is None else [load_corpus(layout, n).name for n in corpora]
    )
    meanings = {stage.name: reasons for stage, reasons in stage_reasons()}
    sections = [_section(layout, name, meanings) for name in names]
    created_at = now()
    tokenizer = tokenizer_section(layout)
    html = render("corpus_report.html", sections=sections, tokenizer=tokenizer, root=layout.root, created_at=created_at)
    report = {
        "asset": ASSET,
        "created_at": created_at,
        "corpora": [
            {
                "funnel": cast(Funnel, section["funnel"]).to_plain(),
                "languages": section["languages"],
                "personal_data": section["personal_data"],
                "tokens": section["tokens"],
            }
            for section in sections
        ],
        "tokenizer": {"version": tokenizer["version"], "measures": tokenizer["measures"]} if tokenizer else None,
    }
    commit_page(layout, ASSET, html, report)
    return report


def _section(layout: Layout, corpus: str, meanings: dict[str, dict[str, str]]) -> dict[str, Any]:
    funnel = compute_funnel(layout, corpus)
    languages = languages_before_filter(layout, funnel)
    is_begun = any(row.segments_done for row in funnel.stages)
    return {
        "funnel": funnel,
        "funnel_plot": data_uri(funnel_plot(funnel)) if is_begun else None,
        "languages": languages,
        "language_plot": data_uri(language_plot(languages, f"Languages of {corpus} before the filter"))
        if languages
        else None,
        "reasons": [
            {
                "stage": row.stage,
                "reason": reason,
                "documents": documents,
                "meaning": meanings.get(row.stage, {}).get(reason) or ANY_STAGE_REASONS.get(reason, ""),
            }
            for row in funnel.stages
            for reason, documents in row.reasons.items()
        ],
        "personal_data": personal_data(funnel),
        "tokens": token_counts(layout, funnel),
    }


def languages_before_filter(layout: Layout, funnel: Funnel) -> dict[str, int]:
    """Documents per predicted language, kept or not; the rejected ones are counted in the quarantine."""
    import pyarrow.parquet as pq

    counts = Counter(funnel.languages)
    for segment in funnel.stage(LANGUAGE_STAGE).segments_done:
        for path in layout.parts(layout.quarantine_dir(LANGUAGE_STAGE, Partition(funnel.corpus, segment))):
            with layout.fs.open(path, "rb") as file:
                table = pq.read_table(file, columns=["reason", "detail"])
            for reason, language in zip(table["reason"].to_pylist(), table["detail"].to_pylist(), strict=True):
                if reason in LANGUAGE_REASONS and language:
                    counts[language] += 1
    return dict(counts.most_common())


def personal_data(funnel: Funnel) -> dict[str, int]:
    """Entities that were replaced, per kind, as the privacy stage tallied them."""
    return {
        name.removeprefix(PERSONAL_PREFIX): count
        for name, count in funnel.stage(PRIVACY_STAGE).tally.items()
        if name.startswith(PERSONAL_PREFIX) and name != f"{PERSONAL_PREFIX}total" and count
    }


def token_counts(layout: Layout, funnel: Funnel) -> list[dict[str, Any]]:
    """Packed sequences and tokens per split over the segments that are done, from their manifests."""
    sequences: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for segment in funnel.stage(SHARD_STAGE).segments_done:
        folder = layout.partition_dir(SHARD_STAGE, Partition(funnel.corpus, segment))
        manifest = layout.read_json(f"{folder}/manifest.json") or {}
        for split, facts in cast(dict[str, Any], manifest.get("splits", {})).items():
            sequences[split] += int(facts["sequences"])
            tokens[split] += int(facts["tokens"])
    splits = sorted(sequences, reverse=True)  # train before heldout
    return [{"split": split, "sequences": sequences[split], "tokens": tokens[split]} for split in splits]


def tokenizer_section(layout: Layout) -> dict[str, Any] | None:
    """The tokenizer in force and how tight it is, None where there is none yet."""
    latest = layout.latest(layout.join("tokenizer"))
    if latest is None or "languages" not in (latest[1].get("measures") or {}):
        return None
    version, report = latest
    return {
        "version": version,
        "measures": report["measures"],
        "names": ours_first(report["measures"]["vocabulary_sizes"]),
        "notes": report.get("notes") or [],
        "plot": data_uri(tokenizer_plot(report["measures"], f"Tokenizer {version}: bytes per token")),
    }
