"""tokenizer: one byte-level BPE vocabulary for all corpora, named by its content.

Byte-level BPE (Radford et al. 2019) has a token for every byte, so that any text goes through and comes back
as it was. The version is a hash of tokenizer.json and the files beside it: the same merges, special tokens and chat
template are the same version, wherever made.
"""

import hashlib
import json
import math
import posixpath
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import REPORT_NAME, Layout, Partition, is_safe_name
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.commit import now
from pipelines.fingerprint import fingerprint
from pipelines.stages import stage
from pipelines.tokens.pretokenization import LONGEST_RUN, MOST_DIGITS, Pattern
from pipelines.tokens.sample import Sample, choose_partitions
from pipelines.tokens.sample_weights import Quota, mixture_weights, quotas, shortfalls
from pipelines.tokens.tokenizer_heldout import HeldoutDocuments
from pipelines.tokens.tokenizer_peers import DISTRIBUTIONS, PEER_NAMES, PeerName, load_peers
from pipelines.tokens.tokenizer_report import measure, table
from pipelines.tokens.vocabulary import BYTE_TOKENS, Encoder, companions, new_tokenizer, special_tokens

LIBRARIES = ("tokenizers", *DISTRIBUTIONS)
REASONS: dict[str, str] = {}
VERSION_LENGTH = 12
_REPORT_EVERY = 256


@dataclass(frozen=True)
class Settings:
    """How the tokenizer is trained."""

    # Tokens, special ones and the 256 bytes included; 32,000 as in LLaMA (Touvron et al. 2023), 100,000 as in GPT-4.
    vocabulary_size: int = 32_000
    # How text is cut before pairs are merged: cl100k as GPT-4, o200k as GPT-4o.
    pattern: Pattern = "cl100k"
    # Digits of a number that may share a token: 3 as in GPT-4, 1 as in LLaMA (Touvron et al. 2023, section 2.1).
    digits: int = MOST_DIGITS
    # Special tokens without a use yet, so that fine-tuning needs no larger vocabulary; Llama 3 keeps some 250.
    reserved_tokens: int = 16
    # Corpora whose clean_documents it learns from; as {corpus: weight} each gives its share of the sample. None: all.
    corpora: dict[str, float] | tuple[str, ...] = ()
    # Take the weights from what training_mixture is asked for, instead of from `corpora`.
    weights_from_mixture: bool = False
    # Text to learn from, in about so many MB; where there is more, documents are drawn by a hash of their id.
    sample_mb: float = 256.0
    # Of a longer document only so many MB, so that no single one makes the vocabulary.
    document_mb: float = 1.0
    # A pair of tokens is merged only if it occurs this often in the sample.
    minimum_pair_count: int = 2
    # Share of the documents to measure on and not to learn from; with at least the share that token_shards holds out,
    # those are among them.
    heldout_fraction: float = 0.01
    # Of each language, about so many MB of these are measured.
    measured_mb: float = 0.5
    # Published tokenizers to measure beside it; their packages come with the extra tokenizer-peers.
    compare_with: tuple[PeerName, ...] = PEER_NAMES
    # Keep to this version, which is there already, and train none; empty: train.
    version: str = ""

    def __post_init__(self) -> None:
        if self.reserved_tokens < 0:
            raise ValueError(f"reserved_tokens is {self.reserved_tokens}; give 0 or more")
        smallest = BYTE_TOKENS + len(special_tokens(self.reserved_tokens))
        if self.vocabulary_size < smallest:
            raise ValueError(
                f"vocabulary_size is {self.vocabulary_size}; give at least {smallest}, the bytes and special tokens"
            )
        if self.digits not in range(1, MOST_DIGITS + 1):
            raise ValueError(f"digits is {self.digits}; give 1 to {MOST_DIGITS}")
        for name in ("sample_mb", "document_mb", "measured_mb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number above 0")
        if self.minimum_pair_count < 1:
            raise ValueError(f"minimum_pair_count is {self.minimum_pair_count}; give at least 1")
        if not 0 <= self.heldout_fraction < 1:
            raise ValueError(f"heldout_fraction is {self.heldout_fraction}; give 0 or more, below 1")
        for corpus, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise ValueError(f"corpora: {corpus} has weight {weight}; give a number above 0, or leave it out")
        if self.weights and self.weights_from_mixture:
            raise ValueError("corpora has weights and weights_from_mixture is set; give one of the two")
        if self.version and not is_safe_name(self.version):
            raise ValueError(f"version is {self.version!r}; give the name of a folder below tokenizer/")

    @property
    def weights(self) -> dict[str, float]:
        """Corpus to weight, where `corpora` gives any."""
        return dict(self.corpora) if isinstance(self.corpora, Mapping) else {}


def run(layout: Layout, settings: Settings, reporter: Reporter, *, is_forced: bool = False) -> dict[str, Any]:
    """Train the tokenizer, or choose again one that is there for the same inputs, settings and code.

    Returns:
        The committed report of the version that is in force from now on.

    Raises:
        MissingDataError: no clean_documents to learn from.
        SettingsError: `version` names a tokenizer that is not there.
    """
    if settings.version:
        return _select_version(layout, settings.version)
    row = stage("tokenizer")
    partitions = choose_partitions(layout, tuple(settings.corpora))
    reports = {p: layout.require_report("clean_documents", p) for p in partitions}
    available = _available(reports, settings)
    weights = settings.weights
    if settings.weights_from_mixture:
        weights = mixture_weights(layout, available)
    inputs = {f"clean_documents {p.key}": str(r["fingerprint"]) for p, r in reports.items()}
    plain = to_plain(settings)
    mark = fingerprint(row, plain | {"weights": weights}, inputs)
    known = layout.with_fingerprint(layout.join("tokenizer"), mark)
    if known is not None and not is_forced:
        reporter.info(f"tokenizer {known['version']}: already there for the same inputs, settings and code")
        return _select(layout, known) | {"is_reused": True}

    started = time.monotonic()
    budget = settings.sample_mb * 1e6
    asked = quotas(budget, available, weights)
    warnings = shortfalls(asked) if weights else []
    aside = HeldoutDocuments(settings.heldout_fraction, round(settings.measured_mb * 1e6))
    familiar = HeldoutDocuments(1.0, round(settings.measured_mb * 1e6))
    shares = {corpus: quota.share for corpus, quota in asked.items()}
    sample = Sample(layout, partitions, shares, round(settings.document_mb * 1e6), aside, familiar)
    trained = _train(sample, settings, reporter, sum(min(q.asked, q.available) for q in asked.values()))
    if sample.bytes == 0:
        raise MissingDataError(
            "clean_documents hold no text to train a tokenizer on: look at `gristmill funnel CORPUS`, "
            "loosen the filters or raise sample_mb, and run again"
        )
    special = special_tokens(settings.reserved_tokens)
    data = cast(str, trained.to_str(pretty=False)).encode()
    version = _version(data, companions(special))
    size = int(trained.get_vocab_size())
    if size < settings.vocabulary_size:
        warnings.append(
            f"tokenizer {version} has {size:,} tokens, not {settings.vocabulary_size:,}: {sample.bytes:,} bytes of "
            "text hold no more pairs that repeat; give more text or a smaller vocabulary_size"
        )
    peers, notes = load_peers(settings.compare_with)
    encoder = Encoder(trained)
    measures = measure(lambda texts: sum(map(len, encoder.encode(texts))), size, aside.texts(), familiar.texts(), peers)
    for line in warnings:
        reporter.warning(line)
    report: dict[str, Any] = {
        "stage": row.name,
        "version": version,
        "vocabulary_size": size,
        "special_tokens": dict(zip(special, range(len(special)), strict=True)),
        "sample": _drawn(sample, asked),
        "measures": measures,
        "table": table(measures),
        "notes": notes,
        "warnings": warnings,
        "corpora": sorted(available),
        "weights": weights,
        "settings": plain,
        "code_version": row.code_version,
        "libraries": row.libraries,
        "inputs": inputs,
        "fingerprint": mark,
        "seconds": round(time.monotonic() - started, 3),
        "created_at": now(),
        "selected_at": now(),
    }
    _write(layout, version, data, companions(special), report)
    return report


def _available(reports: Mapping[Partition, Mapping[str, Any]], settings: Settings) -> dict[str, int]:
    """Corpus to about how many bytes can be drawn from it."""
    found = {partition.corpus: 0.0 for partition in reports}
    for partition, report in reports.items():
        found[partition.corpus] += int(report["text_bytes_out"]) * (1 - settings.heldout_fraction)
    return {corpus: round(size) for corpus, size in found.items()}


def _drawn(sample: Sample, asked: Mapping[str, Quota]) -> dict[str, Any]:
    """What a report says of the sample: in all, and of each corpus what was asked of it, was there and was taken."""
    return {
        "documents": sample.documents,
        "bytes": sample.bytes,
        "bytes_available": sum(quota.available for quota in asked.values()),
        "corpora": {
            corpus: {
                "documents": drawn.documents,
                "bytes": drawn.bytes,
                "bytes_asked": round(asked[corpus].asked),
                "bytes_available": asked[corpus].available,
                "proportion": round(drawn.bytes / sample.bytes, 6),
            }
            for corpus, drawn in sorted(sample.drawn.items())
        },
    }


def _version(data: bytes, beside: Mapping[str, Any]) -> str:
    """The hash of all that a version is: tokenizer.json and, for the chat template, the files beside it."""
    return hashlib.sha256(data + json.dumps(beside, sort_keys=True).encode()).hexdigest()[:VERSION_LENGTH]


def _train(sample: Sample, settings: Settings, reporter: Reporter, expected_bytes: float) -> Any:
    from tokenizers import pre_tokenizers, trainers

    def watched() -> Iterator[list[str]]:
        for pieces in sample:
            if sample.documents % _REPORT_EVERY == 0:
                done = min(sample.bytes, expected_bytes)  # the draw may go a little over
                reporter.progress("tokenizer: reading", done / 1e6, expected_bytes / 1e6, "MB")
            yield pieces

    tokenizer = new_tokenizer(settings.pattern, settings.digits)
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary_size,
        min_frequency=settings.minimum_pair_count,
        special_tokens=list(special_tokens(settings.reserved_tokens)),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=LONGEST_RUN,  # in bytes
        show_progress=False,
    )
    tokenizer.train_from_iterator(watched(), trainer)
    return tokenizer


def _select_version(layout: Layout, version: str) -> dict[str, Any]:
    report = layout.read_json(posixpath.join(layout.tokenizer_dir(version), REPORT_NAME))
    if report is None:
        raise SettingsError(
            f"settings of tokenizer: version {version} is not under {layout.join('tokenizer')}: "
            "name one that is there, or leave version empty to train one"
        )
    return _select(layout, report) | {"is_reused": True}


def _select(layout: Layout, report: dict[str, Any]) -> dict[str, Any]:
    return layout.select(layout.tokenizer_dir(str(report["version"])), report, now())


def _write(layout: Layout, version: str, data: bytes, beside: Mapping[str, Any], report: dict[str, Any]) -> None:
    """The companions, then tokenizer.json, then the report: each whole or not there, the report last.

    A version is named by its content, so files that are there already are the same ones.
    """
    folder = layout.tokenizer_dir(version)
    for name, content in beside.items():
        layout.write_json(posixpath.join(folder, name), content)
    layout.write_bytes(posixpath.join(folder, "tokenizer.json"), data)
    layout.write_json(posixpath.join(folder, REPORT_NAME), report)
