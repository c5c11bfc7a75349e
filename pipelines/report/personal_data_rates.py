"""Findings of personal data per 1,000 documents, and whether a segment has far more or fewer than its neighbours.

A segment with ten times the usual e-mail addresses may be a list of people that no filter knew; one with none at all
may be a recognizer that stopped working. Neither is an error for sure, both are worth a look.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

PREFIX, TOTAL = "pii_", "pii_total"
PER = 1000  # documents


@dataclass(frozen=True)
class Settings:
    """When a look at the personal data of clean_documents fails or warns."""

    # Documents of a run that no_pii_left reads again; of 1,000 with nothing left, at most 3 in 1,000 of all have
    # something, with 95 % certainty (the rule of three, Hanley and Lippman-Hand 1983).
    rescan_documents: int = 1_000
    # pii_drift warns where a type is so many times as frequent as usual, or usual as it. Ours: between three segments
    # of a crawl of documentation, 279 to 561 documents each, e-mail addresses differ by 2.3, IP addresses by 1.5.
    drift_ratio: float = 3.0
    # … and the count is so far from the expected one: a page that lists 20 people makes no drift. Ours.
    drift_min_findings: int = 30
    drift_min_segments: int = 3  # other segments that are needed to say what is usual; fewer say nothing

    def __post_init__(self) -> None:
        if self.rescan_documents < 1:
            raise ValueError(f"rescan_documents is {self.rescan_documents}; give 1 or more")
        if self.drift_ratio <= 1:
            raise ValueError(f"drift_ratio is {self.drift_ratio}; give a number above 1")
        if self.drift_min_findings < 1 or self.drift_min_segments < 1:
            raise ValueError("drift_min_findings and drift_min_segments must be 1 or more")


@dataclass(frozen=True)
class Drift:
    """A type of personal data that is unusually frequent, or rare, in one segment."""

    entity: str  # such as email_address
    findings: int
    per_thousand: float
    usual: float  # per 1,000 documents

    def __str__(self) -> str:
        return f"{self.entity} {self.per_thousand:,.1f} per 1,000 documents, usual are {self.usual:,.1f}"


def counts(report: Mapping[str, Any]) -> dict[str, int]:
    """Findings per type, from the report of a partition of clean_documents; all types together are not one."""
    tally: Mapping[str, int] = report.get("tally") or {}
    return {name.removeprefix(PREFIX): int(n) for name, n in tally.items() if name.startswith(PREFIX) and name != TOTAL}


def rates(report: Mapping[str, Any]) -> dict[str, float]:
    """The same per 1,000 documents that were kept; empty where there is none."""
    documents = int(report.get("rows_kept") or 0)
    return {name: PER * n / documents for name, n in counts(report).items()} if documents else {}


def drifts(report: Mapping[str, Any], others: Sequence[Mapping[str, Any]], settings: Settings) -> tuple[Drift, ...]:
    """What is unusual in a segment, the farthest first.

    Args:
        report: of the segment.
        others: reports of what it is compared with: the other segments of its corpus, or what it was before. Usual is
            the median of their rates, which one odd segment among them does not move.
        settings: how far is too far.
    """
    documents, own = int(report.get("rows_kept") or 0), counts(report)
    compared = [found for other in others if (found := rates(other))]
    far: list[tuple[float, Drift]] = []
    for entity, findings in own.items():
        known = [found[entity] for found in compared if entity in found]
        if not documents or not known:
            continue
        usual = median(known)
        expected = usual * documents / PER
        low, high = sorted((float(findings), expected))
        if high - low >= settings.drift_min_findings and high >= settings.drift_ratio * low:
            far.append((high - low, Drift(entity, findings, PER * findings / documents, usual)))
    return tuple(drift for _, drift in sorted(far, key=lambda item: (-item[0], item[1].entity)))
