"""training_mixture: which shards a model reads, in which proportion, how many times over.

The answer is one JSON file of numbers and paths; no token is copied. What is asked is `mixture_file`, what there is
`mixture_shards`; `mixture_groups` brings the two together and `shares` resolves them. The same shards and settings give
the same bytes of mixture.json: times are in report.json.
"""

import dataclasses
import math
import posixpath
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import REPORT_NAME, Layout
from gristmill.core.progress import Reporter
from gristmill.core.settings import beside_settings_file, build, to_plain
from pipelines.commit import now
from pipelines.fingerprint import fingerprint
from pipelines.stages import stage
from pipelines.tokens.mixture_file import MOST_TOKENS, Wish, number, parse_buckets, parse_corpora, read_mixture_file
from pipelines.tokens.mixture_groups import Source, group, is_read, refuse_unknown
from pipelines.tokens.mixture_shards import Shards, corpora_with_shards, load_shards, source_of
from pipelines.tokens.mixture_table import markdown, repeated, rounded, sentence
from pipelines.tokens.pass_size import Group, Stock
from pipelines.tokens.shares import mean_epochs, resolve

LIBRARIES: tuple[str, ...] = ()
REASONS: dict[str, str] = {}
MIXTURE_NAME = "mixture.json"


@dataclass(frozen=True)
class Settings:
    """What the mixture is made of."""

    # A YAML file with the settings below, by a path beside the settings file or below the root; none: they are here.
    file: str = beside_settings_file()
    # Tokens of one pass over the mixture; 0: as many as the corpora come to.
    tokens: float = 0.0
    # Corpus to {proportion of the tokens, epochs, max_epochs, buckets: {bucket: epochs}}, each optional; "*": every
    # other corpus; none: all. A corpus without proportion and epochs is read once, or fills what `tokens` leave.
    corpora: dict[str, Any] = field(default_factory=dict[str, Any])
    # Bucket of token_shards to epochs, in every corpus that has it and does not say otherwise; 0: not read.
    epochs_by_bucket: dict[str, Any] = field(default_factory=dict[str, Any])
    # A mixture that reads a corpus more often is refused, unless the corpus has a max_epochs of its own; after 16
    # epochs more repetition is worth little (Muennighoff et al. 2023).
    max_epochs: float = 16.0
    # The same for the whole: tokens of a pass for each different token in it.
    max_mean_epochs: float = 16.0
    # Above this a warning: up to 4 epochs repeated text is nearly as good as new (Muennighoff et al. 2023).
    warn_epochs: float = 4.0
    # Decides the order of the sequences for a loader that is given no seed; pretrained_model has a seed of its own.
    seed: int = 0

    def __post_init__(self) -> None:
        parse_corpora(self.corpora)
        for name, wish in parse_buckets(self.epochs_by_bucket, "epochs_by_bucket").items():
            if wish.proportion is not None:
                raise ValueError(f"epochs_by_bucket: {name} has a proportion; give one to a corpus or its bucket")
        number(self.tokens, "tokens", most=MOST_TOKENS)
        for name in ("max_epochs", "max_mean_epochs", "warn_epochs"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number above 0")


@dataclass(frozen=True)
class Resolved:
    """A mixture that can be met, before anything is written."""

    mixture: dict[str, Any]  # as in mixture.json, but for the fingerprint
    settings: Settings  # with what the file says
    file: str  # where it was found; "": none was named
    inputs: Mapping[str, str]
    mean_epochs: float
    left_out: list[str]
    warnings: list[str]

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings as they count: the content of the file and not its path, 2 and 2.0 alike."""
        plain = to_plain(self.settings) | {"file": ""}
        wishes = {"corpora": parse_corpora(self.settings.corpora)}
        wishes["epochs_by_bucket"] = parse_buckets(self.settings.epochs_by_bucket, "epochs_by_bucket")
        return plain | {name: {k: _given(w) for k, w in found.items()} for name, found in wishes.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of it: everything but the shards."""
        mixture = {k: v for k, v in self.mixture.items() if k not in ("shards", "seed")}
        return mixture | {
            "heldout_sequences": sum(row["sequences"] for row in mixture["heldout"]),
            "mean_epochs": self.mean_epochs,
            "left_out": self.left_out,
            "table": markdown(mixture["corpora"]),
            "one_pass": sentence(self.mixture),
            "warnings": self.warnings,
        }


def run(layout: Layout, settings: Settings, reporter: Reporter, *, is_forced: bool = False) -> dict[str, Any]:
    """Resolve the mixture and commit it; returns its report, with the table as Markdown.

    Raises:
        MissingDataError: no token_shards, not of a corpus that is named, or not as their manifest says.
        SettingsError: shards that do not go together, or wishes that can't be met.
    """
    row, started = stage("training_mixture"), time.monotonic()
    found = resolve_mixture(layout, settings)
    mark = fingerprint(row, found.deciding, found.inputs)
    folder = layout.singleton_dir(row.name)
    path, report_path = posixpath.join(folder, MIXTURE_NAME), posixpath.join(folder, REPORT_NAME)
    for line in found.warnings:
        reporter.warning(line)
    if not is_forced and (committed := _committed(layout, path, report_path, mark)) is not None:
        reporter.info("training_mixture: already there for the same inputs, settings and code")
        return committed | {"is_reused": True}
    report: dict[str, Any] = {
        "stage": row.name,
        **found.facts,
        "settings": found.deciding | {"file": found.file},
        "code_version": row.code_version,
        "libraries": row.libraries,
        "inputs": dict(found.inputs),
        "fingerprint": mark,
        "seconds": round(time.monotonic() - started, 3),
        "created_at": now(),
    }
    if layout.fs.exists(report_path):  # without it, there is no mixture until the new one is whole
        layout.fs.rm(report_path)
    layout.write_json(path, found.mixture | {"fingerprint": mark})
    layout.write_json(report_path, report)
    reporter.info(f"training_mixture: {found.facts['one_pass']}")
    return report


def resolve_mixture(layout: Layout, settings: Settings) -> Resolved:
    """What `run` would write; nothing is written.

    Raises:
        GristmillError: as of `run`.
    """
    settings, file = with_file(layout, settings)
    corpora = parse_corpora(settings.corpora)
    by_bucket = parse_buckets(settings.epochs_by_bucket, "epochs_by_bucket")
    with_shards = corpora_with_shards(layout)
    refuse_unknown(corpora, {}, with_shards, {c: tuple(w.buckets) for c, w in corpora.items()})
    shards = load_shards(layout, [c for c in with_shards if is_read(corpora, c)])
    refuse_unknown(corpora, by_bucket, with_shards, shards.buckets)
    empty = _refuse_empty(corpora, shards)
    groups, left_out = group(list(shards.stocks), corpora, by_bucket, settings.max_epochs)
    if not groups:
        raise SettingsError("settings of training_mixture: all that there is has epochs 0; nothing is left to read")
    read = {source: stock for source, stock in shards.stocks.items() if source not in left_out}
    stocks = {source.name: stock for source, stock in read.items()}
    shares = resolve(groups, stocks, settings.tokens, settings.max_mean_epochs)
    rows = [_row(source, stock, dataclasses.asdict(shares[source.name]), shards) for source, stock in read.items()]
    mixture = {
        **shards.facts,
        "seed": settings.seed,
        "sequences_per_pass": sum(row["draws"] for row in rows),
        "tokens_per_pass": sum(row["tokens_read"] for row in rows),
        "corpora": rows,
        "heldout": shards.held_out({source.corpus for source in read}),
        "shards": [e for e in shards.entries if _is_listed(e, read)],
    }
    warnings = [f"{corpus} has no token to train on and is left out of the mixture" for corpus in empty]
    warnings += repeated(rows, settings.warn_epochs) + rounded(rows, *_proportions(groups))
    if not mixture["heldout"]:
        warnings.append("no document is held out, so that no held-out loss can be measured: raise heldout_fraction")
    epochs = {name: share.epochs for name, share in shares.items()}
    names = [*(source.name for source in left_out), *empty]
    return Resolved(mixture, settings, file, shards.inputs, mean_epochs(epochs, stocks), names, warnings)


def with_file(layout: Layout, settings: Settings) -> tuple[Settings, str]:
    """The settings with those of the file that they name, and where that lies.

    Raises:
        SettingsError: the file is no mixture, or a setting is given in both places.
    """
    if not settings.file:
        return settings, ""
    path, given = read_mixture_file(layout, settings.file)
    build(Settings, given, f"mixture file {path}")
    defaults, here = to_plain(Settings()), to_plain(settings)
    own = {name: value for name, value in here.items() if name != "file" and value != defaults[name]}
    twice = sorted(set(own) & {name for name, value in given.items() if value is not None})
    if twice:
        raise SettingsError(
            f"settings of training_mixture: {twice[0]} is given here and in the mixture file {path}: "
            "give it in one place"
        )
    return build(Settings, given | own, f"mixture file {path}"), path


def _committed(layout: Layout, path: str, report_path: str, mark: str) -> dict[str, Any] | None:
    """The report of the mixture that is there, if it is this one and its file is whole."""
    try:
        report, mixture = layout.read_json(report_path), layout.read_json(path)
    except MissingDataError:  # damaged: made again
        return None
    is_current = report is not None and mixture is not None and report.get("fingerprint") == mark
    return report if is_current and cast(dict[str, Any], mixture).get("fingerprint") == mark else None


def _refuse_empty(corpora: Mapping[str, Wish], shards: Shards) -> list[str]:
    """Corpora whose shards hold nothing to train on; one that is named may not be among them."""
    full = {source.corpus for source in shards.stocks}
    empty = [corpus for corpus in shards.corpora if corpus not in full]
    for corpus in empty:
        if corpus in corpora:
            raise SettingsError(
                f"settings of training_mixture: {corpus} has no token to train on; take it out of corpora, "
                f"or see `gristmill funnel {corpus}` for where its documents went"
            )
    if not full:
        raise MissingDataError("the token shards hold no token to train on: add documents or loosen the filters")
    return empty


def _row(source: Source, stock: Stock, share: dict[str, Any], shards: Shards) -> dict[str, Any]:
    return {
        "corpus": source.corpus,
        "bucket": source.bucket,
        "source": source.name,
        **share,
        "tokens_read": round(share["tokens_read"]),
        "sequences": stock.sequences,
        "tokens": stock.tokens,
        "bytes": shards.disk[source],
    }


def _is_listed(entry: Mapping[str, Any], read: Mapping[Source, Stock]) -> bool:
    if entry["split"] == "train":
        return source_of(entry) in read
    return any(source.corpus == entry["corpus"] for source in read)


def _proportions(groups: list[Group]) -> tuple[dict[str, float], float]:
    asked = {g.name: g.proportion for g in groups if g.proportion is not None}
    is_all = len(asked) == len(groups)
    return asked, math.fsum(asked.values()) if is_all else 1.0


def _given(wish: Wish) -> dict[str, Any]:
    """A wish without what it does not say."""
    found = {k: v for k, v in vars(wish).items() if k != "buckets" and v is not None}
    buckets = {name: _given(bucket) for name, bucket in wish.buckets.items()}
    return found | ({"buckets": buckets} if buckets else {})
