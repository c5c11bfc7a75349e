"""Scheme `datatrove` against datatrove's own signatures and rules, and the texts of the other published schemes."""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dedup.code_points import BLOCK_BYTES, blocks
from pipelines.dedup.minhash import permutations, signatures
from pipelines.dedup.schemes import SCHEMES, SchemeName, parameters
from pipelines.dedup.shingles import Shingles, slim
from pipelines.dedup.signatures import Settings, score
from pipelines.dedup.simplified import simplified_words, simplify
from pipelines.dedup.xxh64 import xxh64
from pipelines.filters.chunk_tokens import ChunkTokenizer
from pipelines.filters.words import words
from pipelines.schema import DOCUMENT_SCHEMA

PRIME = (1 << 61) - 1
PIECES = (
    *"aZ0 9.,;Σςİ\n\t\x00\x1c\x85\u2003\u200b-–—'’\u0301\u0323é가क़\u037e\u1fef٣１½²€$§°•",
    *(
        "\u302e",
        "\u302f",
        "\U0001d165",
        "\U0001d15e",
        "𐐀",
        "Straße",
        "ΟΔΟΣ",
        "中文テ",
        "กั่",
        "한국어",
        "3.14.15",
        "٣٫١٤",
    ),
    *(
        "1,000⎖5",
        "don't",
        "dont",
        "cannot",
        "gonna",
        "ive",
        "10am",
        "5km",
        "10€",
        "20°C",
        "x-ray",
        "o.o",
        ":)",
        "a@b.de",
    ),
)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.just(" "), st.characters(exclude_categories=["Cs"]))).map(
    "".join
)


def batch_of(*texts: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"text": text} for text in texts], schema=DOCUMENT_SCHEMA)


def signed(scheme: SchemeName, *texts: str) -> list[list[int] | None]:
    kind = f"<u{SCHEMES[scheme].value_bytes}"
    values = score(batch_of(*texts), Settings(scheme)).column("signature").to_pylist()
    return [None if value is None else np.frombuffer(value, kind).tolist() for value in values]


def plain_datatrove(text: str, scheme: SchemeName) -> list[int] | None:
    """The same by the rules, one shingle and one permutation after the other."""
    found = words(simplify(text))
    shingles = [" ".join(found[i : i + 5]).encode() for i in range(len(found) - 4)]
    if not shingles:
        return None
    hashes = [
        xxhash.xxh64_intdigest(s) if scheme == "datatrove" else int.from_bytes(hashlib.sha1(s).digest()[:8], "little")
        for s in shingles
    ]
    draw = np.random.RandomState(1)
    multipliers = draw.randint(1, PRIME, dtype=np.uint64, size=(1, 112))[0].tolist()
    offsets = draw.randint(0, PRIME, dtype=np.uint64, size=(1, 112))[0].tolist()
    pairs = list(zip(multipliers, offsets, strict=True))
    return [min((h * a + b) % (1 << 64) % PRIME for h in hashes) for a, b in pairs]


@pytest.mark.shared
def test_every_golden_bucket_of_datatrove_is_equal(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gzip.open(shared_data / "golden/datatrove-0.10.1.jsonl.gz", "rt", encoding="utf-8") as lines:
        golden = [json.loads(line) for line in lines]
    equal = 0
    for row, values in zip(golden, signed("datatrove", *(row["text"] for row in golden)), strict=True):
        first, last = (values[:8], values[-8:]) if values else (None, None)
        assert (first, last) == (row["minhash_b0"], row["minhash_b13"]), row["id"]
        equal += 1
    with capsys.disabled():
        print(f"\ngolden MinHash buckets 0 and 13: {equal} of {len(golden)} texts equal")
    assert equal == 400


@pytest.mark.parametrize("scheme", ["datatrove", "fineweb"])
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(TEXTS, max_size=4))
def test_signatures_are_those_of_the_rules(scheme: SchemeName, texts: list[str]) -> None:
    assert signed(scheme, *texts) == [plain_datatrove(text, scheme) for text in texts]


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=8), st.sampled_from([20, BLOCK_BYTES]))
def test_many_texts_are_simplified_as_one_is(texts: list[str], block_bytes: int) -> None:
    found = [
        text
        for block in blocks(pa.array(texts, pa.large_string()), block_bytes)
        for text in simplified_words(block).joined()
    ]
    assert found == [" ".join(words(simplify(text))) for text in texts]


def test_no_rule_cuts_letters_but_those_of_contractions() -> None:
    letters = [chr(code) for code in range(0x40000) if chr(code).isalpha()]
    contractions = set(ChunkTokenizer().special_chunks)
    for start in range(0, len(letters), 40):
        row = "".join(letters[start : start + 40])
        for chunk in (row, f"a{row}z", row[::-1]):
            assert words(chunk) == [chunk]
    assert all(text.isascii() for text in contractions if text.isalpha())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Version 1.2.3 of 10,000", ["version", "0", "0", "of", "0"]),  # 1.2 is a number, 3 the next
        ("٣٫١٤ १२", ["0", "0"]),
        ("Crème brûlée à l'İstanbul", ["creme", "brulee", "a", "l", "istanbul"]),
        ("don't cannot dont", ["don", "t", "can", "not", "do", "nt"]),
        ("a \u0301 b\x00c\u037ed", ["a", "b", "c;d"]),  # the Greek question mark decomposes behind the punctuation rule
        ("한", ["\u1112\u1161\u11ab"]),
        ("5km", ["0", "km"]),
    ],
)
def test_simplified_words(text: str, expected: list[str]) -> None:
    (block,) = blocks(pa.array([text], pa.large_string()))
    assert simplified_words(block).joined() == [" ".join(expected)]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=20))
def test_pieces_are_hashed_as_xxhash_does(data: bytes, spans: list[tuple[int, int]]) -> None:
    bounds = [sorted(min(place, len(data)) for place in span) for span in spans]
    starts, ends = (np.array([bound[i] for bound in bounds], np.int64) for i in (0, 1))
    assert xxh64(data, starts, ends).tolist() == [xxhash.xxh64_intdigest(data[start:end]) for start, end in bounds]


def test_a_value_that_only_a_division_reduces() -> None:
    kinds = [(seed, *permutations("wrapped", 1, seed)) for seed in range(9)]
    seed, a, b = next((seed, int(a[0]), int(b[0])) for seed, a, b in kinds if a[0] % 2)  # odd: it has an inverse
    effective = parameters(Settings("datatrove", bands=1, rows=1, seed=seed))
    wanted = (5 << 61) + PRIME - 3  # high bits and low bits add up to more than the prime
    shingles = Shingles(np.array([(wanted - b) * pow(a, -1, 1 << 64) % (1 << 64)], np.uint64), np.array([1]))
    assert signatures(shingles, effective).tolist() == [[wanted % PRIME]] == [[2]]


def test_fewer_words_than_a_shingle() -> None:
    assert signed("datatrove", "only four words here") == [None]
    for scheme in ("gristmill", "datasketch", "refinedweb"):
        one, same, other = signed(scheme, "only four words here", "Only four words, here!", "only four words there")
        assert one == same != other
    assert signed("slimpajama", "twelve chars", "thirteen char")[0] is None


def test_slimpajamas_characters() -> None:
    assert slim("It's  A \n(test).") == "its a test"
    datasketch = pytest.importorskip("datasketch")
    text = "The Mill grinds, the mill ground; the mill will grind."
    sketch = datasketch.MinHash(num_perm=128, scheme="legacy")
    clean = slim(text)
    sketch.update_batch([clean[i : i + 13].encode() for i in range(len(clean) - 12)])
    assert signed("slimpajama", text) == [sketch.hashvalues[:117].tolist()]


def test_shapes_of_the_published_schemes() -> None:
    assert {name: (p.shingle_words, p.bands, p.rows) for name, p in SCHEMES.items()} == {
        "gristmill": (5, 14, 8),
        "datatrove": (5, 14, 8),
        "fineweb": (5, 14, 8),
        "datasketch": (5, 14, 8),
        "datasketch_legacy": (5, 14, 8),
        "refinedweb": (5, 450, 20),
        "slimpajama": (13, 9, 13),
    }
