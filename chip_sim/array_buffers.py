"""Memory that the multiply works in, taken once for all samples of a run."""

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor


class Buffers:
    """Room for one row of tiles, taken when it is first needed and used again and again.

    Transposed, it lies in memory point by point, as the product of a linear layer does.
    """

    def __init__(self, shape: tuple[int, int, int], *, transposed: bool) -> None:
        """`shape` is the number of times, columns and points."""
        self.shape, self.transposed = shape, transposed

    @cached_property
    def sums(self) -> Float[Tensor, "column point"]:
        """Column sums of one row of tiles."""
        return self._taken()[0]

    @cached_property
    def codes(self) -> Float[Tensor, "times column point"]:
        """ADC codes of one row of tiles."""
        return self._taken()

    @cached_property
    def total(self) -> Float[Tensor, "times column point"]:
        """Sum of the ADC codes of all rows of tiles."""
        return self._taken()

    @cached_property
    def noise(self) -> Float[Tensor, "times column point"]:
        """Gaussian numbers for the sums of one row of tiles."""
        return self._taken()

    @cached_property
    def levels(self) -> Float[Tensor, "times column point"]:
        """Sums with noise; without noise, levels are written over the sums."""
        return self._taken()

    def in_memory(self, values: Float[Tensor, "*some a b"]) -> Float[Tensor, "*some _ _"]:
        """Return values of these buffers in the order in which they lie in memory."""
        return values.mT if self.transposed else values

    def _taken(self) -> Float[Tensor, "times column point"]:
        times, columns, points = self.shape
        if self.transposed:
            return torch.empty(times, points, columns).mT
        return torch.empty(self.shape)
