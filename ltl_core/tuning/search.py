"""Successive approximation: the register code that a measurement asks for, all circuits at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import Register

Measure = Callable[[Int[Tensor, "*circuit"]], Float[Tensor, "*circuit"]]


class Found(NamedTuple):
    """The code of each circuit, and the error that was measured with it."""

    codes: Int[Tensor, "*circuit"]
    error: Float[Tensor, "*circuit"]


def nearest_codes(register: Register, shape: tuple[int, ...], error: Measure) -> Found:
    """Where an error that rises with the code is nearest to zero. log2(codes) + 2 measurements."""
    low = torch.full(shape, register.code_min)
    low, high = _bracket(low, torch.full(shape, register.code_max), error)
    below, above = error(low), error(high)
    take = above.abs() < below.abs()
    return Found(torch.where(take, high, low), torch.where(take, above, below))


def lowest_codes(register: Register, shape: tuple[int, ...], margin: Measure) -> Found:
    """The lowest code with a margin, rising with the code, of zero or more; else the highest."""
    low = torch.full(shape, register.code_min - 1)  # never measured
    _, high = _bracket(low, torch.full(shape, register.code_max), lambda code: margin(code) >= 0)
    return Found(high, margin(high))


def _bracket(
    low: Int[Tensor, "*circuit"], high: Int[Tensor, "*circuit"], error: Measure
) -> tuple[Int[Tensor, "*circuit"], Int[Tensor, "*circuit"]]:
    """Halve the span until two neighbouring codes are left, the upper one with an error above 0."""
    while (high - low > 1).any():
        middle = (low + high) // 2
        above = error(middle) > 0
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return low, high
