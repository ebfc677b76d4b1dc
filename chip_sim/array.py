"""The multiply: rows times weights on tiles, read noise, and the converters below each tile.

A column sum is the same whatever the order of its terms, on one thread or two. For spikes that is
so by construction: weights are multiples of 2^-10 code, and single precision adds them up exactly.
With analog codes, for which weights are multiples of 2^-5 code, it is so as long as no sum can grow
out of 24 bits. Where one could, and might tip a converter, it is done again in double precision.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from chip_sim.converter import Transfer, level_max
from chip_sim.gaussian_table import GaussianTable
from chip_sim.pair import RESOLUTION_ANALOG
from chip_sim.read_noise import read_noise_spread
from chip_sim.row_values import RowValues, positions, rows_of
from chip_sim.spec import groups_of
from ltl_core.network.stages import Stage

_DOUBT = 2.0**-12  # of an LSB: far above the rounding of a single precision sum, far below one LSB
_EXACT = 2.0**24  # integers up to here are whole in single precision, and so are their sums
_COARSE_BITS = 8  # of converters whose codes single precision resolves to better than that


class Array(NamedTuple):
    """A layer's tiles, ready to be read."""

    weight: Float[Tensor, "column row"]  # multiples of 2^-10 code, or of 2^-5 for analog codes
    row_blocks: tuple[slice, ...]
    transfers: tuple[Transfer, ...]  # of the converters, one a row of tiles
    bits: int
    read_noise: float  # sd of one weight in one multiply, code units
    norms: tuple[float, ...] = ()  # largest of a column, a row of tiles; empty: not known


def column_norms(
    weight: Float[Tensor, "column row"], row_blocks: tuple[slice, ...]
) -> tuple[float, ...]:
    """Largest Euclidean norm of a column, for each row of tiles."""
    return tuple(float(weight[:, block].square().sum(1).max().sqrt()) for block in row_blocks)


Places = NDArray[np.intp]  # indices of found values, in one direction
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
    where, groups = positions(stage), groups_of(stage)
    codes = torch.empty(play.times, len(play.values), stage.columns, *where)
    how = _How(play.times, groups, play.analog and not exact, watch)
    gaussian = GaussianTable(rng) if array.read_noise else None
    space: _Space | None = None
    for rows in rows_of(play.values, stage, play.times):
        shape = (play.times, stage.columns, rows.values.shape[1])
        if space is None or space.shape != shape:
            space = _Space(shape, turned=groups == 1 and rows.values.stride(0) == 1)
        if not where:  # a point is a sample: nothing needs to be moved afterwards
            _read(array, rows, (how, space), gaussian, codes[:, rows.samples].mT)
            continue
        total = _read(array, rows, (how, space), gaussian, space.total)
        codes[:, rows.samples] = total.unflatten(2, (-1, *where)).transpose(1, 2)
    return codes


class _How(NamedTuple):
    """How often each value is read, by which groups, and what becomes of it."""

    times: int
    groups: int
    guarded: bool  # sums may be inexact
    watch: Watch | None


class _Tile(NamedTuple):
    """One row of tiles and what a part of the samples plays into it."""

    weight: Float[Tensor, "group column row"]
    values: Float[Tensor, "group row point"]
    transfer: Transfer
    noise: "_Noise | None"


class _Noise(NamedTuple):
    """Of the sums of one row of tiles: normal numbers, and how far they spread."""

    numbers: Float[Tensor, "times column point"]
    spread: Float[Tensor, "column point"]  # the same number for all columns of a group

    def of(self, times: Places, columns: Places, points: Places) -> NDArray[np.float32]:
        """Of single sums."""
        spread = self.spread.numpy()[columns, points]
        noise: NDArray[np.float32] = self.numbers.numpy()[times, columns, points] * spread
        return noise


class _Space:
    """Room for one row of tiles, taken once and worked in again and again.

    Turned, it lies in memory point by point, as the product of a linear layer does.
    """

    def __init__(self, shape: tuple[int, int, int], *, turned: bool) -> None:
        self.shape, self.turned = shape, turned

    @cached_property
    def sums(self) -> Float[Tensor, "column point"]:
        """Of one row of tiles."""
        return self._taken()[0]

    @cached_property
    def codes(self) -> Float[Tensor, "times column point"]:
        """Of one row of tiles."""
        return self._taken()

    @cached_property
    def total(self) -> Float[Tensor, "times column point"]:
        """Of all rows of tiles."""
        return self._taken()

    @cached_property
    def noise(self) -> Float[Tensor, "times column point"]:
        """Normal numbers for the sums of one row of tiles."""
        return self._taken()

    @cached_property
    def levels(self) -> Float[Tensor, "times column point"]:
        """Beside the noise; without noise levels are made where the sums were."""
        return self._taken()

    def in_memory(self, part: Float[Tensor, "*some a b"]) -> Float[Tensor, "*some _ _"]:
        """As it lies there."""
        return part.mT if self.turned else part

    def _taken(self) -> Float[Tensor, "times column point"]:
        times, columns, points = self.shape
        return torch.empty(times, points, columns).mT if self.turned else torch.empty(self.shape)


def _read(
    array: Array,
    rows: RowValues,
    where: tuple[_How, _Space],
    gaussian: GaussianTable | None,
    total: Float[Tensor, "times column point"],
) -> Float[Tensor, "times column point"]:
    """Into `total`."""
    how, space = where
    top, weight = level_max(array.bits), array.weight.unflatten(0, (how.groups, -1))
    values = rows.values.unflatten(0, (how.groups, -1))
    products = _products(weight, values, array.row_blocks, space)
    for number, (block, sums) in enumerate(zip(array.row_blocks, products, strict=True)):
        played = values[:, block]
        noise = _noise(played, array.read_noise, space, gaussian) if gaussian else None
        tile = _Tile(weight[:, :, block], played, array.transfers[number], noise)
        levels = tile.transfer.levels_(_seen(sums, noise, space))
        codes = torch.round(levels, out=space.codes if number else total)
        if how.guarded and _may_round(array, number, tile.values):
            _settle(codes, levels, tile, space)
        codes.clamp_(-top, top)
        if how.watch is not None:
            how.watch(codes)
        if number:
            total.add_(codes)
    return total


def _products(
    weight: Float[Tensor, "group column row"],
    values: Float[Tensor, "group row point"],
    blocks: tuple[slice, ...],
    space: _Space,
) -> Iterator[Float[Tensor, "column point"]]:
    """Of each row of tiles. Where they lie point by point and are all of one size, in one batch."""
    size = blocks[0].stop
    if space.turned and values.dtype is torch.float32 and size * len(blocks) == values.shape[1]:
        played = values[0].T.unflatten(1, (-1, size)).transpose(0, 1)
        yield from torch.bmm(played, weight[0].unflatten(1, (-1, size)).permute(1, 2, 0)).mT
        return
    for block in blocks:
        yield _product(weight[:, :, block], values[:, block], space)


def _product(
    weight: Float[Tensor, "group column row"],
    values: Float[Tensor, "group row point"],
    space: _Space,
) -> Float[Tensor, "all_columns point"]:
    """Whichever operand order reads the values along memory."""
    if values.dtype is torch.float64:
        return space.sums.copy_((weight @ values).flatten(0, 1))
    if space.turned:
        torch.mm(values[0].T, weight[0].T, out=space.sums.mT)
    elif len(weight) == 1:
        torch.mm(weight[0], values[0], out=space.sums)
    else:
        torch.bmm(weight, values, out=space.sums.unflatten(0, (len(weight), -1)))
    return space.sums


def _noise(
    values: Float[Tensor, "group row point"], sigma: float, space: _Space, gaussian: GaussianTable
) -> _Noise:
    """Of one row of tiles that is played these values; drawn as its numbers lie in memory."""
    gaussian.fill_(space.in_memory(space.noise))
    spread = read_noise_spread(values, sigma)[:, None]
    groups, _, points = spread.shape
    each = spread.expand(groups, space.noise.shape[1] // groups, points)
    return _Noise(space.noise, each[0] if groups == 1 else each.flatten(0, 1))


def _seen(
    sums: Float[Tensor, "column point"], noise: _Noise | None, space: _Space
) -> Float[Tensor, "times column point"]:
    """What arrives at the converters."""
    if noise is None:
        return sums[None]
    return torch.addcmul(sums, noise.numbers, noise.spread, out=space.levels)


def _may_round(array: Array, number: int, values: Float[Tensor, "group row point"]) -> bool:
    """Whether a sum of this row of tiles might need more than 24 bits, in whatever order.

    No part of it is larger than |w| |x| (Cauchy and Schwarz), and all are multiples of one step.
    """
    if not array.norms:
        return True
    largest = float(torch.linalg.vector_norm(values, dim=-2).max())
    return array.norms[number] * largest >= _EXACT * RESOLUTION_ANALOG


def _settle(
    codes: Float[Tensor, "times column point"],
    levels: Float[Tensor, "times column point"],
    tile: _Tile,
    space: _Space,
) -> None:
    """Round levels again, from exact sums, that are so near a half that rounding may tip them."""
    time, *inner = _above(space.in_memory(levels.sub_(codes).abs_()), 0.5 - _DOUBT)
    point, column = inner if space.turned else inner[::-1]
    exact = _exact_sums(tile, column, point)
    if tile.noise is not None:
        exact += tile.noise.of(time, column, point)
    transfer = tile.transfer.of(torch.from_numpy(column))
    settled = transfer.levels_(torch.from_numpy(exact)[:, None])[:, 0].round_()
    codes.numpy()[time, column, point] = settled.numpy()


def _exact_sums(tile: _Tile, column: Places, point: Places) -> NDArray[np.float32]:
    """Of a few columns, each at a point of its own, in double precision."""
    group, place = np.divmod(column, tile.weight.shape[1])
    weight = tile.weight.numpy()[group, place]
    values = tile.values.mT.numpy()[group, point]
    sums: NDArray[np.float64] = np.einsum("ij,ij->i", weight, values, dtype=np.float64)
    return sums.astype(np.float32)


def _above(values: Float[Tensor, "time a b"], limit: float) -> tuple[Places, ...]:
    """Where the few values above a limit are. NumPy finds them several times as fast as torch."""
    found = np.flatnonzero(values.numpy() > limit)
    return np.unravel_index(found, values.shape)
