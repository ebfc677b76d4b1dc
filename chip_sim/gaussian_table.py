"""Gaussian random numbers from a table of quantiles, for noise that is drawn once and forgotten."""

import numpy as np
import torch
from torch import Tensor

_LEVELS = 1 << 16
_A_WORD = 4  # numbers that 64 random bits make


class GaussianTable:
    """Draws from 65,536 equally likely quantiles of the normal distribution, with variance one.

    Nowhere is the distribution function further than 2^-16 from the normal one, moments up to the
    sixth agree to 0.2 %, and the largest number is 4.32: finer than a converter can resolve, in
    half the time of numbers of full precision. What is drawn depends on the stream it begins with
    alone, not on threads.
    """

    def __init__(self, rng: torch.Generator) -> None:
        seed = int(torch.randint(2**62, (), generator=rng))
        # Raw words: another version of NumPy may draw integers from them in another way.
        self._bits = np.random.SFC64(seed)
        self._places = torch.empty(0, dtype=torch.int64)

    def fill_(self, numbers: Tensor) -> Tensor:
        """Overwrite a contiguous tensor with random numbers, and return it."""
        count = numbers.numel()
        if len(self._places) != count:
            self._places = torch.empty(count, dtype=torch.int64)
        words = self._bits.random_raw(-(-count // _A_WORD))
        self._places.copy_(torch.from_numpy(words.view(np.uint16)[:count]))
        torch.index_select(_QUANTILES, 0, self._places, out=numbers.view(-1))
        return numbers


def _quantiles() -> Tensor:
    middles = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / _LEVELS
    values: Tensor = torch.special.ndtri(middles)
    return (values / values.square().mean().sqrt()).float()


_QUANTILES = _quantiles()
