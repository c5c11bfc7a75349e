"""Plots as PNG bytes: the funnel, the languages, the loss. matplotlib is imported when one is drawn."""

from collections.abc import Mapping, Sequence

from gristmill.core.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, canvas, png
from pipelines.report.funnel import Funnel

_MOST_LANGUAGES = 12
_EDGE = 0.15  # share of the plot's width left free for the numbers beside the bars

Point = tuple[int, float]  # (step, loss in nats per token)


def funnel_plot(funnel: Funnel) -> bytes:
    """Documents kept and rejected by each stage that is done, as horizontal bars from the first stage down."""
    rows = [row for row in funnel.stages if row.segments_done]
    figure, axes = canvas(8.0, 1.4 + 0.42 * len(rows))
    kept = [row.documents_kept for row in rows]
    rejected = [row.documents_rejected for row in rows]
    names = [row.stage.replace("_", " ") for row in rows]
    axes.barh(names, kept, color=BLUE, label="kept")
    axes.barh(names, rejected, left=kept, color=ORANGE, label="rejected")
    widest = max([k + r for k, r in zip(kept, rejected, strict=True)], default=0)
    for position, (keep, reject) in enumerate(zip(kept, rejected, strict=True)):
        label = f"{keep:,}" + (f"  (−{reject:,})" if reject else "")
        axes.text(keep + reject + 0.01 * widest, position, label, va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, widest * (1 + 1.6 * _EDGE) or 1)
    axes.set_xlabel("documents")
    axes.set_title(f"What each stage kept of {funnel.corpus}", loc="left", fontsize=11)
    if rows:
        figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=9)
    return png(figure)


def language_plot(languages: Mapping[str, int], title: str) -> bytes:
    """Share of documents per language, in per cent; the smallest are taken together."""
    ranked = sorted(languages.items(), key=lambda item: (-item[1], item[0]))
    is_cut = len(ranked) > _MOST_LANGUAGES + 1  # "1 others" would say less than its name
    shown = ranked[:_MOST_LANGUAGES] if is_cut else ranked
    if is_cut:
        rest = ranked[_MOST_LANGUAGES:]
        shown.append((f"{len(rest)} others", sum(count for _, count in rest)))
    total = sum(languages.values()) or 1
    figure, axes = canvas(8.0, 1.2 + 0.32 * len(shown))
    shares = [100 * count / total for _, count in shown]
    axes.barh([name for name, _ in shown], shares, color=GREEN)
    widest = max(shares, default=1.0)
    for position, (share, (_, count)) in enumerate(zip(shares, shown, strict=True)):
        axes.text(share + 0.01 * widest, position, f"{share:.1f} % ({count:,})", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, widest * (1 + 1.3 * _EDGE))
    axes.set_xlabel("share of documents (%)")
    axes.set_title(title, loc="left", fontsize=11)
    return png(figure)


def loss_plot(training: Sequence[Point], heldout: Sequence[Point], title: str) -> bytes:
    """Training loss as a line, held-out loss as points, over optimizer steps."""
    figure, axes = canvas(8.0, 3.6)
    if training:
        axes.plot(*zip(*training, strict=True), color=BLUE, linewidth=1.2, label="training")
    if heldout:
        axes.plot(
            *zip(*heldout, strict=True), color=VERMILION, marker="o", markersize=4, linestyle="--", label="held out"
        )
    if training or heldout:
        axes.legend(frameon=False, fontsize=9)
    axes.grid(axis="y", color=GREY, alpha=0.3)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss (nats per token)")
    axes.set_title(title, loc="left", fontsize=11)
    return png(figure)
