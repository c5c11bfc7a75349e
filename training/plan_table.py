"""A plan as Markdown and as a picture: memory per GPU of every way of training, and the paper's table of tokens."""

from typing import TYPE_CHECKING, Any

from training.chinchilla import TABLE, optimal_tokens

if TYPE_CHECKING:
    from training.plan import MemoryRow, Plan

NAMES = {
    "weights": "weights",
    "gradients": "gradients",
    "master_weights": "master weights",
    "optimizer": "optimizer",
    "activations": "activations",
    "logits": "logits",
    "buffers": "buffers",
}
_EDGE = 0.12  # share of the picture's width left free for the numbers beside the bars


def plan_table(plan: "Plan") -> str:
    """The plan's tables in Markdown."""
    cost = "" if plan.cost is None else f", cost {plan.cost:,.0f}"
    verdict = "fits" if plan.is_fitting else f"**does not fit**; smallest change: {plan.smallest_change}"
    lines = [
        f"{plan.parameters:,} parameters, {plan.tokens:.4g} tokens ({plan.tokens_per_parameter:.1f} per parameter), "
        f"{plan.flops:.3g} FLOPs: {plan.hours:,.3g} hours on {plan.gpus} x {plan.gpu} at {plan.mfu:.0%} of the "
        f"peak{cost}. {plan.method} in {plan.precision} {verdict} ({plan.usable_gb:.0f} GB usable).",
        "",
        "GB per GPU; each part at its own highest, *peak* the highest sum, *rule* the states by the ZeRO paper:",
        "",
        _memory(plan.memory, plan.usable_gb),
        "",
        f"{plan.method} in other arithmetic, and with activations recomputed:",
        "",
        _memory(plan.precisions, plan.usable_gb, is_named=False),
        "",
        f"Compute-optimal tokens of this model: {plan.tokens_twenty:.4g} by 20 a parameter, "
        f"{plan.tokens_approach1:.4g} along the table of Hoffmann et al. 2022 (Approach 1):",
        "",
        chinchilla_table(),
        "",
        *(f"- {line}" for line in plan.advice),
    ]
    return "\n".join(lines)


def _memory(rows: "tuple[MemoryRow, ...]", usable: float, *, is_named: bool = True) -> str:
    head = ["method" if is_named else "arithmetic", *NAMES.values(), "peak", "host", "rule", f"fits {usable:.0f}"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 2)}---|"]
    for row in rows:
        name = row.method if is_named else row.precision + (", recomputed" if row.is_checkpointed else "")
        sizes = [f"{row.highest[part]:,.2f}" for part in NAMES]
        sizes += [
            f"{row.peak_gb:,.2f}",
            f"{row.host_gb:,.1f}",
            f"{row.rule_gb:,.2f}",
            "yes" if row.is_fitting else "no",
        ]
        lines.append(f"| {name} | {' | '.join(sizes)} |")
    return "\n".join(lines)


def chinchilla_table() -> str:
    """The nine rows of the paper's Table 3, beside the rule of 20 tokens a parameter."""
    lines = ["| parameters | FLOPs | tokens | 20 per parameter |", "|---:|---:|---:|---:|"]
    lines += [
        f"| {row.parameters:.3g} | {row.flops:.3g} | {row.tokens:.4g} | {optimal_tokens(row.parameters):.4g} |"
        for row in TABLE
    ]
    return "\n".join(lines)


def memory_plot(memory: list[dict[str, Any]], usable_gb: float, title: str) -> bytes:
    """A bar per way of training, stacked by what is alive at the highest moment, with the GPU's limit, as PNG.

    Args:
        memory: `memory` of plan.json: method, at_peak (GB by part), peak_gb.
        usable_gb: where the limit is drawn.
        title: above the plot.
    """
    from gristmill.core.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW, canvas, png

    figure, axes = canvas(9.0, 1.5 + 0.36 * len(memory))
    names = [str(row["method"]) for row in memory]
    left = [0.0] * len(memory)
    colours = (BLUE, ORANGE, SKY, GREEN, YELLOW, PURPLE, GREY)
    for (part, label), colour in zip(NAMES.items(), colours, strict=True):
        sizes = [float(row["at_peak"][part]) for row in memory]
        axes.barh(names, sizes, left=left, color=colour, label=label, height=0.7)
        left = [a + b for a, b in zip(left, sizes, strict=True)]
    widest = max([*left, usable_gb])
    for place, total in enumerate(left):
        axes.text(total + 0.01 * widest, place, f"{total:,.1f}", va="center", fontsize=9)
    axes.axvline(usable_gb, color=VERMILION, linestyle="--", linewidth=1.2, label=f"usable {usable_gb:,.0f} GB")
    axes.invert_yaxis()
    axes.set_xlim(0, widest * (1 + _EDGE))
    axes.set_xlabel("GB per GPU at the highest moment of a step")
    axes.set_title(title, loc="left", fontsize=11)
    figure.legend(loc="outside lower center", ncols=8, frameon=False, fontsize=8)
    return png(figure)
