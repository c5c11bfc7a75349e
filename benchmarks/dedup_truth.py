"""Recall and precision of near-duplicate detection against truth computed exactly from real pages.

    python -m benchmarks.dedup_truth [--crawl DIR …] [--pages N] [--schemes a,b] [--smoke]

Texts: all pages of debdocs, extracted by the product; and a second set, the pages of realweb and every twentieth of
debdocs with edited copies of known strength (benchmarks/edited_texts.py). Truth: all pairs whose sets of word 5-grams
have a Jaccard similarity of 0.5 or more, found by an exact join (benchmarks/near_pairs.py), once on raw words (the text
at white space) and once on the words that signatures are made of (lower case, no punctuation). Exact copies are pairs
of similarity 1. Found: pairs of documents with a common band (`pair`); of those, the pairs that verification leaves, at
0.7 and 0.8; and the same with the same signatures cut into shorter bands. `cluster`: pairs in one connected component,
which is what is removed together. Recall is over truth pairs of 0.8 and more, precision the share of found pairs of 0.7
and more. 9,000 permutations take long, so `refinedweb` sees the first 2,500 texts only, held against the truth among
these.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import warcs
from benchmarks.document_path import run_staged
from benchmarks.edited_texts import with_copies
from benchmarks.gold import SHARED
from benchmarks.near_pairs import NearPairs, all_pairs, groups, near_pairs, pair_codes, pairs_of
from gristmill.core.layout import Layout
from pipelines.crawl.corpora import add_corpus
from pipelines.dedup import signatures
from pipelines.dedup.jaccard import ShingleSet, jaccard_pairs, shingle_set
from pipelines.dedup.normalise import normalise
from pipelines.dedup.schemes import DEFAULT, Parameters, SchemeName, parameters
from pipelines.dedup.verification import candidate_bands
from pipelines.schema import DOCUMENT_SCHEMA

SHINGLE_WORDS = 5
FOUND_AT, RIGHT_AT, TRUTH_AT = 0.8, 0.7, 0.5
VERIFIED_AT = (0.7, 0.8)
HEAVY_PERMUTATIONS, HEAVY_TEXTS = 1_000, 2_500
EDITED_EVERY = 20
SCHEMES = ("gristmill", "datatrove", "datasketch", "slimpajama", "refinedweb")


@dataclass(frozen=True)
class Truth:
    """What the pairs of one set of texts are, by one notion of a word."""

    name: str
    sets: list[ShingleSet]
    near: NearPairs

    def among(self, count: int) -> NearPairs:
        """The pairs among the first `count` texts, with their codes."""
        pairs = pairs_of(self.near.codes, len(self.sets))
        is_in = (pairs < count).all(axis=1)
        return NearPairs(pair_codes(*pairs[is_in].T, count), self.near.similarity[is_in])


@dataclass(frozen=True)
class Figures:
    """Counts of one way to find pairs against one truth."""

    found: int
    right: int  # of the found ones, those of RIGHT_AT and more
    wanted: int  # truth pairs of FOUND_AT and more
    got: int  # of these, those found
    hits: dict[str, str]  # of the truth pairs of a range below, found / all

    @property
    def precision(self) -> float:
        return self.right / max(self.found, 1)

    @property
    def recall(self) -> float:
        return self.got / max(self.wanted, 1)

    @property
    def wrong_per_thousand(self) -> float:
        """Pairs missed, of 1,000 wanted, and pairs not right, of 1,000 found."""
        return 1000 * (2 - self.precision - self.recall)


def page_texts(folder: Path, pages: int) -> list[str]:
    """The texts that the product extracts from the WARC files of a folder, in their order."""
    with tempfile.TemporaryDirectory(prefix="bench-truth-") as work:
        source = Path(work, "warc")
        warcs.sample(sorted(folder.glob("*.warc.gz")), pages, source)
        layout = Layout(str(Path(work, "home")))
        add_corpus(layout, "bench", [str(source)], segments=1)
        run_staged(layout, "bench", ("extracted_documents",))
        parts = sorted(Path(layout.root, "attempts", "extracted_documents", "output").glob("*.parquet"))
        texts = [text for part in parts for text in pq.read_table(part, columns=["text"]).column("text").to_pylist()]
    return [text for text in texts if text and text.split()]


def truths(texts: Sequence[str]) -> list[Truth]:
    """By raw words and by normalised words."""
    found = list[Truth]()
    for name, words in (("raw", str.split), ("normalised", lambda text: normalise(text).split())):
        sets = [shingle_set(words(text), SHINGLE_WORDS) for text in texts]
        found.append(Truth(name, sets, near_pairs(sets, TRUTH_AT)))
    return found


def signed(texts: Sequence[str], scheme: SchemeName) -> tuple[list[bytes | None], Parameters]:
    """Packed signatures by the stage's own code, batch by batch."""
    settings = signatures.Settings(scheme=scheme)
    packed = list[bytes | None]()
    for start in range(0, len(texts), 256):
        rows = [{"doc_id": str(start), "text": text} for text in texts[start : start + 256]]
        batch = pa.RecordBatch.from_pylist(rows, schema=DOCUMENT_SCHEMA)
        packed += signatures.score(batch, settings).column("signature").to_pylist()
    return packed, parameters(settings)


def band_pairs(packed: Sequence[bytes | None], made: Parameters) -> Any:
    """Codes of the pairs with a common band."""
    rows = np.array([row for row, signature in enumerate(packed) if signature is not None])
    if not len(rows):
        return np.empty(0, np.int64)
    data = np.frombuffer(b"".join(s for s in packed if s is not None), np.uint8).reshape(len(rows), -1)
    width = made.rows * made.value_bytes
    found = list[Any]()
    for start in range(0, made.bands * width, width):
        band = np.ascontiguousarray(data[:, start : start + width]).view(f"V{width}")
        _, key = np.unique(band.ravel(), return_inverse=True)
        order = np.argsort(key, kind="stable")
        for members in groups(key[order], rows[order]):
            found.append(pair_codes(*all_pairs(members), len(packed)))
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def cluster_pairs(codes: Any, count: int) -> Any:
    """Codes of the pairs that lie in one connected component."""
    root = list(range(count))

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for left, right in pairs_of(codes, count).tolist():
        low, high = sorted((find(left), find(right)))
        root[high] = low
    roots = np.array([find(node) for node in range(count)])
    order = np.argsort(roots, kind="stable")
    found = [pair_codes(*all_pairs(members), count) for members in groups(roots[order], order)]
    return np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)


def figures(codes: Any, truth: Truth, count: int) -> Figures:
    """`codes`, pairs of the first `count` texts, against the truth among these."""
    near = truth.among(count)
    similarity = jaccard_pairs(truth.sets, pairs_of(codes, count))
    wanted = near.at_least(FOUND_AT)
    hits = dict[str, str]()
    for low, high in ((TRUTH_AT, RIGHT_AT), (RIGHT_AT, FOUND_AT)):
        between = near.codes[(near.similarity >= low) & (near.similarity < high)]
        hits[f"[{low},{high})"] = f"{int(np.isin(between, codes).sum())}/{len(between)}"
    got = int(np.isin(wanted, codes).sum())
    return Figures(len(codes), int((similarity >= RIGHT_AT).sum()), len(wanted), got, hits)


def ways(texts: Sequence[str], scheme: SchemeName, normalised: Sequence[ShingleSet]) -> Iterator[tuple[str, Any, int]]:
    """What a scheme finds, as it is and, for the default one, verified: name, codes, number of texts."""
    count = HEAVY_TEXTS if parameters({"scheme": scheme}).permutations > HEAVY_PERMUTATIONS else len(texts)
    count = min(count, len(texts))
    packed, made = signed(texts[:count], scheme)
    codes = band_pairs(packed, made)
    name = f"{scheme} {made.bands}x{made.rows}, {made.shingle_words}"
    yield name, codes, count
    if scheme == DEFAULT:
        similarity = jaccard_pairs(normalised, pairs_of(codes, count))
        for threshold in VERIFIED_AT:
            yield f"{name}, verified at {threshold}", codes[similarity >= threshold], count
        finer = candidate_bands(made)
        codes = band_pairs(packed, finer)
        right = codes[jaccard_pairs(normalised, pairs_of(codes, count)) >= RIGHT_AT]
        yield f"the same values {finer.bands}x{finer.rows}, verified at {RIGHT_AT} of {len(codes):,}", right, count


def evaluate(title: str, texts: Sequence[str], schemes: Sequence[SchemeName]) -> dict[str, Figures]:
    """Print a table of one set of texts; the pair figures on the truth where each way is worse, by its name."""
    found, worst = truths(texts), dict[str, Figures]()
    for truth in found:
        counts = ", ".join(f"{len(truth.near.at_least(at)):,} of ≥ {at}" for at in (TRUTH_AT, RIGHT_AT, FOUND_AT, 1.0))
        print(f"{title}: {len(texts):,} texts; pairs by {truth.name} words: {counts}", flush=True)
    for scheme in schemes:
        for name, codes, count in ways(texts, scheme, found[1].sets):
            clusters = cluster_pairs(codes, count)
            for truth in found:
                pair, cluster = figures(codes, truth, count), figures(clusters, truth, count)
                print(
                    f"  {name:38} {truth.name:10} pair: recall {pair.recall:.4f} ({pair.got}/{pair.wanted}), precision "
                    f"{pair.precision:.4f} ({pair.right}/{pair.found}), hit {pair.hits}; "
                    f"cluster: recall {cluster.recall:.4f}, precision {cluster.precision:.4f}",
                    flush=True,
                )
                if name not in worst or pair.wrong_per_thousand > worst[name].wrong_per_thousand:
                    worst[name] = pair
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the development data")
    parser.add_argument("--pages", type=int, default=0, help="of debdocs, evenly spread; 0: all")
    parser.add_argument("--schemes", default=",".join(SCHEMES))
    parser.add_argument("--smoke", action="store_true", help="made texts, the default scheme")
    given = parser.parse_args()
    if given.smoke:
        words = warcs.PROSE.split()
        real = [" ".join(words[i:] + words[:i]) for i in range(0, len(words), 20)]
        sets, schemes = {"edited": with_copies(real)}, (DEFAULT,)
    else:
        crawls = given.shared / "data" / "crawls"
        if not crawls.is_dir():
            raise SystemExit(f"no development data at {crawls}: give --shared FOLDER, or GRISTMILL_SHARED")
        real = page_texts(crawls / "debdocs", given.pages)
        web = page_texts(crawls / "realweb", 0)
        sets = {"debdocs": real, "realweb and debdocs, edited": with_copies([*web, *real[::EDITED_EVERY]])}
        schemes = tuple(given.schemes.split(","))
    said = {title: evaluate(title, texts, schemes) for title, texts in sets.items()}
    first = next(iter(said.values()))
    ours = next((f for name, f in first.items() if name.endswith(f"verified at {RIGHT_AT}")), None)
    peer = next((f for name, f in first.items() if name.startswith("datatrove")), None)
    result: dict[str, Any] = {"bench": "dedup_truth", "ours": ours and round(ours.wrong_per_thousand, 2)}
    result |= {"peer": peer and round(peer.wrong_per_thousand, 2), "peer_name": "datatrove's scheme, unverified"}
    result |= {"unit": "pairs missed per 1,000 wanted + wrong per 1,000 found", "ratio": None}
    if ours and peer:
        result["ratio"] = round(peer.wrong_per_thousand / max(ours.wrong_per_thousand, 1e-9), 2)
    for title, ways_of in said.items():
        result[title] = {name: [round(f.recall, 4), round(f.precision, 4)] for name, f in ways_of.items()}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
