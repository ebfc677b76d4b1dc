"""The multiply: rows times weights on tiles, read noise, and the converters below each tile.

A column sum is the same whatever the order of its terms, on one thread or two. For spikes that is
so by construction: weights are multiples of 2^-10 code, and single precision adds them up exactly.
With analog codes, for which weights are multiples of 2^-5 code, it is so as long as no sum can grow
out of 24 bits. If one could, and might tip a converter, it is added again in double precision.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.array_buffers import Buffers
from chip_sim.array_products import column_products, sum_noise, with_noise
from chip_sim.converter import Transfer, level_max
from chip_sim.exact_rounding import TileRow, may_round, round_again_
from chip_sim.gaussian_table import GaussianTable
from chip_sim.row_values import RowValues, positions, rows_of
from chip_sim.spec import groups_of
from ltl_core.network.stages import Stage

_COARSE_BITS = 8  # of converters whose codes single precision resolves to better than _DOUBT

Watch = Callable[[int, Tensor], None]  # is given the number of a row of tiles, and its codes


class TileArray(NamedTuple):
    """A layer's tiles, ready to be read."""

    weight: Float[Tensor, "column row"]  # multiples of 2^-10 code, or of 2^-5 for analog codes
    row_blocks: tuple[slice, ...]  # the rows of each row of tiles
    transfers: tuple[Transfer, ...]  # of the converters, one for each row of tiles
    bits: int  # of the converters
    read_noise: float  # standard deviation of one weight in one multiply, code units
    norms: tuple[float, ...] = ()  # largest of a column, for each row of tiles; empty if unknown
    # What a code of each row of tiles is worth, in codes of the first; empty if all are alike.
    units: tuple[float, ...] = ()


class RowInput(NamedTuple):
    """What is played into the rows."""

    values: Float[Tensor, "batch *input"]  # whole DAC codes, or spikes averaged over pools
    times: int  # how often the same values are read
    analog: bool  # whether the values are DAC codes


class ClipMeter:
    """Counts conversions, and those that answered with the largest or the smallest code."""

    def __init__(self, code_max: int, tiles: int) -> None:
        self._code_max = code_max
        self._seen, self._clipped = [0] * tiles, [0] * tiles

    def watch(self, tile: int, codes: Tensor) -> None:
        """Count these codes of one row of tiles."""
        self._seen[tile] += codes.numel()
        self._clipped[tile] += int((codes.abs() >= self._code_max).sum())

    @property
    def fractions(self) -> Float[Tensor, " tile"]:
        """Fraction of the conversions of each row of tiles so far that were clipped."""
        return torch.tensor(self._clipped) / torch.tensor(self._seen).clamp(min=1)


class _Reading(NamedTuple):
    """How the tiles are read."""

    array: TileArray
    groups: int  # of a convolution
    may_tip: bool  # sums may be inexact
    gaussian: GaussianTable | None  # for the read noise
    watch: Watch | None


def column_norms(
    weight: Float[Tensor, "column row"], row_blocks: tuple[slice, ...]
) -> tuple[float, ...]:
    """Return the largest Euclidean norm of a column, for each row of tiles."""
    return tuple(float(weight[:, block].square().sum(1).max().sqrt()) for block in row_blocks)


def read_columns(
    array: TileArray,
    rows_in: RowInput,
    stage: Stage,
    rng: torch.Generator,
    watch: Watch | None = None,
) -> Float[Tensor, "times batch column *position"]:
    """Return the ADC codes of every column, added up over the rows of tiles in their order.

    They are in codes of the first row of tiles. The codes of each one are given to `watch`.
    """
    exact = rows_in.analog and array.bits > _COARSE_BITS
    if exact:
        rows_in = rows_in._replace(values=rows_in.values.to(torch.float64))
        array = array._replace(weight=array.weight.to(torch.float64))
    where, times, groups = positions(stage), rows_in.times, groups_of(stage)
    codes = torch.empty(times, len(rows_in.values), stage.columns, *where)
    gaussian = GaussianTable(rng) if array.read_noise else None
    reading = _Reading(array, groups, rows_in.analog and not exact, gaussian, watch)
    buffers: Buffers | None = None
    for rows in rows_of(rows_in.values, stage, times):
        shape = (times, stage.columns, rows.values.shape[1])
        if buffers is None or buffers.shape != shape:
            buffers = Buffers(shape, transposed=groups == 1 and rows.values.stride(0) == 1)
        if not where:  # a point is a sample: nothing needs to be moved afterwards
            _read(reading, rows, buffers, codes[:, rows.samples].mT)
            continue
        total = _read(reading, rows, buffers, buffers.total)
        codes[:, rows.samples] = total.unflatten(2, (-1, *where)).transpose(1, 2)
    return codes


def _read(
    reading: _Reading,
    rows: RowValues,
    buffers: Buffers,
    total: Float[Tensor, "times column point"],
) -> Float[Tensor, "times column point"]:
    """Add up the codes of all rows of tiles in `total`, and return it."""
    array, groups, may_tip, gaussian, watch = reading
    top, weight = level_max(array.bits), array.weight.unflatten(0, (groups, -1))
    values = rows.values.unflatten(0, (groups, -1))
    products = column_products(weight, values, array.row_blocks, buffers)
    for number, (block, sums) in enumerate(zip(array.row_blocks, products, strict=True)):
        played = values[:, block]
        noise = sum_noise(played, array.read_noise, buffers, gaussian) if gaussian else None
        tiles = TileRow(weight[:, :, block], played, array.transfers[number], noise)
        levels = tiles.transfer.levels_(with_noise(sums, noise, buffers))
        codes = torch.round(levels, out=buffers.codes if number else total)
        norm = array.norms[number] if array.norms else None
        if may_tip and may_round(norm, played):
            round_again_(codes, levels, tiles, buffers)
        codes.clamp_(-top, top)
        if watch is not None:
            watch(number, codes)
        if array.units:  # rounded before it is added, so that no order of threads can be seen
            codes.mul_(array.units[number])
        if number:
            total.add_(codes)
    return total
