"""How much of each corpus a tokenizer is trained on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gristmill.core.layout import Layout
from gristmill.core.settings import resolve
from pipelines.tokens.mixture_file import OTHERS, SECTION, Wish, parse_corpora


@dataclass(frozen=True)
class Quota:
    """What one corpus gives to the sample."""

    asked: float  # bytes
    available: int  # bytes of text in the corpus, without what is held out
    share: float  # of its documents that are drawn, 0 to 1


def quotas(budget: float, available: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, Quota]:
    """Divide a sample of `budget` bytes among corpora.

    Args:
        budget: bytes.
        available: corpus to bytes of text.
        weights: corpus to its weight, relative to the others'; none given: by their text, so that the sample is
            like all text together. A corpus without a weight is not drawn from.
    """
    chosen = dict(weights) if weights else {corpus: float(size) for corpus, size in available.items()}
    total = sum(chosen.values()) or 1.0
    found: dict[str, Quota] = {}
    for corpus, size in available.items():
        asked = budget * chosen.get(corpus, 0.0) / total
        found[corpus] = Quota(asked, size, min(1.0, asked / size) if size else 0.0)
    return found


def shortfalls(asked: Mapping[str, Quota]) -> list[str]:
    """One line for each corpus that has less text than its weight asks for, with the way out."""
    taken = {corpus: min(q.asked, q.available) for corpus, q in asked.items()}
    total, budget = sum(taken.values()), sum(q.asked for q in asked.values())
    if not total:
        return []
    fits = budget * min(q.available / q.asked for q in asked.values() if q.asked > 0)
    way_out = (
        f"a sample_mb of {fits / 1e6:.3g} would keep the weights" if fits > 0 else "take it out of `corpora` or fill it"
    )
    return [
        f"{corpus} has {q.available / 1e6:,.3g} MB of text, its weight asks for {q.asked / 1e6:,.3g}: all of it is "
        f"taken, {taken[corpus] / total:.1%} of the sample instead of {q.asked / budget:.1%}; {way_out}"
        for corpus, q in asked.items()
        if q.asked > q.available
    ]


def mixture_weights(layout: Layout, available: Mapping[str, int]) -> dict[str, float]:
    """What the settings of training_mixture ask for, as weights; the mixture itself comes later, of shards.

    Raises:
        SettingsError: they are wrong.
    """
    from pipelines.tokens.mixture import Settings, with_file

    settings, _ = with_file(layout, resolve(Settings, SECTION, layout.root, None, {}))
    return asked_weights(parse_corpora(settings.corpora), available)


def asked_weights(wishes: Mapping[str, Wish], available: Mapping[str, int]) -> dict[str, float]:
    """Weights of corpora as wishes for a mixture come to, bytes standing for tokens.

    A corpus with a proportion has that; the others share the rest by their epochs times their text. What is not
    read, and buckets that are read more often within a corpus, do not count.
    """
    proportions: dict[str, float] = {}
    masses: dict[str, float] = {}
    for corpus, size in available.items():
        wish = wishes.get(corpus, wishes.get(OTHERS)) if wishes else Wish()
        if wish is None or wish.epochs == 0:
            continue
        own = math.fsum(bucket.proportion or 0.0 for bucket in wish.buckets.values())
        if wish.proportion or own:
            proportions[corpus] = wish.proportion or own
        elif size:
            masses[corpus] = (1.0 if wish.epochs is None else wish.epochs) * size
    rest = max(0.0, 1.0 - math.fsum(proportions.values()))
    total = math.fsum(masses.values())
    return proportions | {corpus: rest * mass / total for corpus, mass in masses.items() if rest}
