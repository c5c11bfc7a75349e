"""Personal data found and missed on sentences with gold spans, per type, beside plain Presidio.

    python -m benchmarks.pii_quality [--data FILE ...] [--no-peer] [--misses N] [--smoke]

FILE is JSON as presidio-research writes it: a list of {full_text, spans: [{entity_type, entity_value,
start_position, end_position}]}. Without --data: the development data's generated_small.json. --misses also prints N
missed spans per type (the data is made up). --smoke: five sentences of our own, no file, no peer.

A gold span is found when a finding of its type shares a character with it, and found exactly when both begin and end
at the same place. A finding is right when it shares a character with a gold span of its type. Hidden is the share of
the gold characters that any finding covers, whatever it takes them for: what a reader will not see. F1 is of the
overlapping precision and recall.

ADDRESS is counted as LOCATION, as presidio-research does it. Gold types that nothing looks for (titles, dates, bare
domain names) are listed and count neither way. The peer is Presidio's AnalyzerEngine with all its English
recognizers and the same spaCy model, at the same score threshold.
"""

import argparse
import gzip
import importlib.metadata
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gold import SHARED
from pipelines.hidden_imports import DEEP_LEARNING, hidden
from pipelines.privacy import redaction
from pipelines.privacy.spans import Span

NAMES = ("PERSON", "LOCATION", "ORGANIZATION")
OURS_OF_GOLD = {"ADDRESS": "LOCATION"}
SPEED_BYTES = 400_000
Find = Callable[[Sequence[str]], list[list[Span]]]


class GoldSpan(NamedTuple):
    """A piece of personal data that is known to be there."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True)
class Sentence:
    """A text and all personal data in it."""

    text: str
    spans: tuple[GoldSpan, ...]


@dataclass
class Counts:
    """What became of one type."""

    gold: int = 0
    found: int = 0  # gold spans that a finding of their type overlaps
    exact: int = 0
    findings: int = 0
    right: int = 0
    characters: int = 0  # of gold spans
    hidden: int = 0  # of these, under any finding
    missed: list[str] = field(default_factory=list[str])

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            *(getattr(self, name) + getattr(other, name) for name in ("gold", "found", "exact", "findings")),
            *(getattr(self, name) + getattr(other, name) for name in ("right", "characters", "hidden", "missed")),
        )

    @property
    def precision(self) -> float:
        """Share of the findings that are right; 1 where there are none."""
        return self.right / self.findings if self.findings else 1.0

    @property
    def recall(self) -> float:
        """Share of the gold spans that are found; 1 where there are none."""
        return self.found / self.gold if self.gold else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    def line(self, name: str) -> str:
        """One row of the table."""
        exact = self.exact / self.gold if self.gold else 1.0
        hidden_share = self.hidden / self.characters if self.characters else 1.0
        return (
            f"  {name:22}{self.gold:>6}{self.findings:>10}{self.precision:>11.3f}{self.recall:>8.3f}"
            f"{self.f1:>7.3f}{exact:>14.3f}{hidden_share:>8.3f}"
        )


HEADER = (
    f"  {'type':22}{'gold':>6}{'findings':>10}{'precision':>11}{'recall':>8}{'F1':>7}{'recall exact':>14}{'hidden':>8}"
)


def read(path: Path) -> list[Sentence]:
    """The sentences of a file; ADDRESS becomes LOCATION."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        rows: list[dict[str, Any]] = json.load(file)
    return [
        Sentence(
            row["full_text"],
            tuple(
                GoldSpan(s["start_position"], s["end_position"], OURS_OF_GOLD.get(s["entity_type"], s["entity_type"]))
                for s in row["spans"]
            ),
        )
        for row in rows
    ]


def compare(sentences: Sequence[Sentence], found: Sequence[Sequence[Span]], types: Iterable[str]) -> dict[str, Counts]:
    """What was found of each of `types`, by type."""
    wanted = set(types)
    counts: dict[str, Counts] = defaultdict(Counts)
    for sentence, spans in zip(sentences, found, strict=True):
        for gold in sentence.spans:
            if gold.entity not in wanted:
                continue
            same = [s for s in spans if s.entity == gold.entity and s.start < gold.end and gold.start < s.end]
            count = counts[gold.entity]
            count.gold += 1
            count.found += bool(same)
            count.exact += any((s.start, s.end) == (gold.start, gold.end) for s in same)
            covered = {at for s in spans for at in range(max(s.start, gold.start), min(s.end, gold.end))}
            count.characters += gold.end - gold.start
            count.hidden += len(covered)
            if not same:
                count.missed.append(f"{sentence.text[gold.start : gold.end]!r} in {sentence.text[:100]!r}")
        for span in spans:
            if span.entity in wanted:
                count = counts[span.entity]
                count.findings += 1
                count.right += any(
                    g.entity == span.entity and span.start < g.end and g.start < span.end for g in sentence.spans
                )
    return dict(counts)


def ours(settings: redaction.Settings) -> Find:
    """The stage's own finder; every text counts as English."""
    return lambda texts: redaction.find(texts, settings, ["en"] * len(texts))


def presidio(threshold: float) -> Find:
    """Plain Presidio: all English recognizers, the same spaCy model with every part of it, context words."""
    from tldextract import TLDExtract, tldextract

    tldextract.TLD_EXTRACTOR = TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list in the package, no download
    with hidden(*DEEP_LEARNING):
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NlpEngineProvider
    models = [{"lang_code": "en", "model_name": redaction.Settings().ner_pipeline}]
    mapping = {"PERSON": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "FAC": "LOCATION", "ORG": "ORGANIZATION"}
    configuration = {
        "nlp_engine_name": "spacy",
        "models": models,
        "ner_model_configuration": {"model_to_presidio_entity_mapping": mapping, "low_score_entity_names": []},
    }
    engine: Any = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=configuration).create_engine())

    def find(texts: Sequence[str]) -> list[list[Span]]:
        return [
            [
                Span(r.start, r.end, r.entity_type, r.score)
                for r in engine.analyze(text, language="en", score_threshold=threshold)
            ]
            for text in texts
        ]

    return find


def show(name: str, counts: dict[str, Counts], seconds: float, size: int, misses: int) -> Counts:
    """Print one side's table; returns the sum over all types."""
    print(f"\n{name}: {size / seconds / 1e6:.3f} MB/s of CPU time on these sentences")
    print(HEADER)
    total = Counts()
    for entity in sorted(counts):
        print(counts[entity].line(entity))
        for line in counts[entity].missed[:misses]:
            print(f"      missed {line}")
        total += counts[entity]
    print(total.line("all"))
    return total


def measured(find: Find, texts: Sequence[str]) -> tuple[list[list[Span]], float]:
    """What is found, and the CPU seconds of the second time, when everything is loaded."""
    find(texts[:5])
    started = time.process_time()
    return find(texts), max(time.process_time() - started, 1e-6)


def speed_of_names() -> float | None:
    """MB/s per core of looking for names in real pages; None where the golden file is not there."""
    path = SHARED / "data" / "golden" / "datatrove-0.10.1.jsonl.gz"
    if not path.is_file():
        return None
    texts: list[str] = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            texts.append(json.loads(line)["text"])
            if sum(map(len, texts)) >= SPEED_BYTES:
                break
    from pipelines.privacy.names import find_names

    def find(some: Sequence[str]) -> list[list[Span]]:
        return find_names(some, NAMES, redaction.Settings().ner_pipeline)

    _, seconds = measured(find, texts)
    return sum(len(text.encode()) for text in texts) / seconds / 1e6


def smoke_sentences() -> list[Sentence]:
    """A few sentences with one value each."""
    pairs = (
        ("EMAIL_ADDRESS", "jane@corp.org"),
        ("PHONE_NUMBER", "+44 20 8366 1177"),
        ("CREDIT_CARD", "4716952653167634"),
        ("US_SSN", "531-21-7351"),
        ("IP_ADDRESS", "98.85.59.159"),
    )
    return [Sentence(f"It is {value}.", (GoldSpan(6, 6 + len(value), entity),)) for entity, value in pairs]


def main() -> int:
    """Run the benchmark; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[SHARED / "data" / "pii" / "generated_small.json"])
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--misses", type=int, default=0)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    print(json.dumps(run(options.data, options.misses, has_peer=not options.no_peer, is_smoke=options.smoke)))
    return 0


def run(
    data: Sequence[Path], misses: int = 0, *, has_peer: bool = True, has_speed: bool = True, is_smoke: bool = False
) -> dict[str, Any]:
    """Print the tables; returns the line of results."""
    sentences = smoke_sentences() if is_smoke else [sentence for path in data for sentence in read(path)]
    texts = [sentence.text for sentence in sentences]
    size = sum(len(text.encode()) for text in texts)
    patterns, with_names = redaction.Settings(), redaction.Settings(named_entities=NAMES)
    types = redaction.entities(with_names)
    gold = Counter(span.entity for sentence in sentences for span in sentence.spans)
    not_looked_for = {name: count for name, count in sorted(gold.items()) if name not in types}
    print(f"{len(sentences)} sentences, {sum(gold.values())} gold spans; not looked for: {not_looked_for or 'none'}")
    formed = [name for name in redaction.entities(patterns) if gold[name]]
    sides: dict[str, tuple[Find, list[str]]] = {"patterns": (ours(patterns), formed)}
    if not is_smoke:
        sides["patterns and names"] = (ours(with_names), [name for name in types if gold[name]])
        if has_peer:
            sides["plain Presidio"] = (presidio(patterns.score_threshold), [name for name in types if gold[name]])
    totals: dict[str, Counts] = {}
    results: dict[str, Any] = {}
    for name, (find, looked_for) in sides.items():
        found, seconds = measured(find, texts)
        counts = compare(sentences, found, looked_for)
        totals[name] = show(name, counts, seconds, size, misses)
        results[name] = {
            entity: {"precision": round(c.precision, 4), "recall": round(c.recall, 4), "f1": round(c.f1, 4)}
            for entity, c in sorted(counts.items())
        }
    names_speed = speed_of_names() if has_speed and not is_smoke else None
    if names_speed is not None:
        print(f"\nlooking for names in real pages: {names_speed:.3f} MB/s per core")
    best = totals["patterns" if is_smoke else "patterns and names"]
    theirs = totals.get("plain Presidio")
    return {
        "bench": "pii_quality",
        "ours": round(best.f1, 4),
        "peer": theirs and round(theirs.f1, 4),
        "peer_name": f"presidio-analyzer {importlib.metadata.version('presidio-analyzer')}",
        "unit": "F1 over all types, overlapping spans",
        "ratio": theirs and round(best.f1 / theirs.f1, 3),
        "names_mb_per_s_per_core": names_speed and round(names_speed, 3),
        "per_type": results,
    }


if __name__ == "__main__":
    sys.exit(main())
