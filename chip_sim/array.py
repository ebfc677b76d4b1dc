"""The multiply: rows times weights on tiles, read noise, and the converters below each tile.

A column sum is the same whatever the order of its terms, on one thread or two. For spikes that is
so by construction: weights are multiples of 2^-10 code, and single precision adds them up exactly.
Products with analog codes may be rounded; where that could tip a converter, it is done again in
double precision, which is exact for them.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.converter import AdcBank, column_levels, level_max
from chip_sim.rows import Rows, positions, rows_of
from ltl_core.network import Stage

_DOUBT = 2.0**-10  # of an LSB: far above the rounding of a single precision sum, far below one LSB
_COARSE_BITS = 8  # of converters whose codes single precision resolves to better than that


class Array(NamedTuple):
    """A layer's tiles, ready to be read."""

    weight: Float[Tensor, "column row"]  # multiples of 2^-10 code
    row_blocks: tuple[slice, ...]
    adcs: tuple[AdcBank, ...]  # one a row of tiles
    full_scale: float  # largest column sum that a converter resolves, weight times row units
    bits: int
    read_noise: float  # sd of one weight in one multiply, code units


class Play(NamedTuple):
    """What is played into the rows."""

    values: Float[Tensor, "batch *input"]  # whole DAC codes, or spikes averaged over pools
    times: int  # how often the same values are read
    analog: bool


def read_columns(
    array: Array, play: Play, stage: Stage, rng: torch.Generator
) -> Float[Tensor, "times batch column *position"]:
    """ADC codes of every column, added up over the rows of tiles."""
    exact = play.analog and array.bits > _COARSE_BITS
    if exact:
        play = play._replace(values=play.values.to(torch.float64))
        array = array._replace(weight=array.weight.to(torch.float64))
    where = positions(stage)
    codes = torch.empty(play.times, len(play.values), stage.columns, *where)
    tiles = [array.weight[:, block].contiguous() for block in array.row_blocks]
    guarded = play.analog and not exact
    for rows in rows_of(play.values, stage, play.times):
        total = _read(array, tiles, rows, (play.times, guarded), rng)
        part = codes[:, rows.samples]
        part.copy_(total.view(play.times, stage.columns, -1, *where).transpose(1, 2))
    return codes


def read_noise_spread(rows: Float[Tensor, "row point"], sigma: float) -> Float[Tensor, " point"]:
    """Standard deviation of a column sum when every weight is read with N(0, sigma^2).

    The second product, sqrt(sum_j sigma^2 x_j^2). All cells have the same sigma, so that it is the
    same for all columns.
    """
    return rows.square().sum(0).to(torch.float32).sqrt_().mul_(sigma)


def _read(
    array: Array,
    tiles: list[Tensor],
    rows: Rows,
    how: tuple[int, bool],
    rng: torch.Generator,
) -> Float[Tensor, "times column point"]:
    times, guarded = how
    total: Tensor | None = None
    for tile, block, adc in zip(tiles, array.row_blocks, array.adcs, strict=True):
        values = rows.values[block]
        sums = (tile @ values).to(torch.float32)
        noise = None
        if array.read_noise:
            drawn = torch.randn(times, *sums.shape, generator=rng)
            noise = drawn.mul_(read_noise_spread(values, array.read_noise))
        levels = _levels(array, adc, sums, noise)
        if guarded:
            _settle(levels, (array, adc, tile, values), noise)
        levels.round_().clamp_(-level_max(array.bits), level_max(array.bits))
        total = levels if total is None else total.add_(levels)
    assert total is not None, "a layer has at least one row of tiles"
    return total


def _levels(array: Array, adc: AdcBank, sums: Tensor, noise: Tensor | None) -> Tensor:
    seen = sums[None] if noise is None else sums + noise
    return column_levels(seen, adc, array.full_scale, array.bits)


def _settle(
    levels: Float[Tensor, "times column point"],
    parts: tuple[Array, AdcBank, Tensor, Tensor],
    noise: Float[Tensor, "times column point"] | None,
) -> None:
    """Put levels so near a half that rounding may have tipped them where exact sums put them."""
    array, adc, tile, values = parts
    doubtful = ((levels - levels.round()).abs_() > 0.5 - _DOUBT).nonzero(as_tuple=True)
    time, column, point = doubtful
    exact = (tile[column].double() * values[:, point].T.double()).sum(1).to(torch.float32)
    if noise is not None:
        exact = exact + noise[time, column, point]
    bank = AdcBank(*(part[column] for part in adc))
    levels[doubtful] = column_levels(exact[:, None], bank, array.full_scale, array.bits)[:, 0]
