"""How tight tokenizers are, by language, as a picture."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from gristmill.core.figures import BLUE, GREEN, ORANGE, VERMILION, canvas, png
from pipelines.tokens.tokenizer_report import OURS

_MOST_LANGUAGES = 12
_STYLES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (VERMILION, "D"))


def ours_first(tokenizers: Iterable[str]) -> list[str]:
    """Names in the order in which people look for them: a report file has them by the alphabet."""
    return sorted(tokenizers, key=lambda name: (name != OURS, name))


def tokenizer_plot(measures: Mapping[str, Any], title: str) -> bytes:
    """Bytes per token of each tokenizer on the languages with most text: a line per language, a mark per tokenizer.

    Args:
        measures: of a tokenizer's report.
        title: of the picture.
    """
    rows = cast(list[dict[str, Any]], measures["languages"])[:_MOST_LANGUAGES]
    figure, axes = canvas(8.0, 1.5 + 0.34 * len(rows))
    names = [f"{row['language']} ({row['bytes'] / 1e3:,.0f} kB)" for row in rows]
    sizes = cast(dict[str, int], measures["vocabulary_sizes"])
    for number, tokenizer in enumerate(ours_first(sizes)):
        colour, mark = _STYLES[number % len(_STYLES)]
        values = [row["bytes_per_token"][tokenizer] for row in rows]
        axes.scatter(
            values,
            range(len(rows)),
            color=colour,
            marker=mark,
            s=42,
            label=f"{tokenizer} ({sizes[tokenizer]:,})",
            zorder=9 - number,
        )
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("bytes per token on held-out documents (more is tighter)")
    axes.set_title(title, loc="left", fontsize=11)
    figure.legend(loc="outside lower right", ncols=4, frameon=False, fontsize=9)
    return png(figure)
