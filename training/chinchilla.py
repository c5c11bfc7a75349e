"""How many tokens a model of a size is worth: Hoffmann et al. 2022, arXiv 2203.15556."""

import math
from dataclasses import dataclass
from itertools import pairwise

TOKENS_PER_PARAMETER = 20  # the rule of thumb that the table below comes down to


@dataclass(frozen=True)
class ChinchillaRow:
    """One row of the paper's Table 3 (Approach 1)."""

    parameters: float
    flops: float
    tokens: float


TABLE: tuple[ChinchillaRow, ...] = (
    ChinchillaRow(400e6, 1.92e19, 8.0e9),
    ChinchillaRow(1e9, 1.21e20, 20.2e9),
    ChinchillaRow(10e9, 1.23e22, 205.1e9),
    ChinchillaRow(67e9, 5.76e23, 1.5e12),
    ChinchillaRow(175e9, 3.85e24, 3.7e12),
    ChinchillaRow(280e9, 9.90e24, 5.9e12),
    ChinchillaRow(520e9, 3.43e25, 11.0e12),
    ChinchillaRow(1e12, 1.27e26, 21.2e12),
    ChinchillaRow(10e12, 1.30e28, 216.2e12),
)


def optimal_tokens(parameters: float) -> float:
    """Compute-optimal training tokens by the rule of thumb."""
    return TOKENS_PER_PARAMETER * parameters


def approach1_tokens(parameters: float) -> float:
    """Compute-optimal training tokens along the table: a power law between its rows, and beyond its ends.

    Raises:
        ValueError: parameters is not above 0.
    """
    if parameters <= 0:
        raise ValueError(f"parameters is {parameters}; give more than 0")
    pairs = list(pairwise(TABLE))
    low, high = next((pair for pair in pairs if parameters <= pair[1].parameters), pairs[-1])
    share = math.log(parameters / low.parameters) / math.log(high.parameters / low.parameters)
    return low.tokens * (high.tokens / low.tokens) ** share


def training_flops(parameters: float, tokens: float) -> float:
    """6 N D: two operations a parameter and token forward, four backward (Kaplan et al. 2020)."""
    return 6.0 * parameters * tokens


def nearest_row(parameters: float) -> ChinchillaRow:
    """The row of the table whose size is nearest as a ratio."""
    return min(TABLE, key=lambda row: max(row.parameters, parameters) / min(row.parameters, parameters))
