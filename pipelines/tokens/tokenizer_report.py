"""How tight a tokenizer is: bytes per token and tokens per word of each language, beside published tokenizers.

More bytes per token means that a model sees more text in as many positions. Tokens per word is what the literature
calls fertility (Rust et al. 2021); words are what white space separates, so it says nothing of languages that are
written without spaces, and is left out there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from pipelines.tokens.pretokenization import short_runs
from pipelines.tokens.tokenizer_peers import Peer

OURS = "ours"
UNKNOWN = "unknown"
EVERY_LANGUAGE = "all"
# ISO 639 codes, of two letters and of three, of languages that put no spaces between words.
_UNSPACED = frozenset(
    ("bo", "bod", "dz", "dzo", "ja", "jpn", "km", "khm", "lo", "lao", "my", "mya", "th", "tha", "zh", "zho")
)
Row = dict[str, Any]


def measure(
    encode: Callable[[Sequence[str]], int],
    vocabulary_size: int,
    heldout: Mapping[str, Sequence[str]],
    familiar: Mapping[str, Sequence[str]],
    peers: Sequence[Peer],
) -> Row:
    """The report's `measures`.

    Args:
        encode: tokens that our tokenizer makes of some texts.
        vocabulary_size: of our tokenizer.
        heldout: language to documents that it was not trained on.
        familiar: the same of documents that it was trained on; for languages without any held-out document.
        peers: what to compare with.
    """
    chosen = dict(familiar) | dict(heldout)
    rows = [
        _count(_label(language), chosen[language], encode, peers) | {"is_heldout": language in heldout}
        for language in sorted(chosen)
    ]
    rows.sort(key=lambda row: (-row["bytes"], row["language"]))
    everything = _sum(rows) | {"language": EVERY_LANGUAGE, "is_heldout": all(row["is_heldout"] for row in rows)}
    return {
        "vocabulary_sizes": {OURS: vocabulary_size} | {peer.name: peer.vocabulary_size for peer in peers},
        "all": everything | _rates(everything, [row for row in rows if row["words"] is not None]),
        "languages": [row | _rates(row, [row] if row["words"] is not None else []) for row in rows],
    }


def _count(language: str, texts: Sequence[str], encode: Callable[[Sequence[str]], int], peers: Sequence[Peer]) -> Row:
    # In pieces, as in training, for every tokenizer alike: the peers' time grows with the square of a run's length.
    pieces = [piece for text in texts for piece in short_runs(text)]
    return {
        "language": language,
        "documents": len(texts),
        "bytes": sum(len(text.encode()) for text in texts),
        "words": None if language in _UNSPACED else sum(len(text.split()) for text in texts),
        "tokens": {OURS: encode(pieces)} | {peer.name: sum(map(peer.count, pieces)) for peer in peers},
    }


def _sum(rows: Sequence[Row]) -> Row:
    names = rows[0]["tokens"] if rows else ()
    return {
        "documents": sum(row["documents"] for row in rows),
        "bytes": sum(row["bytes"] for row in rows),
        "words": sum(row["words"] or 0 for row in rows),
        "tokens": {name: sum(row["tokens"][name] for row in rows) for name in names},
    }


def _rates(row: Row, spaced: Sequence[Row]) -> Row:
    """Bytes per token of `row`, and tokens per word over `spaced`, the rows whose words can be counted."""
    words, tokens = sum(r["words"] for r in spaced), _sum(spaced)["tokens"]
    return {
        "bytes_per_token": {name: round(row["bytes"] / max(n, 1), 4) for name, n in row["tokens"].items()},
        "tokens_per_word": {name: round(n / words, 4) for name, n in tokens.items()} if words else {},
    }


def table(measures: Row) -> str:
    """The measures as a Markdown table: a row per language, a column per tokenizer and number."""
    sizes = cast(dict[str, int], measures["vocabulary_sizes"])
    head = ["language", "documents", "kB"]
    head += [f"{name}: bytes per token" for name in sizes] + [f"{name}: tokens per word" for name in sizes]
    lines = [
        f"Vocabularies: {', '.join(f'{name} {size:,}' for name, size in sizes.items())}.",
        "",
        f"| {' | '.join(head)} |",
        "|---|" + "---:|" * (len(head) - 1),
    ]
    rows = cast(list[Row], measures["languages"])
    for row in [*rows, *([measures["all"]] if len(rows) > 1 else [])]:
        cells = [row["language"] + ("" if row["is_heldout"] else " *"), f"{row['documents']:,}"]
        cells.append(f"{row['bytes'] / 1e3:,.0f}")
        for key in ("bytes_per_token", "tokens_per_word"):
            cells += [f"{row[key][name]:.2f}" if name in row[key] else "–" for name in sizes]
        lines.append(f"| {' | '.join(cells)} |")
    if not all(row["is_heldout"] for row in rows):
        lines += ["", "\\* no document of the language is held out: measured on text that ours was trained on."]
    return "\n".join(lines) + "\n"


def _label(language: str) -> str:
    """A language's code can come from anybody's JSON: no markup of theirs in a table or a picture."""
    return language if re.fullmatch(r"[\w-]{1,24}", language) else ("?" if language else UNKNOWN)
