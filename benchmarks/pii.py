"""Personal data: our pattern mode against plain Presidio with the same recognizers, in CPU seconds of one process.

    python -m benchmarks.pii [--pages N] [--peer-bytes N] [--smoke]

Texts: real pages (all of realweb, and N of debdocs evenly spread), extracted by the product. The peer is Presidio's
AnalyzerEngine over whole texts with no language model, and with the same recognizer objects that ours is made from, so
that both look for the same; as it does a megabyte in ten seconds, it gets a sample, whole pages of --peer-bytes in all,
taken evenly from all pages. Ours does the same samples and all pages, in batches of the size that the stage uses, each
time by a new engine, which has seen other pages before, for imports and compiled expressions are nobody's work.

A third sample is made: texts of ten sentences with personal data in each, by Faker in the forms of ten countries, which
is as dense as no page is.

`same` settings are those that keep every finding of Presidio's; on all samples every span (entity, start, end, score)
of every page is held against the peer's, and a difference ends the run with status 1. `default` settings drop
lookalikes. `ratio` is that of MB/s of `same` and of the peer on the even sample, megabytes being of UTF-8. --smoke:
made texts, a second.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

from benchmarks import warcs
from benchmarks.gold import SHARED
from pipelines.privacy.recognizer_settings import RecognizerSettings
from pipelines.privacy.recognizers import Engine
from pipelines.privacy.registry import plain_analyzer
from pipelines.privacy.spans import Span

PEER = "presidio-analyzer 2.2.366, pattern recognizers only"
SAME = RecognizerSettings(min_phone_digits=1, drop_lookalikes=False, min_ip_number=0)
DEFAULT = RecognizerSettings()
BATCH = 256  # documents
WARM_UP_PAGES = 40
REPEATS = 3
MADE_TEXTS, MADE_SENTENCES = 40, 10
LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "en_IN", "pt_BR", "he_IL", "en_CA")
SENTENCES = (
    "Please call {phone_number} and ask for {name}.",
    "My e-mail is {email}, the card {credit_card_number}.",
    "I live at {address}; my phone is {phone_number}.",
    "Send it to {iban}. Questions to {email}.",
    "The server {ipv4} ({mac_address}) was used at {iso8601}.",
    "Born {date}, see {url} or {ipv6}.",
)
SMOKE_TEXTS = [
    f"{warcs.PROSE} Write to jane{number}@example.org or call (212) 555-{number + 1000}. {warcs.PROSE}\n"
    f"Card 4111 1111 1111 1111, address 192.168.1.{number}, version 1.2.{number}, in 19{number + 10}."
    for number in range(30)
]


def page_texts(pages: int, folder: Path) -> list[str]:
    """The texts of realweb and of `pages` pages of debdocs, as the product extracts them."""
    from benchmarks.dedup import read_texts
    from benchmarks.document_path import run_staged
    from gristmill.core.layout import Layout
    from pipelines.crawl.corpora import add_corpus

    texts: list[str] = []
    for crawl, count in (("realweb", 0), ("debdocs", pages)):
        files = sorted((SHARED / "data" / "crawls" / crawl).glob("*.warc.gz"))
        if not files:
            raise SystemExit(f"no WARC files of {crawl} in {SHARED}: give GRISTMILL_SHARED")
        warcs.sample(files, count, folder / crawl)
        layout = Layout(str(folder / f"{crawl}-home"))
        add_corpus(layout, crawl, [str(folder / crawl)], segments=1)
        run_staged(layout, crawl, ("extracted_documents",))
        texts += read_texts(Path(layout.root, "attempts", "extracted_documents", "output"))
    return texts


def samples_of(texts: Sequence[str], found: Sequence[Sequence[Span]], wanted: int) -> tuple[list[str], list[str]]:
    """Whole texts, none of more than a sixteenth of `wanted` bytes.

    Returns: about `wanted` bytes evenly spread over `texts`; and half as many of the others that have most kinds of
    findings a byte.
    """
    sizes = [len(text.encode()) for text in texts]
    small = [number for number, size in enumerate(sizes) if size <= wanted // 16]
    count = max(1, len(small) * wanted // max(sum(sizes[number] for number in small), 1))
    even = {small[index * len(small) // count] for index in range(min(count, len(small)))}
    rich: list[int] = []
    room = wanted // 2
    for number in sorted(small, key=lambda n: (-len({s.entity for s in found[n]}) / (sizes[n] + 500), n)):
        if number not in even and found[number] and sizes[number] <= room:
            rich.append(number)
            room -= sizes[number]
    return [texts[number] for number in sorted(even)], [texts[number] for number in rich]


def made_texts(count: int) -> list[str]:
    """`count` texts in which every sentence has personal data; always the same."""
    import random

    from faker import Faker

    chooser = random.Random(0)
    makers = [Faker(locale) for locale in LOCALES]
    for number, maker in enumerate(makers):
        maker.seed_instance(number)

    def sentence() -> str:
        maker, form = chooser.choice(makers), chooser.choice(SENTENCES)
        return form.format(**{name: getattr(maker, name)() for _, name, _, _ in Formatter().parse(form) if name})

    return ["\n".join(sentence() for _ in range(MADE_SENTENCES)) for _ in range(count)]


def megabytes(texts: Sequence[str]) -> float:
    """Size in UTF-8."""
    return sum(len(text.encode()) for text in texts) / 1e6


def ours(settings: RecognizerSettings, texts: Sequence[str], warm_up: Sequence[str]) -> tuple[list[list[Span]], float]:
    """Findings of each text and CPU seconds of a new engine."""
    engine = Engine(settings)
    engine.analyze(warm_up)
    return timed(
        lambda: [spans for at in range(0, len(texts), BATCH) for spans in engine.analyze(texts[at : at + BATCH])]
    )


def plain(texts: Sequence[str], warm_up: Sequence[str]) -> tuple[list[list[Span]], float]:
    """The same of Presidio's engine."""
    analyzer = plain_analyzer(SAME)

    def find(text: str) -> list[Span]:
        results: list[Any] = analyzer.analyze(text, "en", score_threshold=SAME.score_threshold)
        return sorted({Span(r.start, r.end, r.entity_type, r.score) for r in results})

    for text in warm_up[:5]:
        find(text)
    return timed(lambda: [find(text) for text in texts])


def timed(work: Callable[[], list[list[Span]]]) -> tuple[list[list[Span]], float]:
    """What `work` returns and its CPU seconds."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def per_entity(found: Sequence[Sequence[Span]]) -> Counter[str]:
    """How many findings of each type."""
    return Counter(span.entity for spans in found for span in spans)


def compare(texts: Sequence[str], warm_up: Sequence[str], peer_bytes: int) -> dict[str, Any]:
    """Run both sides, print the tables, and return the figures.

    Raises:
        SystemExit: some span of a sample differs.
    """
    whole = megabytes(texts)
    rates: dict[str, float] = {}
    rows: list[tuple[str, int, float, float]] = []
    everywhere: dict[str, list[list[Span]]] = {}
    for name, settings in (("same", SAME), ("default", DEFAULT)):
        everywhere[name], seconds = ours(settings, texts, warm_up)
        rows.append((f"{name}, all pages", len(texts), whole, seconds))
        rates[name] = whole / seconds
        print(f"{name}, all pages: {dict(per_entity(everywhere[name]).most_common())}")
    even, rich = samples_of(texts, everywhere["same"], peer_bytes)
    size = megabytes(even)
    expected, peer_cpu = plain(even, warm_up)
    runs = [ours(SAME, even, warm_up) for _ in range(REPEATS)]
    cpu = sorted(seconds for _, seconds in runs)[REPEATS // 2]
    rows += [("plain Presidio, even sample", len(even), size, peer_cpu), ("same, even sample", len(even), size, cpu)]
    expected_rich, seconds = plain(rich, warm_up) if rich else ([], 0.0)
    found_rich, own_seconds = ours(SAME, rich, warm_up)
    if rich:
        rows.append(("plain Presidio, rich sample", len(rich), megabytes(rich), seconds))
        rows.append(("same, rich sample", len(rich), megabytes(rich), own_seconds))
    made = made_texts(MADE_TEXTS)
    expected_made, seconds = plain(made, warm_up)
    found_made, own_seconds = ours(SAME, made, warm_up)
    rows.append(("plain Presidio, made sample", len(made), megabytes(made), seconds))
    rows.append(("same, made sample", len(made), megabytes(made), own_seconds))
    expected, found = expected + expected_rich + expected_made, runs[0][0] + found_rich + found_made
    print(f"\n{'':34}{'texts':>8}{'MB':>9}{'CPU-s':>9}{'MB/s/core':>11}")
    for name, count, amount, seconds in rows:
        print(f"{name:34}{count:>8,}{amount:>9.3f}{seconds:>9.3f}{amount / seconds:>11.2f}")
    print(f"\n{'spans on all samples':34}{'Presidio':>9}{'ours':>9}{'differing':>11}")
    theirs, own = per_entity(expected), per_entity(found)
    differing = Counter(span.entity for a, b in zip(expected, found, strict=True) for span in set(a) ^ set(b))
    for entity in sorted(theirs | own):
        print(f"{entity:34}{theirs[entity]:>9}{own[entity]:>9}{differing[entity]:>11}")
    if found != expected:
        raise SystemExit(f"error: {differing.total()} spans of the samples differ")
    print(f"{'all':34}{theirs.total():>9}{own.total():>9}{0:>11}")
    figures = {"ours": size / cpu, "peer": size / peer_cpu, "ratio": peer_cpu / cpu}
    return {
        name: round(value, 3) for name, value in (figures | {f"{k}_all_pages": v for k, v in rates.items()}).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1_000, help="of debdocs; 0: all")
    parser.add_argument("--peer-bytes", type=int, default=300_000, help="of the sample that plain Presidio gets")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        texts, warm_up = SMOKE_TEXTS, SMOKE_TEXTS[:2]
    else:
        with tempfile.TemporaryDirectory() as folder:
            pages = page_texts(given.pages, Path(folder))
        step = max(len(pages) // WARM_UP_PAGES, 1)
        warm_up = pages[::step]
        texts = [text for number, text in enumerate(pages) if number % step]
    figures = compare(texts, warm_up, given.peer_bytes)
    print(json.dumps({"bench": "pii", "peer_name": PEER, "unit": "MB/s/core"} | figures))


if __name__ == "__main__":
    main()
