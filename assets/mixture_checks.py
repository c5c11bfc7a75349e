"""Checks of training_mixture: it adds up, it is of the shards that are there, and it repeats no corpus too often."""

import math
import posixpath
from collections import Counter
from typing import Any

import dagster as dg

from assets.resources import Workers
from gristmill.core.errors import GristmillError, one_line
from gristmill.core.layout import REPORT_NAME, Layout

ASSET = "training_mixture"
_NAMED = 5  # sources or problems in a description; the rest is counted
_EXACT = 1e-9  # what floating point may be off by


@dg.asset_check(
    asset=ASSET,
    blocking=True,
    description=(
        "Proportions add up to 1 and draws to the pass, no source is drawn that has no shard, and each shard is there "
        "as its manifest says, of the tokenizer in force."
    ),
)
def mixture_matches_shards(workers: Workers) -> dg.AssetCheckResult:
    """The mixture is one of the shards that are there, and its numbers agree."""
    try:
        return matches_shards(workers.layout)
    except GristmillError as error:
        return dg.AssetCheckResult(passed=False, description=one_line(error))


@dg.asset_check(
    asset=ASSET,
    description=(
        "No source is read more often in one pass than warn_epochs says: up to 4 epochs, repeated text is nearly as "
        "good as new (Muennighoff et al. 2023)."
    ),
)
def few_repetitions(workers: Workers) -> dg.AssetCheckResult:
    """No corpus is read so often that it teaches little."""
    try:
        return repeats_little(workers.layout)
    except GristmillError as error:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=one_line(error))


def matches_shards(layout: Layout) -> dg.AssetCheckResult:
    """Compare the committed mixture with itself, and with manifests and file sizes; contents are not read."""
    from pipelines.tokens.mixture_shards import load_shards

    mixture = _read(layout, "mixture.json")
    try:
        rows, listed = mixture["corpora"], mixture["shards"]
        problems = _sums(mixture)
        there = {entry["path"]: entry for entry in load_shards(layout, {row["corpus"] for row in rows}).entries}
        wrong = [entry["path"] for entry in listed if there.get(entry["path"]) != entry]
        problems += [f"{path} is not there as the mixture has it" for path in wrong]
        named, known = {row["source"] for row in rows}, {entry["path"] for entry in listed}
        for path, entry in there.items():
            source = f"{entry['corpus']}/{entry['bucket']}" if entry["bucket"] else entry["corpus"]
            if entry["split"] == "train" and source in named and path not in known:
                problems.append(f"{path} is new since the mixture was made")
    except (KeyError, TypeError, AttributeError) as error:
        return dg.AssetCheckResult(
            passed=False, description=f"mixture.json is no mixture of this version ({type(error).__name__}: {error})"
        )
    said = f"{len(rows):,} sources add up, {len(listed):,} shards are there"
    if problems:
        more = f" and {len(problems) - _NAMED:,} more" if len(problems) > _NAMED else ""
        said = f"{'; '.join(problems[:_NAMED])}{more}: materialize training_mixture again"
    return dg.AssetCheckResult(passed=not problems, description=said, metadata={"problems": len(problems)})


def repeats_little(layout: Layout) -> dg.AssetCheckResult:
    """Compare the epochs of each source with `warn_epochs` of the settings the mixture was made with."""
    report = _read(layout, REPORT_NAME)
    rows: list[dict[str, Any]] = report.get("corpora", [])
    limit = float(report.get("settings", {}).get("warn_epochs", math.inf))
    over = sorted((row for row in rows if row["epochs"] > limit), key=lambda row: -row["epochs"])
    most = max((float(row["epochs"]) for row in rows), default=0.0)
    said = f"no source is read more than {limit:g} times in one pass, the most is {most:.3g}"
    if over:
        named = ", ".join(f"{row.get('source', row['corpus'])} {row['epochs']:.3g} times" for row in over[:_NAMED])
        more = f" and {len(over) - _NAMED:,} more" if len(over) > _NAMED else ""
        said = (
            f"{named}{more} in one pass, above {limit:g}: repeated text is worth less than new; lower proportion or "
            "epochs, add documents, or raise warn_epochs"
        )
    return dg.AssetCheckResult(
        passed=not over,
        severity=dg.AssetCheckSeverity.WARN,
        description=said,
        metadata={"most_epochs": most, "sources_above": len(over)},
    )


def _sums(mixture: dict[str, Any]) -> list[str]:
    rows, problems = mixture["corpora"], list[str]()
    for name in ("proportion", "token_proportion"):
        total = math.fsum(row[name] for row in rows)
        if abs(total - 1) > _EXACT:
            problems.append(f"the {name}s add up to {total:.9g}, not 1")
    draws = sum(row["draws"] for row in rows)
    if draws != mixture["sequences_per_pass"]:
        problems.append(f"the draws add up to {draws:,}, the pass has {mixture['sequences_per_pass']:,} sequences")
    held: dict[tuple[str, str], Counter[str]] = {}
    for entry in mixture["shards"]:
        if entry["split"] == "train":
            counts = held.setdefault((entry["corpus"], entry["bucket"]), Counter())
            counts.update({name: entry[name] for name in ("sequences", "tokens")})
    for row in rows:
        counts = held.get((row["corpus"], row["bucket"]), Counter())
        problems += [
            f"{row['source']} has {row[name]:,} {name}, its shards hold {counts[name]:,}"
            for name in ("sequences", "tokens")
            if row[name] != counts[name]
        ]
    return problems


def _read(layout: Layout, name: str) -> dict[str, Any]:
    found = layout.read_json(posixpath.join(layout.singleton_dir(ASSET), name))
    if found is None:
        raise dg.Failure(f"{ASSET} is not there under {layout.root}: materialize it first", allow_retries=False)
    return found
