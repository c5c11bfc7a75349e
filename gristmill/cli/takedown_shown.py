"""What `gristmill takedown` says to people: documents, partitions to be made again, models that read them."""

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from gristmill.cli.output import counted, plain, table
from gristmill.cli.untrusted import plain_line
from gristmill.core.errors import GristmillError
from gristmill.core.layout import Layout, Partition

if TYPE_CHECKING:
    from pipelines.takedowns.consequences import Consequences
    from training.exposure import Exposure

SHOWN = 20  # partitions or patterns in one line or table for people; --json has all


def commands_for(layout: Layout, found: "Consequences | None", seen: "list[Exposure]") -> list[str]:
    """What to type next: the rebuild, unless `found` is None, and training for each model in force that read it."""
    from training.exposure import in_force

    commands: list[str] = []
    if found is not None and not found.is_nothing:
        commands.append("gristmill takedown apply")
    corpora = _corpora_read(seen) or sorted({p.corpus for p in layout.committed("token_shards")})
    if seen and corpora:
        assets = sorted(in_force(layout, seen), key=_flow)
        commands += [f"gristmill run {corpora[0]} --through {asset}" for asset in assets]
    return commands


def _corpora_read(seen: "list[Exposure]") -> list[str]:
    """The corpora that runs read; a run whose mixture is damaged, which its row says, tells none."""
    found: set[str] = set()
    for exposure in seen:
        with contextlib.suppress(GristmillError):
            found.update(share.corpus for share in exposure.run.mixture.corpora)
    return sorted(found)


def _flow(asset: str) -> tuple[bool, str]:
    return asset != "pretrained_model", asset


def print_documents(out: Console, found: "Consequences", documents: int) -> None:
    """How many documents are taken down, and how far that has come."""
    waiting = sum(map(len, found.pending.values()))
    out.print(
        f"{counted(len(found.takedowns), 'pattern')}: {counted(documents, 'document')} taken down, "
        f"{waiting:,} of them still in extracted_documents"
    )
    if found.unfinished:
        out.print(f"out of extracted_documents, and not yet of what follows: {listed(keys_of(found.unfinished))}")
    out.print("the crawl files that a corpus was registered from are not ours to change, and stay as they are")


def print_partitions(out: Console, found: "Consequences", partitions: dict[str, list[str]]) -> None:
    """What has to be made again, by asset, and which duplicates come back by it."""
    if found.is_nothing:
        out.print("\nall that is committed is as takedowns.yaml asks")
        return
    shown = table("asset", "#partitions", "made again")
    for asset, keys in partitions.items():
        shown.add_row(asset, f"{len(keys):,}", listed(keys))
    out.print()
    out.print(shown)
    back = [p.key for p, s in found.stale.items() if s.returning]
    if back:
        out.print(f"patterns were taken back, so the crawl files are read again: {listed(back)}")
    if found.returning:
        where = ", ".join(f"{p.key} {number:,}" for p, number in sorted(found.returning.items())[:SHOWN])
        out.print(
            f"{counted(sum(found.returning.values()), 'duplicate')} of what goes lose their representative, and one "
            f"of each cluster comes back, as no pattern means it: {plain(where)}"
        )


def print_models(out: Console, seen: "list[Exposure]", documents: int) -> None:
    """Which runs read what is taken down, at which steps; `documents`: how many are, with 0 nothing is said."""
    if not documents:
        return
    if not seen:
        out.print("\nno model was given shards that hold any of it")
        return
    shown = table("model", "#documents read", "#steps", "#first", "#last", "remark")
    for exposure in seen:
        steps = exposure.steps
        ends = (f"{steps[0]:,}", f"{steps[-1]:,}") if steps else ("", "")
        shown.add_row(
            exposure.run.name, f"{exposure.documents:,}", f"{len(steps):,}", *ends, plain_line(_remark(exposure))
        )
        for asset, run_id in exposure.descendants:
            shown.add_row(f"  {asset}/{run_id}", "", "", "", "", f"grown from {exposure.run.name}")
    out.print()
    out.print(shown)


def _remark(exposure: "Exposure") -> str:
    remarks = [exposure.problem] if exposure.problem else []
    if exposure.reads.held_out:
        remarks.append(f"{counted(exposure.reads.held_out, 'piece')} held out, to measure the loss on")
    if exposure.reads.unknown:
        remarks.append(f"{counted(len(exposure.reads.unknown), 'shard')} gone, what they held can't be told")
    if not exposure.run.is_finished:
        remarks.append("unfinished")
    return "; ".join(remarks)


def keys_of(partitions: Iterable[Partition]) -> list[str]:
    """Partitions as people name them, sorted."""
    return [partition.key for partition in sorted(partitions)]


def listed(keys: list[str]) -> str:
    """The first keys in one line, the others counted."""
    more = f" and {len(keys) - SHOWN:,} more" if len(keys) > SHOWN else ""
    return plain(f"{', '.join(keys[:SHOWN])}{more}")
