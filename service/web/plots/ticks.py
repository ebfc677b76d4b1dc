"""Axes of plots: ranges that begin and end at round figures, and the ticks between."""

import math
from collections.abc import Sequence

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def round_ticks(
    values: Sequence[float], least: float, most: int = 5, top: float = math.inf
) -> tuple[float, ...]:
    """Return round figures, evenly spaced, of which the first and the last enclose the values.

    They are at most `most`, and at least `least` apart from first to last: noise stays flat. None
    is above `top`, a round figure that no value exceeds, nor below zero without a value there.
    """
    low, high = min(values), max(values)
    missing = max(least - (high - low), 0) / 2
    floor = 0.0 if low >= 0 else -math.inf
    low, high = low - missing, high + missing
    low, high = low - max(high - top, 0), high + max(floor - low, 0)
    low, high = max(low, floor), min(high, top)
    step = _step(max(high - low, least) / (most - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    while last - first > most - 1:
        step = _step(step * 1.01)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(number * step, 12) for number in range(first, max(last, first + 1) + 1))


def decimals(ticks: Sequence[float]) -> int:
    """Return how many decimals tell these ticks apart."""
    return next((n for n in range(8) if all(abs(round(t, n) - t) < 1e-9 for t in ticks)), 8)


def _step(least: float) -> float:
    """Return the smallest round figure of at least this size: 1, 2, 2.5 or 5 times a power."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))
