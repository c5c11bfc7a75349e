"""How many tokens one pass over a mixture has: as given, or as what is asked of the corpora leaves no choice."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gristmill.core.errors import SettingsError

SUBJECT = "settings of training_mixture"  # what the messages begin with
AGREEMENT = 0.01  # relative; proportions and sizes written with two digits should be taken


@dataclass(frozen=True)
class Stock:
    """What there is of one source."""

    tokens: int  # without padding
    sequences: int  # at least one


@dataclass(frozen=True)
class Group:
    """What is asked of a corpus, or of a bucket with a proportion of its own."""

    name: str
    weights: Mapping[str, float]  # source to epochs; where they are not fixed only their ratios count
    proportion: float | None = None  # of the tokens of a pass
    is_fixed: bool = False  # the weights are to be taken as they are
    caps: Mapping[str, float] = field(default_factory=dict[str, float])  # source to most epochs; none: no cap

    def cap(self, source: str) -> float:
        """Most epochs of one of its sources."""
        return self.caps.get(source, math.inf)

    def mass(self, stocks: Mapping[str, Stock]) -> float:
        """Tokens that its weights come to as epochs."""
        return math.fsum(weight * stocks[name].tokens for name, weight in self.weights.items())

    def once(self, stocks: Mapping[str, Stock]) -> float:
        """The same of a group whose epochs nobody fixed: no source is read beyond its cap."""
        if self.proportion is None:
            return math.fsum(min(w, self.cap(n)) * stocks[n].tokens for n, w in self.weights.items())
        return min(1.0, *(self.cap(n) / w for n, w in self.weights.items())) * self.mass(stocks)


@dataclass(frozen=True)
class PassSize:
    """The size of a pass and where it comes from."""

    tokens: float
    rest: float | None  # tokens that the groups which ask for nothing share; None: they are read once
    held: float = 0.0  # tokens of the groups without a proportion where the pass grows with the proportions; else 0
    is_budget: bool = False  # lowering `tokens` of the settings makes it smaller
    scale: float = 1.0  # of the proportions, so that they add up

    def of(self, group: Group) -> float:
        """Tokens of a group that has a proportion."""
        return (group.proportion or 0.0) * self.scale * self.tokens

    def way_out(self, group: Group, factor: float, proportions: float) -> str:
        """What could be lowered, and how far, for a group that wants `factor` times as many tokens as it may have.

        Args:
            group: with a proportion.
            factor: above 1.
            proportions: sum over all groups.
        """
        lowered = (group.proportion or 0.0) / factor
        if self.held:  # with its proportion the whole pass becomes smaller, so that more is possible
            most = self.of(group) / factor
            lowered = most * (1 - proportions + (group.proportion or 0.0)) / (self.held + most)
        ways = [f"lower the proportion of {group.name} to {_rounded_down(lowered)}"]
        if self.is_budget:
            ways.append(f"lower tokens to {_rounded_down(self.tokens / factor)}")
        return ", ".join(ways)


def pass_size(groups: Sequence[Group], stocks: Mapping[str, Stock], tokens: float) -> PassSize:
    """The size of one pass.

    Args:
        groups: all that is read.
        stocks: source to what there is.
        tokens: as the settings give it; 0: it follows from the rest.

    Raises:
        SettingsError: proportions that do not add up, or numbers that fix the size more than once and differently.
    """
    weighed = [g for g in groups if g.proportion is not None]
    fixed = [g for g in groups if g.proportion is None and (g.is_fixed or not tokens)]
    free = [g for g in groups if g.proportion is None and not g.is_fixed]
    asked = math.fsum(g.proportion or 0.0 for g in weighed)
    scale = _scale(asked, [g.name for g in groups if g.proportion is None])
    held = math.fsum(g.mass(stocks) if g.is_fixed else g.once(stocks) for g in fixed)
    sizes = {
        f"proportion and epochs of {g.name}": g.mass(stocks) / (g.proportion or 1.0) for g in weighed if g.is_fixed
    }
    if tokens:
        sizes = {"the setting tokens": tokens} | sizes
    if held and not (tokens and free):
        names = ", ".join(g.name for g in fixed)
        sizes[f"{names} without a proportion" if weighed else f"the epochs of {names}"] = held / (1 - asked)
    _refuse_disagreement(sizes)
    if tokens and free:
        rest = tokens * (1 - asked) - held
        if rest <= 0:
            raise SettingsError(
                f"{SUBJECT}: tokens {tokens:,.0f} leave nothing for {', '.join(g.name for g in free)}: the others "
                f"take {tokens * asked + held:,.0f}; raise tokens, lower the others, or take those corpora out"
            )
        return PassSize(tokens, rest, is_budget=True)
    if sizes:
        size = next(iter(sizes.values()))
        follows = bool(held) and len(sizes) == 1
        return PassSize(size, None, held if follows else 0.0, is_budget=bool(tokens) and not held, scale=scale)
    # Every group has a proportion and no size: the pass ends when the first is read as often as its weights say.
    return PassSize(min(g.once(stocks) / ((g.proportion or 0.0) * scale) for g in weighed), None, scale=scale)


def shared_rest(groups: Sequence[Group], stocks: Mapping[str, Stock], rest: float | None) -> dict[str, float]:
    """Epochs of the sources of which nothing is asked: the same for all, but for those that a cap keeps lower.

    Args:
        groups: without proportion and epochs.
        stocks: source to what there is.
        rest: tokens that they share; None: each is read once, or as often as its cap allows.

    Raises:
        SettingsError: all of them at their caps do not come to that many tokens.
    """
    caps = {name: group.cap(name) for group in groups for name in group.weights}
    if rest is None:
        return {name: min(1.0, cap) for name, cap in caps.items()}
    left, epochs, open_sources = rest, dict[str, float](), sorted(caps, key=lambda n: (caps[n], n))
    while open_sources:
        level = left / math.fsum(stocks[name].tokens for name in open_sources)
        name = open_sources[0]
        if level <= caps[name]:
            return epochs | dict.fromkeys(open_sources, level)
        epochs[name] = caps[name]
        left -= caps[name] * stocks[name].tokens
        open_sources.pop(0)
    if left > rest * 1e-9:
        binding = ", ".join(f"{n} ({caps[n]:g} x {stocks[n].tokens:,})" for n in sorted(caps))
        raise SettingsError(
            f"{SUBJECT}: tokens leave {rest:,.0f} for {binding}, which come to {rest - left:,.0f} at their max_epochs: "
            f"lower tokens by {math.ceil(left):,}, raise max_epochs, or add documents"
        )
    return epochs


def _scale(asked: float, others: Sequence[str]) -> float:
    """What makes the proportions add up, where they are all there is and only rounded."""
    if others:
        if asked >= 1:
            raise SettingsError(
                f"{SUBJECT}: the proportions add up to {asked:.4g}, which leaves nothing for "
                f"{', '.join(others)}; lower them, or take those corpora out"
            )
        return 1.0
    if abs(asked - 1) > AGREEMENT * (1 + 1e-9):
        raise SettingsError(
            f"{SUBJECT}: the proportions add up to {asked:.4g}, not 1; "
            "mend them, or leave one corpus without a proportion"
        )
    return 1 / asked


def _refuse_disagreement(sizes: Mapping[str, float]) -> None:
    if sizes and max(sizes.values()) > min(sizes.values()) * (1 + AGREEMENT):
        (low, least), (high, most) = min(sizes.items(), key=lambda i: i[1]), max(sizes.items(), key=lambda i: i[1])
        raise SettingsError(
            f"{SUBJECT}: {low} make one pass {least:,.0f} tokens long, {high} {most:,.0f}; "
            "leave out one of them, or give one corpus neither a proportion nor epochs, and it takes the rest of tokens"
        )


def _rounded_down(value: float) -> str:
    """Three digits, never above `value`: who follows the advice must be let through."""
    if not 1e-300 < value < math.inf:
        return "0"
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.floor(value / step * (1 + 1e-12)) * step:.3g}"
