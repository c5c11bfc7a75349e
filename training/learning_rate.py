"""The learning rate as a function of the step alone, so that a resumed run needs no scheduler state."""

import math


def learning_rate(
    step: int, *, steps: int, warmup: int, peak: float, min_ratio: float, decay_ratio: float | None = None
) -> float:
    """Linear warm-up, then a cosine to `min_ratio` of the peak (Loshchilov & Hutter 2017), or a constant and a decay.

    Args:
        step: the optimizer step about to be made, 1 to `steps`.
        steps: steps of the whole run.
        warmup: steps of warm-up; the peak is reached at step `warmup` (at step 1 without warm-up).
        peak: highest learning rate.
        min_ratio: share of the peak at the last step.
        decay_ratio: share of the steps over which a constant rate falls linearly at the end (warm-up, stable, decay: Hu
            et al. 2024, arXiv 2404.06395); None is the cosine.
    """
    if step < warmup:
        return peak * step / warmup
    if decay_ratio is not None:
        left = (steps - step) / max(1.0, decay_ratio * steps)
        return peak * (min_ratio + (1 - min_ratio) * min(1.0, left))
    span = max(1, steps - max(1, warmup))
    progress = min(1.0, (step - max(1, warmup)) / span)
    return peak * (min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress)))
