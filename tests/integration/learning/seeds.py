"""Claims about learning are made over several seeds, with a margin from their own spread.

One seed's figure changes with the processor and the number of threads, because sums of floats do.
"""

from collections.abc import Sequence
from statistics import mean, stdev

SEEDS = (0, 1, 2)
_ERRORS = 3.0  # standard errors of the mean


def at_most(values: Sequence[float]) -> float:
    """An upper bound of the mean: three standard errors above that of these seeds."""
    return mean(values) + _ERRORS * stdev(values) / len(values) ** 0.5
