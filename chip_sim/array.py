"""The multiply: rows times weights on tiles, read noise, and the converters below each tile.

A column sum is the same whatever the order of its terms, on one thread or two. For spikes that is
so by construction: weights are multiples of 2^-10 code, and single precision adds them up exactly.
Products with analog codes may be rounded; where that could tip a converter, it is done again in
double precision, which is exact for them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chip_sim.converter import AdcBank, column_levels, level_max
from chip_sim.rows import Rows, positions, rows_of
from ltl_core.network import Stage

_DOUBT = 2.0**-12  # of an LSB: far above the rounding of a single precision sum, far below one LSB
_GROUP = 16
_COARSE_BITS = 8  # of converters whose codes single precision resolves to better than that


class Array(NamedTuple):
    """A layer's tiles, ready to be read."""

    weight: Float[Tensor, "column row"]  # multiples of 2^-10 code
    row_blocks: tuple[slice, ...]
    adcs: tuple[AdcBank, ...]  # one a row of tiles
    full_scale: float  # largest column sum that a converter resolves, weight times row units
    bits: int
    read_noise: float  # sd of one weight in one multiply, code units


Watch = Callable[[Tensor], None]  # is shown the codes of one row of tiles


class Play(NamedTuple):
    """What is played into the rows."""

    values: Float[Tensor, "batch *input"]  # whole DAC codes, or spikes averaged over pools
    times: int  # how often the same values are read
    analog: bool


class ClipMeter:
    """Counts conversions, and those that answered with the largest or smallest code."""

    def __init__(self, code_max: int) -> None:
        self._code_max = code_max
        self._seen = self._clipped = 0

    def watch(self, codes: Tensor) -> None:
        """Count these."""
        self._seen += codes.numel()
        self._clipped += int((codes.abs() >= self._code_max).sum())

    @property
    def part(self) -> float:
        """Of the conversions so far."""
        return self._clipped / max(self._seen, 1)


def read_columns(
    array: Array,
    play: Play,
    stage: Stage,
    rng: torch.Generator,
    watch: Watch | None = None,
) -> Float[Tensor, "times batch column *position"]:
    """ADC codes of every column, added up over the rows of tiles; each is shown to `watch`."""
    exact = play.analog and array.bits > _COARSE_BITS
    if exact:
        play = play._replace(values=play.values.to(torch.float64))
        array = array._replace(weight=array.weight.to(torch.float64))
    where = positions(stage)
    codes = torch.empty(play.times, len(play.values), stage.columns, *where)
    tiles = [array.weight[:, block] for block in array.row_blocks]
    guarded = play.analog and not exact
    for rows in rows_of(play.values, stage, play.times):
        how = _How(play.times, guarded, watch)
        total = _read(array, tiles, rows, how, rng)
        codes[:, rows.samples] = total.unflatten(2, (-1, *where)).transpose(1, 2)
    return codes


def read_noise_spread(rows: Float[Tensor, "row point"], sigma: float) -> Float[Tensor, " point"]:
    """Standard deviation of a column sum when every weight is read with N(0, sigma^2).

    The second product, sqrt(sum_j sigma^2 x_j^2). All cells have the same sigma, so that it is the
    same for all columns.
    """
    return rows.square().sum(0).to(torch.float32).sqrt_().mul_(sigma)


class _Tile(NamedTuple):
    """One row of tiles and what a part of the samples plays into it."""

    weight: Float[Tensor, "column row"]
    values: Float[Tensor, "row point"]
    adc: AdcBank


class _How(NamedTuple):
    """How often each value is read, whether sums may be inexact, and who is shown the codes."""

    times: int
    guarded: bool
    watch: Watch | None


def _read(
    array: Array,
    tiles: list[Tensor],
    rows: Rows,
    how: _How,
    rng: torch.Generator,
) -> Float[Tensor, "times column point"]:
    top, total = level_max(array.bits), None
    for weight, block, adc in zip(tiles, array.row_blocks, array.adcs, strict=True):
        tile = _Tile(weight, rows.values[block], adc)
        sums = _product(tile)
        noise = _noise(sums, tile, (how.times, array.read_noise), rng) if array.read_noise else None
        seen = sums[None] if noise is None else sums + noise
        levels = column_levels(seen, adc, array.full_scale, array.bits)
        codes = levels.round()
        if how.guarded:
            _settle(codes, levels, (array, tile), noise)
        codes.clamp_(-top, top)
        if how.watch is not None:
            how.watch(codes)
        total = codes if total is None else total.add_(codes)
    assert total is not None, "a layer has at least one row of tiles"
    return total


def _product(tile: _Tile) -> Float[Tensor, "column point"]:
    """Whichever operand order reads the values along memory."""
    if tile.values.stride(0) == 1:  # sample by sample, as a linear layer has them
        return (tile.values.T @ tile.weight.T).T.to(torch.float32)
    return (tile.weight @ tile.values).to(torch.float32)


def _noise(
    sums: Float[Tensor, "column point"],
    tile: _Tile,
    how: tuple[int, float],
    rng: torch.Generator,
) -> Float[Tensor, "times column point"]:
    times, sigma = how
    spread = read_noise_spread(tile.values, sigma)
    if sums.stride(0) == 1:  # the numbers lie in memory as the sums do
        return torch.randn(times, *sums.T.shape, generator=rng).mT.mul_(spread)
    return torch.randn(times, *sums.shape, generator=rng).mul_(spread)


def _settle(
    codes: Float[Tensor, "times column point"],
    levels: Float[Tensor, "times column point"],
    parts: tuple[Array, _Tile],
    noise: Float[Tensor, "times column point"] | None,
) -> None:
    """Round levels again, from exact sums, that are so near a half that rounding may tip them."""
    array, tile = parts
    time, column, point = _above(levels.sub_(codes).abs_(), 0.5 - _DOUBT)
    terms = tile.weight[column].double() * tile.values.T[point]
    exact = terms.sum(1).to(torch.float32)
    if noise is not None:
        exact = exact + noise[time, column, point]
    bank = AdcBank(*(part[column] for part in tile.adc))
    level = column_levels(exact[:, None], bank, array.full_scale, array.bits)
    codes[time, column, point] = level[:, 0].round()


def _above(
    values: Float[Tensor, "times column point"], limit: float
) -> tuple[Int[Tensor, " found"], Int[Tensor, " found"], Int[Tensor, " found"]]:
    """Where the few values above a limit are: first which groups have one, then which they are."""
    turned = values.stride(1) == 1
    laid = values.mT if turned else values
    groups = laid.reshape(math.gcd(laid.numel(), _GROUP), -1)
    some = (groups.amax(0) > limit).nonzero()[:, 0]
    member, which = (groups[:, some] > limit).nonzero(as_tuple=True)
    found, width = member * groups.shape[1] + some[which], laid.shape[2]
    time, line, place = (
        found // (laid.shape[1] * width),
        found // width % laid.shape[1],
        found % width,
    )
    return (time, place, line) if turned else (time, line, place)
