"""The mixture as people read it: LLaMA's Table 1 with the tokens, a sentence on the pass, and warnings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.core.quantities import human_bytes

# Muennighoff et al. 2023 (arXiv:2305.16264), section 5: repetitions after which one more is worth 1/e of new text.
_HALF_LIFE = 15.39
_SMALL_CHANGE = 0.001  # of the pass; a proportion that whole sequences move further than this is worth a word
_MARKUP = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|~!"})

Row = Mapping[str, Any]  # as in `corpora` of mixture.json


def markdown(rows: Sequence[Row]) -> str:
    """The mixture as a Markdown table with the columns of LLaMA's Table 1 (Touvron et al. 2023) and the tokens."""
    lines = [
        "| corpus | sampling proportion | epochs | tokens | tokens read | sequences read | disk size |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in [*rows, total(rows)] if len(rows) > 1 else rows:
        cells = [str(row["source"]).translate(_MARKUP), *figures(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def figures(row: Row) -> list[str]:
    """The cells of a row behind its name."""
    return [
        f"{row['token_proportion']:.{_places(row['token_proportion'])}%}",
        f"{row['epochs']:.{_places(row['epochs'] / 100)}f}",
        f"{row['tokens']:,}",
        f"{row['tokens_read']:,}",
        f"{row['draws']:,}",
        human_bytes(row["bytes"]),
    ]


def total(rows: Sequence[Row]) -> dict[str, Any]:
    """The row below the others: sums, and as epochs the tokens read for each token there is."""
    sums = {n: sum(row[n] for row in rows) for n in ("tokens", "tokens_read", "draws", "bytes", "sequences")}
    return {
        "source": "all",
        "token_proportion": 1.0,
        "epochs": sums["tokens_read"] / sums["tokens"] if sums["tokens"] else 0.0,
        **sums,
    }


def worth(epochs: float) -> float:
    """Epochs of new text that reading the same text `epochs` times is worth (Muennighoff et al. 2023, equation 5)."""
    return epochs if epochs <= 1 else 1 + _HALF_LIFE * -math.expm1(-(epochs - 1) / _HALF_LIFE)


def sentence(mixture: Mapping[str, Any]) -> str:
    """How long one pass is, and how tokens and sequences are related."""
    length, sequences, tokens = mixture["sequence_length"], mixture["sequences_per_pass"], mixture["tokens_per_pass"]
    held = sum(row["sequences"] for row in mixture["heldout"])
    padding = 1 - tokens / (sequences * length)
    return (
        f"One pass: {sequences:,} sequences of {length:,}, {tokens:,} tokens ({max(padding, 0):.2%} is padding). "
        f"Held out: {held:,} sequences."
    )


def repeated(rows: Sequence[Row], warn_epochs: float) -> list[str]:
    """A line for each source that is read more often than `warn_epochs`."""
    return [
        f"{row['source']} is read {row['epochs']:.3g} times in one pass over the mixture: above {warn_epochs:g}, "
        f"repeated text is worth less than new (about {worth(row['epochs']):.3g} times here, Muennighoff et al. 2023)"
        for row in rows
        if row["epochs"] > warn_epochs
    ]


def rounded(rows: Sequence[Row], asked: Mapping[str, float], scale: float) -> list[str]:
    """A line for each proportion that whole sequences, or the sum of all proportions, moved.

    Args:
        rows: the mixture.
        asked: name of what was given a proportion, a corpus or a source, to that proportion.
        scale: sum of all proportions where they are all there is, else 1.
    """
    lines: list[str] = []
    if abs(scale - 1) > 1e-9:
        lines.append(f"the proportions add up to {scale:.4g} and were divided by it")
    for name, proportion in asked.items():
        got = math.fsum(r["token_proportion"] for r in rows if name in (r["corpus"], r["source"]))
        if abs(got - proportion / scale) > _SMALL_CHANGE:
            lines.append(
                f"{name} was asked to be {proportion / scale:.2%} of the tokens and is {got:.2%}: the pass has only "
                f"{sum(row['draws'] for row in rows):,} sequences"
            )
    return lines


def _places(value: float) -> int:
    """Decimals behind a per cent: two, and as many as a small number needs to be seen."""
    return 2 if value >= 1e-4 or value <= 0 else min(1 - math.floor(math.log10(value * 100)), 12)
