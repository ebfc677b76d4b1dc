"""Rounds again, from exact sums, what a sum in single precision might have tipped."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from chip_sim.converter import Transfer
from chip_sim.pair import RESOLUTION_ANALOG

_DOUBT = 2.0**-12  # LSB: far above the rounding of a single precision sum, far below one LSB
_EXACT = 2.0**24  # integers up to here are whole in single precision, and so are their sums


Indices = NDArray[np.intp]  # of found values, along one axis


class TileRow(NamedTuple):
    """One row of tiles, and what some of the samples play into it."""

    weight: Float[Tensor, "group column row"]
    values: Float[Tensor, "group row point"]
    transfer: Transfer


class SumNoise(NamedTuple):
    """The read noise of sums: Gaussian numbers, and how far they spread."""

    numbers: Float[Tensor, "times column point"]
    spread: Float[Tensor, "column point"]  # code units

    def of(self, times: Indices, columns: Indices, points: Indices) -> NDArray[np.float32]:
        """Return the noise of single sums, code units."""
        spread = self.spread.numpy()[columns, points]
        noise: NDArray[np.float32] = self.numbers.numpy()[times, columns, points] * spread
        return noise


def may_round(norm: float | None, squares: Float[Tensor, "group point"]) -> bool:
    """Tell whether a sum might need more than 24 bits, in whatever order its terms are added.

    No partial sum is larger than |w| |x| (Cauchy and Schwarz), and all are multiples of one step.
    `norm` is the largest |w| of a column; None if it is not known. `squares` are the |x|^2.
    """
    if norm is None:
        return True
    return norm**2 * float(squares.max()) >= (_EXACT * RESOLUTION_ANALOG) ** 2


def round_again_(
    codes: Float[Tensor, "times column point"],
    levels: Float[Tensor, "times column point"],
    tiles: TileRow,
    noise: SumNoise | None,
) -> None:
    """Correct codes whose level is so near a half that rounding may have tipped them.

    Overwrites `levels`.
    """
    time, column, point = _above(levels.sub_(codes).abs_(), 0.5 - _DOUBT)
    exact = _exact_sums(tiles, column, point)
    if noise is not None:
        exact += noise.of(time, column, point)
    transfer = tiles.transfer.columns(torch.from_numpy(column))
    settled = transfer.levels_(torch.from_numpy(exact)[:, None])[:, 0].round_()
    codes.numpy()[time, column, point] = settled.numpy()


def _exact_sums(tiles: TileRow, column: Indices, point: Indices) -> NDArray[np.float32]:
    """Return the sums of a few columns, each at a point of its own, added in double precision."""
    group, place = np.divmod(column, tiles.weight.shape[1])
    weight = tiles.weight.numpy()[group, place]
    values = tiles.values.mT.numpy()[group, point]
    sums: NDArray[np.float64] = np.einsum("ij,ij->i", weight, values, dtype=np.float64)
    return sums.astype(np.float32)


def _above(
    values: Float[Tensor, "time column point"], limit: float
) -> tuple[Indices, Indices, Indices]:
    """Return where the few values above a limit are; NumPy is several times as fast as torch."""
    transposed = values.stride(-1) != 1  # what lies point by point is searched in that order
    in_memory = values.mT if transposed else values
    found = np.flatnonzero(in_memory.numpy() > limit)
    time, one, other = np.unravel_index(found, in_memory.shape)
    return (time, other, one) if transposed else (time, one, other)
