"""Linear maps: what an imported module does between its activations.

Shapes are those of one sample, without batch: (features), or (channels, rows, columns) of an image.
A map is called on values with a batch in front. Maps know no constants: these are carried apart.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ltl_core.network.layers import Shape

Extents = tuple[int, int]


def extents(value: Any, dims: int) -> tuple[int, ...]:
    """Return a size as torch and NIR give it, one number or a sequence, for each of `dims`."""
    whole = tuple(int(v) for v in value) if isinstance(value, Iterable) else (int(value),)
    return whole * dims if len(whole) == 1 else whole


def one_per_channel(values: Tensor, tolerance: float = 0.0) -> Tensor | None:
    """Return the one number that each channel of `values` (channel first) holds, or None.

    Numbers of a channel may differ by `tolerance` of the largest magnitude in `values`.
    """
    by_channel = values.reshape(len(values), -1)
    first = by_channel[:, 0]
    largest = float(by_channel.abs().max()) if tolerance else 0.0
    even = bool(((by_channel - first[:, None]).abs() <= tolerance * largest).all())
    return first.clone() if even else None


class Kernel(NamedTuple):
    """A convolution without bias whose output has any size: beyond its input it reads zeros."""

    paths: tuple[str, ...]  # of the modules whose weights are in it
    weight: Tensor  # output channels, input channels a group, rows, columns
    stride: Extents
    before: Extents  # rows and columns of zeros in front; negative: so many are left out
    groups: int
    shape: Shape  # of the output

    @property
    def window(self) -> Extents:
        """Rows and columns of the kernel."""
        return self.weight.shape[2], self.weight.shape[3]

    def __call__(self, values: Tensor) -> Tensor:
        """Return what the map makes of values (batch, channels, rows, columns)."""
        sides = [
            side
            for length, window, step, before, count in zip(
                values.shape[:1:-1],
                self.window[::-1],
                self.stride[::-1],
                self.before[::-1],
                self.shape[:0:-1],
                strict=True,
            )
            for side in (before, (count - 1) * step + window - before - length)
        ]
        return F.conv2d(F.pad(values, sides), self.weight, None, self.stride, 0, 1, self.groups)


class Average(NamedTuple):
    """An average pool of an image, without padding."""

    path: str  # of the module or function
    window: Extents  # rows and columns
    stride: Extents
    shape: Shape  # of the output
    whole: bool = False  # over all positions, whatever their number

    def __call__(self, values: Tensor) -> Tensor:
        """Return what the map makes of values (batch, channels, rows, columns)."""
        return F.avg_pool2d(values, self.window, self.stride)


class Scale(NamedTuple):
    """A factor for each channel of an image, or for each element of a vector."""

    factor: Tensor
    shape: Shape

    def __call__(self, values: Tensor) -> Tensor:
        """Return what the map makes of values (batch, *shape)."""
        return values * self.factor.view(-1, *[1] * (len(self.shape) - 1))


class View(NamedTuple):
    """Another shape of the same elements in the same order."""

    before: Shape
    shape: Shape

    def __call__(self, values: Tensor) -> Tensor:
        """Return what the map makes of values (batch, *before)."""
        return values.reshape(len(values), *self.shape)


class Matrix(NamedTuple):
    """A matrix product of a vector, without bias."""

    paths: tuple[str, ...]  # of the modules whose weights are in it
    weight: Tensor  # outputs, inputs
    shape: Shape  # of the output

    def __call__(self, values: Tensor) -> Tensor:
        """Return what the map makes of values (batch, inputs)."""
        return F.linear(values, self.weight)


class Other(NamedTuple):
    """Any other linear map, which can only become part of a matrix."""

    path: str  # of the module or function
    kind: str  # class of the module, or name of the function
    line: str  # of `forward`
    function: Callable[[Tensor], Tensor]  # of values with a batch
    shape: Shape  # of the output

    def __call__(self, values: Tensor) -> Tensor:
        """Return what the map makes of values with a batch."""
        return self.function(values)


LinearMap = Kernel | Average | Scale | View | Matrix | Other
