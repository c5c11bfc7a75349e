"""Hold what the stages did with the demo web against what each page deserves."""

import json
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout
from gristmill.demo.kinds import DEDUP, EXTRACTION, LANGUAGE, QUALITY, REJECTED

CLEAN = "clean_documents"
_STAGES = (EXTRACTION, LANGUAGE, QUALITY, DEDUP, CLEAN)
_WORD = re.compile(r"\w+")
WELL_EXTRACTED_F1 = 0.9  # of words; navigation left in or a paragraph left out falls below it

Key = tuple[str, int]  # WARC file without folder, offset


@dataclass(frozen=True)
class StageScore:
    """How well one stage did one thing."""

    stage: str  # the asset, and after a colon what is counted where it is not the pages it rejects
    expected: int
    found: int
    true_positive: int
    precision: float | None  # None where nothing was found
    recall: float | None  # None where nothing was to be found
    note: str = ""


@dataclass(frozen=True)
class Rejection:
    """One quarantine row."""

    stage: str
    reason: str


def score(stage: str, expected: int, found: int, true_positive: int, note: str = "") -> StageScore:
    """A score with precision and recall from its counts."""
    return StageScore(
        stage,
        expected,
        found,
        true_positive,
        true_positive / found if found else None,
        true_positive / expected if expected else None,
        note,
    )


def evaluate(layout: Layout, corpus: str, manifest_path: str | Path) -> list[StageScore]:
    """Precision and recall of every stage of `corpus` that is materialized, in the order of the flow.

    A rejection is right where the manifest names that stage for the page and the reason begins as one that it
    allows. Some junk may rightly go at either of two stages; it is expected where it went. In a duplicate cluster
    all members but one are expected to go, whichever stays.

    Raises:
        MissingDataError: the manifest is missing or malformed, or nothing of `corpus` is materialized.
    """
    manifest = read_manifest(manifest_path)
    done = [s for s in _STAGES if any(p.corpus == corpus for p in layout.committed(s))]
    if EXTRACTION not in done:
        raise MissingDataError(f"nothing of {corpus} is materialized: run `gristmill run {corpus}` first")
    rejected: dict[Key, Rejection] = {}
    for stage in done:
        for row in _rows(layout, stage, corpus, ("warc_file", "warc_offset", "reason"), is_quarantine=True):
            rejected[_key(row)] = Rejection(stage, str(row["reason"]))
    texts = {_key(r): str(r["text"]) for r in _rows(layout, EXTRACTION, corpus, ("warc_file", "warc_offset", "text"))}
    scores = [text_score(manifest, texts)]
    for stage in done:
        if stage == DEDUP:
            scores.append(dedup_score(manifest, rejected))
        elif stage == CLEAN:
            clean = {_key(row): row for row in _rows(layout, CLEAN, corpus, None)}
            scores += [privacy_score(manifest, clean), kept_score(manifest, clean)]
        else:
            scores.append(rejection_score(stage, manifest, rejected))
            if stage == EXTRACTION:
                scores += extraction_details(manifest, rejected)
    return scores


def read_manifest(path: str | Path) -> dict[Key, dict[str, Any]]:
    """The manifest by place in the archive."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return {_key(row): row for row in rows}
    except (OSError, ValueError, KeyError) as error:
        raise MissingDataError(f"manifest {path} can't be read ({error}): make the demo web again") from None


def rejection_score(
    stage: str, manifest: Mapping[Key, dict[str, Any]], rejected: Mapping[Key, Rejection]
) -> StageScore:
    """The pages that `stage` rejected against those it should."""
    expected = sum(_expected_at(row, rejected.get(key)) == stage for key, row in manifest.items())
    found = [(key, why) for key, why in rejected.items() if why.stage == stage]
    right = sum(is_right(manifest.get(key), why) for key, why in found)
    return score(stage, expected, len(found), right)


def is_right(row: Mapping[str, Any] | None, why: Rejection) -> bool:
    """Whether the page of `row` deserves `why`; a row of no page of ours never does."""
    if row is None or row["fate"] != REJECTED or why.stage not in row["stages"]:
        return False
    # No reasons in the manifest: any reason of the stage will do.
    return not row["reasons"] or why.reason.startswith(tuple(row["reasons"]))


def _expected_at(row: Mapping[str, Any], why: Rejection | None) -> str | None:
    if row["fate"] != REJECTED:
        return None
    return why.stage if why is not None and why.stage in row["stages"] else row["stage"]


def extraction_details(manifest: Mapping[Key, dict[str, Any]], rejected: Mapping[Key, Rejection]) -> list[StageScore]:
    """Damaged records and owners' reservations, each by itself."""
    scores: list[StageScore] = []
    for name, prefix in (("broken records", "broken_"), ("opted out", "opted_out")):
        expected = {key for key, row in manifest.items() if prefix in row["reasons"]}
        found = {key for key, why in rejected.items() if why.stage == EXTRACTION and why.reason.startswith(prefix)}
        scores.append(score(f"{EXTRACTION}: {name}", len(expected), len(found), len(expected & found)))
    return scores


def text_score(manifest: Mapping[Key, dict[str, Any]], texts: Mapping[Key, str]) -> StageScore:
    """Words of the extracted text against the true main text, averaged over the pages worth keeping."""
    wanted = {key: row["main_text"] for key, row in manifest.items() if row["fate"] != REJECTED}
    measured = [word_overlap(texts[key], truth) for key, truth in wanted.items() if key in texts]
    if not measured:
        return StageScore(f"{EXTRACTION}: text", len(wanted), 0, 0, None, None)
    precision = sum(p for p, _ in measured) / len(measured)
    recall = sum(r for _, r in measured) / len(measured)
    f1s = [2 * p * r / (p + r) if p + r else 0.0 for p, r in measured]
    return StageScore(
        f"{EXTRACTION}: text",
        len(wanted),
        len(measured),
        sum(f1 >= WELL_EXTRACTED_F1 for f1 in f1s),
        precision,
        recall,
        f"mean F1 of words {sum(f1s) / len(f1s):.3f}",
    )


def word_overlap(found: str, truth: str) -> tuple[float, float]:
    """Precision and recall of the words of `found`, counted with repetition."""
    a, b = Counter(_WORD.findall(found.lower())), Counter(_WORD.findall(truth.lower()))
    common = (a & b).total()
    return common / max(a.total(), 1), common / max(b.total(), 1)


def dedup_score(manifest: Mapping[Key, dict[str, Any]], rejected: Mapping[Key, Rejection]) -> StageScore:
    """Of each cluster all members that came so far should go, but one."""
    came: Counter[int] = Counter()
    went: Counter[int] = Counter()
    for key, row in manifest.items():
        why = rejected.get(key)
        if row["cluster"] is not None and (why is None or why.stage in (DEDUP, CLEAN)):
            came[row["cluster"]] += 1
            went[row["cluster"]] += why is not None and why.stage == DEDUP
    expected = {cluster: members - 1 for cluster, members in came.items()}
    right = sum(min(went[cluster], most) for cluster, most in expected.items())
    found = sum(why.stage == DEDUP for why in rejected.values())
    exact = sum(went[cluster] == most for cluster, most in expected.items())
    return score(DEDUP, sum(expected.values()), found, right, f"{exact} of {len(expected)} clusters with one kept")


def privacy_score(manifest: Mapping[Key, dict[str, Any]], clean: Mapping[Key, dict[str, Any]]) -> StageScore:
    """Instances of personal data that were replaced, by type, in the documents that came so far."""
    expected = found = right = 0
    for key, document in clean.items():
        truth = manifest[key]["pii"] if key in manifest else []
        expected += len(truth)
        found += int(document["pii_total"])
        gone = Counter(f"pii_{i['type'].lower()}" for i in truth if i["value"] not in document["text"])
        right += sum(min(count, int(document.get(column) or 0)) for column, count in gone.items())
    return score(f"{CLEAN}: personal data", expected, found, right)


def kept_score(manifest: Mapping[Key, dict[str, Any]], clean: Iterable[Key]) -> StageScore:
    """From end to end: the pages worth keeping against those that are there; a cluster counts once."""

    def identity(key: Key) -> tuple[Any, ...]:
        cluster = manifest[key]["cluster"]
        return key if cluster is None else ("cluster", cluster)

    wanted = {identity(key) for key, row in manifest.items() if row["fate"] != REJECTED}
    kept = list(clean)
    right = {identity(key) for key in kept if key in manifest and manifest[key]["fate"] != REJECTED}
    return score(f"{CLEAN}: pages kept", len(wanted), len(kept), len(wanted & right))


def _key(row: Mapping[str, Any]) -> Key:
    return posixpath.basename(str(row["warc_file"])), int(row["warc_offset"])


def _rows(
    layout: Layout, asset: str, corpus: str, columns: tuple[str, ...] | None, *, is_quarantine: bool = False
) -> Iterable[dict[str, Any]]:
    import pyarrow.parquet as pq

    folder: Callable[..., str] = layout.quarantine_dir if is_quarantine else layout.partition_dir
    for partition in layout.committed(asset):
        if partition.corpus == corpus:
            for path in layout.parts(folder(asset, partition)):
                with layout.fs.open(path, "rb") as file:
                    yield from pq.ParquetFile(file).read(list(columns) if columns else None).to_pylist()
