"""The products of a row of tiles, and the read noise of its sums."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from chip_sim.array_buffers import Buffers
from chip_sim.gaussian_table import GaussianTable
from chip_sim.read_noise import read_noise_spread

Indices = NDArray[np.intp]  # of found values, along one axis


class SumNoise(NamedTuple):
    """The noise of the sums of one row of tiles: Gaussian numbers, and how far they spread."""

    numbers: Float[Tensor, "times column point"]
    spread: Float[Tensor, "column point"]  # code units; the same for all columns of a group

    def of(self, times: Indices, columns: Indices, points: Indices) -> NDArray[np.float32]:
        """Return the noise of single sums, code units."""
        spread = self.spread.numpy()[columns, points]
        noise: NDArray[np.float32] = self.numbers.numpy()[times, columns, points] * spread
        return noise


def column_products(
    weight: Float[Tensor, "group column row"],
    values: Float[Tensor, "group row point"],
    blocks: tuple[slice, ...],
    buffers: Buffers,
) -> Iterator[Float[Tensor, "all_columns point"]]:
    """Yield the column sums of each row of tiles.

    They are one batched product if they lie point by point and are all of one size.
    """
    size = blocks[0].stop
    alike = size * len(blocks) == values.shape[1]
    if buffers.transposed and values.dtype is torch.float32 and alike:
        played = values[0].T.unflatten(1, (-1, size)).transpose(0, 1)
        yield from torch.bmm(played, weight[0].unflatten(1, (-1, size)).permute(1, 2, 0)).mT
        return
    for block in blocks:
        yield _product(weight[:, :, block], values[:, block], buffers)


def sum_noise(
    values: Float[Tensor, "group row point"],
    sigma: float,
    buffers: Buffers,
    gaussian: GaussianTable,
) -> SumNoise:
    """Draw the noise of a row of tiles that these values are played into, in order of memory."""
    gaussian.fill_(buffers.in_memory(buffers.noise))
    spread = read_noise_spread(values, sigma)[:, None]
    groups, _, points = spread.shape
    each = spread.expand(groups, buffers.noise.shape[1] // groups, points)
    return SumNoise(buffers.noise, each[0] if groups == 1 else each.flatten(0, 1))


def with_noise(
    sums: Float[Tensor, "column point"], noise: SumNoise | None, buffers: Buffers
) -> Float[Tensor, "times column point"]:
    """Return what arrives at the converters, code units."""
    if noise is None:
        return sums[None]
    return torch.addcmul(sums, noise.numbers, noise.spread, out=buffers.levels)


def _product(
    weight: Float[Tensor, "group column row"],
    values: Float[Tensor, "group row point"],
    buffers: Buffers,
) -> Float[Tensor, "all_columns point"]:
    """Multiply in the order of operands that reads the values along memory."""
    if values.dtype is torch.float64:
        return buffers.sums.copy_((weight @ values).flatten(0, 1))
    if buffers.transposed:
        torch.mm(values[0].T, weight[0].T, out=buffers.sums.mT)
    elif len(weight) == 1:
        torch.mm(weight[0], values[0], out=buffers.sums)
    else:
        torch.bmm(weight, values, out=buffers.sums.unflatten(0, (len(weight), -1)))
    return buffers.sums
