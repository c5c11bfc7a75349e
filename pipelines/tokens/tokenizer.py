"""tokenizer: one byte-level BPE vocabulary for all corpora, named by its content.

Byte-level BPE (Radford et al. 2019) has a token for every byte, so that any text goes through and comes back
as it was. The version is a hash of tokenizer.json: the same merges are the same version, wherever made.
"""

import hashlib
import posixpath
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import REPORT_NAME, Layout, is_safe_name
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.commit import now
from pipelines.fingerprint import fingerprint
from pipelines.stages import stage
from pipelines.tokens.sample import Sample, choose_partitions
from pipelines.tokens.vocabulary import (
    BYTE_TOKENS,
    SPECIAL_TOKENS,
    Encoder,
    companions,
    new_tokenizer,
)

LIBRARIES = ("tokenizers",)
REASONS: dict[str, str] = {}
VERSION_LENGTH = 12
_PROBE_BYTES = 1 << 20  # of the sample, encoded again for the numbers of the report
_REPORT_EVERY = 256


@dataclass(frozen=True)
class Settings:
    """How the tokenizer is trained."""

    # Tokens, special ones and the 256 bytes included; 32,000 as in LLaMA (Touvron et al. 2023).
    vocabulary_size: int = 32_000
    # Corpora whose clean_documents it learns from; none named: all that are there.
    corpora: tuple[str, ...] = ()
    # Text to learn from, in about so many MB; where there is more, documents are drawn by a hash of their id.
    sample_mb: float = 256.0
    # A pair of tokens is merged only if it occurs this often in the sample.
    minimum_pair_count: int = 2
    # Keep to this version, which is there already, and train none; empty: train.
    version: str = ""

    def __post_init__(self) -> None:
        smallest = BYTE_TOKENS + len(SPECIAL_TOKENS)
        if self.vocabulary_size < smallest:
            raise ValueError(f"vocabulary_size is {self.vocabulary_size}; give at least {smallest}")
        if self.sample_mb <= 0:
            raise ValueError(f"sample_mb is {self.sample_mb}; give a number above 0")
        if self.minimum_pair_count < 1:
            raise ValueError(f"minimum_pair_count is {self.minimum_pair_count}; give at least 1")
        if self.version and not is_safe_name(self.version):
            raise ValueError(f"version is {self.version!r}; give the name of a folder below tokenizer/")


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
    partitions = choose_partitions(layout, settings.corpora)
    reports = {p: layout.require_report("clean_documents", p) for p in partitions}
    inputs = {f"clean_documents {p.key}": str(r["fingerprint"]) for p, r in reports.items()}
    plain = to_plain(settings)
    mark = fingerprint(row, plain, inputs)
    known = layout.with_fingerprint(layout.join("tokenizer"), mark)
    if known is not None and not is_forced:
        reporter.info(f"tokenizer {known['version']}: already there for the same inputs, settings and code")
        return _select(layout, known) | {"is_reused": True}

    started = time.monotonic()
    total = sum(int(r["text_bytes_out"]) for r in reports.values())
    share = min(1.0, settings.sample_mb * 1e6 / max(total, 1))
    sample = Sample(layout, partitions, share)
    trained = _train(sample, settings, reporter, total * share)
    if sample.bytes == 0:
        raise MissingDataError(
            "clean_documents hold no text to train a tokenizer on: look at `gristmill funnel CORPUS`, "
            "loosen the filters or raise sample_mb, and run again"
        )
    data = cast(str, trained.to_str(pretty=False)).encode()
    version = hashlib.sha256(data).hexdigest()[:VERSION_LENGTH]
    size = int(trained.get_vocab_size())
    if size < settings.vocabulary_size:
        reporter.warning(
            f"tokenizer {version} has {size:,} tokens, not {settings.vocabulary_size:,}: {sample.bytes:,} bytes of "
            "text hold no more pairs that repeat; give more text or a smaller vocabulary_size"
        )
    report: dict[str, Any] = {
        "stage": row.name,
        "version": version,
        "vocabulary_size": size,
        "special_tokens": dict(zip(SPECIAL_TOKENS, range(len(SPECIAL_TOKENS)), strict=True)),
        "sample": {"documents": sample.documents, "bytes": sample.bytes, "share": share, "bytes_available": total},
        "measures": _measures(Encoder(trained), sample),
        "corpora": sorted({p.corpus for p in partitions}),
        "settings": plain,
        "code_version": row.code_version,
        "libraries": row.libraries,
        "inputs": inputs,
        "fingerprint": mark,
        "seconds": round(time.monotonic() - started, 3),
        "created_at": now(),
        "selected_at": now(),
    }
    _write(layout, version, data, report)
    return report


def _train(sample: Sample, settings: Settings, reporter: Reporter, expected_bytes: float) -> Any:
    from tokenizers import pre_tokenizers, trainers

    def watched() -> Iterator[str]:
        for text in sample:
            if sample.documents % _REPORT_EVERY == 0:
                done = min(sample.bytes, expected_bytes)  # the draw may go a little over
                reporter.progress("tokenizer: reading", done / 1e6, expected_bytes / 1e6, "MB")
            yield text

    tokenizer = new_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary_size,
        min_frequency=settings.minimum_pair_count,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(watched(), trainer)
    return tokenizer


def _measures(encoder: Encoder, sample: Sample) -> dict[str, float]:
    """How tight the tokens are, on the first documents of the sample: bytes per token, tokens per word."""
    texts: list[str] = []
    size = 0
    for text in sample.texts():
        texts.append(text)
        size += len(text.encode())
        if size >= _PROBE_BYTES:
            break
    tokens = sum(len(ids) for ids in encoder.encode(texts))
    words = sum(len(text.split()) for text in texts)
    return {"bytes_per_token": round(size / max(tokens, 1), 4), "fertility": round(tokens / max(words, 1), 4)}


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


def _write(layout: Layout, version: str, data: bytes, report: dict[str, Any]) -> None:
    """The companions, then tokenizer.json, then the report: each whole or not there, the report last.

    A version is named by its content, so files that are there already are the same ones.
    """
    folder = layout.tokenizer_dir(version)
    for name, content in companions().items():
        layout.write_json(posixpath.join(folder, name), content)
    layout.write_bytes(posixpath.join(folder, "tokenizer.json"), data)
    layout.write_json(posixpath.join(folder, REPORT_NAME), report)
