"""The mixture as a picture: what share of the tokens each source has where it lies, and in what the model reads."""

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.core.figures import BLUE, GREY, canvas, png

_MOST_SOURCES = 20  # bars that can be told apart; the smallest are taken together
_NAME = 40  # characters of a name
_EDGE = 0.2  # share of the plot's width left free for the numbers beside the bars


def mixture_plot(rows: Sequence[Mapping[str, Any]], title: str = "Tokens of each corpus") -> bytes:
    """Two bars per source as PNG: its share of the tokens there are, and of those that are read, with its epochs.

    Args:
        rows: `corpora` of mixture.json.
        title: above the plot.
    """
    ranked = sorted(rows, key=lambda row: (-row["token_proportion"], row["source"]))
    shown, rest = ranked[:_MOST_SOURCES], ranked[_MOST_SOURCES:]
    there = sum(row["tokens"] for row in rows) or 1
    names = [_short(str(row["source"])) for row in shown]
    stored = [100 * row["tokens"] / there for row in shown]
    read = [100 * row["token_proportion"] for row in shown]
    epochs = [f"{row['epochs']:.3g} epochs" for row in shown]
    if rest:
        names.append(f"{len(rest)} others")
        stored.append(100 * sum(row["tokens"] for row in rest) / there)
        read.append(100 * sum(row["token_proportion"] for row in rest))
        epochs.append("")
    figure, axes = canvas(8.0, 1.3 + 0.42 * len(names))
    places = range(len(names))
    axes.barh([p - 0.2 for p in places], read, height=0.38, color=BLUE, label="read")
    axes.barh([p + 0.2 for p in places], stored, height=0.38, color=GREY, label="there are")
    widest = max([*read, *stored])
    for place, share, times in zip(places, read, epochs, strict=True):
        axes.text(share + 0.01 * widest, place - 0.2, f"{share:.3g} %  {times}", va="center", fontsize=9)
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    axes.set_xlim(0, widest * (1 + 1.4 * _EDGE))
    axes.set_xlabel("share of tokens (%)")
    axes.set_title(title, loc="left", fontsize=11)
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=9)
    return png(figure)


def _short(name: str) -> str:
    """A name that fits beside the bars; a dollar sign is no formula."""
    name = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    return name.replace("$", r"\$")
