"""The token shards a mixture can be made of: their manifests, checked against each other and against the files."""

import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from gristmill.core.errors import MissingDataError, SettingsError
from gristmill.core.layout import Layout, Partition
from pipelines.segments import live_segments
from pipelines.tokens.buckets import OTHER
from pipelines.tokens.files import MANIFEST_NAME, SPLITS
from pipelines.tokens.mixture_groups import Source
from pipelines.tokens.pass_size import Stock

FACTS = ("tokenizer_version", "sequence_length", "dtype", "eot_id", "pad_id")
_REMAKE = "run `gristmill run {corpus} --through token_shards` again"


@dataclass(frozen=True)
class Shards:
    """Committed segments of token_shards that go together."""

    facts: Mapping[str, Any]  # what they have in common: FACTS
    entries: tuple[Mapping[str, Any], ...]  # as in mixture.json, by corpus, segment, split and number
    disk: Mapping[Source, int]  # bytes of the shards to train on
    buckets: Mapping[str, tuple[str, ...]]  # corpus to the buckets that it is packed into
    inputs: Mapping[str, str]  # partition to the fingerprint of its report

    @property
    def corpora(self) -> list[str]:
        """Those that have shards, with or without something in them."""
        return list(self.buckets)

    @property
    def stocks(self) -> dict[Source, Stock]:
        """Sources with a sequence to train on, and how much of it there is."""
        found: dict[Source, list[int]] = {}
        for entry in self.entries:
            if entry["split"] == "train" and entry["sequences"]:
                stock = found.setdefault(source_of(entry), [0, 0])
                stock[0] += entry["tokens"]
                stock[1] += entry["sequences"]
        return {source: Stock(tokens, sequences) for source, (tokens, sequences) in sorted(found.items())}

    def held_out(self, corpora: Collection[str]) -> list[dict[str, Any]]:
        """Sequences and tokens that are kept out of training, for each of `corpora` that has any."""
        found: dict[str, dict[str, Any]] = {}
        for entry in self.entries:
            if entry["split"] == "heldout" and entry["corpus"] in corpora:
                row = found.setdefault(entry["corpus"], {"corpus": entry["corpus"], "sequences": 0, "tokens": 0})
                row["sequences"] += entry["sequences"]
                row["tokens"] += entry["tokens"]
        return list(found.values())


def source_of(entry: Mapping[str, Any]) -> Source:
    """The source that a shard to train on belongs to."""
    return Source(entry["corpus"], entry["bucket"])


def corpora_with_shards(layout: Layout) -> list[str]:
    """Corpora of which a segment of token_shards is committed.

    Raises:
        MissingDataError: there is none.
    """
    found = sorted({partition.corpus for partition in live_segments(layout, "token_shards")})
    if not found:
        raise MissingDataError(
            f"no token_shards under {layout.root}: run `gristmill run CORPUS --through token_shards` first"
        )
    return found


def load_shards(layout: Layout, corpora: Collection[str]) -> Shards:
    """Read what the committed segments of `corpora` hold.

    Raises:
        MissingDataError: a manifest is missing, damaged, or not of the files beside it.
        SettingsError: shards of another tokenizer than the one in force, or that do not go together.
    """
    entries: list[Mapping[str, Any]] = []
    disk: dict[Source, int] = {}
    buckets: dict[str, tuple[str, ...]] = {}
    inputs: dict[str, str] = {}
    sortings: dict[str, tuple[Partition, Mapping[str, Any]]] = {}  # corpus to how its documents went to buckets
    first: tuple[Partition, Mapping[str, Any]] | None = None
    in_force = layout.latest(layout.join("tokenizer"))
    for partition in live_segments(layout, "token_shards"):
        if partition.corpus not in corpora:
            continue
        report = layout.require_report("token_shards", partition)
        inputs[f"token_shards {partition.key}"] = str(report["fingerprint"])
        facts, found, sorting = _read(layout, partition)
        first = first or (partition, facts)
        _refuse_others(partition, facts, in_force[0] if in_force else None, *first)
        before = sortings.setdefault(partition.corpus, (partition, sorting))
        if before[1] != sorting:
            raise SettingsError(
                f"token_shards {partition.key} are sorted into buckets otherwise than those of {before[0].key}: "
                f"{_REMAKE.format(corpus=partition.corpus)} for all segments with the same settings"
            )
        seen = [*_bucket_names(sorting), *(e["bucket"] for e, _ in found if e["bucket"])]
        buckets[partition.corpus] = tuple(dict.fromkeys([*buckets.get(partition.corpus, ()), *seen]))
        for entry, size in found:
            entries.append(entry)
            if entry["split"] == "train":
                source = source_of(entry)
                disk[source] = disk.get(source, 0) + size
    return Shards(first[1] if first else {}, tuple(entries), disk, buckets, inputs)


def _bucket_names(sorting: Mapping[str, Any]) -> list[str]:
    """The buckets that token_shards was told to make; some may be empty."""
    named = [str(name) for name in sorting["buckets"]]
    return [*named, OTHER] if named else []


def _read(
    layout: Layout, partition: Partition
) -> tuple[Mapping[str, Any], list[tuple[dict[str, Any], int]], Mapping[str, Any]]:
    """Facts of a segment, its shards with their bytes, and how its documents were sorted into buckets.

    Sizes and sums are checked, contents are not read.
    """
    folder = layout.partition_dir("token_shards", partition)
    manifest = layout.read_json(posixpath.join(folder, MANIFEST_NAME))
    if manifest is None:
        raise _damaged(partition, f"no {MANIFEST_NAME}")
    try:
        facts = {name: manifest[name] for name in FACTS}
        settings = manifest.get("settings", {})  # older manifests have none, and no buckets
        sorting = {"bucket_by": settings.get("bucket_by", ""), "buckets": dict(settings.get("buckets", {}))}
        found: list[tuple[dict[str, Any], int]] = []
        sizes = _sizes(layout, folder)
        base = layout.join("")
        for split in SPLITS:
            given = manifest["splits"][split]
            for entry in given["shards"]:
                for file in (entry, entry["spans"]):
                    if sizes.get(file["name"]) != file["bytes"]:
                        there = f"{sizes[file['name']]:,} bytes" if file["name"] in sizes else "not there"
                        raise _damaged(partition, f"{file['name']}, {there}, of which {MANIFEST_NAME} says otherwise")
                path = posixpath.join(folder, "").removeprefix(base)
                shard: dict[str, Any] = {
                    "path": path + entry["name"],
                    "corpus": partition.corpus,
                    "bucket": str(entry.get("bucket", "")) if split == "train" else "",
                    "segment": partition.segment,
                    "split": split,
                    "sequences": int(entry["sequences"]),
                    "tokens": int(entry["tokens"]),
                    "sha256": str(entry["sha256"]),
                    "spans": {
                        "path": path + entry["spans"]["name"],
                        "rows": int(entry["spans"]["rows"]),
                        "sha256": str(entry["spans"]["sha256"]),
                    },
                }
                if not 0 <= shard["tokens"] <= shard["sequences"] * int(facts["sequence_length"]):
                    raise _damaged(partition, f"{entry['tokens']} tokens in {entry['sequences']} sequences")
                found.append((shard, int(entry["bytes"])))
            for count in ("sequences", "tokens"):
                if given[count] != sum(s[count] for s, _ in found if s["split"] == split):
                    raise _damaged(partition, f"{count} of split {split} that are not the sum over its shards")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(partition, f"a {MANIFEST_NAME} that is none ({type(error).__name__}: {error})") from None
    return facts, found, sorting


def _sizes(layout: Layout, folder: str) -> dict[str, int]:
    """Name to bytes of the files of a folder: one listing, so that a thousand shards cost no thousand requests."""
    listed = cast(list[dict[str, Any]], layout.fs.ls(folder, detail=True, refresh=True))
    return {posixpath.basename(f["name"]): int(f["size"] or 0) for f in listed if f["type"] == "file"}


def _damaged(partition: Partition, what: str) -> MissingDataError:
    return MissingDataError(f"token_shards {partition.key} has {what}: {_REMAKE.format(corpus=partition.corpus)}")


def _refuse_others(
    partition: Partition,
    facts: Mapping[str, Any],
    in_force: str | None,
    first: Partition,
    expected: Mapping[str, Any],
) -> None:
    if in_force is not None and facts["tokenizer_version"] != in_force:
        raise SettingsError(
            f"token_shards {partition.key} were made with tokenizer {facts['tokenizer_version']}, in force is "
            f"{in_force}: {_REMAKE.format(corpus=partition.corpus)}, or leave {partition.corpus} out of the corpora "
            "of training_mixture"
        )
    for name in FACTS:
        if facts[name] != expected[name]:
            raise SettingsError(
                f"token_shards {partition.key} have {name} {facts[name]}, those of {first.key} {expected[name]}: "
                f"{_REMAKE.format(corpus=partition.corpus)} with the same settings"
            )
