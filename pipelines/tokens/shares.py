"""From what a person asks of each source to whole sequences that add up. Numbers alone: nothing is read here.

A *source* is what is drawn from by itself: a corpus, or one bucket of it. All is reckoned in tokens, and turned into
sequences at the end: a sequence carries tokens / sequences of its source, less than its length where packing padded.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gristmill.core.errors import SettingsError
from pipelines.tokens.pass_size import SUBJECT, Group, PassSize, Stock, pass_size, shared_rest

_EXACT = 1e-9  # relative: what floating point may be off by
_MOST_DRAWS = 1 << 44  # in one pass: what training.schedule counts without rounding


@dataclass(frozen=True)
class Share:
    """What one source gets in one pass over the mixture."""

    draws: int  # sequences
    epochs: float  # draws / sequences that there are
    proportion: float  # of all sequences drawn
    tokens_read: float  # what so many of its sequences hold on average
    token_proportion: float  # of all tokens drawn: LLaMA's "sampling proportion"


def resolve(
    groups: Sequence[Group], stocks: Mapping[str, Stock], tokens: float = 0.0, max_mean_epochs: float = math.inf
) -> dict[str, Share]:
    """Find every source's share of one pass.

    A group of which nothing is asked is read once or, where `tokens` gives the size of the pass, shares what the others
    leave of it, all such groups alike. A group with a proportion gets that share of the tokens of the pass; its size is
    `tokens`, else it follows from the groups without a proportion, else the pass ends when one group is read through.

    Args:
        groups: what is asked; every source of `stocks` is in one of them.
        stocks: source to what there is of it.
        tokens: of one pass; 0: it follows from the rest.
        max_mean_epochs: most tokens drawn for each different token among them.

    Returns:
        Source to share, sorted by name. Draws are whole and add up to the pass.

    Raises:
        SettingsError: the wishes contradict each other, break a cap, or come to less than a sequence of a source.
    """
    size = pass_size(groups, stocks, tokens)
    epochs: dict[str, float] = {}
    for group in groups:
        scale = size.of(group) / group.mass(stocks) if group.proportion is not None and not group.is_fixed else 1.0
        if group.proportion is not None or group.is_fixed:
            epochs |= {name: scale * weight for name, weight in group.weights.items()}
    epochs |= shared_rest([g for g in groups if g.proportion is None and not g.is_fixed], stocks, size.rest)
    proportions = math.fsum(group.proportion or 0.0 for group in groups)
    for group in groups:
        _refuse_above_cap(group, epochs, stocks, size, proportions)
    _refuse_repetition(epochs, stocks, max_mean_epochs)
    _refuse_endless(epochs, stocks)
    draws = whole_draws(epochs, stocks, {name: cap for group in groups for name, cap in group.caps.items()})
    _refuse_nothing(draws, epochs, stocks)
    return shares_of(draws, stocks)


def whole_draws(epochs: Mapping[str, float], stocks: Mapping[str, Stock], caps: Mapping[str, float]) -> dict[str, int]:
    """Sequences to draw of each source: whole, less than one off what its epochs come to, adding up to their sum.

    What is left over after rounding down goes to the largest remainders, the first name first where two are alike, and
    never beyond a cap.
    """
    exact = {name: _snapped(epochs[name] * stocks[name].sequences) for name in sorted(epochs)}
    draws = {name: math.floor(value) for name, value in exact.items()}
    most = {name: _snapped(caps.get(name, math.inf) * stocks[name].sequences) for name in exact}
    left = round(math.fsum(exact.values())) - sum(draws.values())
    may_grow = [name for name in exact if exact[name] > draws[name] and draws[name] + 1 <= most[name]]
    for name in sorted(may_grow, key=lambda n: (draws[n] - exact[n], n))[:left]:
        draws[name] += 1
    return draws


def shares_of(draws: Mapping[str, int], stocks: Mapping[str, Stock]) -> dict[str, Share]:
    """The shares that whole draws come to."""
    total = sum(draws.values())
    read = {name: number * stocks[name].tokens / stocks[name].sequences for name, number in draws.items()}
    all_read = math.fsum(read.values())
    return {
        name: Share(
            draws=draws[name],
            epochs=draws[name] / stocks[name].sequences,
            proportion=draws[name] / total,
            tokens_read=read[name],
            token_proportion=read[name] / all_read,
        )
        for name in sorted(draws)
    }


def mean_epochs(epochs: Mapping[str, float], stocks: Mapping[str, Stock]) -> float:
    """Tokens drawn for each different token among them, all sources together: 1 where nothing is read twice."""
    drawn = math.fsum(e * stocks[name].tokens for name, e in epochs.items())
    different = math.fsum(min(e, 1.0) * stocks[name].tokens for name, e in epochs.items())
    return drawn / different if different else 0.0


def _snapped(value: float) -> float:
    """A whole number where floating point only just missed it: a tenth of 30 epochs of 7 sequences is 21."""
    if not math.isfinite(value):
        return value
    near = float(round(value))
    return near if abs(value - near) <= _EXACT * max(abs(value), 1.0) else value


def _refuse_above_cap(
    group: Group, epochs: Mapping[str, float], stocks: Mapping[str, Stock], size: PassSize, proportions: float
) -> None:
    over = {name: epochs[name] / group.cap(name) for name in sorted(group.weights)}
    name = max(over, key=over.__getitem__)
    if over[name] <= 1 + _EXACT:
        return
    line = (
        f"{SUBJECT}: {name} would be read {epochs[name]:.4g} times in one pass, "
        f"more than its max_epochs {group.cap(name):g}"
    )
    if group.proportion is None or group.is_fixed:
        raise SettingsError(f"{line}; ask for fewer epochs, or raise max_epochs")
    raise SettingsError(
        f"{line}: that takes {epochs[name] * stocks[name].tokens:,.0f} tokens of {stocks[name].tokens:,}; "
        f"{size.way_out(group, over[name], proportions)}, raise max_epochs, or add documents"
    )


def _refuse_repetition(epochs: Mapping[str, float], stocks: Mapping[str, Stock], most: float) -> None:
    mean = mean_epochs(epochs, stocks)
    if mean > most * (1 + _EXACT):
        name = max(sorted(epochs), key=lambda n: (epochs[n] - 1) * stocks[n].tokens)
        raise SettingsError(
            f"{SUBJECT}: one pass would read each different token {mean:.4g} times on average, more than "
            f"max_mean_epochs {most:g}; most of it is {name}, read {epochs[name]:.4g} times: lower that, lower tokens, "
            "or raise max_mean_epochs"
        )


def _refuse_endless(epochs: Mapping[str, float], stocks: Mapping[str, Stock]) -> None:
    sequences = math.fsum(e * stocks[name].sequences for name, e in epochs.items())
    if not sequences < _MOST_DRAWS:
        raise SettingsError(
            f"{SUBJECT}: one pass would be {sequences:.3g} sequences long, more than 2^44: "
            "ask for fewer epochs or tokens"
        )


def _refuse_nothing(draws: Mapping[str, int], epochs: Mapping[str, float], stocks: Mapping[str, Stock]) -> None:
    for name, number in draws.items():
        if not number:
            raise SettingsError(
                f"{SUBJECT}: {epochs[name]:.3g} epochs of {name} are {epochs[name] * stocks[name].sequences:.3g} of "
                f"its {stocks[name].sequences:,} sequences in a pass of {sum(draws.values()):,}, so that none would be "
                "read; raise its epochs or proportion, make the pass longer, or take it out"
            )
