"""Successive approximation: search the register code of every circuit at once, by measurements."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import Register

Measure = Callable[[Int[Tensor, "*circuit"]], Float[Tensor, "*circuit"]]


class SearchResult(NamedTuple):
    """The code of each circuit, and the error that was measured with it."""

    codes: Int[Tensor, "*circuit"]
    error: Float[Tensor, "*circuit"]


def nearest_codes(register: Register, shape: tuple[int, ...], error: Measure) -> SearchResult:
    """Return the codes with which the error is nearest to zero; the error rises with the code.

    Takes about log2(number of codes) + 2 measurements.
    """
    low = torch.full(shape, register.code_min)
    low, high = _bracket(low, torch.full(shape, register.code_max), error)
    below, above = error(low), error(high)
    take = above.abs() < below.abs()
    return SearchResult(torch.where(take, high, low), torch.where(take, above, below))


def lowest_codes(register: Register, shape: tuple[int, ...], margin: Measure) -> SearchResult:
    """Return the lowest codes whose margin is not negative, or `code_max` if there is none.

    The margin rises with the code. Takes about log2(number of codes) + 1 measurements.
    """
    low = torch.full(shape, register.code_min - 1)  # never measured
    _, high = _bracket(low, torch.full(shape, register.code_max), lambda code: margin(code) >= 0)
    return SearchResult(high, margin(high))


def _bracket(
    low: Int[Tensor, "*circuit"], high: Int[Tensor, "*circuit"], error: Measure
) -> tuple[Int[Tensor, "*circuit"], Int[Tensor, "*circuit"]]:
    """Halve the span until two neighbouring codes are left, the upper one with an error above 0."""
    while (high - low > 1).any():
        middle = (low + high) // 2
        above = error(middle) > 0
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return low, high
