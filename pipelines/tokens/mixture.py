"""training_mixture: which shards a model reads, in which proportion, how many times over.

The answer is one JSON file of numbers and paths; no token is copied. Proportions count sequences, which are
all of one length, so they are the token proportions but for the padding at the end of each segment.
"""

import posixpath
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import REPORT_NAME, Layout, Partition
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.commit import now
from pipelines.fingerprint import fingerprint
from pipelines.segments import live_segments
from pipelines.stages import stage
from pipelines.tokens.files import MANIFEST_NAME, SPLITS
from pipelines.tokens.shares import Request, Share, resolve

LIBRARIES: tuple[str, ...] = ()
REASONS: dict[str, str] = {}
MIXTURE_NAME = "mixture.json"
_COMMON = ("tokenizer_version", "sequence_length", "dtype", "eot_id", "pad_id")
_ASKED = ("proportion", "epochs")


@dataclass(frozen=True)
class Settings:
    """What the mixture is made of."""

    # Corpus to {proportion: share of what is read, epochs: times it is read}, each optional; none: all, once.
    corpora: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    # A mixture that reads a corpus more often is refused; after 16 epochs more data is worth little (as below).
    max_epochs: float = 16.0
    # Above this a warning: up to 4 epochs repeated text is nearly as good as new (Muennighoff et al. 2023).
    warn_epochs: float = 4.0
    # Decides the order in which sequences are read.
    seed: int = 0

    def __post_init__(self) -> None:
        for name, asked in self.corpora.items():
            unknown = sorted(set(asked) - set(_ASKED))
            if unknown:
                raise ValueError(f"corpora: {name} has {unknown[0]!r}; known are {', '.join(_ASKED)}")
            if asked.get("epochs", 1) <= 0:
                raise ValueError(
                    f"corpora: {name} has epochs {asked['epochs']}; give a number above 0, or leave it out"
                )
            if not 0 < asked.get("proportion", 1) <= 1:
                raise ValueError(f"corpora: {name} has proportion {asked['proportion']}; give a number in (0, 1]")
        if self.max_epochs <= 0 or self.warn_epochs <= 0:
            raise ValueError("max_epochs and warn_epochs must be above 0")


def run(layout: Layout, settings: Settings, reporter: Reporter, *, is_forced: bool = False) -> dict[str, Any]:
    """Resolve the mixture and commit it; returns its report, with the table as Markdown.

    Raises:
        MissingDataError: no token_shards, or not of a corpus that is named.
        SettingsError: shards that do not go together, or proportions that can't be met.
    """
    row, started = stage("training_mixture"), time.monotonic()
    segments = _segments(layout, settings)
    manifests = {p: _manifest(layout, p) for p in segments}
    common = _common(layout, manifests)  # before anything is reused: another tokenizer may be in force by now
    inputs = {f"token_shards {p.key}": str(layout.require_report("token_shards", p)["fingerprint"]) for p in segments}
    plain = to_plain(settings)
    mark = fingerprint(row, plain, inputs)
    folder = layout.singleton_dir(row.name)
    report_path = posixpath.join(folder, REPORT_NAME)
    committed = layout.read_json(report_path)
    if committed is not None and committed.get("fingerprint") == mark and not is_forced:
        reporter.info("training_mixture: already there for the same inputs, settings and code")
        return committed | {"is_reused": True}

    totals = _totals(manifests)
    empty = [corpus for corpus, total in totals.items() if total["sequences"] == 0]
    for corpus in empty:
        if corpus in settings.corpora:
            raise SettingsError(
                f"settings of training_mixture: {corpus} has no token to train on; take it out of corpora, "
                f"or see `gristmill funnel {corpus}` for where its documents went"
            )
        reporter.warning(f"{corpus} has no token to train on and is left out of the mixture")
    chosen = {corpus: total for corpus, total in totals.items() if corpus not in empty}
    if not chosen:
        raise MissingDataError("the token shards hold no token to train on: add documents or loosen the filters")
    requests = {c: Request(*(settings.corpora.get(c, {}).get(name) for name in _ASKED)) for c in chosen}
    shares = resolve(requests, {c: t["sequences"] for c, t in chosen.items()}, settings.max_epochs)
    warnings = _warnings(shares, chosen, settings)
    for line in warnings:
        reporter.warning(line)
    corpora: list[dict[str, Any]] = [
        {"corpus": c, "proportion": shares[c].proportion, "epochs": shares[c].epochs, **chosen[c]}
        for c in sorted(chosen)
    ]
    mixture: dict[str, Any] = {
        **common,
        "seed": settings.seed,
        "corpora": corpora,
        "shards": _shards(layout, manifests, set(chosen)),
        "fingerprint": mark,
        "created_at": now(),
    }
    report: dict[str, Any] = {
        "stage": row.name,
        **common,
        "corpora": corpora,
        "sequences_per_pass": round(sum(c["epochs"] * c["sequences"] for c in corpora)),
        "tokens_per_pass": round(sum(c["epochs"] * c["tokens"] for c in corpora)),
        "heldout_sequences": sum(c["heldout_sequences"] for c in corpora),
        "table": table(corpora),
        "warnings": warnings,
        "settings": plain,
        "code_version": row.code_version,
        "libraries": row.libraries,
        "inputs": inputs,
        "fingerprint": mark,
        "seconds": round(time.monotonic() - started, 3),
        "created_at": mixture["created_at"],
    }
    if layout.fs.exists(report_path):  # without it, there is no mixture until the new one is whole
        layout.fs.rm(report_path)
    layout.write_json(posixpath.join(folder, MIXTURE_NAME), mixture)
    layout.write_json(report_path, report)
    return report


def table(corpora: list[dict[str, Any]]) -> str:
    """The mixture as a Markdown table with the columns of LLaMA's Table 1 (Touvron et al. 2023) and the tokens."""
    lines = ["| corpus | sampling proportion | epochs | tokens | disk size |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {c['corpus']} | {c['proportion']:.2%} | {c['epochs']:.2f} | {c['tokens']:,} | {c['bytes'] / 1e6:,.1f} MB |"
        for c in corpora
    ]
    return "\n".join(lines) + "\n"


def _segments(layout: Layout, settings: Settings) -> list[Partition]:
    committed = live_segments(layout, "token_shards")
    if not committed:
        raise MissingDataError(
            f"no token_shards under {layout.root}: run `gristmill run CORPUS --through token_shards` first"
        )
    for corpus in settings.corpora:
        if corpus not in {p.corpus for p in committed}:
            raise MissingDataError(
                f"no token_shards of {corpus}, which the settings of training_mixture name: "
                f"run `gristmill run {corpus} --through token_shards` first, or take it out of `corpora`"
            )
    return [p for p in committed if not settings.corpora or p.corpus in settings.corpora]


def _manifest(layout: Layout, partition: Partition) -> dict[str, Any]:
    found = layout.read_json(posixpath.join(layout.partition_dir("token_shards", partition), MANIFEST_NAME))
    if found is None:
        raise MissingDataError(
            f"token_shards {partition.key} has no {MANIFEST_NAME}: "
            f"run `gristmill run {partition.corpus} --through token_shards` again"
        )
    return found


def _common(layout: Layout, manifests: Mapping[Partition, dict[str, Any]]) -> dict[str, Any]:
    """What all shards must have in common, with the tokenizer in force."""
    in_force = layout.latest(layout.join("tokenizer"))
    for partition, manifest in manifests.items():
        if in_force is not None and manifest["tokenizer_version"] != in_force[0]:
            raise SettingsError(
                f"token_shards {partition.key} were made with tokenizer {manifest['tokenizer_version']}, in force is "
                f"{in_force[0]}: run `gristmill run {partition.corpus} --through token_shards` again, or leave "
                f"{partition.corpus} out of the corpora of training_mixture"
            )
    first, facts = next(iter(manifests.items()))
    for partition, manifest in manifests.items():
        for name in _COMMON:
            if manifest[name] != facts[name]:
                raise SettingsError(
                    f"token_shards {partition.key} have {name} {manifest[name]}, those of {first.key} {facts[name]}: "
                    f"run `gristmill run {partition.corpus} --through token_shards` again with the same settings"
                )
    return {name: facts[name] for name in _COMMON}


def _totals(manifests: Mapping[Partition, dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Per corpus: tokens, sequences and bytes to train on, and sequences held out."""
    totals: dict[str, dict[str, int]] = {}
    for partition, manifest in manifests.items():
        total = totals.setdefault(partition.corpus, dict.fromkeys(_COUNTED, 0))
        train, held = (manifest["splits"][split] for split in SPLITS)
        total["tokens"] += train["tokens"]
        total["sequences"] += train["sequences"]
        total["bytes"] += sum(shard["bytes"] for shard in train["shards"])
        total["heldout_sequences"] += held["sequences"]
        total["heldout_tokens"] += held["tokens"]
    return totals


_COUNTED = ("tokens", "sequences", "bytes", "heldout_sequences", "heldout_tokens")


def _shards(layout: Layout, manifests: Mapping[Partition, dict[str, Any]], corpora: set[str]) -> list[dict[str, Any]]:
    """Every shard of the mixture by corpus, segment and number, its path below the root."""
    base = layout.join("")
    return [
        {
            "path": posixpath.join(layout.partition_dir("token_shards", partition), shard["name"]).removeprefix(base),
            "corpus": partition.corpus,
            "segment": partition.segment,
            "split": split,
            "sequences": shard["sequences"],
            "tokens": shard["tokens"],
            "sha256": shard["sha256"],
        }
        for partition, manifest in manifests.items()
        if partition.corpus in corpora
        for split in SPLITS
        for shard in manifest["splits"][split]["shards"]
    ]


def _warnings(shares: Mapping[str, Share], totals: Mapping[str, dict[str, int]], settings: Settings) -> list[str]:
    lines = [
        f"{corpus} is read {share.epochs:.3g} times in one pass over the mixture: above {settings.warn_epochs:g}, "
        "repeated text is worth less than new"
        for corpus, share in shares.items()
        if share.epochs > settings.warn_epochs
    ]
    if not any(total["heldout_sequences"] for total in totals.values()):
        lines.append("no document is held out, so that no held-out loss can be measured: raise heldout_fraction")
    return lines
