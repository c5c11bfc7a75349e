"""quality_classifier: a fastText classifier of good documents and bad ones, named by its content.

Li et al. 2024, arXiv:2406.11794, section 4.4 and appendix on fastText: as many documents of either kind, words and
pairs of words. Which documents are drawn, and which of them are held out, follows from hashes of their ids; they are
read in the order of these hashes by one thread: the same documents give the same model, byte for byte, however
partitions and parts are cut.
"""

import hashlib
import heapq
import math
import posixpath
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import REPORT_NAME, Layout, Partition
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.commit import now
from pipelines.filters.classifier import (
    BAD,
    GOOD,
    LABEL,
    MODEL_NAME,
    PERCENTILES_NAME,
    cleaned,
    good_scores,
    load_model,
    percentiles,
)
from pipelines.fingerprint import fingerprint
from pipelines.segments import live_segments
from pipelines.stages import stage

LIBRARIES = ("fasttext-community",)
REASONS: dict[str, str] = {}
STAGE = "quality_classifier"
VERSION_LENGTH = 12
_BATCH_ROWS = 256
_POOR_AUC = 0.7
_FEWEST = 20  # documents of either kind; with fewer there is nothing to hold out


@dataclass(frozen=True)
class Settings:
    """What the classifier learns from, and how."""

    good: tuple[str, ...] = ()  # corpora whose documents are as wanted
    bad: tuple[str, ...] = ()  # corpora as they are crawled
    # The stage whose documents are read; the first is what the quality stage will score.
    documents_of: Literal["language_filtered_documents", "extracted_documents", "clean_documents"] = (
        "language_filtered_documents"
    )
    documents_per_kind: int = 20_000  # at most; of either kind as many. 200,000 in arXiv:2406.11794
    characters_per_document: int = 10_000  # what is read of each; bounds memory
    held_out_share: float = 0.1  # of the documents, for the report and the percentiles
    word_ngrams: int = 2  # arXiv:2406.11794, appendix on fastText
    dimensions: int = 32  # of a word's vector; fastText's own default is 100, and three times the size
    hash_buckets: int = 200_000  # for the pairs of words
    epochs: int = 5  # fastText's default, enough for hundreds of thousands of documents
    # Fewer documents are read more often, until so many were seen. With 384 web pages and documentation pages the
    # ROC AUC was 0.58 after 5 epochs and 0.96 after 100.
    fewest_updates: int = 40_000
    learning_rate: float = 0.1  # fastText's default for classifiers
    seed: int = 1
    max_model_mb: float = 200.0  # a larger model is quantised (Joulin et al. 2016, arXiv:1612.03651)

    def __post_init__(self) -> None:
        for name in (
            "characters_per_document",
            "word_ngrams",
            "dimensions",
            "hash_buckets",
            "epochs",
            "fewest_updates",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.documents_per_kind < _FEWEST:
            raise ValueError(f"documents_per_kind is {self.documents_per_kind}; give at least {_FEWEST}")
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share is {self.held_out_share}; give a number between 0 and 1")
        both = sorted(set(self.good) & set(self.bad))
        if both:
            raise ValueError(f"corpus {both[0]} is both good and bad")


@dataclass(frozen=True)
class Example:
    """One document as the classifier sees it."""

    is_good: bool
    is_held_out: bool
    text: str


def run(layout: Layout, settings: Settings, reporter: Reporter, *, is_forced: bool = False) -> dict[str, Any]:
    """Train the classifier, or choose again one that is there for the same inputs, settings and code.

    Returns:
        The committed report of the version that is in force from now on.

    Raises:
        SettingsError: no corpora are named.
        MissingDataError: they are not materialized, or hold too few documents.
    """
    if not settings.good or not settings.bad:
        raise SettingsError(f"settings of {STAGE}: name corpora as `good` and as `bad`, which it learns to tell apart")
    row = stage(STAGE)
    partitions = {GOOD: _partitions(layout, settings, "good"), BAD: _partitions(layout, settings, "bad")}
    inputs = {
        f"{kind} {settings.documents_of} {p.key}": str(layout.require_report(settings.documents_of, p)["fingerprint"])
        for kind, found in partitions.items()
        for p in found
    }
    plain = to_plain(settings)
    mark = fingerprint(row, plain, inputs)
    known = None if is_forced else layout.with_fingerprint(layout.join(STAGE), mark)
    if known is not None:
        reporter.info(f"{STAGE} {known['version']}: already there for the same inputs, settings and code")
        return layout.select(layout.join(STAGE, str(known["version"])), known, now()) | {"is_reused": True}

    started = time.monotonic()
    examples = _examples(layout, settings, partitions, reporter)
    with tempfile.TemporaryDirectory(prefix="gristmill-classifier-") as folder:
        path, is_quantised, epochs = train([e for e in examples if not e.is_held_out], settings, Path(folder))
        measures, bad_scores = evaluate(load_model(str(path)), [e for e in examples if e.is_held_out])
        data = path.read_bytes()
    version = hashlib.sha256(data).hexdigest()[:VERSION_LENGTH]
    target = layout.join(STAGE, version)
    held_out = sum(e.is_held_out for e in examples)
    report: dict[str, Any] = {
        "stage": STAGE,
        "version": version,
        "classifier_path": posixpath.join(target, MODEL_NAME),
        "bytes": len(data),
        "is_quantised": is_quantised,
        "epochs": epochs,
        "documents": {"good": len(examples) // 2, "bad": len(examples) // 2, "held_out": held_out},
        "measures": measures,
        "corpora": {GOOD: sorted(settings.good), BAD: sorted(settings.bad)},
        "settings": plain,
        "code_version": row.code_version,
        "libraries": row.libraries,
        "inputs": inputs,
        "fingerprint": mark,
        "seconds": round(time.monotonic() - started, 3),
        "created_at": now(),
        "selected_at": now(),
    }
    if measures["roc_auc"] < _POOR_AUC:
        reporter.warning(
            f"{STAGE} {version} hardly tells good from bad (ROC AUC {measures['roc_auc']:.2f} on {held_out} held-out "
            "documents): give more documents, or corpora that differ more"
        )
    layout.write_bytes(posixpath.join(target, MODEL_NAME), data)
    layout.write_json(posixpath.join(target, PERCENTILES_NAME), {"bad_scores": bad_scores})
    layout.write_json(posixpath.join(target, REPORT_NAME), report)
    return report


def train(examples: Sequence[Example], settings: Settings, folder: Path) -> tuple[Path, bool, int]:
    """Train on `examples` in their order; returns its file in `folder`, whether it is quantised, the epochs."""
    import fasttext

    lines, path = folder / "examples.txt", folder / MODEL_NAME
    with lines.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(f"{LABEL}{GOOD if example.is_good else BAD} {example.text}\n")
    s = settings
    epochs = max(s.epochs, math.ceil(s.fewest_updates / len(examples)))
    model: Any = fasttext.train_supervised(
        input=str(lines), wordNgrams=s.word_ngrams, dim=s.dimensions, bucket=s.hash_buckets, epoch=epochs,
        lr=s.learning_rate, seed=s.seed, thread=1, verbose=0,
    )  # fmt: skip
    model.save_model(str(path))
    is_large = path.stat().st_size > s.max_model_mb * 1e6
    if is_large:
        model.quantize(input=str(lines), retrain=False, qnorm=True, thread=1, verbose=0)
        model.save_model(str(path))
    return path, is_large, epochs


def evaluate(model: Any, examples: Sequence[Example]) -> tuple[dict[str, float], list[float]]:
    """Accuracy at 0.5 and ROC AUC on `examples`, and the percentiles of the scores of the bad ones."""
    scores = np.array([value or 0.0 for value in good_scores(model, [e.text for e in examples])])
    is_good = np.array([e.is_good for e in examples], np.bool_)
    measures = {"accuracy": float(np.mean((scores >= 0.5) == is_good)), "roc_auc": roc_auc(scores, is_good)}
    return {name: round(value, 6) for name, value in measures.items()}, percentiles(scores[~is_good].tolist())


def roc_auc(scores: npt.NDArray[np.float64], is_good: npt.NDArray[np.bool_]) -> float:
    """The probability that a good example has a higher score than a bad one; ties count half."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # from 1; equal scores share their mean rank
    good = int(is_good.sum())
    bad = len(scores) - good
    return float((ranks[is_good].sum() - good * (good + 1) / 2) / (good * bad))


def _examples(
    layout: Layout, settings: Settings, partitions: dict[str, list[Partition]], reporter: Reporter
) -> list[Example]:
    """As many good as bad, in the order of their hashes; some of either kind are held out."""
    drawn = {kind: _draw(layout, settings, found, kind, reporter) for kind, found in partitions.items()}
    count = min(map(len, drawn.values()))
    if count < _FEWEST:
        kind = min(drawn, key=lambda name: len(drawn[name]))
        raise MissingDataError(
            f"the {kind} corpora of {STAGE} have {len(drawn[kind])} documents with text, and it needs {_FEWEST}: "
            f"name more corpora, or another stage as documents_of"
        )
    held_out = min(max(round(count * settings.held_out_share), 1), count - 1)
    ordered: list[tuple[int, Example]] = []
    for kind, found in drawn.items():
        for place, (hash_, text) in enumerate(sorted(found)[:count]):
            ordered.append((hash_, Example(kind == GOOD, place < held_out, text)))
    return [example for _, example in sorted(ordered, key=lambda pair: pair[0])]


def _draw(
    layout: Layout, settings: Settings, partitions: Sequence[Partition], kind: str, reporter: Reporter
) -> list[tuple[int, str]]:
    """(hash, cleaned text) of the documents with the lowest hashes: the same ones in whatever order they are read."""
    largest_out: list[tuple[int, str]] = []  # a heap whose first is the highest hash, to be pushed out
    for done, partition in enumerate(partitions):
        reporter.progress(f"{STAGE}: reading the {kind}", done, len(partitions), "segments")
        for doc_id, text in _documents(layout, settings.documents_of, partition):
            key = -_hash(doc_id)
            if len(largest_out) == settings.documents_per_kind and key <= largest_out[0][0]:
                continue
            clean = cleaned(text[: settings.characters_per_document])
            if clean:
                push = heapq.heappush if len(largest_out) < settings.documents_per_kind else heapq.heapreplace
                push(largest_out, (key, clean))
    return [(-key, text) for key, text in largest_out]


def _hash(doc_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{STAGE}:{doc_id}".encode(), digest_size=8).digest())


def _documents(layout: Layout, asset: str, partition: Partition) -> Iterator[tuple[str, str]]:
    for path in layout.parts(layout.partition_dir(asset, partition)):
        with layout.fs.open(path, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=_BATCH_ROWS, columns=["doc_id", "text"]):
                texts = cast(list[str | None], batch.column("text").to_pylist())
                yield from zip(batch.column("doc_id").to_pylist(), [text or "" for text in texts], strict=True)


def _partitions(layout: Layout, settings: Settings, kind: Literal["good", "bad"]) -> list[Partition]:
    committed = live_segments(layout, settings.documents_of)
    corpora: tuple[str, ...] = getattr(settings, kind)
    for corpus in corpora:
        if corpus not in {p.corpus for p in committed}:
            raise MissingDataError(
                f"no {settings.documents_of} of {corpus}, which {STAGE} has as {kind}: "
                f"run `gristmill run {corpus} --through {settings.documents_of}` first"
            )
    return [p for p in committed if p.corpus in corpora]
