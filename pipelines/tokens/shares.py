"""From what a person asks of each corpus to proportions and epochs that add up."""

from collections.abc import Mapping
from dataclasses import dataclass

from gristmill.core.errors import SettingsError

_AGREEMENT = 0.01  # relative; proportions written with two digits should be taken


@dataclass(frozen=True)
class Request:
    """What the settings ask of one corpus; None leaves it to the others."""

    proportion: float | None = None  # of the sequences drawn
    epochs: float | None = None  # in one pass over the mixture


@dataclass(frozen=True)
class Share:
    """What one corpus gets."""

    proportion: float
    epochs: float


def resolve(requests: Mapping[str, Request], sequences: Mapping[str, int], max_epochs: float) -> dict[str, Share]:
    """Find the size of one pass over the mixture, and with it every corpus's proportion and epochs.

    A corpus with neither number is read once. A corpus with a proportion gets that share of the pass, whose
    size follows from the corpora without one; where all have one, the pass ends as soon as one is read
    through. Giving both numbers for a corpus fixes the size of the pass.

    Raises:
        SettingsError: the numbers contradict each other, or a corpus would be read more than `max_epochs` times.
    """
    proportions = {name: r.proportion for name, r in requests.items() if r.proportion is not None}
    free = {n: (1.0 if r.epochs is None else r.epochs) for n, r in requests.items() if r.proportion is None}
    asked = sum(proportions.values())
    if not free:
        if abs(asked - 1) > _AGREEMENT:
            raise SettingsError(
                f"settings of training_mixture: the proportions add up to {asked:.4g}, not 1; "
                "mend them, or leave one corpus without a proportion"
            )
        proportions = {name: p / asked for name, p in proportions.items()}
    elif asked >= 1:
        raise SettingsError(
            f"settings of training_mixture: the proportions add up to {asked:.4g}, which leaves nothing for "
            f"{', '.join(sorted(free))}; lower them, or take those corpora out"
        )
    draws = {name: epochs * sequences[name] for name, epochs in free.items()}
    size = _pass_size(requests, proportions, sequences, sum(draws.values()), 1 - asked)
    draws |= {name: p * size for name, p in proportions.items()}
    total = sum(draws.values())
    shares = {name: Share(draws[name] / total, draws[name] / sequences[name]) for name in sorted(draws)}
    for name, share in shares.items():
        if share.epochs > max_epochs * (1 + 1e-9):
            raise SettingsError(
                f"settings of training_mixture: {name} would be read {share.epochs:.3g} times in one pass, more than "
                f"max_epochs {max_epochs:g}; its proportion can be {share.proportion * max_epochs / share.epochs:.3g} "
                "at most, or raise max_epochs"
            )
    return shares


def _pass_size(
    requests: Mapping[str, Request],
    proportions: Mapping[str, float],
    sequences: Mapping[str, int],
    free_draws: float,
    free_share: float,
) -> float:
    """Sequences in one pass over the mixture."""
    fixed: dict[str, float] = {}
    if free_draws:
        fixed["the corpora without a proportion"] = free_draws / free_share
    for name, proportion in proportions.items():
        epochs = requests[name].epochs
        if epochs is not None:
            fixed[f"proportion and epochs of {name}"] = epochs * sequences[name] / proportion
    if not fixed:
        return min(sequences[name] / proportion for name, proportion in proportions.items())
    if max(fixed.values()) > min(fixed.values()) * (1 + _AGREEMENT):
        (low, least), (high, most) = min(fixed.items(), key=lambda i: i[1]), max(fixed.items(), key=lambda i: i[1])
        raise SettingsError(
            f"settings of training_mixture: {low} make one pass {least:,.0f} sequences long, {high} {most:,.0f}; "
            "give a corpus a proportion or epochs, not both"
        )
    return next(iter(fixed.values()))
